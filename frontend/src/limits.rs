//! The limits as fields of forms: what each is called, how its text reads, and which of the model's fields it is.
//!
//! The form of a new container and that of one that is there have the same fields. Text stays text here: the server reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use belljar_model::Limits;
use belljar_model::host::{LimitSupport, Support};
use belljar_model::limits::IoLimit;
use serde::Deserialize;

use crate::figure;

/// The fields as text, exactly as the browser sends them. A field that is missing is empty, and an empty one is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Texts {
    /// Memory, such as `64m`.
    pub memory: String,
    /// Swap on top of it, such as `0` or `64m`.
    pub swap: String,
    /// Memory above which it is slowed.
    pub memory_high: String,
    /// Memory that is left to it.
    pub memory_reservation: String,
    /// 0 to 100.
    pub memory_swappiness: String,
    /// Anything where all of it is killed with one of its processes.
    pub oom_group: String,
    /// Processors, such as `0.5`.
    pub cpus: String,
    /// 1 to 10000.
    pub cpu_weight: String,
    /// In milliseconds.
    pub cpu_burst: String,
    /// Anything where it runs only while nobody else wants to.
    pub cpu_idle: String,
    /// `0-1,3`.
    pub cpuset: String,
    /// `0`.
    pub cpuset_mems: String,
    /// Most processes.
    pub pids: String,
    /// 1 to 10000.
    pub io_weight: String,
    /// One device per line: `/dev/sda read=10m write=5m reads=100 writes=100 weight=50`.
    pub io: String,
    /// One size of pages per line: `2MB=64m`.
    pub hugetlb: String,
    /// What its own layer may take of the disk, such as `10g`.
    pub disk: String,
    /// Most files and folders of it.
    pub disk_inodes: String,
    /// What happens when its program ends; only the form of a container that is there has it beside the limits.
    pub restart: String,
}

/// How a field is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One line.
    Line,
    /// One entry per line.
    Lines,
    /// A box to tick.
    Tick,
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    /// The model's field.
    pub(crate) model: &'static str,
    pub(crate) kind: Kind,
    pub(crate) example: &'static str,
    /// What an empty one means.
    pub(crate) empty: &'static str,
    pub(crate) hint: &'static str,
}

const fn line(name: &'static str, model: &'static str, [label, example, empty, hint]: [&'static str; 4]) -> Field {
    Field { name, label, model, kind: Kind::Line, example, empty, hint }
}

const fn lines(name: &'static str, model: &'static str, [label, example, hint]: [&'static str; 3]) -> Field {
    Field { name, label, model, kind: Kind::Lines, example, empty: example, hint }
}

const fn tick(name: &'static str, model: &'static str, label: &'static str) -> Field {
    Field { name, label, model, kind: Kind::Tick, example: "", empty: "", hint: "" }
}

/// Fields that belong together.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    /// Those that most people want.
    pub(crate) first: &'static [Field],
    /// The others, folded away while they are empty.
    pub(crate) more: &'static [Field],
}

pub(crate) const GROUPS: [Group; 4] = [
    Group {
        title: "Memory",
        first: &[
            line("memory", "limits.memory_bytes", ["Memory", "64m", "no limit", "Beyond it, its programs are killed."]),
            line("swap", "limits.memory_swap_bytes", ["Swap on top", "0", "no limit", "0 is none."]),
        ],
        more: &[
            line("memory_high", "limits.memory_high_bytes", ["Slowed above", "48m", "never", "Nobody is killed for this one."]),
            line(
                "memory_reservation",
                "limits.memory_reservation_bytes",
                ["Left to it", "32m", "nothing", "While the host is short of memory."],
            ),
            line(
                "memory_swappiness",
                "limits.memory_swappiness",
                ["Swappiness", "60", "as the host's", "How readily its pages go to swap, 0 to 100."],
            ),
            tick("oom_group", "limits.oom_group", "All of it is killed where one of its processes is"),
            lines("hugetlb", "limits.hugetlb", ["Huge pages", "2MB=64m", "One size of pages per line."]),
        ],
    },
    Group {
        title: "Processor",
        first: &[line("cpus", "limits.cpus", ["CPUs", "0.5", "no limit", "Beyond it, its programs wait."])],
        more: &[
            line("cpu_weight", "limits.cpu_weight", ["Weight", "100", "100", "Against others, 1 to 10000; 100 is usual."]),
            line("cpu_burst", "limits.cpu_burst_usec", ["Burst, in ms", "20", "none", "What may be saved up and used beyond CPUs."]),
            line("cpuset", "limits.cpuset", ["Only on processors", "0-1,3", "all", "By their numbers."]),
            line("cpuset_mems", "limits.cpuset_mems", ["Only memory nodes", "0", "all", "By their numbers."]),
            tick("cpu_idle", "limits.cpu_idle", "Runs only where nobody else wants to"),
        ],
    },
    Group {
        title: "Processes",
        first: &[line("pids", "limits.pids", ["Processes", "128", "no limit", "Threads count too. Beyond it, no new ones begin."])],
        more: &[],
    },
    Group {
        title: "Disks",
        first: &[
            line(
                "disk",
                "limits.disk_bytes",
                [
                    "Its own layer",
                    "10g",
                    "no limit",
                    "What it writes to its root. Beyond it, the disk is full for it; volumes are not counted.",
                ],
            ),
            lines(
                "io",
                "limits.io",
                [
                    "Reads and writes, by device",
                    "/dev/sda read=10m write=5m writes=100",
                    "One device per line, or a folder that lies on it. In a second: bytes as read= and write=, how many as reads= and writes=. weight= is of this device.",
                ],
            ),
        ],
        more: &[
            line("disk_inodes", "limits.disk_inodes", ["Files of its own layer", "100000", "no limit", "Folders and links count too."]),
            line("io_weight", "limits.io_weight", ["Weight", "100", "100", "Against others, 1 to 10000; 100 is usual."]),
        ],
    },
];

/// Every field of every group.
pub(crate) fn all() -> impl Iterator<Item = &'static Field> {
    GROUPS.iter().flat_map(|group| group.first.iter().chain(group.more))
}

/// The name of the field in which the model's field is typed: `limits.io[2].weight` is a line of `io`.
pub(crate) fn field_of(model: &str) -> Option<&'static str> {
    let is_within = |field: &&Field| model.strip_prefix(field.model).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    all().find(is_within).map(|field| field.name)
}

impl Texts {
    /// What these limits read as, in a form.
    pub fn of(limits: &Limits) -> Self {
        let tick = |set: Option<bool>| if set == Some(true) { "yes".to_owned() } else { String::new() };
        let bytes = |bytes: Option<u64>| bytes.map_or(String::new(), size);
        Self {
            memory: bytes(limits.memory_bytes),
            swap: bytes(limits.memory_swap_bytes),
            memory_high: bytes(limits.memory_high_bytes),
            memory_reservation: bytes(limits.memory_reservation_bytes),
            memory_swappiness: text(limits.memory_swappiness),
            oom_group: tick(limits.oom_group),
            cpus: text(limits.cpus),
            cpu_weight: text(limits.cpu_weight),
            cpu_burst: text(limits.cpu_burst_usec.map(|usec| usec as f64 / 1000.0)),
            cpu_idle: tick(limits.cpu_idle),
            cpuset: text(limits.cpuset.as_ref()),
            cpuset_mems: text(limits.cpuset_mems.as_ref()),
            pids: text(limits.pids),
            io_weight: text(limits.io_weight),
            io: limits.io.iter().map(device).collect::<Vec<_>>().join("\n"),
            hugetlb: pages(&limits.hugetlb),
            disk: bytes(limits.disk_bytes),
            disk_inodes: text(limits.disk_inodes),
            restart: String::new(),
        }
    }

    /// What the field of this name holds.
    pub(crate) fn text(&self, name: &str) -> &str {
        match name {
            "memory" => &self.memory,
            "swap" => &self.swap,
            "memory_high" => &self.memory_high,
            "memory_reservation" => &self.memory_reservation,
            "memory_swappiness" => &self.memory_swappiness,
            "oom_group" => &self.oom_group,
            "cpus" => &self.cpus,
            "cpu_weight" => &self.cpu_weight,
            "cpu_burst" => &self.cpu_burst,
            "cpu_idle" => &self.cpu_idle,
            "cpuset" => &self.cpuset,
            "cpuset_mems" => &self.cpuset_mems,
            "pids" => &self.pids,
            "io_weight" => &self.io_weight,
            "io" => &self.io,
            "hugetlb" => &self.hugetlb,
            "disk" => &self.disk,
            "disk_inodes" => &self.disk_inodes,
            "restart" => &self.restart,
            _ => "",
        }
    }
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// Bytes as they are typed, exactly: `64m`, `1500`.
fn size(bytes: u64) -> String {
    let fits = |shift: u32| bytes > 0 && bytes.trailing_zeros() >= shift;
    match [(30, 'g'), (20, 'm'), (10, 'k')].into_iter().find(|(shift, _)| fits(*shift)) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// The words of a device's line, by the model's fields.
pub const RATES: [(&str, &str); 4] = [
    ("read", "read_bytes_per_second"),
    ("write", "write_bytes_per_second"),
    ("reads", "read_operations_per_second"),
    ("writes", "write_operations_per_second"),
];

fn device(limit: &IoLimit) -> String {
    let mut line = limit.device.clone();
    for ((word, field), (name, rate)) in RATES.into_iter().zip(limit.rates()) {
        debug_assert_eq!(field, name);
        if let Some(rate) = rate {
            let rate = if word.ends_with('s') { rate.to_string() } else { size(rate) };
            let _ = write!(line, " {word}={rate}");
        }
    }
    if let Some(weight) = limit.weight {
        let _ = write!(line, " weight={weight}");
    }
    line
}

fn pages(limits: &BTreeMap<String, u64>) -> String {
    limits.iter().map(|(pages, bytes)| format!("{pages}={}", size(*bytes))).collect::<Vec<_>>().join("\n")
}

/// Whether a limit can be enforced, by what the host says of all of them.
#[derive(Debug, Clone, Copy)]
pub struct Supports<'a>(pub &'a [LimitSupport]);

impl<'a> Supports<'a> {
    fn of(self, field: &Field) -> impl Iterator<Item = &'a LimitSupport> {
        let model = field.model;
        let is_within = move |name: &str| name.strip_prefix(model).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        self.0.iter().filter(move |support| is_within(&support.name))
    }

    /// Why nothing of this field can be enforced here; `None` where something of it can, or nobody knows.
    pub(crate) fn refusal(self, field: &Field) -> Option<&'a str> {
        let why = |support: &'a LimitSupport| match &support.support {
            Support::Yes => None,
            Support::No(why) => Some(why.as_str()),
        };
        let whys: Option<Vec<&str>> = self.of(field).map(why).collect();
        whys?.first().copied()
    }

    /// The kernel's files that it is written to: `memory.max`, `cpu.shares`.
    pub(crate) fn files(self, field: &Field) -> String {
        let mut files: Vec<&str> = Vec::new();
        for file in self.of(field).map(|support| support.file.as_str()).filter(|file| !file.is_empty()) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        files.join(", ")
    }
}

/// `of 7.7 GiB`, beside a field whose most is the host's.
pub(crate) fn most(field: &Field, host: &belljar_model::limits::HostCapacity) -> Option<String> {
    match field.name {
        "memory" => Some(format!("of {}", figure::bytes(host.memory_bytes))),
        "cpus" => Some(format!("of {}", host.cpus)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_model_is_found_where_it_is_typed() {
        let cases = [
            ("limits.memory_bytes", Some("memory")),
            ("limits.memory_swap_bytes", Some("swap")),
            ("limits.io[2].weight", Some("io")),
            ("limits.io_weight", Some("io_weight")),
            ("limits.hugetlb.2MB", Some("hugetlb")),
            ("limits.disk_bytes", Some("disk")),
            ("limits.disk_inodes", Some("disk_inodes")),
            ("limits.cpuset", Some("cpuset")),
            ("limits.cpuset_mems", Some("cpuset_mems")),
            ("name", None),
        ];
        for (model, name) in cases {
            assert_eq!(field_of(model), name, "{model}");
        }
    }

    #[test]
    fn sizes_are_typed_as_they_are_exactly() {
        assert_eq!([0, 1, 1024, 64 << 20, 3 << 30, (64 << 20) + 1].map(size), ["0", "1", "1k", "64m", "3g", "67108865"]);
    }

    #[test]
    fn what_cannot_be_enforced_says_why_unless_a_part_of_it_can() {
        let support = |name: &str, support: Support| LimitSupport { name: name.into(), support, version: None, file: "io.max".into() };
        let no = || Support::No("this kernel has neither".into());
        let all = [
            support("limits.io.weight", no()),
            support("limits.io.read_bytes_per_second", Support::Yes),
            support("limits.io_weight", no()),
        ];
        let field = |name: &str| super::all().find(|field| field.name == name).expect("a field");
        let supports = Supports(&all);
        assert_eq!(supports.refusal(field("io")), None);
        assert_eq!(supports.refusal(field("io_weight")), Some("this kernel has neither"));
        assert_eq!(supports.refusal(field("pids")), None, "nobody said anything of it");
        assert_eq!(supports.files(field("io")), "io.max");
    }
}
