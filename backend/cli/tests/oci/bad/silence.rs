//! What ours may take without a word though it is wrong, and what runc may refuse that ours takes: each with its reason. What is
//! in neither is refused, or warned of, by name.

use super::{Wrong, is_at};

use Wrong::{Absurd, Empty, Huge, Missing, Negative, Null, Unknown};

/// Kinds of wrongness of some places, and why they are no wrong there.
pub(super) struct Row {
    at: &'static str,
    wrongs: &'static [Wrong],
    /// Why.
    pub(super) reason: &'static str,
}

impl Row {
    fn is_of(&self, place: &str, wrong: Wrong) -> bool {
        self.wrongs.contains(&wrong) && is_at(place, self.at)
    }
}

const fn row(at: &'static str, wrongs: &'static [Wrong], reason: &'static str) -> Row {
    Row { at, wrongs, reason }
}

/// Fields without which nothing can be made of what is around them: not given, `null` and empty are refused.
const NEEDED: &[&str] = &[
    "/ociVersion",
    "/process",
    "/process/args",
    "/process/cwd",
    "/process/rlimits/*/hard",
    "/process/rlimits/*/soft",
    "/process/rlimits/*/type",
    "/process/scheduler/policy",
    "/process/ioPriority/class",
    "/root",
    "/root/path",
    "/mounts/*/destination",
    "/mounts/*/*/*/containerID",
    "/mounts/*/*/*/hostID",
    "/mounts/*/*/*/size",
    "/hooks/*/*/path",
    "/linux/devices/*/path",
    "/linux/devices/*/type",
    "/linux/namespaces/*/type",
    "/linux/uidMappings/*/containerID",
    "/linux/uidMappings/*/hostID",
    "/linux/uidMappings/*/size",
    "/linux/gidMappings/*/containerID",
    "/linux/gidMappings/*/hostID",
    "/linux/gidMappings/*/size",
    "/linux/personality/domain",
    "/linux/resources/blockIO/*/*/major",
    "/linux/resources/blockIO/*/*/minor",
    "/linux/resources/devices/*/access",
    "/linux/resources/hugepageLimits/*/limit",
    "/linux/resources/hugepageLimits/*/pageSize",
    "/linux/resources/network/priorities/*/name",
    "/linux/seccomp/defaultAction",
    "/linux/seccomp/syscalls/*/action",
    "/linux/seccomp/syscalls/*/args/*/index",
    "/linux/seccomp/syscalls/*/args/*/op",
    "/linux/seccomp/syscalls/*/args/*/value",
];

/// What may be taken in silence beside what is not given.
const TAKEN: &[Row] = &[
    row("/annotations/*", &[Huge, Absurd, Unknown], "notes are whatever their writer wants"),
    row("/hostname", &[Unknown], "a name is anybody's choice"),
    row("/domainname", &[Unknown], "a name is anybody's choice"),
    row("/linux/cgroupsPath", &[Unknown], "a name is anybody's choice"),
    row("/hooks/*/*/args/*", &[Empty, Huge, Unknown], "words of a program are for it to judge"),
    row("/hooks/*/*/timeout", &[Unknown], "some years are a time as well"),
    row("/process/args/*", &[Empty, Huge, Unknown], "words of a program are for it to judge"),
    row("/process/user/uid", &[Unknown], "every number below the last is an id"),
    row("/process/user/gid", &[Unknown], "every number below the last is an id"),
    row("/process/user/additionalGids/*", &[Unknown], "every number below the last is an id"),
    row("/process/scheduler/nice", &[Negative], "nice values go below zero"),
    row("/linux/devices/*/uid", &[Unknown], "every number below the last is an id"),
    row("/linux/devices/*/gid", &[Unknown], "every number below the last is an id"),
    row("/linux/uidMappings/*/hostID", &[Unknown], "every number below the last is an id"),
    row("/linux/gidMappings/*/hostID", &[Unknown], "every number below the last is an id"),
    row("/linux/uidMappings/*/size", &[Unknown], "there are as many ids, and more"),
    row("/linux/gidMappings/*/size", &[Unknown], "there are as many ids, and more"),
    row("/mounts/*/uidMappings/*/*", &[Unknown], "there are as many ids, and more"),
    row("/mounts/*/gidMappings/*/*", &[Unknown], "there are as many ids, and more"),
    row("/mounts/*/options/*", &[Empty], "engines join and split lists, of which an empty word is left"),
    row("/mounts/*/source", &[Huge, Unknown], "where there is no device, the source is only a label"),
    row("/mounts/7/type", &[Huge, Unknown], "with the option bind, the type is said to be a dummy by the specification"),
    row("/linux/timeOffsets/*/secs", &[Negative, Unknown], "clocks can be set back, and far ahead"),
    row("/linux/timeOffsets/*/nanosecs", &[Unknown], "it is less than a second"),
    row("/linux/seccomp/syscalls/*/names/*", &[Unknown], "profiles name calls that only newer kernels or other architectures have"),
    row("/linux/seccomp/archMap/*/architecture", &[Huge, Absurd, Unknown], "a profile file names what goes with other machines too"),
    row("/linux/seccomp/syscalls/*/comment", &[Huge, Absurd, Unknown], "it is for people"),
    row("/linux/seccomp/syscalls/*/includes/**", &[Empty, Huge, Absurd, Unknown], "a condition of a profile file that does not hold here"),
    row("/linux/seccomp/syscalls/*/excludes/**", &[Empty, Huge, Absurd, Unknown], "a condition of a profile file that does not hold here"),
    row("/linux/seccomp/listenerMetadata", &[Huge, Absurd, Unknown], "it is between whoever writes it and the listener"),
    row("/linux/seccomp/syscalls/*/args/*/value", &[Huge, Unknown], "an argument can be any 64 bits"),
    row("/linux/seccomp/syscalls/*/args/*/valueTwo", &[Huge, Unknown], "only a comparison under a mask looks at it"),
    row("/linux/resources/blockIO/*/*/rate", &[Huge, Unknown], "a rate that no disk has limits nothing"),
    row("/linux/resources/cpu/quota", &[Negative], "negative is no limit"),
    row("/linux/resources/cpu/quota", &[Unknown], "more time than there is limits nothing"),
    row("/linux/resources/cpu/realtimePeriod", &[Unknown], "a period of two minutes is one"),
    row("/linux/resources/hugepageLimits/*/limit", &[Huge, Unknown], "more memory than there is limits nothing, and engines say so"),
    row("/linux/resources/memory/*", &[Unknown], "118 MiB are an amount"),
    row("/linux/resources/memory/swappiness", &[Huge], "Go's -1, not asked"),
    row("/linux/resources/pids/limit", &[Negative], "negative is no limit"),
];

/// What runc 1.1 refuses and ours takes.
const RUNC_REFUSES: &[Row] = &[
    row("/process/env", &[Missing, Null, Empty], "without a PATH it finds no program, ours looks in the usual folders"),
    row("/process/env/*", &[Missing], "without a PATH it finds no program, ours looks in the usual folders"),
    row("/mounts", &[Missing, Null, Empty], "it sets kernel parameters through the container's /proc, ours before there is one"),
    row("/mounts/*", &[Missing], "it sets kernel parameters through the container's /proc, ours before there is one"),
    row("/mounts/*/destination", &[Unknown], "it sets kernel parameters through the container's /proc, ours before there is one"),
    row("/mounts/*/options", &[Missing, Null, Empty], "it wants the option bind beside the type bind"),
    row("/mounts/*/options/*", &[Missing, Empty, Huge, Unknown], "it wants the option bind beside the type bind"),
];

/// Whether `wrong` says that the place is not given: `null` and, for texts, lists and objects, empty is what Go's engines write
/// for that. The element of a list is always given.
fn is_not_given(place: &str, wrong: Wrong) -> bool {
    let is_element = place.rsplit('/').next().is_some_and(|name| name.parse::<usize>().is_ok());
    wrong == Missing || (matches!(wrong, Null | Empty) && !is_element)
}

/// Why this may be taken without a word.
pub(super) fn may_be_taken(place: &str, wrong: Wrong) -> Option<&'static str> {
    if is_not_given(place, wrong) && NEEDED.iter().all(|needed| !is_at(place, needed)) {
        return Some("it is optional");
    }
    TAKEN.iter().find(|row| row.is_of(place, wrong)).map(|row| row.reason)
}

/// Why runc refuses what ours takes.
pub(super) fn may_be_refused_by_runc(place: &str, wrong: Wrong) -> Option<&'static str> {
    RUNC_REFUSES.iter().find(|row| row.is_of(place, wrong)).map(|row| row.reason)
}

/// Whether the names in an object are the document's own: an unknown one is not another version's field, but a value.
pub(super) fn is_free(place: &str) -> bool {
    ["/annotations", "/linux/sysctl", "/linux/timeOffsets", "/linux/resources/rdma", "/linux/resources/unified"].contains(&place)
}
