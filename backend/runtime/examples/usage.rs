//! What one second of the sampler costs, without a server around it: so many cgroups, read once a second, so many times. For
//! `cargo xtask bench usage`; prints the processor time of all rounds and of the median one, in microseconds.
//!
//! `usage tree 1000 10` reads a folder tree with the files of a host that has both versions; `usage kernel 1000 10` makes empty
//! cgroups of this kernel in every hierarchy, and removes them.

use std::path::Path;
use std::time::{Duration, Instant};

use belljar_linux::reread::{Buffer, Descriptors};
use belljar_model::cgroup::Version;
use belljar_model::usage::Usage;
use belljar_runtime::cgroup::{Cgroup, Hierarchies, Hierarchy, UsageFiles};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A hierarchy of the tree: its one controller, and the files of each container in it.
type Planted = (&'static str, Version, &'static [(&'static str, &'static str)]);

const TREE: &[Planted] = &[
    (
        "memory",
        Version::V1,
        &[
            ("memory.usage_in_bytes", "20108864\n"),
            ("memory.max_usage_in_bytes", "30108864\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.kmem.usage_in_bytes", "409600\n"),
            ("memory.failcnt", "0\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"),
        ],
    ),
    (
        "cpu",
        Version::V1,
        &[
            ("cpu.stat", "nr_periods 10\nnr_throttled 4\nthrottled_time 5000999\nnr_bursts 0\nburst_time 0\n"),
            ("cpu.cfs_quota_us", "150000\n"),
            ("cpu.cfs_period_us", "100000\n"),
        ],
    ),
    ("cpuacct", Version::V1, &[("cpuacct.usage", "7000123\n"), ("cpuacct.stat", "user 3\nsystem 1\n")]),
    ("pids", Version::V1, &[("pids.current", "3\n"), ("pids.max", "max\n"), ("pids.events", "max 0\n")]),
    (
        "blkio",
        Version::V1,
        &[
            ("blkio.throttle.io_service_bytes_recursive", "254:0 Read 4096\n254:0 Write 8192\n254:0 Total 12288\nTotal 12288\n"),
            ("blkio.throttle.io_serviced_recursive", "254:0 Read 1\n254:0 Write 2\n254:0 Total 3\nTotal 3\n"),
        ],
    ),
    (
        "hugetlb",
        Version::V2,
        &[
            ("cpu.stat", "usage_usec 7000\nuser_usec 3000\nsystem_usec 4000\nnice_usec 0\n"),
            ("cpu.pressure", PRESSURE),
            ("memory.pressure", PRESSURE),
            ("io.pressure", PRESSURE),
        ],
    ),
];

const PRESSURE: &str = "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, count, rounds] = arguments.as_slice() else { return Err("usage tree|kernel COUNT ROUNDS".into()) };
    let (count, rounds): (u32, u32) = (count.parse()?, rounds.parse()?);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    match kind.as_str() {
        "tree" => {
            let folder = tempfile::tempdir_in("/dev/shm")?;
            let hierarchies = plant(folder.path(), count)?;
            measure(&(0..count).map(|number| Cgroup::at(&hierarchies, &number.to_string())).collect::<Vec<_>>(), rounds)
        }
        "kernel" => {
            let (hierarchies, parent) = (Hierarchies::probe()?, format!("belljar-bench-{}", std::process::id()));
            hierarchies.prepare(&parent)?;
            let cgroups: Vec<Cgroup> = (0..count).map(|number| Cgroup::at(&hierarchies, &format!("{parent}/{number}"))).collect();
            for part in cgroups.iter().flat_map(Cgroup::parts) {
                std::fs::create_dir(&part.path)?;
            }
            let measured = measure(&cgroups, rounds);
            cgroups.iter().flat_map(Cgroup::parts).for_each(|part| drop(std::fs::remove_dir(&part.path)));
            hierarchies.abandon(&parent);
            measured
        }
        kind => Err(format!("tree or kernel, not {kind}").into()),
    }
}

fn plant(folder: &Path, count: u32) -> Outcome<Hierarchies> {
    let statistics = std::fs::read_to_string("/sys/fs/cgroup/memory/memory.stat").unwrap_or_else(|_| "total_cache 3000\n".repeat(40));
    let mut list = Vec::new();
    for (name, version, files) in TREE {
        let point = folder.join(name);
        for number in 0..count {
            let own = point.join(number.to_string());
            std::fs::create_dir_all(&own)?;
            for (file, content) in *files {
                std::fs::write(own.join(file), content)?;
            }
            if *name == "memory" {
                std::fs::write(own.join("memory.stat"), &statistics)?;
            }
        }
        list.push(Hierarchy { version: *version, point, controllers: vec![(*name).to_owned()] });
    }
    Ok(Hierarchies::of_list(list))
}

fn measure(cgroups: &[Cgroup], rounds: u32) -> Outcome<()> {
    let limit = usize::try_from(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))?;
    // As the server does.
    let descriptors = Descriptors::new(limit - 8192.min(limit / 2));
    let mut all: Vec<(UsageFiles, Usage)> = cgroups.iter().map(|cgroup| (UsageFiles::of(cgroup, &descriptors), Usage::default())).collect();
    let mut buffer = Buffer::default();
    let mut round = |at_ms| all.iter_mut().for_each(|(files, usage)| files.read(at_ms, usage, &mut buffer));
    round(0);
    let mut times = Vec::new();
    let begun = Instant::now();
    for number in 1..=rounds {
        let next = begun + Duration::from_secs(1) * number;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let before = processor_usec()?;
        round(i64::from(number));
        times.push(processor_usec()? - before);
    }
    times.sort_unstable();
    println!("{} {} {}", times.iter().sum::<u64>(), times.get(times.len() / 2).copied().unwrap_or_default(), descriptors.left());
    Ok(())
}

/// Processor time of this thread so far, in microseconds (`schedstat`, in nanoseconds).
fn processor_usec() -> Outcome<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nsec: u64 = text.split_ascii_whitespace().next().ok_or("no time")?.parse()?;
    Ok(nsec / 1000)
}
