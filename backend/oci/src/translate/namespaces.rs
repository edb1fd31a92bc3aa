//! Namespaces, and what makes sense only in one of the container's own.

use belljar_model::Invalid;
use belljar_model::namespace::Kind;
use belljar_runtime::spec::{Clock, IdMap, IdMaps, Namespace, Source, TimeOffset};

use super::{Own, absolute};
use crate::document::{self, Document, IdMapping, Linux, NamespaceEntry, NamespaceKind};

/// Lines that the kernel takes of one map (`user_namespaces(7)`).
const MAP_LINES: usize = 340;
/// Nanoseconds of a second.
const NSEC_OF_SEC: u32 = 1_000_000_000;

/// The namespaces, each kind at most once.
pub(super) fn namespaces(wanted: &[NamespaceEntry]) -> Result<Vec<Namespace>, Invalid> {
    let mut list: Vec<Namespace> = Vec::with_capacity(wanted.len());
    for (index, entry) in wanted.iter().enumerate() {
        let kind = kind_of(entry.kind);
        if list.iter().any(|known| known.kind == kind) {
            return Err(Invalid::new(format!("linux.namespaces[{index}].type"), format!("{} is given twice", entry.kind.as_str())));
        }
        let source = if entry.path.is_empty() {
            Source::New
        } else {
            absolute(&format!("linux.namespaces[{index}].path"), &entry.path)?;
            Source::Path { path: entry.path.clone().into(), inode: None }
        };
        list.push(Namespace { kind, source });
    }
    Ok(list)
}

fn kind_of(kind: NamespaceKind) -> Kind {
    match kind {
        NamespaceKind::Pid => Kind::Pid,
        NamespaceKind::Network => Kind::Net,
        NamespaceKind::Mount => Kind::Mnt,
        NamespaceKind::Ipc => Kind::Ipc,
        NamespaceKind::Uts => Kind::Uts,
        NamespaceKind::User => Kind::User,
        NamespaceKind::Cgroup => Kind::Cgroup,
        NamespaceKind::Time => Kind::Time,
    }
}

pub(super) fn hostname(document: &Document, own: &Own) -> Result<Option<String>, Invalid> {
    name("hostname", document.hostname.as_ref(), own)
}

pub(super) fn domainname(document: &Document, own: &Own) -> Result<Option<String>, Invalid> {
    name("domainname", document.domainname.as_ref(), own)
}

/// In the host's namespace it would rename the host.
fn name(field: &str, wanted: Option<&String>, own: &Own) -> Result<Option<String>, Invalid> {
    match wanted.filter(|name| !name.is_empty()) {
        Some(name) if name.contains('\0') => Err(Invalid::new(field, "it has a zero byte in it")),
        Some(_) if !own.has(Kind::Uts) => Err(Invalid::new(field, "unable to set it without a private UTS namespace")),
        wanted => Ok(wanted.cloned()),
    }
}

/// Ids of a new user namespace.
pub(super) fn ids(linux: &Linux, own: &Own) -> Result<Option<IdMaps>, Invalid> {
    let maps = [("linux.uidMappings", &linux.uid_mappings), ("linux.gidMappings", &linux.gid_mappings)];
    for (field, mappings) in maps {
        if own.is_new(Kind::User) && mappings.is_empty() {
            return Err(Invalid::new(field, "a new user namespace needs mappings"));
        }
        if !own.has(Kind::User) && !mappings.is_empty() {
            return Err(Invalid::new(field, "mappings are given, but no user namespace"));
        }
        check_map(field, mappings)?;
    }
    let both = || IdMaps { uids: map(&linux.uid_mappings), gids: map(&linux.gid_mappings) };
    Ok(own.is_new(Kind::User).then(both))
}

/// What the kernel would answer with a bare `EINVAL`.
pub(super) fn check_map(field: &str, mappings: &[IdMapping]) -> Result<(), Invalid> {
    if mappings.len() > MAP_LINES {
        return Err(Invalid::new(field, format!("{} ranges are more than the kernel's {MAP_LINES}", mappings.len())));
    }
    for (index, mapping) in mappings.iter().enumerate() {
        let at = |name: &str| format!("{field}[{index}].{name}");
        if mapping.size == 0 {
            return Err(Invalid::new(at("size"), "it must be at least 1"));
        }
        let ends = |first: u32| u64::from(first) + u64::from(mapping.size);
        for (name, first) in [("containerID", mapping.container_id), ("hostID", mapping.host_id)] {
            if ends(first) > u64::from(u32::MAX) {
                return Err(Invalid::new(at(name), "the range goes beyond the last id"));
            }
        }
        let overlaps = |a: u32, a_size: u32, b: u32| u64::from(b) < u64::from(a) + u64::from(a_size) && ends(b) > u64::from(a);
        let inside = |earlier: &&IdMapping| overlaps(earlier.container_id, earlier.size, mapping.container_id);
        let outside = |earlier: &&IdMapping| overlaps(earlier.host_id, earlier.size, mapping.host_id);
        if mappings[..index].iter().any(|earlier| inside(&earlier) || outside(&earlier)) {
            return Err(Invalid::new(format!("{field}[{index}]"), "it overlaps with an earlier range"));
        }
    }
    Ok(())
}

pub(super) fn map(mappings: &[IdMapping]) -> Vec<IdMap> {
    mappings.iter().map(|one| IdMap { inside: one.container_id, outside: one.host_id, count: one.size }).collect()
}

/// Offsets of a new time namespace: an existing one's cannot be changed any more.
pub(super) fn time_offsets(linux: &Linux, own: &Own) -> Result<Vec<TimeOffset>, Invalid> {
    if !linux.time_offsets.is_empty() && !own.is_new(Kind::Time) {
        return Err(Invalid::new("linux.timeOffsets", "offsets are given, but no new time namespace"));
    }
    let offset = |(clock, wanted): (&document::Clock, &document::TimeOffset)| {
        if wanted.nanosecs >= NSEC_OF_SEC {
            let field = format!("linux.timeOffsets.{}.nanosecs", clock.as_str());
            return Err(Invalid::new(field, format!("{} is a second or more", wanted.nanosecs)));
        }
        let clock = match clock {
            document::Clock::Monotonic => Clock::Monotonic,
            document::Clock::Boottime => Clock::Boottime,
        };
        Ok(TimeOffset { clock, seconds: wanted.secs, nanoseconds: wanted.nanosecs })
    };
    linux.time_offsets.iter().map(offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_the_kernel_would_refuse_are_named() {
        let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        assert!(check_map("m", &[map(0, 1000, 1), map(1, 100_000, 65_535)]).is_ok());
        let problem = |mappings: &[IdMapping]| check_map("m", mappings).unwrap_err().to_string();
        assert!(problem(&[map(0, 0, 0)]).starts_with("m[0].size:"));
        assert!(problem(&[map(0, u32::MAX, 1)]).starts_with("m[0].hostID:"));
        assert!(problem(&[map(0, 1000, 10), map(5, 2000, 1)]).starts_with("m[1]:"));
        assert!(problem(&[map(0, 1000, 10), map(10, 1009, 1)]).starts_with("m[1]:"));
    }
}
