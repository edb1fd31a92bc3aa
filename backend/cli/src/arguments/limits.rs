//! What a container may use, as `docker run` and `docker update` name it; what Docker has no flag for is named as here.
//!
//! It is a change in any case: of nothing for a new container, of what holds for one that is there. Where Docker counts otherwise
//! (swap together with memory, shares, weights of disks from 10 to 1000), the difference is bridged here. Whether a value makes sense
//! on the host is the server's to say.

use std::collections::BTreeMap;

use belljar_model::limits::IoLimit;
use belljar_model::{Invalid, Limits, LimitsPatch, size};
use belljar_runtime::cgroup::weights::{weight_of_bfq, weight_of_shares};
use clap::Args;

/// Length of Docker's period where only a quota is given, in microseconds.
const PERIOD_USEC: u64 = 100_000;

/// The flags of it. For each, -1 (or 0, where 0 would be absurd) is no limit.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// Most memory, as 64m or 1.5g
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Most memory and swap together; equal to --memory means no swap, -1 any amount; for a new container twice --memory where not
    /// given
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Memory above which its programs are slowed, but nobody is killed (cgroup v2)
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_high: Option<String>,
    /// Memory that is left to it while the host is short of it
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_reservation: Option<String>,
    /// How readily its pages go to swap, 0 to 100; -1 for the host's own (cgroup v1)
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    memory_swappiness: Option<i64>,
    /// Kill all of it where one of its processes is killed for memory (cgroup v2)
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    oom_group: Option<bool>,
    /// Processors: 0.5 is half of one
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, conflicts_with_all = ["cpu_quota", "cpu_period"])]
    cpus: Option<f64>,
    /// Processor time in each period, in microseconds
    #[arg(long, value_name = "USEC", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// Length of that period, in microseconds; 100000 where not given
    #[arg(long, value_name = "USEC", requires = "cpu_quota")]
    cpu_period: Option<u64>,
    /// Processor time that may be saved up and used beyond --cpus: 10ms, 500us
    #[arg(long, value_name = "TIME")]
    cpu_burst: Option<String>,
    /// Weight where processors are short, 1 to 10000; 100 is the usual one
    #[arg(long, value_name = "NUMBER", conflicts_with = "cpu_shares")]
    cpu_weight: Option<u32>,
    /// The same as Docker counts it, 2 to 262144; 1024 is the usual one
    #[arg(short = 'c', long, value_name = "NUMBER")]
    cpu_shares: Option<u64>,
    /// Run only where nobody else wants the processor
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    cpu_idle: Option<bool>,
    /// Which processors: 0-1,3; empty for all
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Which memory nodes: 0; empty for all
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Most processes and threads; -1 for any number
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Weight where a disk is busy, 1 to 10000; 100 is the usual one
    #[arg(long, value_name = "NUMBER", conflicts_with = "blkio_weight")]
    io_weight: Option<u32>,
    /// The same as Docker counts it, 10 to 1000
    #[arg(long, value_name = "NUMBER")]
    blkio_weight: Option<u32>,
    /// A weight on one device, 10 to 1000 (may be repeated)
    #[arg(long, value_name = "DEVICE:NUMBER")]
    blkio_weight_device: Vec<String>,
    /// Most bytes read in a second of a device, or of the disk that a folder lies on (may be repeated)
    #[arg(long, value_name = "DEVICE:SIZE")]
    device_read_bps: Vec<String>,
    /// Most bytes written in a second (may be repeated)
    #[arg(long, value_name = "DEVICE:SIZE")]
    device_write_bps: Vec<String>,
    /// Most reads in a second (may be repeated)
    #[arg(long, value_name = "DEVICE:NUMBER")]
    device_read_iops: Vec<String>,
    /// Most writes in a second (may be repeated)
    #[arg(long, value_name = "DEVICE:NUMBER")]
    device_write_iops: Vec<String>,
    /// Most that its own layer takes of the disk, what it writes to its root, as 10g; -1 for any amount. Volumes are not in it
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    disk: Option<String>,
    /// Most files and folders of its own layer; -1 for any number
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    disk_inodes: Option<i64>,
    /// The same two as Docker and Podman name them: size=10g, inodes=10000 (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", conflicts_with_all = ["disk", "disk_inodes"])]
    storage_opt: Vec<String>,
    /// Most memory in huge pages of a size: 2MB=64m (may be repeated)
    #[arg(long, value_name = "PAGE=SIZE")]
    hugetlb: Vec<String>,
}

impl LimitArguments {
    /// The limits of a new container. Docker allows as much swap as memory where nothing is said.
    pub(crate) fn limits(&self) -> Result<Limits, Invalid> {
        let nothing = Limits::default();
        let mut limits = self.patch(&nothing)?.apply(&nothing);
        if matches!(self.memory_swap.as_deref(), None | Some("0")) {
            limits.memory_swap_bytes = limits.memory_bytes;
        }
        Ok(limits)
    }

    /// What is asked of a container that has these limits.
    pub(crate) fn patch(&self, current: &Limits) -> Result<LimitsPatch, Invalid> {
        let memory_bytes = size_or_none("--memory", self.memory.as_deref())?;
        let memory = memory_bytes.unwrap_or(current.memory_bytes);
        let (disk_bytes, disk_inodes) = self.disk()?;
        Ok(LimitsPatch {
            memory_bytes,
            memory_swap_bytes: swap_bytes(memory, self.memory_swap.as_deref())?,
            memory_high_bytes: size_or_none("--memory-high", self.memory_high.as_deref())?,
            memory_reservation_bytes: size_or_none("--memory-reservation", self.memory_reservation.as_deref())?,
            memory_swappiness: number("--memory-swappiness", self.memory_swappiness, |value| value == -1)?,
            oom_group: self.oom_group.map(Some),
            cpus: self.cpus()?,
            cpu_weight: self.cpu_weight()?,
            cpu_burst_usec: self.cpu_burst.as_deref().map(|text| microseconds("--cpu-burst", text)).transpose()?,
            cpu_idle: self.cpu_idle.map(Some),
            cpuset: list(self.cpuset_cpus.as_deref()),
            cpuset_mems: list(self.cpuset_mems.as_deref()),
            pids: number("--pids-limit", self.pids_limit, |value| matches!(value, -1 | 0))?,
            io_weight: self.io_weight()?,
            io: self.io(&current.io)?,
            disk_bytes,
            disk_inodes,
            hugetlb: self.hugetlb()?,
        })
    }

    /// Bytes and inodes of its own layer.
    fn disk(&self) -> Result<(Change<u64>, Change<u64>), Invalid> {
        let is_none = |value| matches!(value, -1 | 0);
        let inodes =
            |flag, value: Option<i64>| number("--disk-inodes", value, is_none).map_err(|invalid| Invalid { field: flag, ..invalid });
        let mut asked = (size_or_none("--disk", self.disk.as_deref())?, inodes("--disk-inodes".to_owned(), self.disk_inodes)?);
        for option in &self.storage_opt {
            let flag = "--storage-opt";
            match option.split_once('=') {
                Some(("size", value)) => asked.0 = size_or_none(flag, Some(value))?,
                Some(("inodes", value)) => {
                    let value = value.parse().map_err(|_| Invalid::new(flag, format!("must be a number of inodes, not {value}")))?;
                    asked.1 = inodes(flag.to_owned(), Some(value))?;
                }
                _ => return Err(Invalid::new(flag, format!("knows size=10g and inodes=10000, not {option}"))),
            }
        }
        Ok(asked)
    }

    fn cpus(&self) -> Result<Option<Option<f64>>, Invalid> {
        let quota = |quota: i64| (quota > 0).then(|| quota as f64 / self.cpu_period.unwrap_or(PERIOD_USEC).max(1) as f64);
        // Docker: 0 is the same as not given, for processors too.
        let cpus = self.cpus.map(|cpus| Some(cpus).filter(|cpus| *cpus != 0.0)).or_else(|| self.cpu_quota.map(quota));
        // JSON has no word for these: they would be sent as no limit at all.
        if cpus.flatten().is_some_and(|cpus| !cpus.is_finite()) {
            return Err(Invalid::new("--cpus", "must be a number of processors, such as 0.5"));
        }
        Ok(cpus)
    }

    fn cpu_weight(&self) -> Result<Option<Option<u32>>, Invalid> {
        let shares = |shares: u64| match shares {
            0 => Ok(None),
            2..=262_144 => Ok(u32::try_from(weight_of_shares(shares)).ok()),
            _ => Err(Invalid::new("--cpu-shares", "must be between 2 and 262144; 1024 is the usual one")),
        };
        match (self.cpu_weight, self.cpu_shares) {
            (Some(weight), _) => Ok(Some(Some(weight).filter(|weight| *weight != 0))),
            (None, asked) => asked.map(shares).transpose(),
        }
    }

    fn io_weight(&self) -> Result<Option<Option<u32>>, Invalid> {
        let docker = |weight: u32| if weight == 0 { Ok(None) } else { blkio("--blkio-weight", weight).map(Some) };
        match (self.io_weight, self.blkio_weight) {
            (Some(weight), _) => Ok(Some(Some(weight).filter(|weight| *weight != 0))),
            (None, asked) => asked.map(docker).transpose(),
        }
    }

    /// What is asked of some devices, over what holds for each.
    fn io(&self, current: &[IoLimit]) -> Result<Option<Vec<IoLimit>>, Invalid> {
        type Field = fn(&mut IoLimit) -> &mut Option<u64>;
        let rates: [(&str, &[String], Field); 4] = [
            ("--device-read-bps", &self.device_read_bps, |limit| &mut limit.read_bytes_per_second),
            ("--device-write-bps", &self.device_write_bps, |limit| &mut limit.write_bytes_per_second),
            ("--device-read-iops", &self.device_read_iops, |limit| &mut limit.read_operations_per_second),
            ("--device-write-iops", &self.device_write_iops, |limit| &mut limit.write_operations_per_second),
        ];
        let mut list = current.to_vec();
        for (flag, entries, field) in rates {
            for entry in entries {
                let (device, value) = device_and_value(flag, entry)?;
                let rate = if flag.ends_with("bps") { size_or_none(flag, Some(value))?.flatten() } else { rate(flag, value)? };
                *field(of_device(&mut list, device)) = rate;
            }
        }
        for entry in &self.blkio_weight_device {
            let flag = "--blkio-weight-device";
            let (device, value) = device_and_value(flag, entry)?;
            let weight = value.parse().map_err(|_| Invalid::new(flag, "must be a device and a number: /dev/sda:500"))?;
            of_device(&mut list, device).weight = if weight == 0 { None } else { Some(blkio(flag, weight)?) };
        }
        list.retain(|limit| limit.weight.is_some() || limit.rates().iter().any(|(_, rate)| rate.is_some()));
        Ok((list != current).then_some(list))
    }

    fn hugetlb(&self) -> Result<Option<Option<PagesPatch>>, Invalid> {
        let entry = |text: &String| {
            let refuse = || Invalid::new("--hugetlb", format!("must be a size of pages and how much of them: 2MB=64m, not {text}"));
            let (page, bytes) = text.split_once('=').ok_or_else(refuse)?;
            let bytes = if bytes == "-1" { None } else { Some(if bytes == "0" { 0 } else { size::parse("--hugetlb", bytes)? }) };
            Ok((page.to_owned(), bytes))
        };
        let pages: BTreeMap<String, Option<u64>> = self.hugetlb.iter().map(entry).collect::<Result<_, Invalid>>()?;
        Ok((!pages.is_empty()).then_some(Some(pages)))
    }
}

/// What is asked of a limit: nothing, none, or so much.
type Change<T> = Option<Option<T>>;

/// Bytes by the size of a page; `None` is no limit.
type PagesPatch = BTreeMap<String, Option<u64>>;

fn of_device<'a>(list: &'a mut Vec<IoLimit>, device: &str) -> &'a mut IoLimit {
    let index = list.iter().position(|limit| limit.device == device).unwrap_or_else(|| {
        list.push(IoLimit { device: device.to_owned(), ..IoLimit::default() });
        list.len() - 1
    });
    &mut list[index]
}

fn device_and_value<'a>(flag: &str, entry: &'a str) -> Result<(&'a str, &'a str), Invalid> {
    entry.rsplit_once(':').ok_or_else(|| Invalid::new(flag, format!("must be a device and how much: /dev/sda:1m, not {entry}")))
}

fn rate(flag: &str, value: &str) -> Result<Option<u64>, Invalid> {
    match value {
        "-1" | "0" => Ok(None),
        value => value.parse().map(Some).map_err(|_| Invalid::new(flag, format!("must be a number of operations, not {value}"))),
    }
}

/// Docker's weight of disks is BFQ's.
fn blkio(flag: &str, weight: u32) -> Result<u32, Invalid> {
    if (10..=1000).contains(&weight) { Ok(weight_of_bfq(weight)) } else { Err(Invalid::new(flag, "must be between 10 and 1000")) }
}

fn size_or_none(flag: &str, text: Option<&str>) -> Result<Option<Option<u64>>, Invalid> {
    match text {
        None => Ok(None),
        Some("-1" | "0") => Ok(Some(None)),
        Some(text) => size::parse(flag, text).map(|bytes| Some(Some(bytes))),
    }
}

fn number<T: TryFrom<i64>>(flag: &str, value: Option<i64>, is_none: impl Fn(i64) -> bool) -> Result<Option<Option<T>>, Invalid> {
    match value {
        None => Ok(None),
        Some(value) if is_none(value) => Ok(Some(None)),
        Some(value) => {
            T::try_from(value).map(|value| Some(Some(value))).map_err(|_| Invalid::new(flag, "must be a number, or -1 for none"))
        }
    }
}

fn list(text: Option<&str>) -> Option<Option<String>> {
    text.map(|list| Some(list.to_owned()).filter(|list| !list.is_empty()))
}

fn microseconds(flag: &str, text: &str) -> Result<Option<u64>, Invalid> {
    let refuse = || Invalid::new(flag, format!("must be a time such as 10ms or 500us, not {text}"));
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let times = match &text[digits.len()..] {
        "us" | "µs" | "" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        _ => return Err(refuse()),
    };
    let usec = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(times)).ok_or_else(refuse)?;
    Ok(Some(usec).filter(|usec| *usec != 0))
}

/// Docker counts memory and swap together; `memory` is what memory will be.
fn swap_bytes(memory: Option<u64>, together: Option<&str>) -> Result<Option<Option<u64>>, Invalid> {
    let refuse = |problem: &str| Err(Invalid::new("--memory-swap", problem));
    match (together, memory) {
        (None | Some("0"), _) => Ok(None),
        (Some("-1"), _) => Ok(Some(None)),
        (Some(_), None) => refuse("needs --memory beside it"),
        (Some(text), Some(memory)) => match size::parse("--memory-swap", text)?.checked_sub(memory) {
            Some(swap) => Ok(Some(Some(swap))),
            None => refuse("is memory and swap together: it cannot be less than --memory"),
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::{Value, json};

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitArguments,
    }

    fn patch(arguments: &[&str], current: &Value) -> Result<Value, String> {
        let line = Line::try_parse_from(["x"].iter().chain(arguments)).map_err(|error| error.to_string())?;
        let current: Limits = serde_json::from_value(current.clone()).map_err(|error| error.to_string())?;
        let patch = line.limits.patch(&current).map_err(|invalid| invalid.to_string())?;
        serde_json::to_value(patch).map_err(|error| error.to_string())
    }

    #[test]
    fn only_what_is_named_is_changed_and_minus_one_takes_away() {
        let of = |arguments: &[&str]| patch(arguments, &json!({})).expect("a valid command line");
        assert_eq!(of(&[]), json!({}));
        let all = [
            "-m=64m",
            "--memory-high=32m",
            "--memory-reservation",
            "16m",
            "--memory-swappiness=0",
            "--oom-group",
            "--cpu-quota=50000",
            "--cpu-burst=10ms",
            "-c",
            "512",
            "--cpu-idle=false",
            "--cpuset-cpus=0-1",
            "--cpuset-mems=0",
            "--pids-limit=9",
            "--blkio-weight=1000",
            "--hugetlb=2MB=4m",
            "--disk=10g",
            "--disk-inodes=500",
        ];
        let wanted = json!({
            "memory_bytes": 64 << 20, "memory_high_bytes": 32 << 20, "memory_reservation_bytes": 16 << 20, "memory_swappiness": 0,
            "oom_group": true, "cpus": 0.5, "cpu_burst_usec": 10_000, "cpu_weight": 59, "cpu_idle": false, "cpuset": "0-1",
            "cpuset_mems": "0", "pids": 9, "io_weight": 10_000, "hugetlb": {"2MB": 4 << 20}, "disk_bytes": 10_u64 << 30, "disk_inodes": 500,
        });
        assert_eq!(of(&all), wanted);
        let none = [
            "-m=-1",
            "--memory-swap=-1",
            "--memory-high=0",
            "--memory-reservation=-1",
            "--memory-swappiness=-1",
            "--cpus=0",
            "--cpu-burst=0",
            "--cpu-weight=0",
            "--cpuset-cpus=",
            "--pids-limit=-1",
            "--io-weight=0",
            "--hugetlb=1GB=-1",
            "--disk=-1",
            "--disk-inodes=0",
        ];
        let wanted = json!({
            "memory_bytes": null, "memory_swap_bytes": null, "memory_high_bytes": null, "memory_reservation_bytes": null,
            "memory_swappiness": null, "cpus": null, "cpu_burst_usec": null, "cpu_weight": null, "cpuset": null, "pids": null,
            "io_weight": null, "hugetlb": {"1GB": null}, "disk_bytes": null, "disk_inodes": null,
        });
        assert_eq!(of(&none), wanted);
    }

    #[test]
    fn swap_is_given_as_docker_counts_it_over_what_memory_is_or_becomes() {
        let current = json!({"memory_bytes": 64 << 20, "memory_swap_bytes": 0});
        assert_eq!(patch(&["--memory-swap=96m"], &current), Ok(json!({"memory_swap_bytes": 32 << 20})));
        assert_eq!(patch(&["-m=96m", "--memory-swap=96m"], &current), Ok(json!({"memory_bytes": 96 << 20, "memory_swap_bytes": 0})));
        assert_eq!(patch(&["-m=96m"], &current), Ok(json!({"memory_bytes": 96 << 20})));
        assert!(patch(&["--memory-swap=32m"], &current).is_err_and(|refused| refused.starts_with("--memory-swap: is memory and swap")));
        assert!(patch(&["--memory-swap=32m"], &json!({})).is_err_and(|refused| refused.starts_with("--memory-swap: needs --memory")));
    }

    #[test]
    fn devices_are_changed_one_by_one() {
        let current = json!({"io": [{"device": "/dev/sda", "read_bytes_per_second": 5}, {"device": "/srv", "weight": 3}]});
        let arguments = ["--device-write-iops=/dev/sda:7", "--device-read-bps=/dev/sdb:1m", "--blkio-weight-device=/srv:0"];
        let wanted = json!({"io": [
            {"device": "/dev/sda", "read_bytes_per_second": 5, "write_operations_per_second": 7},
            {"device": "/dev/sdb", "read_bytes_per_second": 1 << 20},
        ]});
        assert_eq!(patch(&arguments, &current), Ok(wanted));
        assert_eq!(patch(&["--device-read-bps=/dev/sda:0", "--blkio-weight-device=/srv:0"], &current), Ok(json!({"io": []})));
        assert_eq!(patch(&["--device-read-bps=/dev/sda:5"], &current), Ok(json!({})));
    }

    #[test]
    fn the_room_of_a_layer_is_named_as_docker_and_podman_do_too() {
        let of = |arguments: &[&str]| patch(arguments, &json!({}));
        assert_eq!(of(&["--storage-opt", "size=10G"]), Ok(json!({"disk_bytes": 10_u64 << 30})));
        let both = ["--storage-opt=size=-1", "--storage-opt=inodes=99"];
        assert_eq!(of(&both), Ok(json!({"disk_bytes": null, "disk_inodes": 99})));
        assert!(of(&["--storage-opt=size=5m", "--disk=5m"]).is_err(), "one of the two");
    }

    #[test]
    fn what_cannot_be_meant_names_its_flag() {
        for (arguments, flag) in [
            (&["--cpu-shares=1"][..], "--cpu-shares"),
            (&["--blkio-weight=5"], "--blkio-weight"),
            (&["--blkio-weight-device=/dev/sda"], "--blkio-weight-device"),
            (&["--device-read-bps=/dev/sda:fast"], "--device-read-bps"),
            (&["--device-read-iops=/dev/sda:1m"], "--device-read-iops"),
            (&["--hugetlb=2MB"], "--hugetlb"),
            (&["--cpu-burst=10h"], "--cpu-burst"),
            (&["--pids-limit=-2"], "--pids-limit"),
            (&["--memory-swappiness=300"], "--memory-swappiness"),
            (&["--cpus=inf"], "--cpus"),
            (&["--disk=much"], "--disk"),
            (&["--disk-inodes=-2"], "--disk-inodes"),
            (&["--storage-opt=overlay2.size=5g"], "--storage-opt"),
            (&["--storage-opt=inodes=many"], "--storage-opt"),
            (&["--cpus=1", "--cpu-quota=5"], "--cpu-quota"),
        ] {
            assert!(patch(arguments, &json!({})).is_err_and(|refused| refused.contains(flag)), "{arguments:?}");
        }
    }
}
