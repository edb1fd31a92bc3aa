//! The server's start, in the one order in which it can be done, and its end.
//!
//! ```text
//!   kernel ─► folders ─► port ─► spawner ─┊─► threads ─► store ─► supervisor ─► server ─► until SIGTERM or SIGINT
//!                                         ┊
//!                     one thread: forking is safe only here
//! ```
//! What can be refused is refused before anything is made, each with its own sentence ([`Refusal`]). The helper that makes
//! monitors is executed while this process has one thread. The supervisor has looked at every container before the server
//! answers the first request. At the end, answers finish and containers keep running.

mod folders;
mod kernel;
mod refusal;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use belljar_linux::process::{self, Children};
use belljar_monitor::Spawner;
use belljar_runtime::idmap::Mapper;
use belljar_server::{Banner, Server};
use belljar_store::Store;
use belljar_supervisor::{Helpers, Supervisor};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use self::folders::{Access, Folder, Hold};
pub(crate) use self::refusal::Refusal;
use crate::arguments::{LogLevel, Place, ServeArguments};

/// Most threads that answer requests: a household does not ask more at once, and each keeps memory of its own.
const WORKERS_MAX: usize = 4;
/// Longest time that containers, the database and files are still waited for after the last answer, each. What is half done
/// then is found at the next start, as after a crash.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(2);
/// Name of the database in the data folder.
const DATABASE_NAME: &str = "belljar.db";

/// This executable, whatever became of its path: also after an upgrade has replaced it.
const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// Serves until it is told to end.
pub(crate) fn serve(arguments: &ServeArguments, place: &Place) -> Result<(), Refusal> {
    log_to_standard_error(arguments.log);
    kernel::check()?;
    let _held = take_folders(arguments, place)?;
    check_port(arguments.listen)?;
    let spawner = Spawner::launch(Path::new(OWN_EXECUTABLE)).map_err(Refusal::part("start the helper that makes monitors"))?;
    let mapper = Mapper::new();
    // From here on nobody is waited for. As the first process of a container (docker-compose.yml) this one also inherits what a
    // killed monitor leaves, which must not stay as a zombie.
    process::treat_children(Children::Forgotten).map_err(Refusal::part("let children end by themselves"))?;
    take_descriptors();
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let runtime = runtime.map_err(Refusal::part("start threads"))?;
    let outcome = runtime.block_on(Box::pin(open_and_run(arguments, place, Helpers { spawner, mapper })));
    runtime.shutdown_timeout(LEFTOVER_LIMIT);
    outcome
}

fn log_to_standard_error(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let coloured = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(coloured).with_writer(std::io::stderr).init();
}

/// As many descriptors as we may have: most systems give 1024 at first, and every container and every client needs some. The
/// helper that makes monitors was executed before, so containers get what the system gives.
fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, limit = limit.current, "the limit of open files stays as it was");
    }
}

fn take_folders(arguments: &ServeArguments, place: &Place) -> Result<[Hold; 2], Refusal> {
    let run = Folder { path: &place.run_dir, flag: "--run-dir", access: Access::Public }.take()?;
    folders::check_upper_layers(&arguments.data_dir)?;
    let data = Folder { path: &arguments.data_dir, flag: "--data-dir", access: Access::Private }.take()?;
    Ok([run, data])
}

/// Asks for the port and gives it back: a port in use is told before the containers are looked at.
fn check_port(address: SocketAddr) -> Result<(), Refusal> {
    TcpListener::bind(address).map(drop).map_err(|source| no_listening(address, source))
}

fn no_listening(address: SocketAddr, source: std::io::Error) -> Refusal {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => Refusal::PortInUse { address },
        _ => Refusal::NoListening { address, source },
    }
}

async fn open_and_run(arguments: &ServeArguments, place: &Place, helpers: Helpers) -> Result<(), Refusal> {
    let end = end_signal().map_err(Refusal::part("listen for signals"))?;
    let store = Store::open(&arguments.data_dir.join(DATABASE_NAME)).await.map_err(Refusal::part("open the database"))?;
    let settings = belljar_supervisor::Settings {
        instance: arguments.instance.clone(),
        data_dir: arguments.data_dir.clone(),
        run_dir: place.run_dir.clone(),
    };
    let supervisor = Supervisor::open(settings, store.clone(), helpers).await.map_err(unopened)?;
    let settings =
        belljar_server::Settings { listen: arguments.listen, socket: place.socket(), allowed_hosts: arguments.allowed_hosts.clone() };
    let server = Server::bind(&settings, supervisor.clone(), store.clone()).await.map_err(refused)?;
    greet(server.banner(), arguments);
    server.run(end).await;
    let closed = async {
        supervisor.close().await;
        store.close().await;
    };
    // What a container is still asked to do may take as long as its grace; the next start finds it half done, as after a crash.
    if tokio::time::timeout(LEFTOVER_LIMIT, closed).await.is_err() {
        tracing::warn!(limit_s = LEFTOVER_LIMIT.as_secs(), "something was still under way");
    }
    tracing::info!("ended; containers keep running");
    Ok(())
}

fn unopened(error: belljar_supervisor::Error) -> Refusal {
    match error {
        belljar_supervisor::Error::InstanceTaken { instance } => Refusal::InstanceTaken { instance },
        error => Refusal::part("find the containers")(error),
    }
}

fn refused(error: belljar_server::Error) -> Refusal {
    match error {
        belljar_server::Error::Listen { address, source } => no_listening(address, source),
        error => Refusal::part("answer requests")(error),
    }
}

/// Ready when somebody asks the server to end. The handlers stand before anything is opened, so that an early signal is
/// not a crash.
fn end_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Tells the person where to go. Nobody may be listening, which is no reason not to serve.
fn greet(banner: &Banner, arguments: &ServeArguments) {
    let _ = std::io::stdout().write_all(greeting(banner, arguments).as_bytes());
}

fn greeting(banner: &Banner, arguments: &ServeArguments) -> String {
    let mut text = format!("Belljar {} serves instance {}\n", env!("CARGO_PKG_VERSION"), arguments.instance);
    let mut line = |what: &str, value: &dyn std::fmt::Display| text.push_str(&format!("  {what:<10} {value}\n"));
    line("browser", &reachable(&banner.url));
    if let Some(link) = &banner.setup_link {
        line("password", &format!("set the first one at {} (works once)", reachable(link)));
    }
    line("socket", &format!("{} (root and group belljar need no login)", banner.socket.display()));
    line("data", &arguments.data_dir.display());
    text
}

/// A link that a browser on this host can follow: "every address" is none that it can go to.
fn reachable(url: &str) -> String {
    url.replacen("//0.0.0.0:", "//127.0.0.1:", 1).replacen("//[::]:", "//[::1]:", 1)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Command, CommandLine};

    fn arguments() -> ServeArguments {
        match CommandLine::try_parse_from(["belljar", "serve"]).expect("a command line").command {
            Command::Serve(arguments) => arguments,
            other => panic!("{other:?} is not serve"),
        }
    }

    #[test]
    fn a_port_in_use_is_told_with_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let refusal = check_port(address).expect_err("it is in use").to_string();
        assert!(refusal.contains(&format!("{address} is in use")), "{refusal}");
        assert!(refusal.contains("--listen"), "{refusal}");
    }

    #[test]
    fn an_address_of_another_host_is_told_with_what_to_do() {
        // TEST-NET-1 (RFC 5737): no host has it.
        let refusal = check_port("192.0.2.1:7070".parse().expect("an address")).expect_err("not ours").to_string();
        assert!(refusal.starts_with("cannot listen at 192.0.2.1:7070: choose"), "{refusal}");
    }

    #[test]
    fn who_listens_everywhere_is_given_a_link_that_leads_somewhere() {
        assert_eq!(reachable("http://0.0.0.0:7070/setup?token=x"), "http://127.0.0.1:7070/setup?token=x");
        assert_eq!(reachable("http://[::]:7070"), "http://[::1]:7070");
        assert_eq!(reachable("http://192.168.0.5:7070"), "http://192.168.0.5:7070");
    }

    #[test]
    fn the_greeting_names_the_one_time_link_only_while_there_is_no_password() {
        let link = "http://127.0.0.1:7070/setup?token=x".to_owned();
        let mut banner =
            Banner { url: "http://127.0.0.1:7070".into(), setup_link: Some(link.clone()), socket: "/run/belljar/belljar.sock".into() };
        assert!(greeting(&banner, &arguments()).contains(&link));
        banner.setup_link = None;
        let text = greeting(&banner, &arguments());
        assert!(!text.contains("setup") && text.contains("browser    http://127.0.0.1:7070\n"), "{text}");
    }
}
