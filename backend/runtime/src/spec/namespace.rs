//! Which namespaces a container lives in, what its clocks say, and which ids it has. Only what was asked for: how it comes
//! about is the plan's.

use std::path::PathBuf;

use belljar_linux::error::Context;
use belljar_linux::{Result, file};
use belljar_model::namespace::Kind;
use serde::{Deserialize, Serialize};

/// One namespace of a container. A kind that is not listed is shared with the process that makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Which kind.
    pub kind: Kind,
    /// Where it comes from.
    pub source: Source,
}

/// Where a namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A new one of its own.
    New,
    /// One that is there already.
    Path {
        /// A file that means it: `/proc/<pid>/ns/net`, or one that it was bound to.
        path: PathBuf,
        /// What its inode must be, checked once it is open: a path may have come to mean another one.
        inode: Option<u64>,
    },
}

/// A clock of a time namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// `CLOCK_MONOTONIC`.
    Monotonic,
    /// `CLOCK_BOOTTIME`.
    Boottime,
}

/// How far a clock of a new time namespace is from the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffset {
    /// Which clock.
    pub clock: Clock,
    /// Seconds, also negative.
    pub seconds: i64,
    /// Nanoseconds on top, less than 10^9.
    pub nanoseconds: u32,
}

/// Ids of a new user namespace (`user_namespaces(7)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    /// User ids.
    pub uids: Vec<IdMap>,
    /// Group ids.
    pub gids: Vec<IdMap>,
}

/// A range of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl IdMaps {
    /// `count` ids from 0 on inside, from `base` on outside, for users and groups alike.
    pub fn of_range(base: u32, count: u32) -> Self {
        let map = vec![IdMap { inside: 0, outside: base, count }];
        Self { uids: map.clone(), gids: map }
    }

    /// Those of the user namespace that a process is in, as they are seen from this one.
    pub fn of_process(pid: i32) -> Result<Self> {
        let list = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            file::read(&path).context("read", || path.clone()).map(|text| ranges_of(&text))
        };
        Ok(Self { uids: list("uid_map")?, gids: list("gid_map")? })
    }

    /// What user id 0 of the inside is outside; `None` where it has none.
    pub fn root_uid(&self) -> Option<u32> {
        outside_of(&self.uids, 0)
    }

    /// What group id 0 of the inside is outside; `None` where it has none.
    pub fn root_gid(&self) -> Option<u32> {
        outside_of(&self.gids, 0)
    }
}

impl std::fmt::Display for IdMaps {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |maps: &[IdMap]| {
            maps.iter().map(|map| format!("{} to {} ({})", map.inside, map.outside, map.count)).collect::<Vec<_>>().join(", ")
        };
        write!(formatter, "users {}", list(&self.uids))?;
        if self.gids == self.uids { formatter.write_str(", groups alike") } else { write!(formatter, ", groups {}", list(&self.gids)) }
    }
}

/// Reads lines of `uid_map`: the first id inside, the first one outside, and how many.
fn ranges_of(text: &str) -> Vec<IdMap> {
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(IdMap { inside: next()?, outside: next()?, count: next()? })
    };
    text.lines().filter_map(range).collect()
}

/// What an id of the inside is outside.
pub fn outside_of(maps: &[IdMap], inside: u32) -> Option<u32> {
    let holds = |map: &&IdMap| inside >= map.inside && u64::from(inside) < u64::from(map.inside) + u64::from(map.count);
    maps.iter().find(holds).and_then(|map| map.outside.checked_add(inside - map.inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_of_ids_is_read() {
        let map = |inside, outside, count| IdMap { inside, outside, count };
        let text = "         0     200000         10\n      1000     300000          5\n";
        assert_eq!(ranges_of(text), [map(0, 200_000, 10), map(1000, 300_000, 5)]);
        assert_eq!(ranges_of("         0          0 4294967295\n"), [map(0, 0, u32::MAX)]);
        assert_eq!(ranges_of("nothing\n1 2\n"), []);
    }

    #[test]
    fn an_id_is_found_in_the_range_that_holds_it() {
        let map = |inside, outside, count| IdMap { inside, outside, count };
        let maps = [map(0, 1000, 1), map(1, 100_000, 65_535), map(u32::MAX, 7, 1)];
        assert_eq!(outside_of(&maps, 0), Some(1000));
        assert_eq!(outside_of(&maps, 65_535), Some(165_534));
        assert_eq!(outside_of(&maps, 65_536), None);
        assert_eq!(outside_of(&maps, u32::MAX), Some(7));
    }
}
