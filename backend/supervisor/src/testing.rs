//! A supervisor without root: its monitors are shell scripts, which write down the same as real ones do. It must never
//! replace the tests on a real kernel (`backend/cli/tests`): here the tasks' own decisions are looked at. Start reading at
//! [`Bench`].

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use belljar_model::container::ProcessRef;
use belljar_model::{Config, Container, Event, State};
use belljar_runtime::Spec;
use belljar_runtime::cgroup::Hierarchies;
use belljar_store::{EventQuery, Store};

use crate::launch::Launch;
use crate::{Ground, Settings, StartNow, Supervisor};

/// What a monitor does, as far as the supervisor can see. `$PROGRAM` is the container's command line.
const MONITOR: &str = r#"
ticks() { read -r line < /proc/$1/stat; set -- $line; echo ${22}; }
put() { printf '%s' "$2" > "$1.tmp" && mv "$1.tmp" "$1"; }
at() { echo "{\"pid\":$1,\"start_ticks\":$(ticks $1)}"; }
case "$PROGRAM" in never*)
    put "$EXIT" "{\"attempt\":$ATTEMPT,\"exit\":{\"cause\":{\"kind\":\"never_started\",\"step\":\"exec\",\"object\":\"never\",\"cause\":\"ENOENT: gone\"},\"out_of_memory\":null,\"at_ms\":5}}"
    exit;;
esac
rm -f "$ALIVE"
sh -c "while [ ! -e '$ALIVE' ]; do sleep 0.002; done; $PROGRAM" > /dev/null &
init=$!
put "$ALIVE" "{\"attempt\":$ATTEMPT,\"monitor\":$(at $$),\"init\":$(at $init),\"started_at_ms\":7}"
exec > /dev/null
wait $init
code=$?
if [ $code -gt 128 ]; then cause="{\"kind\":\"signaled\",\"signal\":\"$((code - 128))\"}"; else cause="{\"kind\":\"exited\",\"code\":$code}"; fi
put "$EXIT" "{\"attempt\":$ATTEMPT,\"exit\":{\"cause\":$cause,\"out_of_memory\":null,\"at_ms\":8}}"
rm "$ALIVE"
"#;

struct Script;

impl Launch for Script {
    #[expect(clippy::zombie_processes, reason = "the process of one test ends soon after")]
    fn start(&self, path: &Path) -> belljar_linux::Result<OwnedFd> {
        let spec: Spec = serde_json::from_slice(&std::fs::read(path).expect("a spec")).expect("a spec");
        assert_ne!(spec.process.arguments, [MISTAKE], "a mistake of ours");
        let bundle = spec.bundle().expect("an id");
        let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
        let mut command = Command::new("sh");
        command.args(["-c", MONITOR]).env("PROGRAM", spec.process.arguments.join(" ")).env("ATTEMPT", spec.attempt.to_string());
        command.env("ALIVE", bundle.alive()).env("EXIT", bundle.exit()).stdin(Stdio::null()).stdout(theirs);
        command.spawn().expect("a shell");
        Ok(ours)
    }

    fn exec(&self, _: &belljar_runtime::spec::Exec, _: OwnedFd, _: OwnedFd) -> belljar_linux::Result<OwnedFd> {
        Err(belljar_linux::Error::new("run", "a program in a script", rustix::io::Errno::NOSYS))
    }

    fn files(&self, _: &belljar_monitor::files::Order, _: Option<OwnedFd>) -> belljar_linux::Result<OwnedFd> {
        Err(belljar_linux::Error::new("copy", "files of a script", rustix::io::Errno::NOSYS))
    }
}

/// A supervisor on folders of its own.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    pub(crate) supervisor: Supervisor,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::open(tempfile::tempdir().expect("a folder")).await
    }

    async fn open(folder: tempfile::TempDir) -> Self {
        let store = Store::open(&folder.path().join("belljar.db")).await.expect("a database");
        let (data_dir, run_dir) = (folder.path().join("data"), folder.path().join("run"));
        let settings = Settings { instance: "test".to_owned(), data_dir, run_dir };
        let ground =
            Ground { launcher: Box::new(Script), probe: || Ok(Hierarchies::default()), mapper: None, ranges: folder.path().join("ids") };
        let opened = Supervisor::open_on(settings, store.clone(), ground).await;
        Self { folder, store, supervisor: opened.expect("a supervisor") }
    }

    /// As after a restart of the server; `meanwhile` runs while there is none.
    pub(crate) async fn reopened(self, meanwhile: impl AsyncFnOnce()) -> Self {
        self.supervisor.close().await;
        self.store.close().await;
        meanwhile().await;
        Self::open(self.folder).await
    }

    /// Makes the database say that this boot is not the one in which the instance was last opened.
    pub(crate) async fn pretend_another_boot(&self) {
        self.store.save_setting(crate::boot::KEY, "another").await.expect("saved");
    }

    pub(crate) fn shared(&self) -> &std::sync::Arc<crate::shared::Shared> {
        &self.supervisor.shared
    }

    pub(crate) async fn run(&self, name: &str, program: &str) -> Container {
        self.supervisor.create(config(name, program), StartNow::Yes).await.expect("created")
    }

    pub(crate) async fn events(&self, container: &Container) -> Vec<Event> {
        let query = EventQuery { container: Some(container.id.clone()), ..EventQuery::default() };
        let mut events = self.supervisor.events(query).await.expect("events");
        events.reverse();
        events
    }

    pub(crate) async fn kinds(&self, container: &Container) -> Vec<&'static str> {
        self.events(container).await.iter().map(|event| event.kind.as_str()).collect()
    }

    /// Waits until the container is as `holds` says.
    pub(crate) async fn until(&self, container: &Container, holds: impl Fn(&Container) -> bool) -> Container {
        let mut snapshot = self.supervisor.shared.registry.follow(&container.id).expect("it is there");
        let limit = std::time::Duration::from_secs(20);
        let found = tokio::time::timeout(limit, snapshot.wait_for(|container| holds(container))).await;
        found.expect("in time").expect("not deleted").clone()
    }
}

/// A program that ends when it is asked to, and the config around it.
pub(crate) const POLITE: &str = "trap 'exit 0' TERM; while :; do sleep 0.01; done";
/// A program that hears the stop signal and goes on.
pub(crate) const STUBBORN: &str = "trap : TERM; while :; do sleep 0.01; done";
/// A program whose start panics.
pub(crate) const MISTAKE: &str = "mistake";
/// A program that does not listen.
pub(crate) const DEAF: &str = "exec sleep 1000";

pub(crate) fn config(name: &str, program: &str) -> Config {
    let json = serde_json::json!({"name": name, "image": "host", "command": [program]});
    serde_json::from_value(json).expect("a config")
}

/// A container that runs, as a row would say.
pub(crate) fn running(name: &str) -> Container {
    let container = crate::new_container(config(name, DEAF)).expect("random bytes");
    Container { state: State::Running, init: Some(ProcessRef { pid: 1, start_ticks: 0 }), ..container }
}
