//! Who of the host is who inside, for one mount: `1000:1000`, `0:100000:65536`, `u:1000:33,g:1000:33`.
//!
//! What is named by no range belongs to nobody inside, and nobody inside can make a file that would belong to it: the kernel
//! refuses that (`EOVERFLOW`, `mount_setattr(2)`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;
use crate::user::ID_MAX;

/// Most ranges of each kind in one mapping.
pub const IDMAP_RANGES_MAX: usize = 64;

/// So many ids of the host are so many inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id of the host: what is on disk.
    pub host: u32,
    /// First id inside.
    pub container: u32,
    /// How many.
    pub count: u32,
}

/// Who of the host is who inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdMapping {
    uids: Vec<IdRange>,
    gids: Vec<IdRange>,
}

impl IdMapping {
    /// Users.
    pub fn uids(&self) -> &[IdRange] {
        &self.uids
    }

    /// Groups.
    pub fn gids(&self) -> &[IdRange] {
        &self.gids
    }

    /// Whether a word of a list of options goes on with a mapping that was begun before it: `33:33`, `g:5:5`.
    pub fn goes_on_with(word: &str) -> bool {
        word.starts_with("u:") || word.starts_with("g:") || word.starts_with(|first: char| first.is_ascii_digit())
    }
}

/// The field that a mapping is, before whoever reads it says which mount's.
const FIELD: &str = "idmap";

impl FromStr for IdMapping {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (mut uids, mut gids) = (Vec::new(), Vec::new());
        for part in text.split(',') {
            match part.split_once(':') {
                Some(("u", range)) => uids.push(parse_range(range)?),
                Some(("g", range)) => gids.push(parse_range(range)?),
                _ => {
                    let both = parse_range(part)?;
                    uids.push(both);
                    gids.push(both);
                }
            }
        }
        for (ranges, whom) in [(&uids, "user"), (&gids, "group")] {
            check(ranges, whom)?;
        }
        Ok(Self { uids, gids })
    }
}

fn parse_range(text: &str) -> Result<IdRange, Invalid> {
    let wrong = || Invalid::new(FIELD, format!("{text:?} is not HOST:CONTAINER or HOST:CONTAINER:COUNT, in numbers"));
    let numbers: Vec<u32> = text.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let (host, container, count) = match numbers[..] {
        [host, container] => (host, container, 1),
        [host, container, count] => (host, container, count),
        _ => return Err(wrong()),
    };
    if count == 0 || container.checked_add(count - 1).is_none_or(|last| last > ID_MAX) {
        return Err(Invalid::new(FIELD, format!("{text:?} must name at least one id, and none inside above {ID_MAX}")));
    }
    // The last of all numbers is no id (`user_namespaces(7)`).
    if host.checked_add(count).is_none() {
        return Err(Invalid::new(FIELD, format!("{text:?} names ids of the host above {}", u32::MAX - 1)));
    }
    Ok(IdRange { host, container, count })
}

fn check(ranges: &[IdRange], whom: &str) -> Result<(), Invalid> {
    if ranges.is_empty() {
        return Err(Invalid::new(FIELD, format!("names no {whom}s: without a letter before it, a range names users and groups alike")));
    }
    if ranges.len() > IDMAP_RANGES_MAX {
        return Err(Invalid::new(FIELD, format!("must have at most {IDMAP_RANGES_MAX} ranges of {whom}s")));
    }
    let overlap = |first: (u32, u32), second: (u32, u32)| {
        u64::from(first.0) < u64::from(second.0) + u64::from(second.1) && u64::from(second.0) < u64::from(first.0) + u64::from(first.1)
    };
    for (index, one) in ranges.iter().enumerate() {
        for other in &ranges[..index] {
            if overlap((one.host, one.count), (other.host, other.count)) {
                return Err(Invalid::new(FIELD, format!("names a {whom} of the host twice")));
            }
            if overlap((one.container, one.count), (other.container, other.count)) {
                return Err(Invalid::new(FIELD, format!("gives a {whom} inside to two of the host")));
            }
        }
    }
    Ok(())
}

impl fmt::Display for IdRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.container)?;
        if self.count == 1 { Ok(()) } else { write!(formatter, ":{}", self.count) }
    }
}

impl fmt::Display for IdMapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ranges: &[IdRange], letter: &str| ranges.iter().map(|range| format!("{letter}{range}")).collect::<Vec<_>>();
        if self.uids == self.gids {
            return formatter.write_str(&list(&self.uids, "").join(","));
        }
        let all: Vec<String> = list(&self.uids, "u:").into_iter().chain(list(&self.gids, "g:")).collect();
        formatter.write_str(&all.join(","))
    }
}

crate::by_text::by_text!(IdMapping);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_written_as_it_is_read() {
        for text in ["1000:1000", "0:0:65536", "1000:1000,33:33", "1000:0:2,5000:100:50", "u:1000:33,g:100:33", "u:1:2,u:3:4,g:5:6:7"] {
            assert_eq!(text.parse::<IdMapping>().map(|mapping| mapping.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("u:1:2,g:1:2".parse::<IdMapping>().map(|mapping| mapping.to_string()), Ok("1:2".to_owned()));
        assert_eq!("4294967294:5".parse::<IdMapping>().map(|mapping| mapping.uids()[0].host), Ok(u32::MAX - 1));
    }

    #[test]
    fn what_no_kernel_would_take_is_refused_with_the_reason() {
        let cases = [
            ("", "is not HOST:CONTAINER"),
            ("1000", "is not HOST:CONTAINER"),
            ("a:b", "is not HOST:CONTAINER"),
            ("1:2:3:4", "is not HOST:CONTAINER"),
            ("1:-2", "is not HOST:CONTAINER"),
            ("1:2:0", "at least one id"),
            ("1:65536", "above 65535"),
            ("1:65535:2", "above 65535"),
            ("4294967295:1", "above 4294967294"),
            ("u:1:2", "names no groups"),
            ("g:1:2", "names no users"),
            ("1000:1,1000:2", "of the host twice"),
            ("1:1:10,5:20", "of the host twice"),
            ("1:5,2:5", "to two of the host"),
            ("1:1,,2:2", "is not HOST:CONTAINER"),
        ];
        for (text, said) in cases {
            let refused = text.parse::<IdMapping>().map_err(|invalid| invalid.problem);
            assert!(refused.as_ref().is_err_and(|problem| problem.contains(said)), "{text:?}: {refused:?}");
        }
        let many: Vec<String> = (0..=IDMAP_RANGES_MAX).map(|id| format!("{id}:{id}")).collect();
        assert!(many.join(",").parse::<IdMapping>().is_err());
    }
}
