//! `list` and `inspect`.

use belljar_api::Container;
use belljar_model::health::HealthStatus;
use belljar_model::{State, size};

use super::{DONE, Outcome, Session, container};
use crate::arguments::{Containers, ListArguments};
use crate::output::table::Cell;
use crate::output::{Table, Tone, age, now_ms};

/// Characters of a command that are shown: enough to know it again.
const COMMAND_CHARS: usize = 40;

/// `list`: those that run, or all.
pub(crate) async fn list(session: &mut Session, arguments: ListArguments) -> Outcome {
    let mut containers: Vec<Container> = session.client.fetch("/containers").await?;
    if !arguments.all {
        containers.retain(|container| container.state.is_alive());
    }
    if arguments.format.json {
        session.paper.json(&containers)?;
    } else if arguments.quiet {
        for container in &containers {
            session.paper.line(&container.short_id)?;
        }
    } else {
        session.paper.table(&table(&containers, arguments.size.then_some(Size), now_ms()))?;
    }
    Ok(DONE)
}

/// `inspect`: an array, as in Docker, however many were asked for.
pub(crate) async fn inspect(session: &mut Session, containers: Containers) -> Outcome {
    let mut found: Vec<Container> = Vec::new();
    for name in &containers.containers {
        found.push(session.client.fetch(&container(name)).await?);
    }
    session.paper.json(&found)?;
    Ok(DONE)
}

/// A further column: what the containers' own layers take.
#[derive(Clone, Copy)]
struct Size;

fn table(containers: &[Container], column: Option<Size>, now_ms: i64) -> Table {
    let mut titles = vec!["NAME", "ID", "IMAGE", "COMMAND", "CREATED", "STATE"];
    titles.extend(column.map(|Size| "SIZE"));
    let mut table = Table::new(&titles);
    for container in containers {
        let (mut state, mut tone) = state(container, now_ms);
        if !container.warnings.is_empty() {
            state.push_str(&format!(", less protected ({})", container.warnings.len()));
            tone = if tone == Tone::Bad { tone } else { Tone::Careful };
        }
        if let Some(finding) = container.finding.as_ref().filter(|_| container.state.is_alive()) {
            state.push_str(&format!("; {finding}"));
            tone = if tone == Tone::Bad { tone } else { Tone::Careful };
        }
        let mut row: Vec<Cell> = vec![
            (&container.name).into(),
            (&container.short_id).into(),
            (&container.image).into(),
            Cell::short(container.command.join(" "), COMMAND_CHARS),
            age::ago(container.created_at_ms, now_ms).into(),
            Cell::toned(state, tone),
        ];
        row.extend(column.map(|Size| layer(container).into()));
        table.row(row);
    }
    table
}

/// What its own layer takes, and what it may.
fn layer(container: &Container) -> String {
    let taken = container.upper_bytes.map_or_else(|| "not measured yet".to_owned(), size::display);
    match container.limits.disk_bytes {
        Some(most) => format!("{taken} of {}", size::display(most)),
        None => taken,
    }
}

/// The state as a clause: what it is, since when, and how it ended.
fn state(container: &Container, now_ms: i64) -> (String, Tone) {
    match (container.state, &container.exit) {
        (State::Running, _) => {
            let uptime = age::length(container.uptime_ms.unwrap_or(0));
            match container.health.status {
                HealthStatus::None => (format!("running, {uptime}"), Tone::Good),
                status => {
                    let tone = if status == HealthStatus::Unhealthy { Tone::Bad } else { Tone::Good };
                    (format!("running, {uptime} ({})", status.as_str()), tone)
                }
            }
        }
        (State::Paused, _) => ("paused".to_owned(), Tone::Careful),
        (State::Stopped, Some(exit)) => {
            let fine = exit.shell_code == Some(0);
            (format!("{}, {}", exit.message, age::ago(exit.at_ms, now_ms)), if fine { Tone::Quiet } else { Tone::Bad })
        }
        (state, _) => (state.as_str().to_owned(), Tone::Quiet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;

    fn container(json: serde_json::Value) -> Container {
        let mut whole = serde_json::json!({
            "id": "ab".repeat(32), "short_id": "abababababab", "name": "web", "image": "host", "command": ["sleep", "1d"],
            "state": "running", "wanted": "running", "created_at": "2026-11-23T21:00:00.000Z", "started_at": null, "uptime_ms": null,
            "pid": null, "hostname": "web", "user": null, "workdir": null, "env": {}, "limits": {}, "mounts": [], "restart": "no",
            "restarts": 0, "init": false, "labels": {}, "stop_signal": "SIGTERM", "stop_grace_ms": 10_000, "uid_base": null, "exit": null,
            "warnings": [], "namespaces": {}, "time_offsets": {}, "security": {}, "domainname": null, "ulimits": {}, "sysctls": {},
            "oom_score_adj": null, "nice": null, "groups": [], "umask": null, "read_only": false, "shm_bytes": null, "devices": [],
            "hidepid": null, "exposed_ports": [],
        });
        whole.as_object_mut().expect("an object").extend(json.as_object().expect("an object").clone());
        serde_json::from_value(whole).expect("a container")
    }

    fn row(container: Container) -> String {
        let now_ms = belljar_api::time::to_millis("2026-11-23T21:05:00.000Z").expect("a moment");
        table(&[container], None, now_ms).render(Paint::Plain).lines().nth(1).expect("a row").to_owned()
    }

    #[test]
    fn a_container_that_runs_shows_for_how_long() {
        let row = row(container(serde_json::json!({"uptime_ms": 180_000})));
        assert_eq!(row, "web    abababababab   host    sleep 1d   5 minutes ago   running, 3 minutes");
    }

    #[test]
    fn a_container_with_a_check_shows_how_it_does() {
        let healthy = serde_json::json!({"uptime_ms": 180_000, "health": {"status": "healthy", "failing_streak": 0}});
        assert!(row(container(healthy)).ends_with("running, 3 minutes (healthy)"));
        let ill = serde_json::json!({"uptime_ms": 180_000, "health": {"status": "unhealthy", "failing_streak": 3},
            "finding": "unhealthy for 3 checks: curl: (7) refused"});
        assert!(row(container(ill)).ends_with("running, 3 minutes (unhealthy); unhealthy for 3 checks: curl: (7) refused"));
    }

    #[test]
    fn a_container_that_ended_shows_why() {
        let exit = serde_json::json!({
            "kind": "out_of_memory", "message": "out of memory, limit 4 MiB, peak 4 MiB, process tail (pid 7)", "at": "2026-11-23T21:04:00.000Z",
            "code": null, "signal": "SIGKILL", "step": null, "object": null, "cause": null, "shell_code": 137, "out_of_memory": null,
        });
        let row = row(container(serde_json::json!({"state": "stopped", "exit": exit})));
        assert!(row.ends_with("out of memory, limit 4 MiB, peak 4 MiB, process tail (pid 7), 60 seconds ago"), "{row}");
    }

    #[test]
    fn a_container_that_is_held_up_says_so_and_one_that_ended_says_it_once() {
        let finding = serde_json::json!({"uptime_ms": 180_000, "finding": "held back by its cpu limit 41 % of the last minute"});
        assert!(row(container(finding)).ends_with("running, 3 minutes; held back by its cpu limit 41 % of the last minute"));
        assert!(row(container(serde_json::json!({"state": "stopped", "finding": "ended"}))).ends_with("stopped"));
    }

    #[test]
    fn a_hostile_command_cannot_move_the_cursor() {
        assert!(!row(container(serde_json::json!({"command": ["\u{1b}[2J"]}))).contains('\u{1b}'));
    }
}
