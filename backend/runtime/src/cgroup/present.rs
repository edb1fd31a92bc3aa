//! Processors and memory nodes that a limit names, against those of this host.
//!
//! Asked before the kernel is: v1 answers a processor that is not there with `ERANGE`, and v2 takes it and runs the container on all
//! the others. Knows nothing of cgroups.

use std::path::Path;

use belljar_model::{Invalid, Limits};

/// Refuses what this host does not have. What was asked just so `before` is left alone: it was there then.
pub fn check(asked: &Limits, before: &Limits) -> Result<(), Invalid> {
    check_in(Path::new("/sys/devices/system"), asked, before)
}

fn check_in(sys: &Path, asked: &Limits, before: &Limits) -> Result<(), Invalid> {
    let kinds = [
        ("limits.cpuset", &asked.cpuset, &before.cpuset, "cpu/online", "processor"),
        ("limits.cpuset_mems", &asked.cpuset_mems, &before.cpuset_mems, "node/has_memory", "memory node"),
    ];
    for (field, asked, before, file, what) in kinds {
        let Some(list) = asked.as_ref().filter(|_| asked != before) else { continue };
        // A kernel without nodes has its memory in one, which it calls 0; so has one without a second processor.
        let there = std::fs::read_to_string(sys.join(file)).unwrap_or_else(|_| "0".to_owned());
        if let Some(missing) = first_missing(list, &there) {
            return Err(Invalid::new(field, format!("names {what} {missing}, and this host has {}", there.trim())));
        }
    }
    Ok(())
}

/// The first number of a list that another does not have.
fn first_missing(list: &str, there: &str) -> Option<u32> {
    let there = ranges(there);
    ranges(list).into_iter().find_map(|(first, last)| {
        let mut next = first;
        while next <= last {
            let Some((_, end)) = there.iter().find(|(first, last)| (*first..=*last).contains(&next)) else { return Some(next) };
            next = end.checked_add(1)?;
        }
        None
    })
}

/// `0-3,7` (`cpuset(7)`, *List format*), its words as ranges; words that are none are left to who checks the form.
fn ranges(list: &str) -> Vec<(u32, u32)> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    list.trim().split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_missing_is_found_however_long_the_list() {
        for (list, there, missing) in [
            ("0", "0-1\n", None),
            ("0,1", "0-1", None),
            ("0-5", "0-3,4-6", None),
            ("7", "0-1", Some(7)),
            ("0-4294967295", "0-3,8", Some(4)),
            ("4294967295", "0-4294967295", None),
            ("1,0,2", "0-1", Some(2)),
        ] {
            assert_eq!(first_missing(list, there), missing, "{list} of {there}");
        }
    }

    #[test]
    fn what_the_host_does_not_have_is_refused_and_what_held_before_is_left_alone() {
        let sys = tempfile::tempdir().unwrap();
        std::fs::create_dir(sys.path().join("cpu")).unwrap();
        std::fs::write(sys.path().join("cpu/online"), "0-1\n").unwrap();
        let cpus = |list: &str| Limits { cpuset: Some(list.to_owned()), ..Limits::default() };
        let refused = check_in(sys.path(), &cpus("0-2"), &Limits::default()).unwrap_err();
        assert_eq!((refused.field.as_str(), refused.problem.as_str()), ("limits.cpuset", "names processor 2, and this host has 0-1"));
        assert_eq!(check_in(sys.path(), &cpus("0-2"), &cpus("0-2")), Ok(()));
        assert_eq!(check_in(sys.path(), &cpus("1"), &cpus("0-2")), Ok(()));
        let nodes = Limits { cpuset_mems: Some("1".to_owned()), ..Limits::default() };
        assert_eq!(check_in(sys.path(), &nodes, &Limits::default()).unwrap_err().field, "limits.cpuset_mems");
    }
}
