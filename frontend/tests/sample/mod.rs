//! Sample data for tests and previews: ordinary containers, a hostile one, and ends of every kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use belljar_frontend::containers::{Findings, Healths, Usages};
use belljar_frontend::{Access, Frame, Notice, Tone};
use belljar_model::cgroup::{Cgroup, Controller, Figure, RawFile, Unit, Value, Version};
use belljar_model::container::{ProcessRef, Restart};
use belljar_model::denied::Denied;
use belljar_model::diagnosis::{Finding, FindingKind, Gravity};
use belljar_model::exit::{Cause, Victim};
use belljar_model::health::{CheckVerdict, Checked, Health, HealthCheck, HealthStatus};
use belljar_model::history::{History, Point};
use belljar_model::host::{HostController, LimitSupport, Space, Support};
use belljar_model::image::{Contents, HistoryEntry, ImageConfig, ImageKind, LayerInfo, Platform, Pruned, Summary};
use belljar_model::limits::HostCapacity;
use belljar_model::log::{LogLine, Stream};
use belljar_model::mount::VolumeMount;
use belljar_model::mounted::{self, Mounted, Mounts, Origin};
use belljar_model::namespace::{Kind, Namespace, Sharing};
use belljar_model::overlay::{Change, Difference, Entry, FileKind, Layer, LayerQuota, Role, Row, RowKind, Stack, Status};
use belljar_model::plan::{Outcome, Place, PlanRecord, StepRecord};
use belljar_model::pull::{PullLayer, PullLayerState, PullState};
use belljar_model::security::{LandlockAccess, LandlockRule};
use belljar_model::setting::Device;
use belljar_model::usage::{DeviceUsage, InterfaceUsage, Pressure, Stall, StallLine, Usage};
use belljar_model::volume::{Kept, Measure, User, VolumeFile};
use belljar_model::{
    Config, Container, ContainerId, Event, EventKind, Exit, Failure, Host, Image, Limits, Mount, OutOfMemory, Process, Pull, Signal, State,
    Token, Volume, VolumeName, Wanted, Whose,
};

/// The moment of every sample: 2026-11-23 21:40:00 UTC.
pub(crate) const NOW_MS: i64 = 1_795_470_000_000;

/// Text that breaks out of HTML, of attributes, and of URLs wherever it is not escaped.
pub(crate) const HOSTILE: &str = "\"><script>alert('x')</script><img src=x onerror=alert(1)>&amp;\u{202e}";

pub(crate) fn frame(text: Option<&str>) -> Frame<'_> {
    let notice = text.map(|text| Notice { tone: Tone::Good, text });
    Frame { hostname: "attic", access: Access::Session, notice, now_ms: NOW_MS }
}

pub(crate) fn nobody() -> Frame<'static> {
    Frame { access: Access::Nobody, ..frame(None) }
}

pub(crate) fn container(number: u32, name: &str, command: &[&str]) -> Container {
    let config = Config {
        name: name.parse().expect("a sample name"),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        ..serde_json::from_str(r#"{"name":"a","image":"host","command":["a"]}"#).expect("a sample config")
    };
    let mut bytes = [0; 32];
    // Ids of samples must look random, because that is what they weigh on the wire.
    let mut seed = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for byte in &mut bytes {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        *byte = seed.to_le_bytes()[3];
    }
    Container {
        id: ContainerId::from_bytes(bytes),
        config,
        state: State::Running,
        wanted: Wanted::Running,
        uid_base: Some(100_000 + number * 65_536),
        without_ids: None,
        image_digest: None,
        created_at_ms: NOW_MS - 3_600_000 * i64::from(number + 1),
        started_at_ms: Some(NOW_MS - 61_000 * i64::from(number * number + 1)),
        init: Some(ProcessRef { pid: 4242 + number as i32, start_ticks: 1 }),
        monitor: Some(ProcessRef { pid: 4240 + number as i32, start_ticks: 1 }),
        exit: None,
        restarts: 0,
    }
}

pub(crate) fn stopped(mut container: Container, cause: Cause, out_of_memory: Option<OutOfMemory>) -> Container {
    container.state = State::Stopped;
    container.init = None;
    container.monitor = None;
    container.exit = Some(Exit { cause, out_of_memory, at_ms: NOW_MS - 127_000 });
    container
}

pub(crate) fn out_of_memory() -> Container {
    let mut container = container(3, "greedy", &["tail", "/dev/zero"]);
    container.config.limits = Limits { memory_bytes: Some(4 << 20), memory_swap_bytes: Some(0), ..Limits::default() };
    let victim = Some(Victim { pid: 5117, command: "tail".into() });
    let kill = OutOfMemory { kills: 1, limit_bytes: Some(4 << 20), peak_bytes: Some(4 << 20), victim, went_on: false };
    stopped(container, Cause::Signaled { signal: Signal::KILL }, Some(kill))
}

pub(crate) fn failure() -> Failure {
    Failure { step: "exec".into(), object: "nginxx".into(), cause: "ENOENT: no such file or directory".into() }
}

/// The container with everything: mounts, labels, environment, limits.
pub(crate) fn database() -> Container {
    let mut database = container(1, "database", &["postgres", "-D", "/data", "-c", "shared_buffers=16MB"]);
    database.config.limits =
        Limits { memory_bytes: Some(64 << 20), memory_swap_bytes: Some(0), cpus: Some(0.5), pids: Some(128), ..Limits::default() };
    database.config.hostname = Some("db.home.arpa".parse().expect("a hostname"));
    database.config.user = Some("postgres:postgres".parse().expect("a user"));
    database.config.restart = Restart::UnlessStopped;
    database.config.env = BTreeMap::from([("TZ".into(), "Europe/Paris".into()), ("PGDATA".into(), "/data".into())]);
    database.config.labels = BTreeMap::from([("homepage.group".into(), "Storage".into())]);
    database.config.mounts = vec![
        Mount::Bind { source: "/srv/database".into(), target: "/data".into(), readonly: false, idmap: None },
        Mount::Volume(VolumeMount {
            subpath: Some("main".into()),
            idmap: "u:1000:999,g:1000:999".parse().ok(),
            ..VolumeMount::of("pgdata".parse().ok(), "/var/lib/postgresql")
        }),
        Mount::Layer { source: "/srv/conf/postgres".into() },
        Mount::Tmpfs { target: "/run/postgresql".into(), size_bytes: Some(8 << 20) },
    ];
    let check = ["pg_isready", "-U", "postgres"].map(str::to_owned);
    database.config.health = Some(HealthCheck { start_period_ms: 60_000, ..HealthCheck::of(check.into()) });
    database.restarts = 2;
    database
}

/// One that goes without much of its protection, and uses every setting.
pub(crate) fn loosened() -> Container {
    let mut loosened = container(7, "lab", &["sh", "-c", "mount -t tmpfs x /mnt"]);
    let config = r#"{"name":"lab","image":"host","command":["sh","-c","mount -t tmpfs x /mnt"],
        "namespaces":{"net":"host","pid":"container:web","uts":"host"},"time_offsets":{"boottime":86400},
        "security":{"capabilities":{"add":["NET_ADMIN","BPF"],"drop":["MKNOD"]},"seccomp":"record","system_paths":"unconfined",
        "new_privileges":"allowed","landlock":[{"path":"/usr","access":["read","execute"]},{"path":"/srv","access":["read","write"]}]},
        "ulimits":{"nofile":{"soft":1024,"hard":2048},"core":{"soft":0,"hard":null}},"sysctls":{"kernel.shmmax":"67108864"},
        "oom_score_adj":-500,"nice":5,"groups":["audio","44"],"umask":"0077","read_only":true,"shm_bytes":134217728,
        "devices":[{"source":"/dev/fuse","access":"rw"}],"hidepid":2}"#;
    loosened.config = serde_json::from_str(config).expect("a sample config");
    loosened.without_ids = Some("the layer /srv/conf lies on a file system (ramfs) that cannot map owners".into());
    loosened
}

pub(crate) fn denied() -> Vec<Denied> {
    [("mount", 3), ("keyctl", 1)].map(|(call, times)| Denied { call: call.into(), times }).to_vec()
}

pub(crate) fn hostile() -> Container {
    let mut hostile = container(9, "hostile", &[HOSTILE, HOSTILE]);
    hostile.config.env = BTreeMap::from([(HOSTILE.into(), HOSTILE.into())]);
    hostile.config.labels = BTreeMap::from([(HOSTILE.into(), HOSTILE.into())]);
    hostile.config.workdir = Some(format!("/{HOSTILE}"));
    hostile.config.namespaces.net = Some(Whose::Path(format!("/{HOSTILE}")));
    hostile.config.security.landlock = vec![LandlockRule { path: format!("/{HOSTILE}"), access: LandlockAccess::ALL.into() }];
    hostile.config.sysctls = BTreeMap::from([(HOSTILE.into(), HOSTILE.into())]);
    hostile.config.devices = vec![Device { source: HOSTILE.into(), path: None, access: HOSTILE.into() }];
    hostile.config.health = Some(HealthCheck::of(vec![HOSTILE.into()]));
    hostile.without_ids = Some(HOSTILE.into());
    hostile.config.mounts = vec![Mount::Bind { source: format!("/{HOSTILE}"), target: format!("/{HOSTILE}"), readonly: true, idmap: None }];
    let object = HOSTILE.repeat(3);
    stopped(hostile, Cause::NeverStarted(Failure { step: "exec".into(), object, cause: HOSTILE.into() }), None)
}

/// One of every kind.
pub(crate) fn containers() -> Vec<Container> {
    let mut paused = container(5, "backup", &["restic", "backup", "/data"]);
    paused.state = State::Paused;
    let mut created = container(6, "drawer", &["sleep", "1d"]);
    (created.state, created.started_at_ms, created.init) = (State::Created, None, None);
    let mut web = container(0, "web", &["nginx", "-g", "daemon off;"]);
    web.config.limits.memory_bytes = Some(32 << 20);
    vec![
        web,
        database(),
        container(2, "home-assistant", &["python3", "-m", "homeassistant"]),
        out_of_memory(),
        stopped(container(4, "typo", &["nginxx"]), Cause::NeverStarted(failure()), None),
        paused,
        created,
        stopped(container(7, "once", &["true"]), Cause::Exited { code: 0 }, None),
        stopped(container(8, "importer", &["import"]), Cause::Exited { code: 3 }, None),
        stopped(container(10, "dns", &["dnsmasq"]), Cause::Signaled { signal: Signal::from_number(11).expect("SIGSEGV") }, None),
        stopped(container(11, "attic-cam", &["cam"]), Cause::Lost { why: "the machine was restarted".into() }, None),
    ]
}

/// As many as asked, of all kinds.
pub(crate) fn many(count: u32) -> Vec<Container> {
    let kinds = containers();
    let numbered = |number: u32| {
        let mut one = kinds[number as usize % kinds.len()].clone();
        one.id = container(number + 100, "x", &["x"]).id;
        one.config.name = format!("{}-{number}", one.config.name).parse().expect("a sample name");
        one.restarts = number % 7;
        one
    };
    (0..count).map(numbered).collect()
}

pub(crate) fn usage(number: u64) -> Usage {
    let sources = [
        ("cpu_usec_total", "/sys/fs/cgroup/belljar/4f2a/cpu.stat#usage_usec"),
        ("memory_working_set_bytes", "/sys/fs/cgroup/belljar/4f2a/memory.current"),
        ("memory_bytes", "/sys/fs/cgroup/belljar/4f2a/memory.current"),
        ("memory_bytes_peak", "/sys/fs/cgroup/belljar/4f2a/memory.peak"),
        ("pids", "/sys/fs/cgroup/belljar/4f2a/pids.current"),
        ("network_rx_bytes", "/proc/4243/net/dev"),
        ("network_tx_bytes", "/proc/4243/net/dev"),
    ];
    Usage {
        at_ms: NOW_MS,
        cpu_usec_total: Some(1_234_567 * (number + 1)),
        cpu_percent: Some(0.3 + 7.9 * number as f64),
        memory_bytes: Some((18 << 20) + number * 1_234_567),
        memory_working_set_bytes: Some((12 << 20) + number * 1_034_567 * 7),
        memory_bytes_peak: Some(31 << 20),
        memory_bytes_max: (!number.is_multiple_of(3)).then_some(64 << 20),
        pids: Some(7 + number),
        pids_max: Some(128),
        cpu_throttled_usec_total: Some(number * 1_200_000),
        memory_cache_bytes: Some(6 << 20),
        memory_anonymous_bytes: Some(11 << 20),
        memory_kernel_bytes: Some(900 << 10),
        memory_swap_bytes: Some(0),
        pids_limit_hits_total: Some(number),
        io_read_bytes_total: Some(123_456_789),
        io_write_bytes_total: Some(4_096),
        io: Some(vec![DeviceUsage {
            major: 8,
            name: Some("sda".into()),
            read_bytes_total: 123_456_789,
            read_operations_total: 1_234,
            ..DeviceUsage::default()
        }]),
        network: Some(vec![InterfaceUsage { name: HOSTILE.into(), ..InterfaceUsage::default() }]),
        pressure: Some(pressure()),
        network_rx_bytes: Some(0),
        network_tx_bytes: None,
        sources: Arc::new(sources.map(|(field, source)| (field.to_owned(), source.to_owned())).into()),
        ..Usage::default()
    }
}

/// An ordinary past: a day's rhythm, a limit that was raised after it ran out of memory, and an hour in which the server was away.
pub(crate) fn history(step_ms: i64, length_ms: i64) -> History {
    let begin_ms = (NOW_MS - length_ms) / step_ms * step_ms;
    let slots = (0..length_ms / step_ms).filter(|slot| slot * 100 / (length_ms / step_ms) != 62);
    let noise = |slot: i64, salt: i64| (slot.wrapping_mul(2_654_435_761) ^ salt.wrapping_mul(40_503)).rem_euclid(1000) as f64 / 1000.0;
    let point = |slot: i64| {
        let share = slot as f64 / (length_ms / step_ms) as f64;
        let wave = 0.5 - 0.5 * (share * 9.0).cos();
        let burst = if (0.70..0.78).contains(&share) { 1.0 } else { 0.0 };
        let limit = if share < 0.45 { 32 << 20 } else { 64 << 20 };
        let climb = if share < 0.45 { share / 0.45 } else { 0.35 + 0.2 * wave };
        let cpu = (3.0 + 14.0 * wave + 6.0 * noise(slot, 1) + 30.0 * burst).min(50.0);
        let memory = (climb * 30.0 * 1_048_576.0 + noise(slot, 2) * 900_000.0) as u64;
        Point {
            at_ms: begin_ms + slot * step_ms,
            cpu_percent: Some(cpu),
            cpu_percent_peak: Some((cpu * (1.1 + 0.6 * noise(slot, 3))).min(50.0)),
            cpu_throttled_percent: Some(burst * (35.0 + 20.0 * noise(slot, 4))),
            cpus_max: Some(0.5),
            memory_bytes: Some(memory),
            memory_bytes_peak: Some((memory + (noise(slot, 5) * 2e6) as u64).min(limit)),
            memory_bytes_max: Some(limit),
            memory_swap_bytes: Some(0),
            pids: Some(7 + (wave * 6.0 + noise(slot, 6) * 2.0) as u64),
            pids_max: Some(128),
            io_read_bytes_per_second: Some(if noise(slot, 7) > 0.93 { 4e6 * noise(slot, 8) } else { 900.0 * wave }),
            io_write_bytes_per_second: Some(60_000.0 * wave + 30_000.0 * noise(slot, 9) + burst * 2e6),
            network_rx_bytes_per_second: None,
            network_tx_bytes_per_second: None,
            cpu_pressure_percent: Some(burst * 30.0 + noise(slot, 10)),
            memory_pressure_percent: Some(if (0.42..0.45).contains(&share) { 40.0 } else { 0.0 }),
            io_pressure_percent: Some(burst * 8.0 + 2.0 * noise(slot, 11)),
            oom_kills: Some(0),
        }
    };
    History { step_ms, points: slots.map(point).collect() }
}

/// What happened in that past.
pub(crate) fn past_events(length_ms: i64) -> Vec<Event> {
    let event = |kind: EventKind, share: f64, message: &str| Event {
        id: (share * 1000.0) as i64,
        at_ms: NOW_MS - length_ms + (length_ms as f64 * share) as i64,
        kind,
        container: None,
        subject: "database".into(),
        message: message.into(),
    };
    vec![
        event(EventKind::LimitHit, 0.73, "held back by its cpu limit 41 % of the last minute"),
        event(EventKind::Exec, 0.60, "ran psql"),
        event(EventKind::LimitsChanged, 0.455, "memory 32 MiB, now 64 MiB"),
        event(EventKind::OutOfMemory, 0.45, "killed by OOM at 32 MiB: postgres (pid 7)"),
        event(EventKind::Started, 0.02, HOSTILE),
    ]
}

pub(crate) fn usages(containers: &[Container]) -> Usages {
    let alive = containers.iter().enumerate().filter(|(_, container)| container.state.is_alive());
    alive.map(|(index, container)| (container.id.clone(), usage(index as u64 % 8))).collect()
}

/// What checks found that ended in every way; what they wrote is hostile.
pub(crate) fn health() -> Health {
    let ends = [CheckVerdict::Exited(0), CheckVerdict::TimedOut(30_000), CheckVerdict::Failed(HOSTILE.into()), CheckVerdict::Exited(7)];
    let checked = |(index, verdict): (usize, CheckVerdict)| Checked {
        began_at_ms: NOW_MS - 127_000 + 30_000 * index as i64,
        took_ms: 12,
        output: if verdict.is_healthy() { String::new() } else { format!("curl: (7) Failed to connect\n{HOSTILE}\n") },
        verdict,
    };
    Health { status: HealthStatus::Unhealthy, failing_streak: 3, log: ends.into_iter().enumerate().map(checked).collect() }
}

/// How those do that have a check.
pub(crate) fn healths(containers: &[Container]) -> Healths {
    let of = |container: &Container| {
        let is_checked = container.config.health_check().is_some() && container.state.is_alive();
        is_checked.then(|| (container.id.clone(), Arc::new(health())))
    };
    containers.iter().filter_map(of).collect()
}

pub(crate) fn processes() -> Vec<Process> {
    let process = |pid: i32, inside: i32, command: &str| Process {
        pid,
        pid_inside: Some(inside),
        ppid: 4240,
        uid_inside: Some(999),
        command: command.into(),
        state: 'S',
        rss_bytes: Some(11 << 20),
        cpu_usec: Some(340_000 * inside as u64),
    };
    vec![
        process(4243, 1, "postgres -D /data -c shared_buffers=16MB"),
        process(4250, 12, "postgres: checkpointer"),
        Process { rss_bytes: None, state: 'Z', ..process(4251, 13, HOSTILE) },
    ]
}

pub(crate) fn namespaces() -> Vec<Namespace> {
    let namespace = |(index, kind): (usize, Kind)| Namespace {
        kind,
        inode: (kind != Kind::Time).then_some(4_026_532_201 + index as u64),
        host_inode: Some(4_026_531_835 + index as u64),
        sharing: match kind {
            Kind::Time => Sharing::Host,
            Kind::Net => Sharing::Containers(vec!["web".into(), HOSTILE.into()]),
            _ => Sharing::Own,
        },
        source: format!("/proc/4243/ns/{}", kind.as_str()),
    };
    Kind::ALL.into_iter().enumerate().map(namespace).collect()
}

/// What is mounted, as a hostile program would have it; without a source, as it will be.
pub(crate) fn mounts(source: Option<&str>) -> Mounts {
    let kernel = || mounted::Mount {
        id: 601,
        filesystem: HOSTILE.into(),
        device: HOSTILE.into(),
        root: format!("/{HOSTILE}\n"),
        options: vec!["rw".into(), HOSTILE.into()],
        filesystem_options: vec![HOSTILE.into()],
        propagation: "shared:9 master:2".into(),
    };
    let mount = |target: &str, origin, asked: &str| Mounted {
        target: target.into(),
        origin,
        asked: asked.into(),
        kernel: source.map(|_| kernel()),
    };
    let mut mounts = vec![
        mount("/", Origin::Overlay, "its own layer over 4 more"),
        mount("/var/lib/postgresql", Origin::Volume, "the volume pgdata"),
        mount(&format!("/{HOSTILE}\n"), Origin::Other, ""),
        mount("/proc/kcore", Origin::Masked, "reads as empty"),
    ];
    mounts.push(Mounted { kernel: None, ..mount("/srv", Origin::Bind, &format!("{HOSTILE} of the host")) });
    Mounts { source: source.map(str::to_owned), complete: false, mounts }
}

pub(crate) fn cgroup() -> Cgroup {
    let figure = |name: &str, value: Value, unit: Unit, source: &str, raw: &str| Figure {
        name: name.into(),
        value,
        unit,
        source: source.into(),
        raw: raw.into(),
    };
    let number = Value::Number;
    let memory = "/sys/fs/cgroup/memory/belljar/4f2a";
    let cpu = "/sys/fs/cgroup/cpu,cpuacct/belljar/4f2a";
    let pids = "/sys/fs/cgroup/pids/belljar/4f2a";
    let file = |folder: &str, name: &str| format!("{folder}/{name}");
    Cgroup {
        mode: "hybrid".into(),
        controllers: vec![
            Controller {
                name: "cpu".into(),
                version: Version::V1,
                path: cpu.into(),
                limits: vec![
                    figure("cpus_max", number(0.5), Unit::Cpus, &file(cpu, "cpu.cfs_quota_us"), "50000"),
                    figure("cpu_period_usec", number(100_000.0), Unit::Usec, &file(cpu, "cpu.cfs_period_us"), "100000"),
                ],
                usage: vec![
                    figure("cpu_usec_total", number(2_469_134.0), Unit::Usec, &file(cpu, "cpuacct.usage"), "2469134211"),
                    figure("throttled_count", number(1_732.0), Unit::Count, &file(cpu, "cpu.stat#nr_throttled"), "1732"),
                ],
                files: Vec::new(),
            },
            Controller {
                name: "memory".into(),
                version: Version::V1,
                path: memory.into(),
                limits: vec![
                    figure("memory_bytes_max", number(67_108_864.0), Unit::Bytes, &file(memory, "memory.limit_in_bytes"), "67108864"),
                    figure("kernel_memory_bytes_max", Value::Unlimited, Unit::Bytes, &file(memory, "memory.kmem.limit_in_bytes"), "-1"),
                ],
                usage: vec![
                    figure("memory_bytes", number(20_108_864.0), Unit::Bytes, &file(memory, "memory.usage_in_bytes"), "20108864"),
                    figure("inactive_file_bytes", Value::Unknown, Unit::Bytes, &file(memory, "memory.stat#inactive_file"), HOSTILE),
                ],
                files: raw_files(),
            },
            Controller {
                name: "pids".into(),
                version: Version::V2,
                path: pids.into(),
                limits: vec![figure("pids_max", number(128.0), Unit::Count, &file(pids, "pids.max"), "128")],
                usage: vec![figure("pids", number(7.0), Unit::Count, &file(pids, "pids.current"), "7")],
                files: Vec::new(),
            },
        ],
    }
}

fn raw_files() -> Vec<RawFile> {
    let file = |name: &str, content: &str| RawFile { name: name.into(), content: content.into(), is_cut: false, problem: None };
    vec![
        file("cgroup.procs", "4243\n4250\n4251\n"),
        RawFile { problem: Some("EINVAL: invalid argument".into()), ..file("memory.force_empty", "") },
        file("memory.limit_in_bytes", "67108864\n"),
        file("memory.pressure_level", ""),
        RawFile { is_cut: true, ..file("memory.stat", "cache 7143424\nrss 12582912\nrss_huge 0\nmapped_file 405504\n") },
        file("memory.usage_in_bytes", HOSTILE),
    ]
}

pub(crate) fn stack() -> Stack {
    let layer = |role: Role, path: &str, at: &str, label: &str| Layer {
        role,
        path: path.into(),
        at: at.into(),
        label: label.into(),
        digest: (role == Role::Image && at.is_empty()).then(|| format!("sha256:{}", "9c".repeat(32))),
        size_bytes: matches!(role, Role::Upper | Role::Image).then_some(48_213_004),
        command: (role == Role::Image && at.is_empty()).then(|| "RUN apt-get install -y postgresql <&>".into()),
    };
    Stack {
        layers: vec![
            layer(Role::Upper, "/var/lib/belljar/containers/4f2a/upper", "", "database"),
            layer(Role::Init, "/var/lib/belljar/containers/4f2a/init", "", "made at start"),
            layer(Role::Extra, "/srv/conf/postgres", "", "/srv/conf/postgres"),
            layer(Role::Image, "/var/lib/belljar/images/host/9c1e", "", "host skeleton"),
            layer(Role::Image, "/usr", "usr", "the host's /usr"),
        ],
        work: "/var/lib/belljar/containers/4f2a/work".into(),
        merged: Some("/proc/4243/root".into()),
        quota: Some(LayerQuota { project: 1_879_048_199, bytes: 12 << 20, inodes: 341, bytes_max: Some(100 << 20), inodes_max: None }),
    }
}

pub(crate) fn entries() -> Vec<Entry> {
    let entry = |name: &str, kind: FileKind, layer: usize, status: Status| Entry {
        name: name.into(),
        path: format!("/etc/{name}"),
        kind,
        size_bytes: 1_337,
        mode: if kind == FileKind::Directory { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        modified_at_ms: NOW_MS - 86_400_000,
        link_target: (kind == FileKind::Symlink).then(|| "/usr/share/zoneinfo/Europe/Paris".into()),
        layer,
        status,
        hides: if matches!(status, Status::Modified | Status::Replaced) { vec![2, 3] } else { Vec::new() },
        copied_up: status == Status::Modified,
        opaque: status == Status::Replaced,
    };
    vec![
        entry("conf.d", FileKind::Directory, 2, Status::Unchanged),
        entry("ssl", FileKind::Directory, 0, Status::Replaced),
        entry("hostname", FileKind::File, 1, Status::Unchanged),
        entry("localtime", FileKind::Symlink, 3, Status::Unchanged),
        entry("motd", FileKind::File, 3, Status::Deleted),
        entry("passwd", FileKind::File, 0, Status::Modified),
        entry("rw.txt", FileKind::File, 0, Status::Added),
        entry(HOSTILE, FileKind::File, 0, Status::Added),
        entry("gone", FileKind::Directory, 99, Status::Deleted),
    ]
}

pub(crate) fn difference() -> Difference {
    let row = |kind: RowKind, before_line: Option<usize>, after_line: Option<usize>, text: &str| Row {
        kind,
        before_line,
        after_line,
        text: text.into(),
        no_newline: false,
    };
    Difference {
        path: "/etc/passwd".into(),
        status: Status::Modified,
        below: Some(3),
        notes: vec!["Its mode was 0644 and is 0600 now.".into()],
        rows: vec![
            row(RowKind::Gap, None, None, ""),
            row(RowKind::Same, Some(4), Some(4), "bin:x:2:2:bin:/bin:/usr/sbin/nologin"),
            row(RowKind::Removed, Some(5), None, "sys:x:3:3:sys:/dev:/usr/sbin/nologin"),
            row(RowKind::Added, None, Some(5), HOSTILE),
            Row { no_newline: true, ..row(RowKind::Added, None, Some(6), "postgres:x:999:999::/:/bin/sh") },
            row(RowKind::Gap, None, None, ""),
        ],
    }
}

pub(crate) fn changes() -> Vec<Change> {
    let change =
        |path: &str, status: Status, size_bytes: u64| Change { path: path.into(), status, kind: FileKind::File, size_bytes, below: None };
    vec![
        change("/etc/motd", Status::Deleted, 0),
        change("/etc/passwd", Status::Modified, 1_337),
        change("/etc/rw.txt", Status::Added, 12),
        change("/etc/ssl", Status::Replaced, 0),
        change("/var/log/postgresql/postgresql.log", Status::Added, 48_213),
        change(&format!("/tmp/{HOSTILE}"), Status::Added, 1),
    ]
}

pub(crate) fn lines() -> Vec<LogLine> {
    let texts = [
        (Stream::Stderr, "LOG:  starting PostgreSQL 17.2 on x86_64-pc-linux-gnu, compiled by gcc, 64-bit"),
        (Stream::Stderr, "LOG:  listening on IPv4 address \"127.0.0.1\", port 5432"),
        (Stream::Stdout, "database system was shut down at 2026-11-23 21:38:58 UTC"),
        (Stream::Stderr, "WARNING:  could not open statistics file: Permission denied"),
        (Stream::Stdout, HOSTILE),
        (Stream::Stdout, "\u{1b}[31mred by an escape sequence\u{1b}[0m and a \ttab"),
        (Stream::Stdout, ""),
        (Stream::Stdout, "database system is ready to accept connections"),
    ];
    let line = |(index, (stream, text)): (usize, (Stream, &str))| LogLine {
        at_usec: (NOW_MS - 60_000) * 1000 + index as i64 * 137_211,
        stream,
        text: text.into(),
        partial: false,
    };
    texts.into_iter().enumerate().map(line).collect()
}

pub(crate) fn events() -> Vec<Event> {
    let id = container(1, "database", &["x"]).id;
    let message = |kind: EventKind| match kind {
        EventKind::OutOfMemory => "out of memory, limit 4 MiB, peak 4 MiB, process tail (pid 5117)".to_owned(),
        EventKind::StartFailed => "could not start typo: exec nginxx: ENOENT: no such file or directory".to_owned(),
        EventKind::Started => "started as pid 4243".to_owned(),
        EventKind::Deleted => HOSTILE.to_owned(),
        other => format!("{} by a person", other.as_str().replace('_', " ")),
    };
    let event = |(index, kind): (usize, EventKind)| Event {
        id: 1000 - index as i64,
        at_ms: NOW_MS - 47_000 * index as i64,
        kind,
        container: kind.is_of_container().then(|| id.clone()),
        subject: if kind == EventKind::Deleted { HOSTILE.into() } else { "database".into() },
        message: message(kind),
    };
    EventKind::ALL.into_iter().enumerate().map(event).collect()
}

pub(crate) fn plan() -> PlanRecord {
    use Place::{Inside, Outside};
    let steps = [
        ("create cgroup belljar/4f2a in cpu, memory, pids", Outside, 420),
        ("limit memory to 64 MiB, swap to 0", Outside, 61),
        ("clone with new mnt, pid, net, uts, ipc, user, cgroup namespaces", Outside, 980),
        ("map ids 0-65535 to 165536-231071", Outside, 88),
        ("mount overlay (5 lower layers)", Inside, 510),
        ("bind /srv/database at /data, read-write, no set-uid, no devices", Inside, 73),
        ("mount proc at /proc, no set-uid, no devices, no programs", Inside, 120),
        ("pivot root", Inside, 34),
        ("mask /proc/kcore", Inside, 19),
        ("set hostname db.home.arpa", Inside, 4),
        ("drop bounding capabilities (27)", Inside, 15),
        ("load seccomp filter (353 system calls allowed)", Inside, 210),
        ("exec postgres", Inside, 640),
    ];
    let record =
        |(text, place, usec): (&str, Place, u64)| StepRecord { text: text.into(), place, outcome: Outcome::Done, took_usec: Some(usec) };
    PlanRecord { steps: steps.into_iter().map(record).collect(), failure: None }
}

pub(crate) fn failed_plan() -> PlanRecord {
    let mut plan = plan();
    let count = plan.steps.len();
    plan.steps[count - 3].outcome = Outcome::Failed;
    for step in &mut plan.steps[count - 2..] {
        (step.outcome, step.took_usec) = (Outcome::Pending, None);
    }
    plan.failure =
        Some(Failure { step: "drop".into(), object: "bounding capabilities".into(), cause: "EPERM: operation not permitted".into() });
    plan
}

pub(crate) fn images() -> Vec<Image> {
    let image = |name: &str, kind: ImageKind, size_bytes: u64, entries: u64| Image {
        name: name.parse().expect("a sample image"),
        kind,
        digest: format!("sha256:{}", container(77, "x", &["x"]).id),
        manifest_digest: None,
        size_bytes,
        entries,
        created_at_ms: NOW_MS - 86_400_000,
        contents: std::sync::Arc::default(),
    };
    let (mut nginx, mut hostile) = (image("nginx:1.27", ImageKind::Oci, 192_000_000, 9_120), image("evil:1", ImageKind::Oci, 1, 1));
    nginx.contents = Arc::new(contents("nginx", "/bin/sh -c apt-get install nginx"));
    hostile.contents = Arc::new(contents(HOSTILE, HOSTILE));
    (nginx.digest, hostile.digest) = (digest('a'), digest('b'));
    nginx.manifest_digest = Some(digest('c'));
    vec![image("host", ImageKind::Host, 0, 41), image("alpine-3.22", ImageKind::Rootfs, 8_234_111, 1_204), nginx, hostile]
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// An image that says everything, in these words.
fn contents(word: &str, made: &str) -> Contents {
    let words = || vec![word.to_owned(), "-g".to_owned(), "daemon off;".to_owned()];
    let layer =
        |digit| LayerInfo { diff_id: digest(digit), digest: Some(digest('f')), size_bytes: 74_000_000, entries: 4_000, command: None };
    let entry =
        |empty_layer| HistoryEntry { command: Some(made.into()), comment: Some(word.into()), empty_layer, ..HistoryEntry::default() };
    Contents {
        platform: Some(Platform { os: "linux".into(), architecture: "arm64".into(), variant: Some("v8".into()) }),
        made_at_ms: Some(NOW_MS - 9 * 86_400_000),
        author: Some(word.into()),
        config: ImageConfig {
            entrypoint: vec![format!("/{word}")],
            command: words(),
            env: BTreeMap::from([("PATH".into(), "/usr/bin".into()), (word.into(), word.into())]),
            user: Some(word.into()),
            workdir: Some(format!("/{word}")),
            volumes: [format!("/{word}")].into(),
            exposed_ports: ["80/tcp".to_owned(), word.to_owned()].into(),
            stop_signal: Some(word.into()),
            labels: BTreeMap::from([(word.into(), word.into())]),
            health: Some(HealthCheck::of(words())),
        },
        layers: vec![layer('d'), layer('e')],
        history: vec![entry(false), entry(true), entry(false)],
    }
}

/// The same images beside each other.
pub(crate) fn summaries() -> Vec<Summary> {
    let summary = |image: Image| Summary {
        names: vec![image.name.clone(), "registry.example/me/web:1".parse().expect("a sample name")],
        containers: if image.name.is_host() {
            ["web", "database", "dns", "once", "typo", "greedy"].map(str::to_owned).into()
        } else {
            Vec::new()
        },
        own_bytes: image.size_bytes / 3,
        shared_bytes: image.size_bytes - image.size_bytes / 3,
        image,
    };
    images().into_iter().map(summary).collect()
}

/// Pulls in every state; what a registry says is hostile.
pub(crate) fn pulls() -> Vec<Pull> {
    let layer = |state: PullLayerState, received_bytes| PullLayer { digest: HOSTILE.into(), total_bytes: 30 << 20, received_bytes, state };
    let layers = vec![
        layer(PullLayerState::Present, 0),
        layer(PullLayerState::Done, 30 << 20),
        layer(PullLayerState::Fetching, 12 << 20),
        layer(PullLayerState::Waiting, 0),
    ];
    let pull = |name: &str, state: PullState| Pull {
        name: name.parse().expect("a sample name"),
        layers: if state == PullState::Fetching { layers.clone() } else { Vec::new() },
        state,
        began_at_ms: NOW_MS - 4_000,
    };
    vec![
        pull("postgres:17", PullState::Fetching),
        pull("redis:7", PullState::Resolving),
        pull("nginx:1", PullState::Waiting { because: HOSTILE.into(), until_ms: NOW_MS }),
        pull("evil:2", PullState::Failed { problem: HOSTILE.into() }),
        pull("alpine:3", PullState::Done { manifest_digest: digest('a') }),
    ]
}

/// What a prune would take.
pub(crate) fn pruned() -> Pruned {
    Pruned { images: images().split_off(1), layers: vec![digest('d')], freed_bytes: 74_000_000 }
}

pub(crate) fn volumes() -> Vec<Kept> {
    let kept = |name: &str, measure: Option<Measure>, users: &[&str]| {
        let name: VolumeName = name.parse().expect("a sample volume");
        let user = |container: &&str| User { container: (*container).into(), target: format!("/{HOSTILE}"), readonly: true };
        let labels = BTreeMap::from([(HOSTILE.into(), HOSTILE.into())]);
        Kept {
            path: format!("/var/lib/belljar/volumes/{name}/data"),
            volume: Volume { anonymous: name.looks_made(), name, labels, created_at_ms: NOW_MS - 86_400_000 },
            measure,
            users: users.iter().map(user).collect(),
        }
    };
    let measure = Measure { size_bytes: 48_234_111, entries: 1_204, complete: true, at_ms: NOW_MS };
    let own = container(78, "x", &["x"]).id.to_string();
    vec![
        kept("pgdata", Some(measure), &["database", "backup", "a", "b", "c", "d"]),
        kept(&own, None, &["web"]),
        kept("media", Some(Measure { complete: false, ..measure }), &[]),
    ]
}

pub(crate) fn volume_files() -> Vec<VolumeFile> {
    let file = |name: &str, kind: FileKind, link_target: Option<&str>| VolumeFile {
        name: name.into(),
        kind,
        size_bytes: if kind == FileKind::File { 8192 } else { 0 },
        mode: 0o2750,
        uid: 999,
        gid: 999,
        modified_at_ms: NOW_MS - 3_600_000,
        link_target: link_target.map(str::to_owned),
    };
    vec![
        file("pg_wal", FileKind::Directory, None),
        file(HOSTILE, FileKind::Directory, None),
        file("1247", FileKind::File, None),
        file(HOSTILE, FileKind::File, None),
        file("link", FileKind::Symlink, Some(HOSTILE)),
        file("socket", FileKind::Socket, None),
    ]
}

pub(crate) fn host() -> Host {
    let controller = |name: &str, version: Version| HostController { name: name.into(), version };
    let limit = |name: &str, by: Option<(Version, &str)>, because: &str| LimitSupport {
        name: name.into(),
        support: if by.is_some() { Support::Yes } else { Support::No(because.into()) },
        version: by.map(|(version, _)| version),
        file: by.map_or("", |(_, file)| file).into(),
    };
    Host {
        hostname: "attic".into(),
        kernel: "6.1.0-28-amd64".into(),
        own_layers: Support::No(HOSTILE.into()),
        space: Some(Space { total_bytes: 1 << 40, used_bytes: 980 << 30, free_bytes: 40 << 30, inodes_total: 1000, inodes_free: 500 }),
        memory_bytes: 8_254_390_272,
        cpus: 4,
        pids: 4_194_304,
        cgroup_mode: "hybrid".into(),
        controllers: vec![controller("cpu", Version::V1), controller("memory", Version::V1), controller("pids", Version::V2)],
        limits: vec![
            limit("limits.memory_bytes", Some((Version::V1, "memory.limit_in_bytes")), ""),
            limit("limits.memory_high_bytes", None, "only cgroup v2 has memory.high; this host's memory controller is v1"),
            limit("limits.io_weight", None, "io.weight needs the bfq scheduler or io.cost; this kernel has neither"),
            limit("limits.pids", Some((Version::V2, "pids.max")), ""),
        ],
        user_namespaces: Support::Yes,
        idmapped_mounts: Support::No("the file system below /var/lib/belljar cannot be mounted with other owners".into()),
        data_dir: "/var/lib/belljar".into(),
        run_dir: "/run/belljar".into(),
        instance: "belljar".into(),
    }
}

pub(crate) fn supports() -> Vec<LimitSupport> {
    let yes =
        |name: &str, file: &str| LimitSupport { name: name.into(), support: Support::Yes, version: Some(Version::V1), file: file.into() };
    let no =
        |name: &str, why: &str| LimitSupport { name: name.into(), support: Support::No(why.into()), version: None, file: String::new() };
    vec![
        yes("limits.memory_bytes", "memory.limit_in_bytes"),
        yes("limits.memory_swap_bytes", "memory.memsw.limit_in_bytes"),
        no("limits.memory_high_bytes", "memory.high is cgroup v2's, and the controller memory is in v1 here"),
        yes("limits.memory_reservation_bytes", "memory.soft_limit_in_bytes"),
        yes("limits.memory_swappiness", "memory.swappiness"),
        no("limits.oom_group", "memory.oom.group is cgroup v2's, and the controller memory is in v1 here"),
        yes("limits.cpus", "cpu.cfs_quota_us"),
        yes("limits.cpu_weight", "cpu.shares"),
        yes("limits.cpu_burst_usec", "cpu.cfs_burst_us"),
        yes("limits.cpu_idle", "cpu.idle"),
        yes("limits.cpuset", "cpuset.cpus"),
        yes("limits.cpuset_mems", "cpuset.mems"),
        yes("limits.pids", "pids.max"),
        no("limits.io_weight", "io.weight needs the bfq scheduler or io.cost; this kernel has neither"),
        yes("limits.io.read_bytes_per_second", "blkio.throttle.read_bps_device"),
        yes("limits.io.write_bytes_per_second", "blkio.throttle.write_bps_device"),
        no("limits.io.weight", "io.weight needs the bfq scheduler or io.cost; this kernel has neither"),
        yes("limits.hugetlb.2MB", "hugetlb.2MB.max"),
    ]
}

pub(crate) fn findings() -> Vec<Finding> {
    let finding = |kind: FindingKind, gravity: Gravity, text: &str, advice: &str| Finding {
        kind,
        gravity,
        text: text.into(),
        advice: advice.into(),
        sources: vec!["/sys/fs/cgroup/belljar/4f2a/cpu.stat#nr_throttled".into()],
    };
    vec![
        finding(
            FindingKind::OutOfMemory,
            Gravity::Error,
            "a process of it, postgres (pid 7), was killed by OOM at 32 MiB, 4 min ago",
            HOSTILE,
        ),
        finding(
            FindingKind::CpuThrottled,
            Gravity::Warning,
            "held back by its cpu limit 41 % of the last minute",
            "raise limits.cpus above 0.5, if it should be faster",
        ),
        Finding {
            sources: vec!["history".into()],
            ..finding(FindingKind::Suggestion, Gravity::Note, "a limit of 48 MiB would have been enough for the last 7 days", "")
        },
    ]
}

/// One of each three that run is held back.
pub(crate) fn found(containers: &[Container]) -> Findings {
    let alive = containers.iter().filter(|container| container.state.is_alive()).step_by(3);
    alive.map(|container| (container.id.clone(), findings().remove(1))).collect()
}

pub(crate) fn pressure() -> Pressure {
    let line = |share: f64| StallLine { avg10_percent: share, avg60_percent: share / 2.0, avg300_percent: share / 5.0, usec_total: 1 };
    let stall = |share: f64| Some(Stall { some: line(share), full: Some(line(share / 3.0)) });
    Pressure { cpu: stall(24.0), memory: stall(0.0), io: stall(3.2) }
}

pub(crate) fn capacity() -> HostCapacity {
    HostCapacity { memory_bytes: 8_254_390_272, cpus: 4, pids: 4_194_304 }
}

pub(crate) fn tokens() -> Vec<Token> {
    vec![
        Token { name: "backup script".into(), created_at_ms: NOW_MS - 864_000_000, last_used_at_ms: Some(NOW_MS - 240_000) },
        Token { name: HOSTILE.into(), created_at_ms: NOW_MS, last_used_at_ms: None },
    ]
}
