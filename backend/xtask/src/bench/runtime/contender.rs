//! What is compared: each a command line of its own, said to a shell of its own. crun's shell cannot see version 2 of
//! cgroups where it refuses it beside version 1.

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use super::super::shell::{Shell, UNIFIED};
use super::bundle::{Bundles, Executable, MASKED, Program, READ_ONLY, User};
use super::word;
use crate::command::find;

/// The least that a container can be, and the same with a user namespace.
pub(super) const BARE: &str = "the bare program";
pub(super) const BARE_USER: &str = "the bare program, with a user namespace";
/// Ours.
pub(super) const OURS: &str = "belljar runtime run";
const OURS_USER: &str = "belljar runtime run, with a user namespace";

/// How something is started.
#[derive(Clone)]
enum Kind {
    /// A line that needs no bundle.
    Line(String),
    /// An OCI runtime: its executable with flags of its own.
    Runtime(String),
}

/// Something that is measured.
pub(super) struct Contender {
    name: &'static str,
    kind: Kind,
    user: User,
    bundle: String,
    shell: Shell,
    output: String,
    staying: Vec<String>,
}

/// What a failed measurement left.
impl Drop for Contender {
    fn drop(&mut self) {
        for name in std::mem::take(&mut self.staying) {
            let _told_by_the_measurement = self.delete(&name);
        }
    }
}

/// Everybody who is installed and can run the bundle here; says who is not.
pub(super) fn all(bundles: &Bundles) -> Vec<Contender> {
    let root = word(&bundles.root());
    let bare = |flag: &str| Kind::Line(format!("{} {flag}{root} /bin/true", word(&bundles.executable(Executable::Bare))));
    let state = |name: &str| word(&bundles.state(name));
    let runtime = |name: &str| Kind::Runtime(format!("{name} --root {}", state(name)));
    let executable = word(&bundles.executable(Executable::Belljar));
    let ours = || Kind::Runtime(format!("{executable} runtime --root {}", state("belljar")));
    let contenders = [
        ("fork and execute, nothing else", Kind::Line(word(&bundles.root().join("bin/true"))), User::Host),
        (BARE, bare(""), User::Host),
        (BARE_USER, bare("--user "), User::Own),
        (OURS, ours(), User::Host),
        (OURS_USER, ours(), User::Own),
        ("crun run", runtime("crun"), User::Host),
        ("runc run", runtime("runc"), User::Host),
        ("bubblewrap, without filter and cgroup", Kind::Line(bubblewrap(&root)), User::Host),
    ];
    contenders.into_iter().filter_map(|(name, kind, user)| Contender::find(bundles, name, kind, user)).collect()
}

/// The bundle's isolation, as far as bubblewrap has it: it compiles no filter, and makes no cgroup.
fn bubblewrap(root: &str) -> String {
    let mut line = format!(
        "bwrap --unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup --hostname bench --bind {root} / \
         --proc /proc --dev /dev --mqueue /dev/mqueue --ro-bind /sys /sys --clearenv --setenv PATH /bin --cap-drop ALL"
    );
    for path in MASKED {
        let hidden = if fs::metadata(path).is_ok_and(|found| found.is_dir()) { "--tmpfs" } else { "--ro-bind /dev/null" };
        if fs::exists(path).unwrap_or_default() && !path.starts_with("/sys") {
            line += &format!(" {hidden} {path}");
        }
    }
    for path in READ_ONLY.iter().filter(|path| fs::exists(path).unwrap_or_default()) {
        line += &format!(" --ro-bind {path} {path}");
    }
    line + " /bin/true"
}

impl Contender {
    fn find(bundles: &Bundles, name: &'static str, kind: Kind, user: User) -> Option<Self> {
        let (Kind::Line(line) | Kind::Runtime(line)) = &kind;
        let program = line.split(' ').next().unwrap_or_default().trim_matches('\'').to_owned();
        if find(&program).is_none() {
            println!("not compared: {program} is not installed");
            return None;
        }
        let bundle = word(&bundles.bundle(Program::True, user));
        let output = bundles.folder().join("output").to_string_lossy().into_owned();
        for preparation in [":".to_owned(), format!("umount {UNIFIED}")] {
            let shell = Shell::start(bundles.folder(), &preparation).ok()?;
            let mut contender =
                Self { name, kind: kind.clone(), user, bundle: bundle.clone(), shell, output: output.clone(), staying: Vec::new() };
            match contender.run(u32::MAX) {
                Ok(_) => return Some(contender),
                Err(error) => println!("{name} (after {preparation:?}): {error}"),
            }
        }
        println!("not compared: {name}");
        None
    }

    /// Its name in the table.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it is what is measured, and not what it is measured by.
    pub(super) fn is_ours(&self) -> bool {
        self.name.starts_with(OURS)
    }

    /// Whether it makes a user namespace.
    pub(super) fn has_user(&self) -> bool {
        self.user == User::Own
    }

    /// Whether it is an OCI runtime.
    pub(super) fn is_runtime(&self) -> bool {
        matches!(self.kind, Kind::Runtime(_))
    }

    /// The beginning of its command lines.
    fn program(&self) -> &str {
        let (Kind::Line(line) | Kind::Runtime(line)) = &self.kind;
        line
    }

    /// From the call until it has ended, with the program `true`.
    pub(super) fn run(&mut self, number: u32) -> Result<Duration, Box<dyn Error>> {
        let line = match &self.kind {
            Kind::Line(line) => line.clone(),
            Kind::Runtime(program) => format!("{program} run --bundle {} {}", self.bundle, self.id(&number.to_string())),
        };
        self.timed(&line)
    }

    /// Starts a container that stays; from the call until the runtime has ended, and the container is there.
    pub(super) fn start(&mut self, bundles: &Bundles, name: &str) -> Result<Duration, Box<dyn Error>> {
        let bundle = word(&bundles.bundle(Program::Stay, self.user));
        self.staying.push(name.to_owned());
        self.timed(&format!("{} run --detach --bundle {bundle} {}", self.program(), self.id(name)))
    }

    /// Starts `count` containers that stay, all at once; until the last one is there.
    pub(super) fn start_all(&mut self, bundles: &Bundles, count: u32) -> Result<Duration, Box<dyn Error>> {
        let bundle = word(&bundles.bundle(Program::Stay, self.user));
        let one = format!("{} run --detach --bundle {bundle} {}", self.program(), self.id("many-$i"));
        self.staying.extend((1..=count).map(|number| format!("many-{number}")));
        self.timed(&format!("i=0; while [ $i -lt {count} ]; do i=$((i + 1)); {one} & done; wait"))
    }

    /// Deletes them.
    pub(super) fn delete_all(&mut self, count: u32) -> Result<Duration, Box<dyn Error>> {
        let one = format!("{} delete --force {}", self.program(), self.id("many-$i"));
        self.staying.retain(|staying| !staying.starts_with("many-"));
        self.timed(&format!("i=0; while [ $i -lt {count} ]; do i=$((i + 1)); {one}; done"))
    }

    /// From the call of `exec` until it has ended, with the program `true`.
    pub(super) fn exec(&mut self, name: &str) -> Result<Duration, Box<dyn Error>> {
        self.timed(&format!("{} exec {} /bin/true", self.program(), self.id(name)))
    }

    /// Deletes a container that stays.
    pub(super) fn delete(&mut self, name: &str) -> Result<Duration, Box<dyn Error>> {
        self.staying.retain(|staying| staying != name);
        self.timed(&format!("{} delete --force {}", self.program(), self.id(name)))
    }

    /// An identifier that nobody else has, since it names a cgroup too.
    fn id(&self, name: &str) -> String {
        let own: String = self.name.split(' ').filter_map(|word| word.chars().next()).collect();
        format!("belljar-bench-{}-{own}-{name}", std::process::id())
    }

    /// How long the shell takes for a line; an error with what was said unless it succeeds.
    fn timed(&mut self, line: &str) -> Result<Duration, Box<dyn Error>> {
        let asked = Instant::now();
        self.shell.say(&format!("{{ {line}; }} < /dev/null > {} 2>&1; echo ended $?", self.output))?;
        let heard = self.shell.hear("ended 0");
        let took = asked.elapsed();
        let said = || fs::read_to_string(&self.output).unwrap_or_default();
        heard.map_err(|error| format!("{}: {error}: {}", self.name, said().trim()))?;
        Ok(took)
    }
}
