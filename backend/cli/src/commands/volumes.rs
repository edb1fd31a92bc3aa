//! `volumes`: list, create, inspect, delete, prune, browse.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use belljar_api::volume::{CreateVolume, PruneVolumes, PrunedVolumes, Volume, VolumeFile};
use belljar_api::{notation, query};
use belljar_model::overlay::FileKind;
use belljar_model::size;
use hyper::Method;

use super::{DONE, Outcome, Session};
use crate::arguments::{Format, VolumesCommand};
use crate::client::escape;
use crate::failure::Failure;
use crate::output::{Table, age};

/// Letters of a name that was made up: enough to tell two apart, as of a container's id.
const NAME_CHARS: usize = 12;

/// `volumes`; without a verb it lists.
pub(crate) async fn volumes(session: &mut Session, command: Option<VolumesCommand>) -> Outcome {
    match command.unwrap_or(VolumesCommand::List(Format { json: false })) {
        VolumesCommand::List(format) => session.show("/volumes", format, table).await,
        VolumesCommand::Create { name, label } => {
            let labels: BTreeMap<String, String> = notation::env("--label", label.iter().map(String::as_str))?;
            let volume: Volume = session.client.send("/volumes", &CreateVolume { name, labels }).await?;
            session.paper.line(&volume.name)?;
            Ok(DONE)
        }
        VolumesCommand::Inspect { names } => {
            let mut all = Vec::new();
            for name in names {
                all.push(session.client.fetch::<Volume>(&of(&name)).await?);
            }
            session.paper.json(&all)?;
            Ok(DONE)
        }
        VolumesCommand::Delete { names } => {
            for name in names {
                session.client.act(Method::DELETE, &of(&name)).await?;
                session.paper.line(&name)?;
            }
            Ok(DONE)
        }
        VolumesCommand::Prune { all, force } => prune(session, PruneVolumes { all, preview: !force }).await,
        VolumesCommand::Browse { name, path, format } => {
            let query = query::write(&query::InVolume { path });
            session.show(&format!("{}/files?{query}", of(&name)), format, files).await
        }
    }
}

fn of(name: &str) -> String {
    format!("/volumes/{}", escape(name))
}

/// Shows what would go, asks, and only then lets it go; with `--force` it goes at once.
async fn prune(session: &mut Session, request: PruneVolumes) -> Outcome {
    let pruned: PrunedVolumes = session.client.send("/volumes/prune", &request).await?;
    tell(session, &pruned)?;
    if !pruned.preview || pruned.volumes.is_empty() {
        return Ok(DONE);
    }
    if !std::io::stdin().is_terminal() {
        session.paper.line("nothing was deleted: say --force where nobody can be asked")?;
        return Ok(DONE);
    }
    eprint!("Delete them, with everything in them? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.map_err(|source| Failure::File { path: "/dev/stdin".into(), source })?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        let pruned: PrunedVolumes = session.client.send("/volumes/prune", &PruneVolumes { preview: false, ..request }).await?;
        tell(session, &pruned)?;
    }
    Ok(DONE)
}

fn tell(session: &mut Session, pruned: &PrunedVolumes) -> Result<(), Failure> {
    for volume in &pruned.volumes {
        session.paper.line(&format!("{} {}", volume.name, size_of(volume)))?;
    }
    let freed = pruned.size_bytes.map_or("an unknown size".to_owned(), size::display);
    let verb = if pruned.preview { "would be freed" } else { "freed" };
    session.paper.line(&format!("{} volumes, {freed} {verb}", pruned.volumes.len()))
}

fn size_of(volume: &Volume) -> String {
    match (volume.size_bytes, volume.complete) {
        (Some(bytes), Some(false)) => format!("over {}", size::display(bytes)),
        (Some(bytes), _) => size::display(bytes),
        (None, _) => "unknown".to_owned(),
    }
}

fn table(volumes: &Vec<Volume>, now_ms: i64) -> Table {
    let mut table = Table::new(&["NAME", "USED BY", "SIZE", "CREATED"]).figures(&[2]);
    for volume in volumes {
        let name: String = if volume.anonymous { volume.name.chars().take(NAME_CHARS).collect() } else { volume.name.clone() };
        let mut users: Vec<&str> = volume.used_by.iter().map(|user| user.container.as_str()).collect();
        users.dedup();
        let name = if volume.anonymous { format!("{name} (anonymous)") } else { name };
        table.row(vec![name.into(), users.join(", ").into(), size_of(volume).into(), age::ago(volume.created_at_ms, now_ms).into()]);
    }
    table
}

fn files(files: &Vec<VolumeFile>, now_ms: i64) -> Table {
    let mut table = Table::new(&["NAME", "SIZE", "MODE", "OWNER", "CHANGED"]).figures(&[1]);
    for file in files {
        let name = match (&file.kind, &file.link_target) {
            (FileKind::Directory, _) => format!("{}/", file.name),
            (_, Some(target)) => format!("{} -> {target}", file.name),
            _ => file.name.clone(),
        };
        let size = if file.kind == FileKind::File { size::display(file.size_bytes) } else { String::new() };
        table.row(vec![
            name.into(),
            size.into(),
            format!("{:04o}", file.mode).into(),
            format!("{}:{}", file.uid, file.gid).into(),
            age::ago(file.modified_at_ms, now_ms).into(),
        ]);
    }
    table
}
