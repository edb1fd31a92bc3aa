//! What a container uses now: read from files that are kept open, into a [`Usage`] that is used again, without allocating.
//!
//! ```text
//!  table     which file gives which figures, by controller and version
//!    └─► Slot   one of these files of one container, kept open ([`belljar_linux::reread`])
//!          └─► parse   its text, into the fields of the usage
//! ```
//! A file that is missing leaves its fields unknown, and is looked for again with each reading: it may be made later, or
//! anew. This must never know of processes or their networks: who has a pid reads those.

mod host;
mod parse;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use belljar_linux::reread::{Buffer, Descriptors, Ends, Reread};
use belljar_model::usage::Usage;

use super::Cgroup;
pub use host::host_pressure;
use parse::Draft;
pub(super) use parse::V1_UNLIMITED;
use table::{Kind, TABLE};

/// The files of one container's usage.
#[derive(Debug)]
pub struct UsageFiles {
    slots: Vec<Slot>,
    /// A reading that could read nothing, with the sources of all: what each begins as, without allocating.
    unknown: Usage,
}

#[derive(Debug)]
struct Slot {
    kind: &'static Kind,
    file: Reread,
    /// Whether the sources name it.
    told: bool,
}

impl UsageFiles {
    /// Those of this cgroup; nothing is opened before the first reading. At most so many descriptors are kept open as are left.
    pub fn of(cgroup: &Cgroup, descriptors: &Arc<Descriptors>) -> Self {
        let mut slots = Vec::new();
        for kind in TABLE {
            let part = if kind.controller == table::CORE { cgroup.unified() } else { cgroup.part(kind.controller) };
            if let Some(part) = part.filter(|part| part.version == kind.version) {
                let file = Reread::new(part.path.join(kind.file), Ends::Short, descriptors);
                slots.push(Slot { kind, file, told: false });
            }
        }
        Self { slots, unknown: Usage::default() }
    }

    /// Names the source of a field that is read from elsewhere.
    pub fn name_source(&mut self, field: &str, source: String) {
        Arc::make_mut(&mut self.unknown.sources).insert(field.to_owned(), source);
    }

    /// Reads what is used now over `usage`: an earlier one of the same container, whose memory is used again, or a new one. What
    /// is no cgroup's to tell (`cpu_percent`, the network) is left as it was.
    pub fn read(&mut self, at_ms: i64, usage: &mut Usage, buffer: &mut Buffer) {
        let (devices, network) = (usage.io.take().unwrap_or_default(), usage.network.take());
        let Usage { cpu_percent, network_rx_bytes, network_tx_bytes, .. } = *usage;
        *usage = Usage { at_ms, cpu_percent, network_rx_bytes, network_tx_bytes, network, ..self.unknown.clone() };
        let mut draft = Draft { usage, period_usec: None, devices, counted: false };
        for slot in &mut self.slots {
            slot.read(&mut draft, &mut self.unknown.sources, buffer);
        }
        let Draft { devices, counted, .. } = draft;
        usage.io = counted.then_some(devices);
        usage.sources = Arc::clone(&self.unknown.sources);
    }
}

impl Slot {
    fn read(&mut self, draft: &mut Draft<'_>, sources: &mut Arc<BTreeMap<String, String>>, buffer: &mut Buffer) {
        if !(self.kind.wanted)(draft) {
            return;
        }
        let text = self.file.read(buffer).and_then(|bytes| std::str::from_utf8(bytes).ok());
        if let Some(text) = text {
            (self.kind.parse)(text, draft);
        }
        if text.is_some() != self.told {
            self.told = text.is_some();
            self.tell(text.unwrap_or_default(), Arc::make_mut(sources));
        }
    }

    /// Has the sources name the file, or no more. Happens only when it comes or goes.
    fn tell(&self, text: &str, sources: &mut BTreeMap<String, String>) {
        let path = self.file.path().display().to_string();
        for (field, key) in self.kind.gives {
            if !self.told {
                sources.retain(|name, named| name != field || !named.contains(&path));
            } else if key.is_empty() {
                sources.insert((*field).to_owned(), path.clone());
            } else if parse::value(text, key).is_some() {
                let all = sources.get("memory_bytes").filter(|_| *field == table::WORKING_SET);
                let all = all.map_or(String::new(), |all| format!("{all} - "));
                sources.insert((*field).to_owned(), format!("{all}{path}#{key}"));
            }
        }
    }
}
