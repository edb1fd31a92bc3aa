//! Which file gives which figures (`cgroup-v1/*.rst`, `cgroup-v2.rst` and `accounting/psi.rst` of the kernel's documentation).
//!
//! In the order in which they are read: what another one is counted from comes first, and of several files that give the
//! same the better one does.

use belljar_model::cgroup::Version;
use belljar_model::usage::Usage;

use super::parse::{self, Draft};

/// The files that every folder of v2 has, whichever controllers there are: of v2 also on a host whose controllers are all v1.
pub(super) const CORE: &str = "";

/// The one field that is a difference of two files.
pub(super) const WORKING_SET: &str = "memory_working_set_bytes";

/// One file.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) controller: &'static str,
    pub(super) version: Version,
    pub(super) file: &'static str,
    /// The fields of [`Usage`] that it gives, and the key in it of each; the whole file where empty.
    pub(super) gives: &'static [(&'static str, &'static str)],
    /// Whether there is still something that it alone can tell.
    pub(super) wanted: fn(&Draft<'_>) -> bool,
    pub(super) parse: fn(&str, &mut Draft<'_>),
}

const fn kind(controller: &'static str, version: Version, file: &'static str) -> Kind {
    Kind { controller, version, file, gives: &[], wanted: |_| true, parse: |_, _| {} }
}

/// A file that holds one number, for this field.
macro_rules! number {
    ($controller:literal $version:ident $file:literal => $field:ident) => {
        Kind {
            gives: &[(stringify!($field), "")],
            parse: |text, draft| draft.usage.$field = parse::number(text),
            ..kind($controller, Version::$version, $file)
        }
    };
}

/// A file of `key number` lines.
macro_rules! keyed {
    ($controller:literal $version:ident $file:literal => $($field:ident = $key:literal),+) => {
        Kind {
            gives: &[$((stringify!($field), $key)),+],
            parse: |text, draft| {
                let fields: &mut [(&str, &mut Option<u64>)] = &mut [$(($key, &mut draft.usage.$field)),+];
                parse::keyed(text, fields);
            },
            ..kind($controller, Version::$version, $file)
        }
    };
}

/// A file of v2 that says how long something was waited for.
macro_rules! pressure {
    ($file:literal => $field:ident) => {
        Kind {
            gives: &[(concat!("pressure.", stringify!($field)), "")],
            parse: |text, draft| draft.usage.pressure.get_or_insert_default().$field = parse::stall(text),
            ..kind(CORE, Version::V2, $file)
        }
    };
}

/// The fields of input and output that a file of bytes gives.
const IO_BYTES: &[(&str, &str)] = &[("io_read_bytes_total", ""), ("io_write_bytes_total", ""), ("io", "")];
/// The same of a file of operations.
const IO_OPERATIONS: &[(&str, &str)] = &[("io_read_operations_total", ""), ("io_write_operations_total", "")];

const fn io_v1(file: &'static str, counts: parse::Counts) -> Kind {
    match counts {
        parse::Counts::Bytes => Kind {
            gives: IO_BYTES,
            wanted: |draft| draft.usage.io_read_bytes_total.is_none(),
            parse: |text, draft| parse::io_v1(text, draft, parse::Counts::Bytes),
            ..kind("blkio", Version::V1, file)
        },
        parse::Counts::Operations => Kind {
            gives: IO_OPERATIONS,
            wanted: |draft| draft.usage.io_read_operations_total.is_none(),
            parse: |text, draft| parse::io_v1(text, draft, parse::Counts::Operations),
            ..kind("blkio", Version::V1, file)
        },
    }
}

/// Every file.
pub(super) const TABLE: &[Kind] = &[
    // Both versions tell the same; the core of v2 tells it in microseconds, and in one file.
    keyed!("" V2 "cpu.stat" => cpu_usec_total = "usage_usec", cpu_user_usec_total = "user_usec", cpu_system_usec_total = "system_usec",
        cpu_periods_total = "nr_periods", cpu_throttled_periods_total = "nr_throttled", cpu_throttled_usec_total = "throttled_usec"),
    Kind {
        gives: &[("cpu_usec_total", "")],
        wanted: |draft| draft.usage.cpu_usec_total.is_none(),
        parse: |text, draft| draft.usage.cpu_usec_total = parse::number(text).map(|nsec| nsec / 1000),
        ..kind("cpuacct", Version::V1, "cpuacct.usage")
    },
    Kind {
        gives: &[("cpu_user_usec_total", "user"), ("cpu_system_usec_total", "system")],
        wanted: |draft| draft.usage.cpu_user_usec_total.is_none(),
        parse: |text, draft| parse::ticks(text, draft.usage),
        ..kind("cpuacct", Version::V1, "cpuacct.stat")
    },
    Kind {
        gives: &[
            ("cpu_periods_total", "nr_periods"),
            ("cpu_throttled_periods_total", "nr_throttled"),
            ("cpu_throttled_usec_total", "throttled_time"),
        ],
        parse: |text, draft| parse::throttled_v1(text, draft.usage),
        ..kind("cpu", Version::V1, "cpu.stat")
    },
    Kind { parse: |text, draft| draft.period_usec = parse::number(text), ..kind("cpu", Version::V1, "cpu.cfs_period_us") },
    Kind {
        gives: &[("cpus_max", "")],
        parse: |text, draft| draft.usage.cpus_max = parse::cpus(parse::number(text), draft.period_usec),
        ..kind("cpu", Version::V1, "cpu.cfs_quota_us")
    },
    Kind { gives: &[("cpus_max", "")], parse: parse::cpu_max, ..kind("cpu", Version::V2, "cpu.max") },
    number!("memory" V1 "memory.usage_in_bytes" => memory_bytes),
    Kind {
        gives: &[
            (WORKING_SET, "total_inactive_file"),
            ("memory_cache_bytes", "total_cache"),
            ("memory_anonymous_bytes", "total_rss"),
            ("memory_swap_bytes", "total_swap"),
        ],
        parse: |text, draft| {
            let Usage { memory_cache_bytes, memory_anonymous_bytes, memory_swap_bytes, .. } = draft.usage;
            let inactive = &mut None;
            parse::keyed(
                text,
                &mut [
                    ("total_cache", memory_cache_bytes),
                    ("total_rss", memory_anonymous_bytes),
                    ("total_swap", memory_swap_bytes),
                    ("total_inactive_file", inactive),
                ],
            );
            parse::working_set(draft.usage, *inactive);
        },
        ..kind("memory", Version::V1, "memory.stat")
    },
    number!("memory" V1 "memory.max_usage_in_bytes" => memory_bytes_peak),
    number!("memory" V1 "memory.limit_in_bytes" => memory_bytes_max),
    number!("memory" V1 "memory.kmem.usage_in_bytes" => memory_kernel_bytes),
    number!("memory" V1 "memory.failcnt" => memory_limit_hits_total),
    keyed!("memory" V1 "memory.oom_control" => oom_kills_total = "oom_kill"),
    number!("memory" V2 "memory.current" => memory_bytes),
    Kind {
        gives: &[
            (WORKING_SET, "inactive_file"),
            ("memory_cache_bytes", "file"),
            ("memory_anonymous_bytes", "anon"),
            ("memory_kernel_bytes", "kernel"),
        ],
        parse: |text, draft| {
            let Usage { memory_cache_bytes, memory_anonymous_bytes, memory_kernel_bytes, .. } = draft.usage;
            let inactive = &mut None;
            parse::keyed(
                text,
                &mut [
                    ("anon", memory_anonymous_bytes),
                    ("file", memory_cache_bytes),
                    ("kernel", memory_kernel_bytes),
                    ("inactive_file", inactive),
                ],
            );
            parse::working_set(draft.usage, *inactive);
        },
        ..kind("memory", Version::V2, "memory.stat")
    },
    number!("memory" V2 "memory.peak" => memory_bytes_peak),
    number!("memory" V2 "memory.max" => memory_bytes_max),
    number!("memory" V2 "memory.swap.current" => memory_swap_bytes),
    keyed!("memory" V2 "memory.events" => memory_limit_hits_total = "max", oom_kills_total = "oom_kill"),
    number!("pids" V1 "pids.current" => pids),
    number!("pids" V1 "pids.max" => pids_max),
    keyed!("pids" V1 "pids.events" => pids_limit_hits_total = "max"),
    number!("pids" V2 "pids.current" => pids),
    number!("pids" V2 "pids.max" => pids_max),
    keyed!("pids" V2 "pids.events" => pids_limit_hits_total = "max"),
    // What throttling counts, and where the kernel was built without it, what the scheduler of the disk does.
    io_v1("blkio.throttle.io_service_bytes_recursive", parse::Counts::Bytes),
    io_v1("blkio.bfq.io_service_bytes_recursive", parse::Counts::Bytes),
    io_v1("blkio.throttle.io_serviced_recursive", parse::Counts::Operations),
    io_v1("blkio.bfq.io_serviced_recursive", parse::Counts::Operations),
    Kind {
        gives: &[
            ("io_read_bytes_total", ""),
            ("io_write_bytes_total", ""),
            ("io_read_operations_total", ""),
            ("io_write_operations_total", ""),
            ("io", ""),
        ],
        parse: parse::io_v2,
        ..kind("io", Version::V2, "io.stat")
    },
    pressure!("cpu.pressure" => cpu),
    pressure!("memory.pressure" => memory),
    pressure!("io.pressure" => io),
];
