//! Readings of files as this kernel and others write them, of v1, v2 and both.

use super::*;
use crate::cgroup::{Hierarchies, Hierarchy};
use belljar_model::cgroup::Version;
use belljar_model::usage::DeviceUsage;

const V1: &[&str] = &["cpu", "cpuacct", "memory", "pids", "blkio"];
const V2: &[&str] = &["cpu", "io", "memory", "pids"];

/// A folder that looks as a hierarchy does, with one cgroup.
struct Scene {
    folder: tempfile::TempDir,
    list: Vec<Hierarchy>,
}

impl Scene {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), list: Vec::new() }
    }

    fn with(mut self, version: Version, controllers: &[&str], files: &[(&str, &str)]) -> Self {
        let point = self.folder.path().join(version.as_str());
        std::fs::create_dir_all(point.join("b")).unwrap();
        files.iter().for_each(|(name, content)| std::fs::write(point.join("b").join(name), content).unwrap());
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        self.list.push(Hierarchy { version, point, controllers });
        self
    }

    fn files(&self) -> UsageFiles {
        UsageFiles::of(&Cgroup::at(&Hierarchies::of_list(self.list.clone()), "b"), &Descriptors::new(100))
    }

    fn path(&self, version: Version, file: &str) -> std::path::PathBuf {
        self.folder.path().join(version.as_str()).join("b").join(file)
    }

    fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        self.files().read(1, &mut usage, &mut Buffer::default());
        usage
    }
}

const FILES_V1: &[(&str, &str)] = &[
    ("memory.usage_in_bytes", "5000\n"),
    ("memory.stat", "cache 1\ninactive_file 9\ntotal_cache 3000\ntotal_rss 1500\ntotal_swap 64\ntotal_inactive_file 1000\n"),
    ("memory.limit_in_bytes", "9223372036854771712\n"),
    ("memory.kmem.usage_in_bytes", "400\n"),
    ("memory.failcnt", "8\n"),
    ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
    ("cpuacct.usage", "7000123\n"),
    ("cpuacct.stat", "user 3\nsystem 1\n"),
    ("cpu.stat", "nr_periods 10\nnr_throttled 4\nthrottled_time 5000999\nnr_bursts 0\nburst_time 0\n"),
    ("cpu.cfs_quota_us", "150000\n"),
    ("cpu.cfs_period_us", "100000\n"),
    ("pids.current", "3\n"),
    ("pids.max", "max\n"),
    ("pids.events", "max 6\n"),
    (
        "blkio.throttle.io_service_bytes_recursive",
        "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 0\n254:0 Async 12288\n254:0 Total 12288\n7:1 Read 1\n7:1 Write 0\nTotal 12289\n",
    ),
    ("blkio.throttle.io_serviced_recursive", "254:0 Read 1\n254:0 Write 2\n254:0 Total 3\n7:1 Read 1\n7:1 Write 0\nTotal 4\n"),
];

const FILES_V2: &[(&str, &str)] = &[
    ("memory.current", "5000\n"),
    ("memory.stat", "anon 1500\nfile 3000\nkernel 400\ninactive_file 1000\n"),
    ("memory.max", "max\n"),
    ("memory.swap.current", "64\n"),
    ("memory.events", "low 0\nhigh 1\nmax 8\noom 3\noom_kill 2\noom_group_kill 0\n"),
    (
        "cpu.stat",
        "usage_usec 7000\nuser_usec 30000\nsystem_usec 10000\nnice_usec 0\nnr_periods 10\nnr_throttled 4\nthrottled_usec 5000\nnr_bursts 0\n",
    ),
    ("cpu.max", "150000 100000\n"),
    ("pids.current", "3\n"),
    ("pids.max", "max\n"),
    ("pids.events", "max 6\n"),
    ("io.stat", "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:0\n7:1 rbytes=1 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n"),
    ("cpu.pressure", "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
    ("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"),
];

#[test]
fn usage_of_v1_and_v2_files_is_the_same_usage() {
    let one = Scene::new().with(Version::V1, V1, FILES_V1).usage();
    let two = Scene::new().with(Version::V2, V2, FILES_V2).usage();
    for usage in [&one, &two] {
        assert_eq!((usage.memory_bytes, usage.memory_working_set_bytes, usage.memory_bytes_max), (Some(5000), Some(4000), None));
        let memory = (usage.memory_cache_bytes, usage.memory_anonymous_bytes, usage.memory_kernel_bytes, usage.memory_swap_bytes);
        assert_eq!(memory, (Some(3000), Some(1500), Some(400), Some(64)));
        assert_eq!((usage.memory_limit_hits_total, usage.oom_kills_total), (Some(8), Some(2)));
        assert_eq!(
            (usage.cpu_usec_total, usage.cpu_user_usec_total, usage.cpu_system_usec_total),
            (Some(7000), Some(30_000), Some(10_000))
        );
        let throttled = (usage.cpu_periods_total, usage.cpu_throttled_periods_total, usage.cpu_throttled_usec_total);
        assert_eq!((throttled, usage.cpus_max), ((Some(10), Some(4), Some(5000)), Some(1.5)));
        assert_eq!((usage.pids, usage.pids_max, usage.pids_limit_hits_total), (Some(3), None, Some(6)));
        let bytes = (usage.io_read_bytes_total, usage.io_write_bytes_total);
        assert_eq!((bytes, usage.io_read_operations_total, usage.io_write_operations_total), ((Some(4097), Some(8192)), Some(2), Some(2)));
        let disk = usage.io.as_ref().unwrap().iter().find(|device| device.major == 254).unwrap();
        let DeviceUsage { read_bytes_total, write_bytes_total, read_operations_total, write_operations_total, .. } = *disk;
        assert_eq!((read_bytes_total, write_bytes_total, read_operations_total, write_operations_total), (4096, 8192, 1, 2));
        assert_eq!(usage.memory_bytes_peak, None, "a missing file is unknown, not 0");
        assert!(!usage.sources.contains_key("memory_bytes_peak"));
        let source = usage.sources.get("memory_working_set_bytes").unwrap();
        assert!(source.contains(".current - ") || source.contains("usage_in_bytes - "), "a difference names both files: {source}");
    }
    assert_eq!(one.pressure, None);
    let pressure = two.pressure.unwrap();
    let (cpu, memory) = (pressure.cpu.unwrap(), pressure.memory.unwrap());
    assert_eq!((cpu.some.avg10_percent, cpu.some.avg60_percent, cpu.some.usec_total, cpu.full.is_some()), (1.5, 0.25, 77, true));
    assert_eq!((memory.some.usec_total, memory.full, pressure.io), (1, None, None));
}

#[test]
fn on_a_host_with_both_the_core_of_v2_tells_time_and_pressure() {
    let core = [
        ("cpu.stat", "usage_usec 123\nuser_usec 100\nsystem_usec 23\n"),
        ("io.pressure", "some avg10=0.00 avg60=9.00 avg300=0.00 total=5\n"),
    ];
    let usage = Scene::new().with(Version::V1, V1, FILES_V1).with(Version::V2, &["hugetlb"], &core).usage();
    assert_eq!((usage.cpu_usec_total, usage.cpu_user_usec_total, usage.cpu_throttled_periods_total), (Some(123), Some(100), Some(4)));
    assert_eq!(usage.pressure.and_then(|pressure| pressure.io).map(|stall| stall.some.avg60_percent), Some(9.0));
    assert!(usage.sources["cpu_usec_total"].ends_with("/v2/b/cpu.stat#usage_usec"), "{:?}", usage.sources);
    assert!(usage.sources["cpu_throttled_usec_total"].ends_with("/v1/b/cpu.stat#throttled_time"), "{:?}", usage.sources);
}

#[test]
fn a_file_that_goes_takes_its_figures_with_it_and_brings_them_back() {
    let scene = Scene::new().with(Version::V2, V2, FILES_V2);
    let (mut files, mut usage, mut buffer) = (scene.files(), Usage::default(), Buffer::default());
    files.read(1, &mut usage, &mut buffer);
    // A regular file that is removed can still be read: an empty one stands for ENODEV.
    for (content, expected) in [("", None), ("4\n", Some(4))] {
        std::fs::write(scene.path(Version::V2, "pids.current"), content).unwrap();
        files.read(2, &mut usage, &mut buffer);
        assert_eq!((usage.at_ms, usage.pids), (2, expected));
    }
    std::fs::write(scene.path(Version::V2, "io.stat"), "7:1 rbytes=5 wbytes=0 rios=1 wios=0\n").unwrap();
    files.read(3, &mut usage, &mut buffer);
    let numbers: Vec<u32> = usage.io.iter().flatten().map(|device| device.major).collect();
    assert_eq!((numbers, usage.io_read_bytes_total, usage.io_write_bytes_total), (vec![7], Some(5), Some(0)));
}

#[test]
fn nonsense_is_unknown() {
    let names = FILES_V1.iter().chain(FILES_V2).map(|(name, _)| *name);
    for nonsense in ["", "\n", "\u{0}", "x y z\n", "-1\n", "99999999999999999999999\n", "some\nfull\n", "8: : Read Write =\n"] {
        let files: Vec<(&str, &str)> = names.clone().map(|name| (name, nonsense)).collect();
        let usage = Scene::new().with(Version::V1, V1, &files).usage();
        assert_eq!((usage.memory_bytes, usage.cpu_usec_total, usage.oom_kills_total, usage.cpus_max), (None, None, None, None));
        let usage = Scene::new().with(Version::V2, V2, &files).usage();
        assert_eq!((usage.memory_bytes, usage.cpu_usec_total, usage.pids, usage.cpus_max), (None, None, None, None));
        assert_eq!(usage.io, Some(Vec::new()));
    }
}

#[test]
fn a_folder_of_this_kernel_is_read_removed_and_found_again() {
    let Some(mut living) = crate::cgroup::testing::Living::new("usage") else { return };
    let descriptors = Descriptors::new(100);
    let (mut files, mut usage, mut buffer) = (UsageFiles::of(&living.cgroup, &descriptors), Usage::default(), Buffer::default());
    let sleeper = living.sleeper(&[]);
    files.read(1, &mut usage, &mut buffer);
    assert!(usage.pids.is_none_or(|pids| pids == 1) && usage.cpu_usec_total.is_some(), "{usage:?}");
    for (field, source) in usage.sources.iter() {
        let path = source.split(" - ").next().unwrap().split('#').next().unwrap();
        assert!(std::path::Path::new(path).exists(), "{field}: {source}");
    }
    let open = descriptors.left();
    living.cgroup.kill_all().unwrap();
    living.reap(&[sleeper]);
    living.cgroup.remove().unwrap();
    files.read(2, &mut usage, &mut buffer);
    let known = Usage { at_ms: 0, sources: Arc::default(), ..usage.clone() };
    assert_eq!((known, descriptors.left(), usage.sources.len()), (Usage::default(), 100, 0), "a folder that is gone holds no descriptor");
    living.cgroup.parts().iter().for_each(|part| part.make(&[]).unwrap());
    files.read(3, &mut usage, &mut buffer);
    assert_eq!((usage.cpu_usec_total.is_some(), descriptors.left()), (true, open));
}

#[test]
fn a_thousand_cgroups_are_read_at_once_whether_or_not_their_files_may_stay_open() {
    let mut scene = Scene::new().with(Version::V2, V2, &[]);
    let point = scene.list.remove(0).point;
    let hierarchies =
        Hierarchies::of_list(vec![Hierarchy { version: Version::V2, point: point.clone(), controllers: vec!["memory".to_owned()] }]);
    for number in 0..1000 {
        std::fs::create_dir(point.join(number.to_string())).unwrap();
        std::fs::write(point.join(format!("{number}/memory.current")), format!("{number}\n")).unwrap();
    }
    for budget in [100, 5000] {
        let descriptors = Descriptors::new(budget);
        let cgroup = |number: i32| Cgroup::at(&hierarchies, &number.to_string());
        let mut all: Vec<UsageFiles> = (0..1000).map(|number| UsageFiles::of(&cgroup(number), &descriptors)).collect();
        let (mut usage, mut buffer) = (Usage::default(), Buffer::default());
        for round in 0..2 {
            for (number, files) in (0..).zip(&mut all) {
                files.read(round, &mut usage, &mut buffer);
                assert_eq!(usage.memory_bytes, Some(number), "with {budget} descriptors");
            }
        }
        assert_eq!(descriptors.left(), budget.saturating_sub(1000), "one file each is kept, as far as they reach");
        drop(all);
        assert_eq!(descriptors.left(), budget);
    }
}
