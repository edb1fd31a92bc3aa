//! What a person asks to be different about a container that is there: a JSON merge patch (RFC 7396). What is absent stays, `null`
//! takes away, a list is a whole new list.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::container::Restart;
use crate::limits::IoLimit;
use crate::setting::{Device, Ulimit};
use crate::{Config, Limits, size};

/// A change of a container. Whoever asks for nothing changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// What it may use.
    #[serde(deserialize_with = "limits_or_none", skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsPatch>,
    /// What happens when its program ends by itself.
    #[serde(deserialize_with = "given_or_default", skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Limits of each process, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Option<Ulimit>>,
    /// How early its processes are killed where the host is out of memory.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<Option<i32>>,
    /// Devices of the host that it may use.
    #[serde(deserialize_with = "given_or_default", skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<Device>>,
}

macro_rules! limits_patch {
    ($($(#[$doc:meta])* $field:ident: $kind:ty,)*) => {
        /// A change of limits: for each, whether it is asked for (`Some`), and what it shall be (`None` is no limit).
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct LimitsPatch {
            $($(#[$doc])*
            #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
            pub $field: Option<Option<$kind>>,)*
            /// Reads and writes, by device: all of them.
            #[serde(deserialize_with = "given_or_default", skip_serializing_if = "Option::is_none")]
            pub io: Option<Vec<IoLimit>>,
            /// Memory in huge pages, by size; each size by itself.
            #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
            pub hugetlb: Option<Option<BTreeMap<String, Option<u64>>>>,
        }

        impl LimitsPatch {
            /// The change to just these limits, whatever they were before.
            pub fn to(limits: &Limits) -> Self {
                let pages = limits.hugetlb.iter().map(|(size, bytes)| (size.clone(), Some(*bytes))).collect();
                Self { $($field: Some(limits.$field.clone()),)* io: Some(limits.io.clone()), hugetlb: Some(Some(pages)) }
            }

            fn write(&self, limits: &mut Limits) {
                $(if let Some(value) = &self.$field { limits.$field.clone_from(value); })*
            }
        }
    };
}

limits_patch! {
    /// Memory, in bytes.
    memory_bytes: u64,
    /// Swap on top of memory, in bytes.
    memory_swap_bytes: u64,
    /// Memory above which its programs are slowed, in bytes.
    memory_high_bytes: u64,
    /// Memory that is left to it while the host is short of it, in bytes.
    memory_reservation_bytes: u64,
    /// How readily its pages go to swap.
    memory_swappiness: u8,
    /// Whether all of it is killed where one of its processes is, for memory.
    oom_group: bool,
    /// Processors.
    cpus: f64,
    /// Weight against others where processors are short.
    cpu_weight: u32,
    /// Processor time that may be saved up, in microseconds.
    cpu_burst_usec: u64,
    /// Whether it runs only where nobody else wants the processor.
    cpu_idle: bool,
    /// Which processors.
    cpuset: String,
    /// Which memory nodes.
    cpuset_mems: String,
    /// Processes and threads at one time.
    pids: u32,
    /// Weight against others where a disk is busy.
    io_weight: u32,
    /// What its own layer may take of the disk, in bytes.
    disk_bytes: u64,
    /// Files and folders of its own layer.
    disk_inodes: u64,
}

impl LimitsPatch {
    /// These limits with the change. Taking a limit away takes along what means nothing without it and is not asked
    /// for: of memory, swap on top of it; of processors, what is saved up beyond them.
    pub fn apply(&self, limits: &Limits) -> Limits {
        let mut new = limits.clone();
        self.write(&mut new);
        if self.memory_bytes == Some(None) && self.memory_swap_bytes.is_none() {
            new.memory_swap_bytes = None;
        }
        if self.cpus == Some(None) && self.cpu_burst_usec.is_none() {
            new.cpu_burst_usec = None;
        }
        if let Some(io) = &self.io {
            new.io.clone_from(io);
        }
        match &self.hugetlb {
            Some(None) => new.hugetlb.clear(),
            Some(Some(sizes)) => {
                for (size, bytes) in sizes {
                    match bytes {
                        Some(bytes) => new.hugetlb.insert(size.clone(), *bytes),
                        None => new.hugetlb.remove(size),
                    };
                }
            }
            None => {}
        }
        new
    }
}

impl Change {
    /// The config with the change.
    pub fn apply(&self, config: &Config) -> Config {
        let mut new = config.clone();
        if let Some(limits) = &self.limits {
            new.limits = limits.apply(&config.limits);
        }
        if let Some(restart) = self.restart {
            new.restart = restart;
        }
        for (name, limit) in &self.ulimits {
            match limit {
                Some(limit) => new.ulimits.insert(name.clone(), *limit),
                None => new.ulimits.remove(name),
            };
        }
        if let Some(score) = self.oom_score_adj {
            new.oom_score_adj = score;
        }
        if let Some(devices) = &self.devices {
            new.devices.clone_from(devices);
        }
        new
    }
}

/// A field that is there, `null` or not.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A field that is there; `null` is what holds where nothing was ever asked.
fn given_or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer).map(|value| Some(value.unwrap_or_default()))
}

/// `null` in place of all limits takes all of them away.
fn limits_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LimitsPatch>, D::Error> {
    let none = || LimitsPatch { hugetlb: Some(None), ..LimitsPatch::to(&Limits::default()) };
    Option::deserialize(deserializer).map(|patch| Some(patch.unwrap_or_else(none)))
}

/// What is different between two configs of one container, a clause each: `memory from 64 MiB to no limit`.
pub fn differences(old: &Config, new: &Config) -> Vec<String> {
    let mut list = Vec::new();
    let mut told = |what: &str, old: String, new: String| {
        if old != new {
            list.push(format!("{what} from {old} to {new}"));
        }
    };
    for (was, is) in limits_in_words(&old.limits).into_iter().zip(limits_in_words(&new.limits)) {
        told(was.0, was.1, is.1);
    }
    for (what, unit) in [("io", IO), ("huge pages", PAGES)] {
        told(what, unit(&old.limits), unit(&new.limits));
    }
    let names: std::collections::BTreeSet<&String> = old.ulimits.keys().chain(new.ulimits.keys()).collect();
    for name in names {
        let words = |config: &Config| config.ulimits.get(name).map_or("no limit of its own".to_owned(), ulimit_in_words);
        told(&format!("ulimit {name}"), words(old), words(new));
    }
    let score = |config: &Config| config.oom_score_adj.map_or("the server's".to_owned(), |score| score.to_string());
    told("oom_score_adj", score(old), score(new));
    let devices = |config: &Config| {
        let list: Vec<String> = config.devices.iter().map(|device| format!("{} {}", device.path(), device.access)).collect();
        if list.is_empty() { "none".to_owned() } else { list.join(", ") }
    };
    told("devices", devices(old), devices(new));
    told("restart", old.restart.as_str().to_owned(), new.restart.as_str().to_owned());
    list
}

type Words = fn(&Limits) -> String;

const NONE: &str = "no limit";

const IO: Words = |limits| {
    let one = |limit: &IoLimit| {
        let rate = |(name, rate): (&str, Option<u64>)| {
            let rate = rate?;
            let (bytes, what) = (name.contains("bytes"), if name.starts_with("read") { "reads" } else { "writes" });
            Some(if bytes { format!("{what} {}/s", size::display(rate)) } else { format!("{rate} {what}/s") })
        };
        let weight = limit.weight.map(|weight| format!("weight {weight}"));
        let words: Vec<String> = limit.rates().into_iter().filter_map(rate).chain(weight).collect();
        format!("{}: {}", limit.device, words.join(", "))
    };
    let list: Vec<String> = limits.io.iter().map(one).collect();
    if list.is_empty() { NONE.to_owned() } else { list.join("; ") }
};

const PAGES: Words = |limits| {
    let list: Vec<String> = limits.hugetlb.iter().map(|(page, bytes)| format!("{} of {page}", size::display(*bytes))).collect();
    if list.is_empty() { NONE.to_owned() } else { list.join(", ") }
};

fn limits_in_words(limits: &Limits) -> [(&'static str, String); 16] {
    fn number<T: std::fmt::Display>(value: Option<&T>, none: &str) -> String {
        value.map_or(none.to_owned(), T::to_string)
    }
    let bytes = |value: Option<u64>| value.map_or(NONE.to_owned(), size::display);
    let answer = |value: Option<bool>| if value == Some(true) { "yes" } else { "no" }.to_owned();
    [
        ("memory", bytes(limits.memory_bytes)),
        ("swap on top", bytes(limits.memory_swap_bytes)),
        ("memory slowed", bytes(limits.memory_high_bytes)),
        ("memory kept", limits.memory_reservation_bytes.map_or("none".to_owned(), size::display)),
        ("swappiness", number(limits.memory_swappiness.as_ref(), "the host's")),
        ("killed as a whole", answer(limits.oom_group)),
        ("processors", number(limits.cpus.as_ref(), NONE)),
        ("weight of processors", number(limits.cpu_weight.as_ref(), "the usual")),
        ("burst", limits.cpu_burst_usec.map_or("none".to_owned(), |usec| format!("{usec} µs"))),
        ("idle", answer(limits.cpu_idle)),
        ("which processors", number(limits.cpuset.as_ref(), "all")),
        ("which memory nodes", number(limits.cpuset_mems.as_ref(), "all")),
        ("processes", number(limits.pids.as_ref(), NONE)),
        ("weight of disks", number(limits.io_weight.as_ref(), "the usual")),
        ("its own layer", bytes(limits.disk_bytes)),
        ("files of its own layer", number(limits.disk_inodes.as_ref(), NONE)),
    ]
}

fn ulimit_in_words(limit: &Ulimit) -> String {
    let value = |value: Option<u64>| value.map_or("unlimited".to_owned(), |value| value.to_string());
    format!("{}:{}", value(limit.soft), value(limit.hard))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(limits: &str) -> Config {
        let json =
            format!(r#"{{"name":"web","image":"host","command":["a"],"limits":{limits},"ulimits":{{"nofile":{{"soft":1,"hard":2}}}}}}"#);
        serde_json::from_str(&json).expect("a config")
    }

    fn change(json: &str) -> Change {
        serde_json::from_str(json).expect("a change")
    }

    #[test]
    fn what_is_absent_stays_and_null_takes_away() {
        let old = config(r#"{"memory_bytes":8388608,"memory_swap_bytes":0,"cpus":0.5,"hugetlb":{"2MB":1,"1GB":2}}"#);
        let after = |json: &str| serde_json::to_value(change(json).apply(&old).limits).expect("JSON");
        let pages = || serde_json::json!({"1GB": 2, "2MB": 1});
        assert_eq!(change("{}").apply(&old), old);
        assert_eq!(after(r#"{"limits":{"cpus":null}}"#)["cpus"], serde_json::Value::Null);
        assert_eq!(after(r#"{"limits":{"cpus":null}}"#)["memory_bytes"], 8_388_608);
        let gone = after(r#"{"limits":{"memory_bytes":null}}"#);
        assert_eq!((&gone["memory_bytes"], &gone["memory_swap_bytes"]), (&serde_json::Value::Null, &serde_json::Value::Null));
        let saving = change(r#"{"limits":{"cpu_burst_usec":5}}"#).apply(&old);
        assert_eq!(change(r#"{"limits":{"cpus":null}}"#).apply(&saving).limits.cpu_burst_usec, None);
        assert_eq!(after(r#"{"limits":{"pids":7}}"#)["hugetlb"], pages());
        assert_eq!(after(r#"{"limits":{"hugetlb":{"2MB":null}}}"#)["hugetlb"], serde_json::json!({"1GB": 2}));
        assert_eq!(change(r#"{"limits":null}"#).apply(&old).limits, Limits::default());
        let io = change(r#"{"limits":{"io":[{"device":"/dev/sda","weight":5}]}}"#).apply(&old);
        assert_eq!(change(r#"{"limits":{"io":null}}"#).apply(&io).limits, old.limits);
        assert!(change(r#"{"ulimits":{"nofile":null}}"#).apply(&old).ulimits.is_empty());
        let score = change(r#"{"oom_score_adj":5}"#).apply(&old);
        assert_eq!((score.oom_score_adj, change(r#"{"oom_score_adj":null}"#).apply(&score).oom_score_adj), (Some(5), None));
        assert_eq!(change(r#"{"restart":null}"#).restart, Some(Restart::No));
    }

    #[test]
    fn what_is_no_part_of_a_change_is_refused_by_name() {
        for (json, word) in [(r#"{"image":"x"}"#, "image"), (r#"{"limits":{"memory":1}}"#, "memory"), (r#"{"limits":{"pids":-1}}"#, "-1")] {
            let refused = serde_json::from_str::<Change>(json).expect_err(json).to_string();
            assert!(refused.contains(word), "{refused}");
        }
    }

    #[test]
    fn a_whole_set_of_limits_is_a_change_and_a_change_reads_as_it_was_written() {
        let (old, new) = (config(r#"{"memory_bytes":8388608,"cpus":0.5}"#).limits, config(r#"{"cpus":1.5,"pids":9}"#).limits);
        let patch = LimitsPatch::to(&new);
        assert_eq!(patch.apply(&old), new);
        let change = Change { limits: Some(patch), restart: Some(Restart::Always), oom_score_adj: Some(None), ..Change::default() };
        let json = serde_json::to_string(&change).expect("JSON");
        assert_eq!(serde_json::from_str::<Change>(&json).expect("readable"), change);
    }

    #[test]
    fn what_changed_is_told_from_old_to_new() {
        let old = config(r#"{"memory_bytes":67108864,"cpus":0.5}"#);
        let json = r#"{"limits":{"memory_bytes":134217728,"cpus":null,"cpu_idle":true,"disk_bytes":20971520,"disk_inodes":500,"io":[{"device":"/srv","read_bytes_per_second":1048576}]},
            "restart":"always","ulimits":{"nofile":{"soft":5,"hard":null}},"oom_score_adj":-5}"#;
        let told = differences(&old, &change(json).apply(&old));
        assert_eq!(
            told,
            [
                "memory from 64 MiB to 128 MiB",
                "processors from 0.5 to no limit",
                "idle from no to yes",
                "its own layer from no limit to 20 MiB",
                "files of its own layer from no limit to 500",
                "io from no limit to /srv: reads 1 MiB/s",
                "ulimit nofile from 1:2 to 5:unlimited",
                "oom_score_adj from the server's to -5",
                "restart from no to always",
            ]
        );
        assert!(differences(&old, &old).is_empty());
    }
}
