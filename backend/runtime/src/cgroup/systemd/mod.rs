//! Containers as systemd's scopes: where their cgroups are, which of their limits systemd is told, and the conversation.
//!
//! systemd owns the tree that it made. A scope is asked for with the container's first process; systemd makes its cgroup,
//! moves the process there, and hands the cgroup over (`Delegate`). Limits that it has a word for it is told, or it would put
//! its own back at the next reload; all of them are written to the files as well, by the same path as without it.

pub mod bus;
pub mod manager;
pub mod message;
pub mod properties;

use belljar_linux::Result;
use belljar_model::Invalid;

use bus::{Bus, Failure};
use manager::Scope;
use properties::Property;

use super::CgroupPlace;

/// The slice of a container that names none.
const SLICE: &str = "system.slice";
/// What the name of a container's scope begins with, where it says nothing.
const PREFIX: &str = "belljar";

/// The place that `slice:prefix:name` names; empty is our own.
pub fn place(path: &str, id: &str) -> std::result::Result<CgroupPlace, Invalid> {
    let parts: Vec<&str> = path.split(':').collect();
    let (slice, prefix, name) = match parts[..] {
        [""] => (SLICE, PREFIX, id),
        ["", prefix, name] => (SLICE, prefix, name),
        [slice, prefix, name] => (slice, prefix, name),
        _ => return Err(Invalid::new("linux.cgroupsPath", format!("is {path:?}; with systemd it is slice:prefix:name"))),
    };
    if !is_slice(slice) {
        return Err(Invalid::new("linux.cgroupsPath", format!("names {slice:?}, which is not a slice such as system.slice")));
    }
    // A slice has no processes of its own.
    if name.is_empty() || name.ends_with(".slice") || !prefix.chars().chain(name.chars()).all(is_unit_letter) {
        return Err(Invalid::new("linux.cgroupsPath", format!("names {prefix:?} and {name:?}, of which no unit's name can be made")));
    }
    Ok(CgroupPlace::Systemd { slice: slice.to_owned(), prefix: prefix.to_owned(), name: name.to_owned() })
}

fn is_unit_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, ':' | '-' | '_' | '.' | '\\' | '@')
}

fn is_slice(slice: &str) -> bool {
    let Some(stem) = slice.strip_suffix(".slice") else { return false };
    stem == "-" || (stem.chars().all(is_unit_letter) && stem.split('-').all(|part| !part.is_empty()))
}

/// The folder of a slice: each dash is one level, so `a-b.slice` is `a.slice/a-b.slice`. That of the root is empty.
pub fn slice_path(slice: &str) -> String {
    let stem = slice.strip_suffix(".slice").unwrap_or(slice);
    let ends = stem.match_indices('-').map(|(index, _)| index).chain([stem.len()]);
    let levels: Vec<String> = if stem == "-" { Vec::new() } else { ends.map(|end| format!("{}.slice", &stem[..end])).collect() };
    levels.join("/")
}

/// Has systemd make a scope around a process.
pub fn begin(scope: &Scope, pid: u32) -> Result<()> {
    let started = Bus::connect().and_then(|mut bus| scope.start(&mut bus, pid));
    started.map_err(|failure| failure.told("start", &scope.unit))
}

/// Tells systemd of other limits of a unit, and returns when it has written them to the unit's files.
pub fn change(unit: &str, properties: &[Property]) -> Result<()> {
    let changed = Bus::connect().and_then(|mut bus| {
        manager::set_properties(&mut bus, unit, properties)?;
        // It answers first and writes afterwards; but before it hears the next call.
        manager::is_known(&mut bus, unit)
    });
    changed.map(drop).map_err(|failure: Failure| failure.told("change", unit))
}

/// Ends a unit, and has systemd forget how it ended. One that it does not know has ended.
pub fn end(unit: &str) -> Result<()> {
    let ended = Bus::connect().and_then(|mut bus| manager::stop(&mut bus, unit));
    ended.map_err(|failure| failure.told("end", unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_a_folder_for_each_dash() {
        assert_eq!(slice_path("system.slice"), "system.slice");
        assert_eq!(slice_path("a-b-c.slice"), "a.slice/a-b.slice/a-b-c.slice");
        assert_eq!(slice_path("-.slice"), "");
    }

    #[test]
    fn a_path_under_systemd_has_three_parts() {
        let unit = |path: &str| place(path, "web").map(|place| place.unit().unwrap_or_default()).map_err(|invalid| invalid.problem);
        assert_eq!(unit(""), Ok("belljar-web.scope".into()));
        assert_eq!(unit("machine.slice:libpod:abc"), Ok("libpod-abc.scope".into()));
        assert_eq!(unit("::abc"), Ok("abc.scope".into()));
        for path in ["a", "a:b", "a:b:c", "a.slice:b:", "a--b.slice:p:n", "../x.slice:p:n", "a.slice:p:n/m", "a.slice:p q:n", ".slice:a:b"]
        {
            assert!(unit(path).is_err(), "{path}");
        }
        let cgroup = place("a-b.slice:p:n", "web").unwrap().cgroup(&crate::cgroup::Hierarchies::default());
        assert_eq!(cgroup.kernel_path(), "/a.slice/a-b.slice/p-n.scope");
    }
}
