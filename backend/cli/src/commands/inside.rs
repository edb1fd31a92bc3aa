//! What a container is made of: namespaces, cgroup, overlay, changes, plan. Every figure is printed with the kernel's file
//! that it came from.

use belljar_api::inspect::{Cgroup, Denied, Figure, Namespace, Overlay, Plan};
use belljar_model::cgroup::{Unit, Value};
use belljar_model::plan::Outcome as StepOutcome;
use belljar_model::size;

use super::{DONE, Outcome, Session, of};
use crate::arguments::OneContainer;
use crate::output::table::Cell;
use crate::output::{Table, Tone, complain};

/// What is shown where the kernel has no figure.
const UNKNOWN: &str = "-";

/// `namespaces`.
pub(crate) fn namespaces(namespaces: &Vec<Namespace>, _now_ms: i64) -> Table {
    let mut table = Table::new(&["TYPE", "INODE", "HOST", "WHOSE", "SOURCE"]).figures(&[1, 2]);
    let inode = |inode: Option<u64>| inode.map_or(UNKNOWN.to_owned(), |inode| inode.to_string());
    for namespace in namespaces {
        let (whose, tone) = match namespace.sharing.as_str() {
            "own" => ("own".to_owned(), Tone::Good),
            "containers" => (format!("with {}", namespace.shared_with.join(", ")), Tone::Careful),
            other => (format!("the {other}'s"), Tone::Careful),
        };
        table.row(vec![
            namespace.kind.as_str().into(),
            inode(namespace.inode).into(),
            inode(namespace.host_inode).into(),
            Cell::toned(whose, tone),
            (&namespace.source).into(),
        ]);
    }
    table
}

/// `denied`.
pub(crate) fn denied(denied: &Vec<Denied>, _now_ms: i64) -> Table {
    let mut table = Table::new(&["SYSTEM CALL", "TIMES"]).figures(&[1]);
    for call in denied {
        table.row(vec![(&call.call).into(), call.times.to_string().into()]);
    }
    table
}

/// `cgroup`: limits first, then usage, by controller.
pub(crate) fn cgroup(cgroup: &Cgroup, _now_ms: i64) -> Table {
    let mut table = Table::new(&["CONTROLLER", "FIGURE", "VALUE", "SOURCE"]).figures(&[2]);
    for controller in &cgroup.controllers {
        let name = format!("{} {}", controller.name, controller.version.as_str());
        for figure in controller.limits.iter().chain(&controller.usage) {
            table.row(vec![(&name).into(), (&figure.name).into(), value(figure).into(), (&figure.source).into()]);
        }
    }
    table
}

fn value(figure: &Figure) -> String {
    match (figure.value.0, figure.unit) {
        (Value::Unlimited, _) => "unlimited".to_owned(),
        (Value::Unknown, _) => UNKNOWN.to_owned(),
        (Value::Number(number), Unit::Bytes) => size::display(number as u64),
        (Value::Number(number), Unit::Usec) => format!("{:.3} s", number / 1e6),
        (Value::Number(number), Unit::Count | Unit::Cpus) => number.to_string(),
    }
}

/// `overlay`: the layers from the top down, then where overlayfs works and where the result can be seen.
pub(crate) fn overlay(overlay: &Overlay, _now_ms: i64) -> Table {
    let mut table = Table::new(&["LAYER", "ROLE", "AT", "WHAT", "PATH"]).figures(&[0]);
    for (number, layer) in overlay.layers.iter().enumerate() {
        let at = format!("/{}", layer.at);
        table.row(vec![number.to_string().into(), layer.role.as_str().into(), at.into(), (&layer.label).into(), (&layer.path).into()]);
    }
    let merged = overlay.merged.as_deref().unwrap_or("only while it runs");
    table.row(vec!["".into(), "work".into(), "".into(), "".into(), (&overlay.work).into()]);
    table.row(vec!["".into(), "merged".into(), "/".into(), "".into(), merged.into()]);
    table
}

/// `plan`: the steps in order, and the one that failed.
pub(crate) async fn plan(session: &mut Session, one: OneContainer) -> Outcome {
    let plan: Plan = session.client.fetch(&of(&one.container, "plan")).await?;
    if one.format.json {
        session.paper.json(&plan)?;
        return Ok(DONE);
    }
    session.paper.table(&steps(&plan))?;
    if let Some(failure) = &plan.failure {
        complain(&format!("{} {}: {}", failure.step, failure.object, failure.cause));
    }
    Ok(DONE)
}

fn steps(plan: &Plan) -> Table {
    let mut table = Table::new(&["#", "WHERE", "TOOK", "STEP"]).figures(&[0, 2]);
    for (number, step) in plan.steps.iter().enumerate() {
        let took = match (step.outcome, step.took_usec) {
            (StepOutcome::Pending, _) => "not reached".to_owned(),
            (_, Some(usec)) => format!("{usec} µs"),
            (_, None) => UNKNOWN.to_owned(),
        };
        let tone = match step.outcome {
            StepOutcome::Done => Tone::Normal,
            StepOutcome::Failed => Tone::Bad,
            StepOutcome::Pending => Tone::Quiet,
        };
        let place = match step.place {
            belljar_model::plan::Place::Outside => "outside",
            belljar_model::plan::Place::Inside => "inside",
        };
        table.row(vec![(number + 1).to_string().into(), place.into(), took.into(), Cell::toned(&step.text, tone)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::Paint;

    #[test]
    fn a_figure_stands_beside_its_file() {
        let controllers = json!([{"name": "memory", "version": "v1", "path": "/c", "limits": [
            {"name": "memory_bytes_max", "value": 4_194_304, "unit": "bytes", "source": "/c/memory.limit_in_bytes", "raw": "4194304"}],
            "usage": [{"name": "memory_bytes_peak", "value": null, "unit": "bytes", "source": "/c/memory.peak", "raw": ""}]}]);
        let document = serde_json::from_value(json!({"mode": "v1", "controllers": controllers})).expect("a cgroup");
        let text = cgroup(&document, 0).render(Paint::Plain);
        assert_eq!(text.lines().nth(1), Some("memory v1    memory_bytes_max    4 MiB   /c/memory.limit_in_bytes"));
        assert_eq!(text.lines().nth(2), Some("memory v1    memory_bytes_peak       -   /c/memory.peak"));
    }

    #[test]
    fn a_namespace_says_whose_it_is() {
        let shared = json!([{"type": "uts", "inode": 2, "host_inode": 1, "sharing": "own", "shared_with": [], "source": "/proc/7/ns/uts"},
            {"type": "net", "inode": 1, "host_inode": 1, "sharing": "host", "shared_with": [], "source": "/proc/7/ns/net"}]);
        let text = namespaces(&serde_json::from_value(shared).expect("namespaces"), 0).render(Paint::Plain);
        assert!(text.contains("own          /proc/7/ns/uts") && text.contains("the host's   /proc/7/ns/net"), "{text}");
    }

    #[test]
    fn steps_that_were_not_reached_say_so() {
        let plan = json!({"steps": [{"text": "mount proc", "place": "inside", "outcome": "failed", "took_usec": 12},
            {"text": "exec sh", "place": "inside", "outcome": "pending", "took_usec": null}], "failure": null});
        let text = steps(&serde_json::from_value(plan).expect("a plan")).render(Paint::Plain);
        assert!(text.contains("not reached   exec sh") && text.contains("12 µs   mount proc"), "{text}");
    }
}
