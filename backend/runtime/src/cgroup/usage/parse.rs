//! The texts of the kernel's files, into figures; nothing is allocated but for a device that was not seen before.

use belljar_model::usage::{DeviceUsage, Stall, StallLine, Usage};

/// v1 writes "no limit" as the largest number of whole pages; anything this large is one.
pub(crate) const V1_UNLIMITED: u64 = 1 << 62;

/// Microseconds of a tick of `cpuacct.stat`: `USER_HZ` is 100 on every architecture that Belljar runs on (`time(7)`).
const TICK_USEC: u64 = 10_000;

/// A reading that is under way.
pub(super) struct Draft<'a> {
    pub(super) usage: &'a mut Usage,
    /// v1: the period that the quota is of, in microseconds.
    pub(super) period_usec: Option<u64>,
    /// The devices of the reading before, and of this one once some file counted them.
    pub(super) devices: Vec<DeviceUsage>,
    /// Whether one did.
    pub(super) counted: bool,
}

/// What a file of v1's `blkio` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counts {
    Bytes,
    Operations,
}

/// The number that a file holds; `None` where it says that there is no limit (`max`, `-1`, v1's largest), or something else.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim_ascii_end().parse().ok().filter(|number| *number < V1_UNLIMITED)
}

/// What follows `key` on its line.
pub(super) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

/// Reads the lines with these keys; a field whose key is not there stays as it is.
pub(super) fn keyed(text: &str, fields: &mut [(&str, &mut Option<u64>)]) {
    for line in text.lines() {
        if let Some((key, value)) = line.split_once(' ')
            && let Some((_, field)) = fields.iter_mut().find(|(name, _)| *name == key)
        {
            **field = number(value);
        }
    }
}

pub(super) fn ticks(text: &str, usage: &mut Usage) {
    let usec = |key| value(text, key).and_then(number).and_then(|ticks| ticks.checked_mul(TICK_USEC));
    (usage.cpu_user_usec_total, usage.cpu_system_usec_total) = (usec("user"), usec("system"));
}

pub(super) fn throttled_v1(text: &str, usage: &mut Usage) {
    let nsec = &mut None;
    keyed(
        text,
        &mut [
            ("nr_periods", &mut usage.cpu_periods_total),
            ("nr_throttled", &mut usage.cpu_throttled_periods_total),
            ("throttled_time", nsec),
        ],
    );
    usage.cpu_throttled_usec_total = nsec.map(|nsec| nsec / 1000);
}

/// A quota of each period, in processors.
pub(super) fn cpus(quota_usec: Option<u64>, period_usec: Option<u64>) -> Option<f64> {
    let period_usec = period_usec.filter(|period| *period > 0)?;
    Some(quota_usec? as f64 / period_usec as f64)
}

/// v2: `50000 100000`, or `max 100000`.
pub(super) fn cpu_max(text: &str, draft: &mut Draft<'_>) {
    let mut words = text.split_ascii_whitespace().map(number);
    draft.usage.cpus_max = cpus(words.next().flatten(), words.next().flatten());
}

/// Inactive file cache is what the kernel could take back at once. The two files are not read at one time, so it may be the larger.
pub(super) fn working_set(usage: &mut Usage, inactive_bytes: Option<u64>) {
    usage.memory_working_set_bytes = usage.memory_bytes.zip(inactive_bytes).map(|(all, inactive)| all.saturating_sub(inactive));
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and where the kernel says it, the same of `full`.
pub(super) fn stall(text: &str) -> Option<Stall> {
    Some(Stall { some: stall_line(value(text, "some")?)?, full: value(text, "full").and_then(stall_line) })
}

fn stall_line(words: &str) -> Option<StallLine> {
    let mut line = StallLine::default();
    for word in words.split_ascii_whitespace() {
        let (key, value) = word.split_once('=')?;
        match key {
            "avg10" => line.avg10_percent = value.parse().ok()?,
            "avg60" => line.avg60_percent = value.parse().ok()?,
            "avg300" => line.avg300_percent = value.parse().ok()?,
            "total" => line.usec_total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(line)
}

/// v1: `8:0 Read 4096`, and other kinds, which are these two again counted otherwise; at the end all of it.
pub(super) fn io_v1(text: &str, draft: &mut Draft<'_>, counts: Counts) {
    let mut devices = Devices::of(draft);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (device, kind, count) = (words.next().and_then(numbers), words.next(), words.next().and_then(number));
        let (Some(device), Some(kind @ ("Read" | "Write")), Some(count)) = (device, kind, count) else { continue };
        let found = devices.at(device);
        *match (counts, kind) {
            (Counts::Bytes, "Read") => &mut found.read_bytes_total,
            (Counts::Bytes, _) => &mut found.write_bytes_total,
            (Counts::Operations, "Read") => &mut found.read_operations_total,
            (Counts::Operations, _) => &mut found.write_operations_total,
        } = count;
    }
    devices.end();
    match counts {
        Counts::Bytes => sum_bytes(draft),
        Counts::Operations => sum_operations(draft),
    }
}

/// v2: `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
pub(super) fn io_v2(text: &str, draft: &mut Draft<'_>) {
    let mut devices = Devices::of(draft);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(device) = words.next().and_then(numbers) else { continue };
        let found = devices.at(device);
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let field = match key {
                "rbytes" => &mut found.read_bytes_total,
                "wbytes" => &mut found.write_bytes_total,
                "rios" => &mut found.read_operations_total,
                "wios" => &mut found.write_operations_total,
                _ => continue,
            };
            *field = value.parse().unwrap_or_default();
        }
    }
    devices.end();
    sum_bytes(draft);
    sum_operations(draft);
}

fn sum_bytes(draft: &mut Draft<'_>) {
    draft.usage.io_read_bytes_total = Some(draft.devices.iter().map(|device| device.read_bytes_total).sum());
    draft.usage.io_write_bytes_total = Some(draft.devices.iter().map(|device| device.write_bytes_total).sum());
}

fn sum_operations(draft: &mut Draft<'_>) {
    draft.usage.io_read_operations_total = Some(draft.devices.iter().map(|device| device.read_operations_total).sum());
    draft.usage.io_write_operations_total = Some(draft.devices.iter().map(|device| device.write_operations_total).sum());
}

/// The devices of the reading before, turned into those of this one without making them anew.
struct Devices<'a> {
    list: &'a mut Vec<DeviceUsage>,
    /// So many at the beginning of the list are of this reading.
    seen: usize,
}

impl<'a> Devices<'a> {
    /// The first file of a reading begins anew; another one adds to what the first found.
    fn of(draft: &'a mut Draft<'_>) -> Self {
        let seen = if draft.counted { draft.devices.len() } else { 0 };
        draft.counted = true;
        Self { list: &mut draft.devices, seen }
    }

    fn at(&mut self, (major, minor): (u32, u32)) -> &mut DeviceUsage {
        let known = self.list.iter().position(|device| (device.major, device.minor) == (major, minor));
        let index = match known {
            Some(index) if index < self.seen => index,
            known => {
                let name = match known {
                    Some(index) => self.list.remove(index).name,
                    None => device_name(major, minor),
                };
                self.list.insert(self.seen, DeviceUsage { major, minor, name, ..DeviceUsage::default() });
                self.seen += 1;
                self.seen - 1
            }
        };
        &mut self.list[index]
    }

    /// What the kernel lists no more is left out.
    fn end(self) {
        self.list.truncate(self.seen);
    }
}

fn numbers(device: &str) -> Option<(u32, u32)> {
    let (major, minor) = device.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `/sys/dev/block/8:0` is a link to the device, which may have a `!` where its path below `/dev` has a `/`.
fn device_name(major: u32, minor: u32) -> Option<String> {
    let target = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    Some(target.file_name()?.to_str()?.replace('!', "/"))
}
