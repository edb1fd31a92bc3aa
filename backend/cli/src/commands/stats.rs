//! `stats` and `top`: what containers use, and their processes.

use std::time::Duration;

use belljar_api::usage::Process;
use belljar_api::{Container, Usage};
use belljar_model::size;

use super::{DONE, Outcome, Session, container, of};
use crate::arguments::StatsArguments;
use crate::failure::Failure;
use crate::output::{Table, age};

/// How often `stats` looks.
const EVERY: Duration = Duration::from_secs(1);
/// Moves the cursor to the upper left corner and clears what is below (ECMA-48, CUP and ED).
const CLEAR: &[u8] = b"\x1b[H\x1b[J";
/// What is shown where the kernel has no figure.
const UNKNOWN: &str = "-";

/// What each container uses, by its name.
type Readings = Vec<(String, Usage)>;

/// `stats`: once, or again every second until it is interrupted. A share of a processor needs two readings, so the first
/// table comes after the second one.
pub(crate) async fn stats(session: &mut Session, arguments: StatsArguments) -> Outcome {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.tick().await;
    let mut before = read(session, &arguments.containers).await?;
    loop {
        ticks.tick().await;
        let now = read(session, &arguments.containers).await?;
        if !arguments.no_stream && session.paper.is_terminal() {
            session.paper.text(CLEAR)?;
        }
        session.paper.table(&table(&before, &now))?;
        session.paper.flush()?;
        if arguments.no_stream {
            return Ok(DONE);
        }
        before = now;
    }
}

async fn read(session: &Session, names: &[String]) -> Result<Readings, Failure> {
    let mut containers: Vec<Container> = Vec::new();
    if names.is_empty() {
        containers = session.client.fetch("/containers").await?;
        containers.retain(|container| container.state.is_alive());
    }
    for name in names {
        containers.push(session.client.fetch(&container(name)).await?);
    }
    let mut readings = Vec::new();
    for container in containers {
        match session.client.fetch(&of(&container.id, "usage")).await {
            Ok(usage) => readings.push((container.name, usage)),
            // Deleted since it was listed.
            Err(Failure::Refused(_)) if names.is_empty() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(readings)
}

const COLUMNS: [&str; 12] = ["NAME", "CPU", "HELD", "MEMORY", "LIMIT", "PEAK", "PIDS", "READ", "WRITTEN", "RECEIVED", "SENT", "WAITED"];

fn table(before: &Readings, now: &Readings) -> Table {
    let mut table = Table::new(&COLUMNS).figures(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let bytes = |figure: Option<u64>| figure.map_or(UNKNOWN.to_owned(), size::display);
    let share = |percent: Option<f64>| percent.map_or(UNKNOWN.to_owned(), |percent| format!("{percent:.1}%"));
    for (name, usage) in now {
        let earlier = before.iter().find(|(other, _)| other == name).map(|(_, usage)| usage);
        table.row(vec![
            name.into(),
            share(earlier.and_then(|earlier| cpu_percent(earlier, usage))).into(),
            share(earlier.and_then(|earlier| held_percent(earlier, usage))).into(),
            bytes(usage.memory_working_set_bytes.or(usage.memory_bytes)).into(),
            bytes(usage.memory_bytes_max).into(),
            bytes(usage.memory_bytes_peak).into(),
            usage.pids.map_or(UNKNOWN.to_owned(), |pids| pids.to_string()).into(),
            bytes(usage.io_read_bytes_total).into(),
            bytes(usage.io_write_bytes_total).into(),
            bytes(usage.network_rx_bytes).into(),
            bytes(usage.network_tx_bytes).into(),
            waited(usage).into(),
        ]);
    }
    table
}

/// Of the periods of its quota between two readings, those in which it was held back, in percent. `None` where it has no quota,
/// or did not want to run.
fn held_percent(before: &Usage, now: &Usage) -> Option<f64> {
    let periods = now.cpu_periods_total?.checked_sub(before.cpu_periods_total?).filter(|periods| *periods > 0)?;
    let held = now.cpu_throttled_periods_total?.checked_sub(before.cpu_throttled_periods_total?)?;
    Some(held as f64 / periods as f64 * 100.0)
}

/// What it waited for most in the last 10 s, and for how much of it.
fn waited(usage: &Usage) -> String {
    let Some(pressure) = usage.pressure else { return UNKNOWN.to_owned() };
    let stalls = [("cpu", pressure.cpu), ("memory", pressure.memory), ("io", pressure.io)];
    let shares = stalls.into_iter().filter_map(|(what, stall)| Some((what, stall?.some.avg10_percent)));
    match shares.max_by(|left, right| left.1.total_cmp(&right.1)) {
        Some((what, percent)) if percent >= 0.05 => format!("{what} {percent:.1}%"),
        Some(_) => "0.0%".to_owned(),
        None => UNKNOWN.to_owned(),
    }
}

/// Share of one processor between two readings of ours, in percent. The server's own is taken since *its* last look, which
/// may be a moment ago. `None` where the container began anew in between, and its count with it.
fn cpu_percent(before: &Usage, now: &Usage) -> Option<f64> {
    let used_usec = now.cpu_usec_total?.checked_sub(before.cpu_usec_total?)?;
    let passed_usec = u64::try_from(now.at_ms.checked_sub(before.at_ms)?).ok()?.checked_mul(1000)?;
    (passed_usec > 0).then(|| used_usec as f64 / passed_usec as f64 * 100.0)
}

/// `top`.
pub(crate) fn processes(processes: &Vec<Process>, _now_ms: i64) -> Table {
    let mut table = Table::new(&["PID", "INSIDE", "PARENT", "UID", "STATE", "MEMORY", "CPU TIME", "COMMAND"]).figures(&[0, 1, 2, 3, 5, 6]);
    for process in processes {
        let number = |number: Option<i64>| number.map_or(UNKNOWN.to_owned(), |number| number.to_string());
        table.row(vec![
            process.pid.to_string().into(),
            number(process.pid_inside.map(i64::from)).into(),
            process.ppid.to_string().into(),
            number(process.uid_inside.map(i64::from)).into(),
            (&process.state).into(),
            process.rss_bytes.map_or(UNKNOWN.to_owned(), size::display).into(),
            process.cpu_usec.map_or(UNKNOWN.to_owned(), |usec| age::length(usec / 1000)).into(),
            (&process.command).into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;
    use belljar_model::usage::{Pressure, Stall, StallLine};

    fn reading(at_ms: i64, cpu_usec_total: Option<u64>) -> Usage {
        let usage = belljar_model::usage::Usage { at_ms, cpu_usec_total, memory_bytes: Some(3 << 20), pids: Some(2), ..Default::default() };
        usage.into()
    }

    #[test]
    fn a_figure_that_the_kernel_does_not_have_is_a_dash_and_never_zero() {
        let text = table(&Vec::new(), &vec![("web".into(), reading(0, None))]).render(Paint::Plain);
        assert_eq!(text.lines().last(), Some("web      -      -    3 MiB       -      -      2      -         -          -      -   -"));
    }

    #[test]
    fn what_it_was_held_back_by_and_waited_for_is_told() {
        let quota = |periods, held| Usage { cpu_periods_total: Some(periods), cpu_throttled_periods_total: Some(held), ..reading(0, None) };
        assert_eq!(held_percent(&quota(10, 1), &quota(20, 5)), Some(40.0));
        assert_eq!((held_percent(&quota(10, 1), &quota(10, 1)), held_percent(&reading(0, None), &quota(1, 1))), (None, None));
        let stall = |avg10_percent| Some(Stall { some: StallLine { avg10_percent, ..StallLine::default() }, full: None });
        let pressed = |cpu, io| Usage { pressure: Some(Pressure { cpu, memory: None, io }), ..reading(0, None) };
        assert_eq!(waited(&pressed(stall(1.25), stall(12.0))), "io 12.0%");
        assert_eq!((waited(&pressed(stall(0.0), None)).as_str(), waited(&reading(0, None)).as_str()), ("0.0%", "-"));
    }

    #[test]
    fn the_share_of_a_processor_is_that_between_two_readings() {
        assert_eq!(cpu_percent(&reading(0, Some(0)), &reading(1000, Some(1_500_000))), Some(150.0));
        assert_eq!(cpu_percent(&reading(0, Some(9)), &reading(1000, Some(3))), None, "it was started again");
        assert_eq!(cpu_percent(&reading(5, Some(1)), &reading(5, Some(1))), None, "no time has passed");
    }
}
