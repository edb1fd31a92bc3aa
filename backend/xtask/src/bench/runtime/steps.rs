//! Where our time goes: the steps of the plan as our runtime notes them in a container's state, with the median of each.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::fs;

use serde_json::Value;

use super::bundle::Bundles;
use super::contender::{self, Contender};

/// Steps below this, in microseconds, are told as one sum.
const SHOWN_USEC: u64 = 30;

/// Starts `count` containers one after another and reads their plans.
pub(super) fn measure(bundles: &Bundles, count: u32) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    for mut contender in contender::all(bundles).into_iter().filter(Contender::is_ours) {
        let mut steps: BTreeMap<usize, (String, Vec<u64>)> = BTreeMap::new();
        for _ in 0..count {
            contender.start(bundles, "steps")?;
            for (index, step) in plan(bundles)?.into_iter().enumerate() {
                let took = step["took_usec"].as_u64().unwrap_or_default();
                let line = format!("{:7} {}", step["place"].as_str().unwrap_or_default(), step["text"].as_str().unwrap_or_default());
                steps.entry(index).or_insert((line, Vec::new())).1.push(took);
            }
            contender.delete("steps")?;
        }
        text += &table(contender.name(), steps.into_values().collect());
    }
    Ok(text)
}

/// The steps that the only container in our state folder was made by.
fn plan(bundles: &Bundles) -> Result<Vec<Value>, Box<dyn Error>> {
    for entry in fs::read_dir(bundles.state("belljar"))?.flatten() {
        if let Ok(text) = fs::read_to_string(entry.path().join("plan.json")) {
            let record: Value = serde_json::from_str(&text)?;
            return Ok(record["steps"].as_array().cloned().unwrap_or_default());
        }
    }
    Err("our runtime noted no plan".into())
}

fn table(name: &str, steps: Vec<(String, Vec<u64>)>) -> String {
    let medians: Vec<(String, u64)> = steps.into_iter().map(|(line, times)| (line, median(times))).collect();
    let sum: u64 = medians.iter().map(|(_, usec)| usec).sum();
    let mut text = format!("\nsteps of {name}: {} of them, {:.2} ms in sum, some side by side\n", medians.len(), sum as f64 / 1e3);
    for (line, usec) in medians.iter().filter(|(_, usec)| *usec >= SHOWN_USEC) {
        let short: String = line.chars().take(100).collect();
        let _infallible = writeln!(text, "{usec:7} us  {short}");
    }
    let rest = medians.iter().filter(|(_, usec)| *usec < SHOWN_USEC);
    let (count, usec) = rest.fold((0, 0), |(count, sum), (_, usec)| (count + 1, sum + usec));
    let _infallible = writeln!(text, "{usec:7} us  {count} more, each below {SHOWN_USEC}");
    text
}

fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_steps_are_told_as_one_sum() {
        let steps = vec![
            ("outside clone".to_owned(), vec![900, 100, 500]),
            ("inside hostname".to_owned(), vec![3]),
            ("inside umask".to_owned(), vec![4]),
        ];
        let text = table("it", steps);
        assert!(
            text.contains("3 of them, 0.51 ms in sum") && text.contains("500 us  outside clone") && text.contains("7 us  2 more"),
            "{text}"
        );
    }
}
