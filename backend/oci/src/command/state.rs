//! `state`: what a container is, as the specification's JSON.

use serde::Serialize;

use super::{Call, Command, DONE, Error, print};
use crate::flags::{Line, Order};
use crate::state::{Record, Status};

pub(super) const COMMAND: Command =
    Command { name: "state", words: "<container-id>", about: "output the state of a container", flags: &[], order: Order::Anywhere, run };

/// State (runtime-spec), and what runc adds to it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View<'a> {
    oci_version: &'a str,
    id: &'a str,
    /// 0 where there is no process.
    pub(super) pid: i32,
    pub(super) status: &'static str,
    bundle: std::borrow::Cow<'a, str>,
    rootfs: std::borrow::Cow<'a, str>,
    created: &'a str,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: &'a std::collections::BTreeMap<String, String>,
    owner: String,
}

impl<'a> View<'a> {
    pub(super) fn of(record: &'a Record, status: Status) -> Self {
        let pid = record.first.filter(|_| status != Status::Stopped).map_or(0, |first| first.pid);
        Self {
            oci_version: &record.oci_version,
            id: &record.id,
            pid,
            status: status.as_str(),
            bundle: record.bundle.to_string_lossy(),
            rootfs: record.rootfs.to_string_lossy(),
            created: &record.created,
            annotations: &record.annotations,
            owner: String::new(),
        }
    }

    /// The same with the owner's name, which runc tells in lists only.
    pub(super) fn with_owner(record: &'a Record, status: Status) -> Self {
        Self { owner: owner(record.owner), ..Self::of(record, status) }
    }
}

/// The name of a user of the host, or `#` and the number.
fn owner(uid: u32) -> String {
    let table = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("#{uid}"))
}

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    let (folder, record) = call.container(line.only_word("state")?)?;
    let status = folder.look(&record);
    let text = serde_json::to_string_pretty(&View::of(&record, status)).unwrap_or_default();
    print(&format!("{text}\n"))?;
    Ok(DONE)
}
