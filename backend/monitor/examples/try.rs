//! Makes one container by hand: `try NAME COMMAND…`. For looking at the core without a server.
use belljar_model::{Config, Container, ContainerId, State, Wanted, image};
use belljar_runtime::{Instance, Spec, bundle, cgroup, spec};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) == Some("monitor") {
        belljar_monitor::spawner::serve().unwrap();
        return;
    }
    let config: Config = serde_json::from_str(&args[1]).unwrap();
    let base = std::path::PathBuf::from("/var/tmp/bj-try");
    let id = ContainerId::from_bytes([7; 32]);
    let folders = spec::Folders { data_dir: base.join("data"), run_dir: base.join("run") };
    let instance = Instance { name: "bj-try".into(), folders };
    let container = Container {
        id: id.clone(),
        config,
        state: State::Creating,
        wanted: Wanted::Running,
        uid_base: Some(0x2000_0000),
        created_at_ms: 0,
        started_at_ms: None,
        init: None,
        monitor: None,
        exit: None,
        restarts: 0,
    };
    let image: Vec<image::ImageLayer> = std::env::var("LAYERS")
        .unwrap()
        .split(',')
        .map(|x| {
            let (at, path) = x.split_once('=').unwrap();
            image::ImageLayer { path: path.into(), at: at.into(), label: String::new() }
        })
        .collect();
    let spec = Spec::for_container(&container, &image, &instance, 1);
    let bundle = spec.bundle().unwrap();
    bundle.create().unwrap();
    let h = cgroup::Hierarchies::probe().unwrap();
    h.prepare("bj-try").unwrap();
    bundle::write_whole(&bundle.spec(), &serde_json::to_vec(&spec).unwrap(), bundle::Durable::No).unwrap();
    let spawner = belljar_monitor::Spawner::launch(std::path::Path::new("/proc/self/exe")).unwrap();
    let n: usize = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for i in 0..n {
        let begun = std::time::Instant::now();
        let poke = spawner.start(&bundle.spec()).unwrap();
        let _ = rustix::io::read(&poke, &mut [0u8; 1]);
        println!("start took {:?}", begun.elapsed());
        let look = belljar_monitor::look(&bundle);
        if let Some(alive) = look.alive.as_ref() {
            if i + 1 == n {
                println!("{:?}", look);
                std::thread::sleep(std::time::Duration::from_millis(
                    std::env::var("HOLD").ok().and_then(|n| n.parse().ok()).unwrap_or(300),
                ));
                for line in std::fs::read_to_string(format!("/proc/{}/smaps_rollup", alive.monitor.pid))
                    .unwrap_or_default()
                    .lines()
                    .filter(|l| l.starts_with("Pss") || l.starts_with("Rss") || l.starts_with("Private"))
                {
                    println!("{line}");
                }
            }
            let pidfd = linux_open(alive.monitor.pid, alive.monitor.start_ticks);
            if let Some(p) = pidfd {
                let init = linux_open(alive.init.pid, alive.init.start_ticks);
                if let Some(i) = init {
                    let _ = belljar_linux::process::signal(&i, 9);
                }
                let mut f = [rustix::event::PollFd::new(&p, rustix::event::PollFlags::IN)];
                rustix::event::poll(&mut f, None).unwrap();
            }
        }
    }
    println!("{:?}", belljar_monitor::look(&bundle).ended);
    if let Some(plan) = belljar_monitor::record::plan(&bundle) {
        if std::env::var("PLAN").is_ok() {
            for s in plan.steps {
                println!("{:>8} {:?} {:?} {}", s.took_usec.map_or("-".into(), |t| t.to_string()), s.place, s.outcome, s.text);
            }
        }
    }
    for l in belljar_monitor::log::read(&bundle.log(), &Default::default()).unwrap() {
        println!("{}| {}", l.stream.as_str(), l.text);
    }
    bundle.remove().unwrap();
    println!("left: {:?}", cgroup::children(&h, "bj-try"));
}
fn linux_open(pid: i32, t: u64) -> Option<std::os::fd::OwnedFd> {
    belljar_linux::process::open(pid, t).ok()
}
