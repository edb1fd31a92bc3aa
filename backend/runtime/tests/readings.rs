//! Readings of usage allocate nothing once every file was seen, and need no more descriptors than they may have. An executable
//! of its own, because the allocator is counted.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

use std::path::Path;
use std::time::Instant;

use belljar_linux::allocation::{self, Counting};
use belljar_linux::reread::{Buffer, Descriptors};
use belljar_model::cgroup::Version;
use belljar_model::usage::Usage;
use belljar_runtime::cgroup::{Cgroup, Hierarchies, Hierarchy, UsageFiles};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const V1: &[(&str, &str)] = &[
    ("memory.usage_in_bytes", "5000\n"),
    ("memory.stat", "total_cache 3000\ntotal_rss 1500\ntotal_swap 64\ntotal_inactive_file 1000\n"),
    ("memory.limit_in_bytes", "9223372036854771712\n"),
    ("memory.max_usage_in_bytes", "7000\n"),
    ("cpuacct.usage", "7000123\n"),
    ("cpuacct.stat", "user 3\nsystem 1\n"),
    ("cpu.stat", "nr_periods 10\nnr_throttled 4\nthrottled_time 5000999\n"),
    ("cpu.cfs_quota_us", "150000\n"),
    ("cpu.cfs_period_us", "100000\n"),
    ("pids.current", "3\n"),
    ("blkio.throttle.io_service_bytes_recursive", "254:0 Read 4096\n254:0 Write 8192\n7:1 Read 1\nTotal 12289\n"),
    ("blkio.throttle.io_serviced_recursive", "254:0 Read 1\n254:0 Write 2\n7:1 Read 1\nTotal 4\n"),
];

const V2: &[(&str, &str)] = &[
    ("memory.current", "5000\n"),
    ("memory.stat", "anon 1500\nfile 3000\nkernel 400\ninactive_file 1000\n"),
    ("memory.max", "max\n"),
    ("memory.events", "low 0\nhigh 1\nmax 8\noom 3\noom_kill 2\n"),
    ("cpu.stat", "usage_usec 7000\nuser_usec 30000\nsystem_usec 10000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 5000\n"),
    ("cpu.max", "150000 100000\n"),
    ("pids.current", "3\n"),
    ("io.stat", "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n7:1 rbytes=1 wbytes=0 rios=1 wios=0\n"),
    ("cpu.pressure", "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
];

fn hierarchies(point: &Path, version: Version) -> Hierarchies {
    let names: &[&str] =
        if version == Version::V1 { &["cpu", "cpuacct", "memory", "pids", "blkio"] } else { &["cpu", "io", "memory", "pids"] };
    let controllers = names.iter().map(|name| (*name).to_owned()).collect();
    Hierarchies::of_list(vec![Hierarchy { version, point: point.to_owned(), controllers }])
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    std::fs::create_dir_all(folder).expect("a folder");
    files.iter().for_each(|(name, content)| std::fs::write(folder.join(name), content).expect("a file"));
}

#[test]
fn a_reading_of_what_was_read_before_allocates_nothing() {
    for (version, files) in [(Version::V1, V1), (Version::V2, V2)] {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join("one"), files);
        // With descriptors kept open, and with every file opened anew.
        for descriptors in [100, 0] {
            let cgroup = Cgroup::at(&hierarchies(folder.path(), version), "one");
            let mut files = UsageFiles::of(&cgroup, &Descriptors::new(descriptors));
            let (mut usage, mut buffer) = (Usage::default(), Buffer::default());
            files.read(0, &mut usage, &mut buffer);
            assert_eq!((usage.memory_bytes, usage.io.as_ref().map(Vec::len)), (Some(5000), Some(2)));
            let before = allocation::count();
            (1..=1000).for_each(|at_ms| files.read(at_ms, &mut usage, &mut buffer));
            assert_eq!(allocation::count() - before, 0, "{version:?}, {descriptors} descriptors");
        }
    }
}

#[test]
fn a_thousand_containers_are_read_with_the_descriptors_that_there_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let hierarchies = hierarchies(folder.path(), Version::V2);
    let descriptors = Descriptors::new(500);
    let mut all: Vec<(UsageFiles, Usage)> = Vec::new();
    for number in 0..1000 {
        write(&folder.path().join(number.to_string()), V2);
        let cgroup = Cgroup::at(&hierarchies, &number.to_string());
        all.push((UsageFiles::of(&cgroup, &descriptors), Usage::default()));
    }
    let mut buffer = Buffer::default();
    let begun = Instant::now();
    for (files, usage) in &mut all {
        files.read(1, usage, &mut buffer);
        assert_eq!((usage.memory_bytes, usage.pids), (Some(5000), Some(3)));
    }
    println!("a thousand containers, opened and read: {:?}", begun.elapsed());
    assert_eq!(descriptors.left(), 0);
    let before = allocation::count();
    all.iter_mut().for_each(|(files, usage)| files.read(2, usage, &mut buffer));
    assert_eq!(allocation::count() - before, 0);
    drop(all);
    assert_eq!(descriptors.left(), 500, "every descriptor is given back");
}
