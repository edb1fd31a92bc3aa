//! Limits in systemd's words: what it would otherwise put back to its own at its next reload. Pure.

use std::collections::BTreeMap;

use belljar_model::Invalid;
use belljar_model::cgroup::Version;

use super::message::Value;
use crate::cgroup::resources::{CPU_PERIOD_USEC, Cpu, Memory, Resources};
use crate::cgroup::weights::weight_of_shares;
use crate::cgroup::{Cgroup, devices};

/// A property of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property(pub &'static str, pub Value);

/// A quota is kept in whole percents of a processor: it is rounded up to 10 ms of a second.
const QUOTA_STEP_USEC: u64 = 10_000;

/// The properties that mirror these resources, by the version of each controller. What systemd has no word for is left
/// to the files.
pub fn of(resources: &Resources, cgroup: &Cgroup) -> Result<Vec<Property>, Invalid> {
    let version = |controller: &str| cgroup.part(controller).map_or(Version::V2, |part| part.version);
    let mut list = Vec::new();
    if let Some(memory) = &resources.memory {
        list.extend(of_memory(memory, version("memory")));
    }
    if let Some(cpu) = &resources.cpu {
        list.extend(of_cpu(cpu, version("cpu")));
        let cpusets = [("AllowedCPUs", "cpu.cpus", &cpu.cpus), ("AllowedMemoryNodes", "cpu.mems", &cpu.mems)];
        for (name, field, numbers) in cpusets {
            // Only of v2 does systemd know cpusets.
            if let Some(numbers) = numbers.as_deref().filter(|numbers| !numbers.is_empty() && version("cpuset") == Version::V2) {
                list.push(Property(name, bits(field, numbers)?));
            }
        }
    }
    if let Some(pids) = resources.pids.as_ref().and_then(|pids| pids.limit).filter(|pids| *pids != 0) {
        list.push(Property("TasksMax", unlimited_or(pids)));
    }
    if let Some(weight) = resources.block_io.as_ref().and_then(|io| io.weight).filter(|weight| *weight != 0) {
        list.push(match version("blkio") {
            Version::V1 => Property("BlockIOWeight", Value::U64(weight.into())),
            Version::V2 => Property("IOWeight", Value::U64(1 + u64::from(weight).saturating_sub(10) * 9999 / 990)),
        });
    }
    list.extend(resources.unified.iter().filter_map(|(file, value)| of_file(file, value)));
    list.extend(of_devices(&resources.devices)?);
    Ok(list)
}

/// The same for a unit that lives: devices only where they change.
pub fn of_change(change: &Resources, after: &Resources, cgroup: &Cgroup) -> Result<Vec<Property>, Invalid> {
    let mut list = of(after, cgroup)?;
    if change.devices.is_empty() {
        list.retain(|property| !is_of_devices(property));
    }
    Ok(list)
}

/// Whether it says something of devices.
pub fn is_of_devices(property: &Property) -> bool {
    property.0.starts_with("Device")
}

/// A file of v2 that was asked for by its name, where systemd has a word for it.
fn of_file(file: &str, value: &str) -> Option<Property> {
    let name = match file {
        "memory.min" => "MemoryMin",
        "memory.low" => "MemoryLow",
        "memory.high" => "MemoryHigh",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        "cpu.weight" => "CPUWeight",
        _ => return None,
    };
    let number = if value.trim() == "max" { u64::MAX } else { value.trim().parse().ok()? };
    Some(Property(name, Value::U64(number)))
}

fn unlimited_or(number: i64) -> Value {
    Value::U64(u64::try_from(number).unwrap_or(u64::MAX))
}

fn of_memory(memory: &Memory, version: Version) -> Vec<Property> {
    let limit = memory.limit.filter(|limit| *limit != 0);
    let name = if version == Version::V1 { "MemoryLimit" } else { "MemoryMax" };
    let mut list: Vec<Property> = limit.map(|limit| Property(name, unlimited_or(limit))).into_iter().collect();
    if version == Version::V2 {
        let low = memory.reservation.filter(|low| *low != 0);
        list.extend(low.map(|low| Property("MemoryLow", unlimited_or(low))));
        let swap = match (limit, memory.swap) {
            (_, Some(..0)) => Some(Value::U64(u64::MAX)),
            (Some(1..), Some(swap)) if swap > 0 => limit.map(|limit| unlimited_or((swap - limit).max(0))),
            _ => None,
        };
        list.extend(swap.map(|swap| Property("MemorySwapMax", swap)));
    }
    list
}

fn of_cpu(cpu: &Cpu, version: Version) -> Vec<Property> {
    let mut list = Vec::new();
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        list.push(match version {
            Version::V1 => Property("CPUShares", Value::U64(shares)),
            Version::V2 => Property("CPUWeight", Value::U64(weight_of_shares(shares))),
        });
    }
    let period = cpu.period.filter(|period| *period != 0);
    list.extend(period.map(|period| Property("CPUQuotaPeriodUSec", Value::U64(period))));
    if let Some(quota) = cpu.quota.filter(|quota| *quota != 0) {
        let each_second =
            |quota: u64| (quota.saturating_mul(1_000_000) / period.unwrap_or(CPU_PERIOD_USEC)).next_multiple_of(QUOTA_STEP_USEC);
        list.push(Property("CPUQuotaPerSecUSec", Value::U64(u64::try_from(quota).map_or(u64::MAX, each_second))));
    }
    list
}

/// A list such as `0-2,7` as bits, the lowest first.
fn bits(field: &str, list: &str) -> Result<Value, Invalid> {
    /// More processors than any machine has; a number above it is a mistake.
    const NUMBER: usize = 8192;
    let wrong = || Invalid::new(format!("resources.{field}"), "is not a list of numbers such as 0-3,7");
    let mut bytes: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number < NUMBER).ok_or_else(wrong);
        for number in number(first)?..=number(last)? {
            bytes.resize(bytes.len().max(number / 8 + 1), 0);
            bytes[number / 8] |= 1 << (number % 8);
        }
    }
    Ok(Value::Array("y".to_owned(), bytes.into_iter().map(Value::Byte).collect()))
}

/// Devices, where a list of what is allowed can say them; else systemd is told to leave them alone.
fn of_devices(rules: &[devices::Rule]) -> Result<Vec<Property>, Invalid> {
    let rules = devices::parse(&devices::with_defaults(rules))?;
    let allowed = devices::v1::List::of(&rules).ok().and_then(|list| list.allowed());
    let entry = |(device, access): (String, String)| Value::Struct(vec![Value::Text(device), Value::Text(access)]);
    let (policy, entries) = match allowed {
        None => ("auto", Vec::new()),
        Some(lines) => {
            let names = driver_names(&std::fs::read_to_string("/proc/devices").unwrap_or_default());
            ("strict", lines.iter().filter_map(|line| in_systemds_words(line, &names)).map(entry).collect())
        }
    };
    let list = |entries| Property("DeviceAllow", Value::Array("(ss)".to_owned(), entries));
    // What is said of a unit that lives is added to its list; nothing at all empties it.
    Ok(vec![Property("DevicePolicy", Value::text(policy)), list(Vec::new()), list(entries)])
}

type DriverNames = BTreeMap<(char, u32), String>;

/// `c 136:* rw` as `char-pts rw`. `None` where this host has no driver of that number, hence no such device.
fn in_systemds_words(line: &str, names: &DriverNames) -> Option<(String, String)> {
    let mut words = line.split(' ');
    let (kind, numbers, access) = (words.next()?.chars().next()?, words.next()?, words.next()?);
    let kind_name = if kind == 'b' { "block" } else { "char" };
    let (major, minor) = numbers.split_once(':')?;
    let device = match (major, minor) {
        ("*", "*") => format!("{kind_name}-*"),
        // systemd has no word for one minor number of every driver; the files say it all the same.
        ("*", _) => return None,
        (major, "*") => format!("{kind_name}-{}", names.get(&(kind, major.parse().ok()?))?),
        (major, minor) => format!("/dev/{kind_name}/{major}:{minor}"),
    };
    Some((device, access.to_owned()))
}

/// `/proc/devices`: numbers and names of drivers, in two lists.
fn driver_names(text: &str) -> DriverNames {
    let mut kind = 'c';
    let mut names = BTreeMap::new();
    for line in text.lines() {
        match line.trim().split_once(' ') {
            Some(("Character", _)) => kind = 'c',
            Some(("Block", _)) => kind = 'b',
            Some((number, name)) => {
                if let Ok(number) = number.parse() {
                    names.insert((kind, number), name.trim().to_owned());
                }
            }
            None => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{Hierarchies, Hierarchy};

    fn said(version: Version, text: &str) -> Vec<(&'static str, Value)> {
        let controllers = ["memory", "cpu", "cpuset", "pids", "blkio"].map(str::to_owned).to_vec();
        let hierarchy = Hierarchy { version, point: "/cg".into(), controllers };
        let cgroup = Cgroup::at(&Hierarchies::of_list(vec![hierarchy]), "x");
        let resources: Resources = serde_json::from_str(text).unwrap();
        let list = of(&resources, &cgroup).unwrap();
        list.into_iter().filter(|property| !property.0.starts_with("Device")).map(|Property(name, value)| (name, value)).collect()
    }

    #[test]
    fn limits_are_said_in_systemds_words_for_either_version() {
        let text = r#"{"memory": {"limit": 1000, "swap": 1500, "reservation": 7}, "pids": {"limit": -1}, "blockIO": {"weight": 500},
            "cpu": {"shares": 1024, "quota": 33333, "period": 100000, "cpus": "0-2,9"}}"#;
        let bytes = Value::Array("y".into(), vec![Value::Byte(7), Value::Byte(2)]);
        let number = Value::U64;
        let v2 = vec![
            ("MemoryMax", number(1000)),
            ("MemoryLow", number(7)),
            ("MemorySwapMax", number(500)),
            ("CPUWeight", number(100)),
            ("CPUQuotaPeriodUSec", number(100_000)),
            ("CPUQuotaPerSecUSec", number(340_000)),
            ("AllowedCPUs", bytes),
            ("TasksMax", number(u64::MAX)),
            ("IOWeight", number(4950)),
        ];
        assert_eq!(said(Version::V2, text), v2);
        let v1: Vec<_> = said(Version::V1, text).into_iter().map(|(name, _)| name).collect();
        assert_eq!(v1, ["MemoryLimit", "CPUShares", "CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec", "TasksMax", "BlockIOWeight"]);
        assert_eq!(said(Version::V2, r#"{"cpu": {"quota": -1}}"#), [("CPUQuotaPerSecUSec", number(u64::MAX))]);
        assert_eq!(said(Version::V2, "{}"), []);
    }

    #[test]
    fn devices_are_said_by_their_drivers_names() {
        let names = driver_names("Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  7 loop\n");
        let words = |line: &str| in_systemds_words(line, &names).map(|(device, access)| format!("{device} {access}"));
        assert_eq!(words("c 136:* rwm").unwrap(), "char-pts rwm");
        assert_eq!(words("c 1:3 rwm").unwrap(), "/dev/char/1:3 rwm");
        assert_eq!(words("b *:* m").unwrap(), "block-* m");
        assert_eq!(words("b 7:* r").unwrap(), "block-loop r");
        assert_eq!((words("c *:3 r"), words("c 99:* r")), (None, None));
        let policy = |rules: &[devices::Rule]| of_devices(rules).unwrap()[0].1.clone();
        assert_eq!(policy(&[]), Value::text("strict"));
        let everything = devices::Rule { allow: true, ..devices::Rule::deny_all() };
        assert_eq!(policy(&[everything]), Value::text("auto"));
    }
}
