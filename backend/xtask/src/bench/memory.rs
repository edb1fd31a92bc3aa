//! Memory as proportional set size (`/proc/<pid>/smaps_rollup`): what is shared with others counts in shares.

use belljar_testbed::server::rows;
use belljar_testbed::{Server, process};

use super::table::Table;

/// What the server may take, in bytes.
const SERVER_TARGET_BYTES: f64 = 20e6;
/// What one monitor may take, in bytes.
const MONITOR_TARGET_BYTES: f64 = 0.5e6;

/// Memory of the server itself, and of the processes it keeps ready beside it.
pub(crate) fn server(table: &mut Table, server: &Server, what: &str) {
    let pid = server.pid();
    table.bytes(what, process::pss_bytes(pid).unwrap_or_default(), SERVER_TARGET_BYTES);
    let inits = inits(server);
    let beside = process::pids().into_iter().filter(|child| process::parent(*child) == Some(pid) && !inits.contains(child));
    let beside = beside.filter(|child| !inits.iter().any(|init| process::parent(*init) == Some(*child)));
    for child in beside {
        let bytes = process::pss_bytes(child).unwrap_or_default();
        table.row(
            &format!("  beside it: {}", short(&process::command_line(child))),
            format!("{:.1} kB", bytes as f64 / 1e3),
            String::new(),
        );
    }
}

/// Mean and largest memory of the monitors of everything that runs.
pub(crate) fn monitors(table: &mut Table, server: &Server) {
    let monitors = inits(server).into_iter().filter_map(process::parent);
    let sizes: Vec<u64> = monitors.filter_map(process::pss_bytes).collect();
    let count = u64::try_from(sizes.len()).unwrap_or(u64::MAX).max(1);
    table.bytes(&format!("monitor, mean of {count}"), sizes.iter().sum::<u64>() / count, MONITOR_TARGET_BYTES);
    table.bytes("monitor, largest", sizes.iter().copied().max().unwrap_or_default(), MONITOR_TARGET_BYTES);
}

fn inits(server: &Server) -> Vec<i32> {
    let containers = rows(&server.api().get("/api/v1/containers").expect(200).json());
    containers.iter().filter_map(|container| i32::try_from(container["pid"].as_i64()?).ok()).collect()
}

fn short(command_line: &str) -> String {
    let words: Vec<&str> = command_line.split(' ').take(2).collect();
    words.join(" ").rsplit('/').next().unwrap_or_default().to_owned()
}
