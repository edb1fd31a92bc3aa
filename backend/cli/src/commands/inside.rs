//! What a container is made of: namespaces, cgroup, overlay, changes, plan. Every figure is printed with the kernel's file
//! that it came from.

use belljar_api::inspect::{Cgroup, Denied, Figure, Mounts, Namespace, Overlay, Plan};
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

/// `mounts`: the kernel's line beside what was asked for, and last the file that it was read from.
pub(crate) fn mounts(mounts: &Mounts, _now_ms: i64) -> Table {
    let mut table = Table::new(&["TARGET", "ORIGIN", "ASKED FOR", "TYPE", "DEVICE", "ROOT", "OPTIONS", "PROPAGATION"]);
    for mount in &mounts.mounts {
        let asked = mount.asked.as_deref().unwrap_or("by nobody");
        let mut row: Vec<Cell> = vec![(&mount.target).into(), mount.origin.as_str().into(), asked.into()];
        match &mount.kernel {
            Some(kernel) => {
                let (options, propagation) = (kernel.options.join(","), &kernel.propagation);
                row.extend([
                    (&kernel.filesystem).into(),
                    (&kernel.device).into(),
                    (&kernel.root).into(),
                    options.into(),
                    propagation.into(),
                ]);
            }
            None if mounts.source.is_none() => row.push("once it runs".into()),
            None => row.push(Cell::toned("is not there", Tone::Careful)),
        }
        row.resize_with(8, || "".into());
        table.row(row);
    }
    if let Some(source) = &mounts.source {
        let mut row: Vec<Cell> = vec![format!("read from {source}{}", if mounts.complete { "" } else { ", which is longer" }).into()];
        row.resize_with(8, || "".into());
        table.row(row);
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
    let mut table = Table::new(&["LAYER", "ROLE", "AT", "SIZE", "DIGEST", "WHAT", "PATH"]).figures(&[0, 3]);
    for (number, layer) in overlay.layers.iter().enumerate() {
        let (at, size) = (format!("/{}", layer.at), layer.size_bytes.map_or(UNKNOWN.to_owned(), size::display));
        // The command that made it says more than whose it is, and its image tells it.
        let what = layer.command.as_ref().unwrap_or(&layer.label);
        let mut row: Vec<Cell> = vec![number.to_string().into(), layer.role.as_str().into(), at.into(), size.into()];
        row.extend([layer.digest.as_deref().unwrap_or(UNKNOWN).into(), what.into(), (&layer.path).into()]);
        table.row(row);
    }
    let merged = overlay.merged.as_deref().unwrap_or("only while it runs");
    for (role, at, path) in [("work", "", &*overlay.work), ("merged", "/", merged)] {
        table.row(vec!["".into(), role.into(), at.into(), "".into(), "".into(), "".into(), path.into()]);
    }
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
    fn a_layer_says_its_size_its_digest_and_the_command_that_made_it() {
        let layer = |role: &str, command: Option<&str>, digest: Option<&str>, size: Option<u64>| json!({"role": role, "path": format!("/data/{role}"), "at": "", "label": "of web:1", "digest": digest, "size_bytes": size, "command": command});
        let layers = [layer("upper", None, None, None), layer("image", Some("RUN make"), Some("sha256:ab"), Some(2048))];
        let document = json!({"layers": layers, "upper": "", "lower": [], "work": "/data/work", "merged": null, "upper_bytes": null});
        let text = overlay(&serde_json::from_value(document).expect("an overlay"), 0).render(Paint::Plain);
        assert_eq!(text.lines().nth(1), Some("    0   upper    /        -   -           of web:1   /data/upper"), "{text}");
        assert_eq!(text.lines().nth(2), Some("    1   image    /    2 KiB   sha256:ab   RUN make   /data/image"), "{text}");
    }

    #[test]
    fn a_mount_stands_beside_what_was_asked_for_and_its_name_stays_in_its_line() {
        let kernel = json!({"id": 7, "filesystem": "ext4", "device": "/dev/sda1", "root": "/srv/a\nb", "options": ["ro", "nosuid"],
            "filesystem_options": ["rw"], "propagation": "private"});
        let document = json!({"source": "/proc/7/mountinfo", "complete": true, "mounts": [
            {"target": "/data", "origin": "bind", "asked": "/srv of the host", "kernel": kernel},
            {"target": "/x\u{1b}[31m", "origin": "other", "asked": null, "kernel": null}]});
        let text = mounts(&serde_json::from_value(document).expect("mounts"), 0).render(Paint::Plain);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("/data") && lines[1].contains("ro,nosuid") && lines[1].ends_with("private"), "{text}");
        assert!(lines[2].contains("by nobody") && lines[2].contains("is not there") && !text.contains('\u{1b}'), "{text}");
        assert_eq!((lines.len(), lines[3].trim()), (4, "read from /proc/7/mountinfo"));
    }

    #[test]
    fn steps_that_were_not_reached_say_so() {
        let plan = json!({"steps": [{"text": "mount proc", "place": "inside", "outcome": "failed", "took_usec": 12},
            {"text": "exec sh", "place": "inside", "outcome": "pending", "took_usec": null}], "failure": null});
        let text = steps(&serde_json::from_value(plan).expect("a plan")).render(Paint::Plain);
        assert!(text.contains("not reached   exec sh") && text.contains("12 µs   mount proc"), "{text}");
    }
}
