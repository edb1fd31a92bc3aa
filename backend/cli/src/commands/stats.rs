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

/// `stats`: once, or again every second until it is interrupted.
pub(crate) async fn stats(session: &mut Session, arguments: StatsArguments) -> Outcome {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let readings = read(session, &arguments.containers).await?;
        if !arguments.no_stream && session.paper.is_terminal() {
            session.paper.text(CLEAR)?;
        }
        session.paper.table(&table(&readings))?;
        session.paper.flush()?;
        if arguments.no_stream {
            return Ok(DONE);
        }
    }
}

async fn read(session: &Session, names: &[String]) -> Result<Vec<(String, Usage)>, Failure> {
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

fn table(readings: &[(String, Usage)]) -> Table {
    let mut table = Table::new(&["NAME", "CPU", "MEMORY", "LIMIT", "PEAK", "PIDS", "RECEIVED", "SENT"]).figures(&[1, 2, 3, 4, 5, 6, 7]);
    let bytes = |figure: Option<u64>| figure.map_or(UNKNOWN.to_owned(), size::display);
    for (name, usage) in readings {
        table.row(vec![
            name.into(),
            usage.cpu_percent.map_or(UNKNOWN.to_owned(), |percent| format!("{percent:.1}%")).into(),
            bytes(usage.memory_working_set_bytes.or(usage.memory_bytes)).into(),
            bytes(usage.memory_bytes_max).into(),
            bytes(usage.memory_bytes_peak).into(),
            usage.pids.map_or(UNKNOWN.to_owned(), |pids| pids.to_string()).into(),
            bytes(usage.network_rx_bytes).into(),
            bytes(usage.network_tx_bytes).into(),
        ]);
    }
    table
}

/// `top`.
#[expect(clippy::ptr_arg, reason = "the layout of an answer takes the answer's own type")]
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

    #[test]
    fn a_figure_that_the_kernel_does_not_have_is_a_dash_and_never_zero() {
        let usage = Usage::from(belljar_model::usage::Usage { memory_bytes: Some(3 << 20), pids: Some(2), ..Default::default() });
        let text = table(&[("web".into(), usage)]).render(Paint::Plain);
        assert_eq!(text.lines().last(), Some("web      -    3 MiB       -      -      2          -      -"));
    }
}
