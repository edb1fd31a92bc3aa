//! The line of `events` that says what a container uses, in runc's shape. What no file of this host tells is absent: 0 would
//! say that it is known.
//!
//! Times are in nanoseconds, sizes in bytes, whichever version counts them; no limit is the largest number, as runc has it.

use std::collections::BTreeMap;
use std::fs;

use belljar_model::cgroup::Version;
use belljar_runtime::cgroup::Cgroup;
use serde::Serialize;

const NSEC_OF_USEC: u64 = 1000;
const NSEC_OF_SEC: u64 = 1_000_000_000;

/// What a container uses.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    cpu: Cpu,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpuset: Option<BTreeMap<String, serde_json::Value>>,
    memory: Memory,
    pids: Pids,
    blkio: BTreeMap<&'static str, Vec<Entry>>,
    hugetlb: BTreeMap<String, Counted>,
    intel_rdt: Nothing,
    network_interfaces: Option<Nothing>,
}

/// `{}`: what is not supported.
#[derive(Debug, Serialize)]
struct Nothing {}

#[derive(Debug, Serialize)]
struct Cpu {
    usage: CpuUsage,
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

#[derive(Debug, Default, Serialize)]
struct CpuUsage {
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_user: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "Option::is_none")]
    periods: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled_periods: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled_time: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Memory {
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<u64>,
    usage: Counted,
    swap: Counted,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<Counted>,
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    kernel_tcp: Option<Counted>,
    raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

/// A kind of memory.
#[derive(Debug, Default, Serialize)]
struct Counted {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failcnt: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

/// What was done on a device.
#[derive(Debug, Serialize, PartialEq)]
struct Entry {
    major: u64,
    minor: u64,
    op: String,
    value: u64,
}

/// Pressure of one kind: who waited, and for how much of the time.
type Pressure = BTreeMap<String, BTreeMap<String, serde_json::Number>>;

impl Stats {
    /// What the files of a cgroup say now.
    pub(super) fn read(cgroup: &Cgroup) -> Self {
        Self {
            cpu: cpu(cgroup),
            cpuset: cpuset(cgroup),
            memory: memory(cgroup),
            pids: Pids {
                current: number(cgroup, "pids", "pids.current"),
                limit: number(cgroup, "pids", "pids.max").filter(|limit| *limit != u64::MAX),
            },
            blkio: block_io(cgroup),
            hugetlb: huge_pages(cgroup),
            intel_rdt: Nothing {},
            network_interfaces: None,
        }
    }
}

fn is_v1(cgroup: &Cgroup, controller: &str) -> bool {
    cgroup.part(controller).is_some_and(|part| part.version == Version::V1)
}

/// A file that holds one number; `max` is the largest there is.
fn number(cgroup: &Cgroup, controller: &str, file: &str) -> Option<u64> {
    let text = cgroup.read(controller, file)?;
    if text.trim() == "max" { Some(u64::MAX) } else { text.trim().parse().ok() }
}

/// A file of `name number` lines.
fn keys(cgroup: &Cgroup, controller: &str, file: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    cgroup.read(controller, file).unwrap_or_default().lines().filter_map(pair).collect()
}

fn cpu(cgroup: &Cgroup) -> Cpu {
    let stat = cpu_stat(cgroup);
    let key = |name: &str| stat.get(name).copied();
    let usec = |name: &str| key(name).map(|time| time * NSEC_OF_USEC);
    let throttling = Throttling {
        periods: key("nr_periods"),
        throttled_periods: key("nr_throttled"),
        throttled_time: key("throttled_time").or(usec("throttled_usec")),
    };
    let usage = match usec("usage_usec") {
        Some(total) => CpuUsage { total: Some(total), user: usec("user_usec"), kernel: usec("system_usec"), ..CpuUsage::default() },
        None => cpu_usage_v1(cgroup),
    };
    Cpu { usage, throttling, psi: pressure(cgroup, "cpu") }
}

/// v2 counts time even where the controller is not handed down.
fn cpu_stat(cgroup: &Cgroup) -> BTreeMap<String, u64> {
    keys(cgroup, "cpu", "cpu.stat")
}

fn cpu_usage_v1(cgroup: &Cgroup) -> CpuUsage {
    let nsec_of_tick = NSEC_OF_SEC / rustix::param::clock_ticks_per_second().max(1);
    let ticks = keys(cgroup, "cpuacct", "cpuacct.stat");
    let time = |name: &str| ticks.get(name).map(|time| time * nsec_of_tick);
    let each = |file: &str| -> Vec<u64> {
        cgroup.read("cpuacct", file).unwrap_or_default().split_whitespace().filter_map(|time| time.parse().ok()).collect()
    };
    // A table: its head, then a processor a line with its user and system time.
    let table = cgroup.read("cpuacct", "cpuacct.usage_all").unwrap_or_default();
    let column =
        |index: usize| -> Vec<u64> { table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(index)?.parse().ok()).collect() };
    CpuUsage {
        total: number(cgroup, "cpuacct", "cpuacct.usage"),
        percpu: each("cpuacct.usage_percpu"),
        percpu_kernel: column(2),
        percpu_user: column(1),
        kernel: time("system"),
        user: time("user"),
    }
}

/// v1 only: what runc tells of the processors and memory nodes.
fn cpuset(cgroup: &Cgroup) -> Option<BTreeMap<String, serde_json::Value>> {
    if !is_v1(cgroup, "cpuset") {
        return None;
    }
    let mut told = BTreeMap::new();
    for name in ["cpus", "mems"] {
        if let Some(list) = cgroup.read("cpuset", &format!("cpuset.{name}")) {
            told.insert(name.to_owned(), members(&list).into());
        }
    }
    let numbers = [
        "cpu_exclusive",
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
        "sched_relax_domain_level",
    ];
    for name in numbers {
        let text = cgroup.read("cpuset", &format!("cpuset.{name}"));
        if let Some(number) = text.and_then(|text| text.trim().parse::<i64>().ok()) {
            told.insert(name.to_owned(), number.into());
        }
    }
    Some(told)
}

/// `0-2,5` as the numbers that it names.
fn members(list: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

fn memory(cgroup: &Cgroup) -> Memory {
    let raw = keys(cgroup, "memory", "memory.stat");
    let v1 = is_v1(cgroup, "memory");
    let (usage, swap) = if v1 { (counted_v1(cgroup, ""), counted_v1(cgroup, "memsw.")) } else { counted_v2(cgroup) };
    let kernel = |infix: &str| Some(counted_v1(cgroup, infix)).filter(|counted| v1 && counted.limit.is_some());
    Memory {
        cache: raw.get(if v1 { "cache" } else { "file" }).copied(),
        usage,
        swap,
        kernel: kernel("kmem."),
        kernel_tcp: kernel("kmem.tcp."),
        raw,
        psi: pressure(cgroup, "memory"),
    }
}

fn counted_v1(cgroup: &Cgroup, infix: &str) -> Counted {
    let file = |name: &str| number(cgroup, "memory", &format!("memory.{infix}{name}"));
    Counted { limit: file("limit_in_bytes"), usage: file("usage_in_bytes"), max: file("max_usage_in_bytes"), failcnt: file("failcnt") }
}

/// Memory, and memory and swap together: what v1 counts, and so what readers of runc's lines expect.
fn counted_v2(cgroup: &Cgroup) -> (Counted, Counted) {
    let file = |name: &str| number(cgroup, "memory", name);
    let events = |file: &str| keys(cgroup, "memory", file).get("max").copied();
    let memory =
        Counted { limit: file("memory.max"), usage: file("memory.current"), max: file("memory.peak"), failcnt: events("memory.events") };
    // A kernel without swap has no such files.
    let both = |memory: Option<u64>, swap: Option<u64>| Some(memory?.saturating_add(swap?));
    let swap = Counted {
        limit: both(memory.limit, file("memory.swap.max")),
        usage: both(memory.usage, file("memory.swap.current")),
        max: None,
        failcnt: events("memory.swap.events"),
    };
    (memory, swap)
}

/// Operations and bytes, by device.
fn block_io(cgroup: &Cgroup) -> BTreeMap<&'static str, Vec<Entry>> {
    const SERVED: &str = "ioServicedRecursive";
    const BYTES: &str = "ioServiceBytesRecursive";
    let mut told: BTreeMap<&'static str, Vec<Entry>> = BTreeMap::new();
    for (name, file) in [(BYTES, "blkio.throttle.io_service_bytes_recursive"), (SERVED, "blkio.throttle.io_serviced_recursive")] {
        let text = cgroup.read("blkio", file).unwrap_or_default();
        told.entry(name).or_default().extend(text.lines().filter_map(entry_v1));
    }
    for line in cgroup.read("io", "io.stat").unwrap_or_default().lines() {
        for (name, entry) in entries_v2(line) {
            told.entry(if name.ends_with("bytes") { BYTES } else { SERVED }).or_default().push(entry);
        }
    }
    told.retain(|_, entries| !entries.is_empty());
    told
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `254:0 Read 4096`.
fn entry_v1(line: &str) -> Option<Entry> {
    let mut words = line.split_whitespace();
    let (major, minor) = device(words.next()?)?;
    Some(Entry { major, minor, op: words.next()?.to_owned(), value: words.next()?.parse().ok()? })
}

/// `254:0 rbytes=4096 wbytes=0 rios=1 wios=0 …`.
fn entries_v2(line: &str) -> Vec<(&str, Entry)> {
    let mut words = line.split_whitespace();
    let Some((major, minor)) = words.next().and_then(device) else { return Vec::new() };
    let entry = |word| {
        let (name, value) = str::split_once(word, '=')?;
        let op = match name {
            "rbytes" | "rios" => "Read",
            "wbytes" | "wios" => "Write",
            "dbytes" | "dios" => "Discard",
            _ => return None,
        };
        Some((name, Entry { major, minor, op: op.to_owned(), value: value.parse().ok()? }))
    };
    words.filter_map(entry).collect()
}

/// By the size of a page: `2MB`.
fn huge_pages(cgroup: &Cgroup) -> BTreeMap<String, Counted> {
    let Some(part) = cgroup.part("hugetlb") else { return BTreeMap::new() };
    let (usage, max, failures) = match part.version {
        Version::V1 => ("usage_in_bytes", "max_usage_in_bytes", "failcnt"),
        Version::V2 => ("current", "", "events"),
    };
    let names = fs::read_dir(&part.path).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let size = |name: std::ffi::OsString| {
        let size = name.to_str()?.strip_prefix("hugetlb.")?.strip_suffix(usage)?.strip_suffix('.')?.to_owned();
        (!size.contains('.')).then_some(size)
    };
    let counted = |size: String| {
        let file = |name: &str| number(cgroup, "hugetlb", &format!("hugetlb.{size}.{name}"));
        let failcnt = match part.version {
            Version::V1 => file(failures),
            Version::V2 => keys(cgroup, "hugetlb", &format!("hugetlb.{size}.{failures}")).get("max").copied(),
        };
        let counted = Counted { limit: None, usage: file(usage), max: if max.is_empty() { None } else { file(max) }, failcnt };
        (size, counted)
    };
    names.filter_map(size).map(counted).collect()
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=12`; `None` where the kernel does not measure it.
fn pressure(cgroup: &Cgroup, of: &str) -> Option<Pressure> {
    let text = cgroup.read(of, &format!("{of}.pressure"))?;
    let pair = |word: &str| {
        let (name, value) = word.split_once('=')?;
        Some((name.to_owned(), serde_json::from_str(value).ok()?))
    };
    let line = |line: &str| {
        let (who, figures) = line.split_once(' ')?;
        Some((who.to_owned(), figures.split(' ').filter_map(pair).collect()))
    };
    let told: Pressure = text.lines().filter_map(line).collect();
    (!told.is_empty()).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_disk_is_read_in_both_forms() {
        let expected = |op: &str, value| Entry { major: 254, minor: 0, op: op.to_owned(), value };
        assert_eq!(entry_v1("254:0 Read 4096"), Some(expected("Read", 4096)));
        assert_eq!(entry_v1("Total 4096"), None);
        let entries = entries_v2("254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=9");
        assert_eq!(entries.len(), 6);
        assert_eq!(entries[3], ("wios", expected("Write", 4)));
    }

    #[test]
    fn a_list_of_processors_is_their_numbers() {
        assert_eq!(members("0-2,5\n"), [0, 1, 2, 5]);
        assert!(members("\n").is_empty());
    }
}
