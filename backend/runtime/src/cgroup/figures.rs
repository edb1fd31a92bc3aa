//! Cgroup files as figures: every number with the file (and key in it) that it equals.

use belljar_model::cgroup::{Cgroup as View, Controller, Figure, RawFile, Unit, Value, Version};

use super::usage::V1_UNLIMITED;
use super::{Cgroup, Part, raw};

/// Most bytes of a file's content that are shown beside its reading.
const RAW_BYTES_MAX: usize = 256;

/// What the files of v2 that belong to no controller are shown under; also those of controllers that live in v1.
const CORE: &str = "cgroup";

/// Where a figure stands in the kernel's files.
struct Source {
    controller: &'static str,
    version: Version,
    kind: Kind,
    /// In the model's words, units last.
    name: &'static str,
    file: &'static str,
    /// The line of the file that begins with this word; the whole file where empty.
    key: &'static str,
    unit: Unit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Limit,
    Usage,
}

macro_rules! sources {
    ($($controller:literal $version:ident $kind:ident $name:literal = $file:literal $(# $key:literal)? $unit:ident;)*) => {
        &[$(Source {
            controller: $controller, version: Version::$version, kind: Kind::$kind, name: $name, file: $file,
            key: concat!($($key)?), unit: Unit::$unit,
        }),*]
    };
}

/// Every figure that is shown (`cgroup-v1/*.rst`, `cgroup-v2.rst` of the kernel's documentation).
const SOURCES: &[Source] = sources! {
    "memory" V1 Limit "memory_bytes_max" = "memory.limit_in_bytes" Bytes;
    "memory" V1 Limit "memory_and_swap_bytes_max" = "memory.memsw.limit_in_bytes" Bytes;
    "memory" V1 Limit "memory_reservation_bytes" = "memory.soft_limit_in_bytes" Bytes;
    "memory" V1 Limit "memory_swappiness" = "memory.swappiness" Count;
    "memory" V1 Usage "memory_bytes" = "memory.usage_in_bytes" Bytes;
    "memory" V1 Usage "memory_bytes_peak" = "memory.max_usage_in_bytes" Bytes;
    "memory" V1 Usage "memory_and_swap_bytes" = "memory.memsw.usage_in_bytes" Bytes;
    "memory" V1 Usage "memory_kernel_bytes" = "memory.kmem.usage_in_bytes" Bytes;
    "memory" V1 Usage "memory_swap_bytes" = "memory.stat" # "total_swap" Bytes;
    "memory" V1 Usage "memory_anonymous_bytes" = "memory.stat" # "total_rss" Bytes;
    "memory" V1 Usage "memory_file_bytes" = "memory.stat" # "total_cache" Bytes;
    "memory" V1 Usage "memory_inactive_file_bytes" = "memory.stat" # "total_inactive_file" Bytes;
    "memory" V1 Usage "memory_limit_hits" = "memory.failcnt" Count;
    "memory" V1 Usage "memory_oom_kills" = "memory.oom_control" # "oom_kill" Count;
    "memory" V2 Limit "memory_bytes_max" = "memory.max" Bytes;
    "memory" V2 Limit "memory_bytes_high" = "memory.high" Bytes;
    "memory" V2 Limit "memory_reservation_bytes" = "memory.low" Bytes;
    "memory" V2 Limit "memory_oom_group" = "memory.oom.group" Count;
    "memory" V2 Limit "swap_bytes_max" = "memory.swap.max" Bytes;
    "memory" V2 Usage "memory_bytes" = "memory.current" Bytes;
    "memory" V2 Usage "memory_bytes_peak" = "memory.peak" Bytes;
    "memory" V2 Usage "swap_bytes" = "memory.swap.current" Bytes;
    "memory" V2 Usage "memory_anonymous_bytes" = "memory.stat" # "anon" Bytes;
    "memory" V2 Usage "memory_file_bytes" = "memory.stat" # "file" Bytes;
    "memory" V2 Usage "memory_kernel_bytes" = "memory.stat" # "kernel" Bytes;
    "memory" V2 Usage "memory_inactive_file_bytes" = "memory.stat" # "inactive_file" Bytes;
    "memory" V2 Usage "memory_limit_hits" = "memory.events" # "max" Count;
    "memory" V2 Usage "memory_oom_kills" = "memory.events" # "oom_kill" Count;
    "cpu" V1 Limit "cpu_quota_usec" = "cpu.cfs_quota_us" Usec;
    "cpu" V1 Limit "cpu_period_usec" = "cpu.cfs_period_us" Usec;
    "cpu" V1 Limit "cpu_shares" = "cpu.shares" Count;
    "cpu" V1 Limit "cpu_burst_usec" = "cpu.cfs_burst_us" Usec;
    "cpu" V1 Limit "cpu_idle" = "cpu.idle" Count;
    "cpu" V1 Usage "cpu_periods_total" = "cpu.stat" # "nr_periods" Count;
    "cpu" V1 Usage "cpu_throttled_periods_total" = "cpu.stat" # "nr_throttled" Count;
    "cpu" V1 Usage "cpu_throttled_nsec_total" = "cpu.stat" # "throttled_time" Count;
    "cpuacct" V1 Usage "cpu_nsec_total" = "cpuacct.usage" Count;
    "cpu" V2 Limit "cpu_quota_usec" = "cpu.max" Usec;
    "cpu" V2 Limit "cpu_weight" = "cpu.weight" Count;
    "cpu" V2 Limit "cpu_burst_usec" = "cpu.max.burst" Usec;
    "cpu" V2 Limit "cpu_idle" = "cpu.idle" Count;
    "cpu" V2 Usage "cpu_usec_total" = "cpu.stat" # "usage_usec" Usec;
    "cpu" V2 Usage "cpu_user_usec_total" = "cpu.stat" # "user_usec" Usec;
    "cpu" V2 Usage "cpu_system_usec_total" = "cpu.stat" # "system_usec" Usec;
    "cpu" V2 Usage "cpu_periods_total" = "cpu.stat" # "nr_periods" Count;
    "cpu" V2 Usage "cpu_throttled_periods_total" = "cpu.stat" # "nr_throttled" Count;
    "cpu" V2 Usage "cpu_throttled_usec_total" = "cpu.stat" # "throttled_usec" Usec;
    "blkio" V1 Usage "io_bytes_total" = "blkio.throttle.io_service_bytes_recursive" # "Total" Bytes;
    "blkio" V1 Usage "io_operations_total" = "blkio.throttle.io_serviced_recursive" # "Total" Count;
    "hugetlb" V1 Limit "hugetlb_2mb_bytes_max" = "hugetlb.2MB.limit_in_bytes" Bytes;
    "hugetlb" V1 Usage "hugetlb_2mb_bytes" = "hugetlb.2MB.usage_in_bytes" Bytes;
    "hugetlb" V2 Limit "hugetlb_2mb_bytes_max" = "hugetlb.2MB.max" Bytes;
    "hugetlb" V2 Usage "hugetlb_2mb_bytes" = "hugetlb.2MB.current" Bytes;
    "pids" V1 Limit "pids_max" = "pids.max" Count;
    "pids" V1 Usage "pids" = "pids.current" Count;
    "pids" V1 Usage "pids_limit_hits" = "pids.events" # "max" Count;
    "pids" V2 Limit "pids_max" = "pids.max" Count;
    "pids" V2 Usage "pids" = "pids.current" Count;
    "pids" V2 Usage "pids_peak" = "pids.peak" Count;
    "pids" V2 Usage "pids_limit_hits" = "pids.events" # "max" Count;
};

impl Source {
    fn of(part: &Part, controller: &str) -> impl Iterator<Item = &'static Source> {
        SOURCES.iter().filter(move |source| source.controller == controller && source.version == part.version)
    }

    fn read(&self, part: &Part) -> Figure {
        let path = part.path.join(self.file);
        let content = std::fs::read_to_string(&path).unwrap_or_default();
        let line = if self.key.is_empty() { Some(content.trim_end()) } else { line_of(&content, self.key) };
        let raw: String = line.unwrap_or_default().chars().take(RAW_BYTES_MAX).collect();
        let mark = if self.key.is_empty() { String::new() } else { format!("#{}", self.key) };
        let value = value_of(raw.strip_prefix(self.key).unwrap_or(&raw));
        Figure { name: self.name.to_owned(), value, unit: self.unit, source: format!("{}{mark}", path.display()), raw }
    }
}

fn controller(part: &Part, name: &str, files: Vec<RawFile>) -> Controller {
    let figures = |kind| Source::of(part, name).filter(|source| source.kind == kind).map(|source| source.read(part)).collect();
    let path = part.path.display().to_string();
    Controller { name: name.to_owned(), version: part.version, path, limits: figures(Kind::Limit), usage: figures(Kind::Usage), files }
}

fn is_of(file: &str, controller: &str) -> bool {
    file.strip_prefix(controller).is_some_and(|rest| rest.starts_with('.'))
}

fn line_of<'a>(content: &'a str, key: &str) -> Option<&'a str> {
    content.lines().find(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(' ')))
}

/// `max`, `-1` and v1's largest number mean no limit; of several numbers (`cpu.max`) the first counts.
fn value_of(text: &str) -> Value {
    match text.split_ascii_whitespace().next() {
        None => Value::Unknown,
        Some("max" | "-1") => Value::Unlimited,
        Some(number) => match number.parse::<u64>() {
            Ok(number) if number >= V1_UNLIMITED => Value::Unlimited,
            Ok(number) => Value::Number(number as f64),
            Err(_) => Value::Unknown,
        },
    }
}

impl Cgroup {
    /// Every controller with its limits and usage, and its files. A controller whose files are gone shows every figure as unknown.
    pub fn view(&self, mode: &str) -> View {
        let mut controllers = Vec::new();
        for part in self.parts() {
            // A hierarchy that has a name only has no figures.
            let names = || part.controllers.iter().map(String::as_str).filter(|name| !name.contains('='));
            controllers.extend(names().map(|name| controller(part, name, raw::files(&part.path, |file| is_of(file, name)))));
            if part.version == Version::V2 {
                let files = raw::files(&part.path, |file| !names().any(|name| is_of(file, name)));
                controllers.push(controller(part, CORE, files));
            }
        }
        controllers.sort_by(|left, right| left.name.cmp(&right.name));
        View { mode: mode.to_owned(), controllers }
    }

    /// A figure by its controller and name; `None` where it is unknown or unlimited.
    pub fn figure(&self, controller: &str, name: &str) -> Option<u64> {
        match self.read_figure(controller, name)?.value {
            Value::Number(number) => Some(number as u64),
            Value::Unlimited | Value::Unknown => None,
        }
    }

    fn read_figure(&self, controller: &str, name: &str) -> Option<Figure> {
        let part = self.part(controller)?;
        Source::of(part, controller).find(|source| source.name == name).map(|source| source.read(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{Hierarchies, Hierarchy};

    fn cgroup(version: Version, files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("b/1")).unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join("b/1").join(name), content).unwrap();
        }
        let controllers = ["cpu", "cpuacct", "memory", "pids"].map(str::to_owned).to_vec();
        let hierarchy = Hierarchy { version, point: folder.path().to_owned(), controllers };
        let cgroup = Cgroup::at(&Hierarchies::of_list(vec![hierarchy]), "b/1");
        (folder, cgroup)
    }

    #[test]
    fn a_figure_names_its_file_and_its_key() {
        let (folder, cgroup) = cgroup(Version::V2, &[("memory.events", "low 0\nmax 4\noom 1\noom_kill 2\n")]);
        let view = cgroup.view("v2");
        let memory = view.controllers.iter().find(|controller| controller.name == "memory").unwrap();
        let kills = memory.usage.iter().find(|figure| figure.name == "memory_oom_kills").unwrap();
        assert_eq!((kills.value, kills.raw.as_str()), (Value::Number(2.0), "oom_kill 2"));
        assert_eq!(kills.source, format!("{}/b/1/memory.events#oom_kill", folder.path().display()));
        assert_eq!(memory.limits[0].value, Value::Unknown);
    }
}
