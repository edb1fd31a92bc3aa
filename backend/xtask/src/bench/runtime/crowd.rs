//! Many containers at once, and what remains of each runtime beside them.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use belljar_testbed::process;

use super::super::table::{Spread, Table};
use super::bundle::{Bundles, Executable};
use super::contender::{self, Contender};

/// Starts alone and with the others there.
const STARTS: u32 = 20;
/// What a container may cost beside its own program, in bytes.
const MEMORY_TARGET_BYTES: f64 = 0.5e6;

/// Measures each runtime with `count` containers.
pub(super) fn measure(table: &mut Table, bundles: &Bundles, count: u32) -> Result<(), Box<dyn Error>> {
    for mut contender in contender::all(bundles).into_iter().filter(Contender::is_runtime) {
        let name = contender.name();
        let alone = starts(&mut contender, bundles)?;
        table.spread(&format!("{name} --detach, alone"), alone, String::new());
        let all = contender.start_all(bundles, count)?;
        let each_ms = all.as_secs_f64() * 1e3 / f64::from(count);
        let ratio = format!("{:.2} times one alone (target 1)", each_ms / alone.median_ms);
        table.row(&format!("  {count} at once, for each"), format!("mean   {each_ms:7.2} ms"), ratio);
        let beside = starts(&mut contender, bundles)?;
        table.spread(&format!("  one more beside {count}"), beside, format!("{:.2} times one alone", beside.median_ms / alone.median_ms));
        if contender.is_ours() {
            memory(table, bundles, count);
        }
        contender.delete_all(count)?;
    }
    Ok(())
}

fn starts(contender: &mut Contender, bundles: &Bundles) -> Result<Spread, Box<dyn Error>> {
    let mut durations = Vec::new();
    for _ in 0..STARTS {
        durations.push(contender.start(bundles, "one-more")?);
        contender.delete("one-more")?;
    }
    Ok(Spread::of(durations))
}

/// Memory of every process that executes our file, shared by the containers.
fn memory(table: &mut Table, bundles: &Bundles, count: u32) {
    // By the file itself: what is executed from a copy of its mount has no path.
    let file = |path: &Path| fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
    let ours = file(&bundles.executable(Executable::Belljar));
    let remains = |pid: &i32| file(Path::new(&format!("/proc/{pid}/exe"))).is_some_and(|executed| Some(executed) == ours);
    let sizes: Vec<u64> = process::pids().into_iter().filter(remains).filter_map(process::pss_bytes).collect();
    let what = format!("  memory of ours for each, {} processes", sizes.len());
    table.bytes(&what, sizes.iter().sum::<u64>() / u64::from(count.max(1)), MEMORY_TARGET_BYTES);
}
