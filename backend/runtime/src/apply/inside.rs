//! The first process's half: builds its tree, shuts the door behind itself, and becomes the program.
//!
//! It runs as a copy of the monitor until the exec, in namespaces of its own. It never returns: every way out is an exec
//! or an exit.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use belljar_linux::error::Context;
use belljar_linux::mount::{self, Attributes, Depth, Value};
use belljar_linux::{Error, Result, capability, fd, namespace, net, process, seccomp, tree};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::{Outputs, Report, Word, init};
use crate::plan::Plan;
use crate::spec::Spec;
use crate::step::{First, Missing, Step};
use crate::user::{self, Identity};

/// What it has from the monitor.
pub(super) struct Inherited {
    /// The socket to it.
    pub(super) socket: OwnedFd,
    /// `tasks` of each v1 hierarchy, opened with the host's rights.
    pub(super) tasks: Vec<File>,
    /// Where output goes.
    pub(super) outputs: Outputs,
}

/// Runs the inner steps; never returns.
pub(super) fn run(plan: &Plan, spec: &Spec, inherited: Inherited) -> ! {
    // Should the monitor die now, nobody would know of this process.
    let prepared = process::die_with_parent().and_then(|()| process::forbid_inspection());
    let taken = prepared.and_then(|()| super::take_over(&inherited.socket));
    let Ok(Some(mounts)) = taken else { process::exit_now(1) };
    let mut inside = Inside {
        spec,
        socket: inherited.socket,
        tasks: inherited.tasks,
        outputs: Some(inherited.outputs),
        mounts: mounts.into_iter().map(Some).collect(),
        root: None,
        keep: rustix::thread::CapabilitySet::empty(),
        identity: None,
        filter: if spec.process.seccomp { seccomp::compile(&crate::seccomp::default_denials()) } else { Vec::new() },
    };
    for (index, step) in plan.steps.iter().enumerate().skip(plan.inside_begins()) {
        let begun = Instant::now();
        let outcome = match step {
            Step::Exec { first, .. } => Err(inside.exec(index, *first)),
            step => inside.take(step),
        };
        let took_nsec = begun.elapsed().as_nanos() as u64;
        match outcome {
            Ok(()) => inside.report(&Report { index, took_nsec, outcome: Word::Done }),
            Err(error) => {
                let cause = if matches!(step, Step::Exec { .. }) { error.cause() } else { told(&error) };
                inside.report(&Report { index, took_nsec, outcome: Word::Failed(cause) });
                process::exit_now(1);
            }
        }
    }
    process::exit_now(1)
}

/// Becomes another user, and still dies with the monitor: the kernel forgets that wish when ids change.
fn become_mortal(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    process::become_user(uid, gid, groups)?;
    process::die_with_parent()
}

fn told(error: &Error) -> String {
    format!("{} ({} {})", error.cause(), error.operation, error.subject)
}

struct Inside<'a> {
    spec: &'a Spec,
    socket: OwnedFd,
    tasks: Vec<File>,
    outputs: Option<Outputs>,
    mounts: Vec<Option<OwnedFd>>,
    /// The new root, before and after it becomes the only one.
    root: Option<OwnedFd>,
    keep: rustix::thread::CapabilitySet,
    identity: Option<Identity>,
    filter: Vec<libc::sock_filter>,
}

impl Inside<'_> {
    fn report(&self, report: &Report) {
        // Whoever does not listen any more is dead: nobody would know of the container that this would become.
        if fd::send(&self.socket, &report.encode(), &[]).is_err() {
            process::exit_now(1);
        }
    }

    fn take(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::JoinCgroup { files } => self.join_cgroups(files.len()),
            Step::UnshareCgroup => namespace::unshare_cgroup(),
            Step::NewSession => self.new_session(),
            Step::MakeMountsPrivate => mount::make_all_private(),
            Step::AttachRoot { staging } => self.attach_root(staging),
            Step::BecomeNamespaceRoot => become_mortal(0, 0, &[]),
            Step::Attach { target, mount, missing } => self.attach(target, *mount, *missing),
            Step::Mount { kind, target, options, attributes } => self.mount(kind, target, options, *attributes),
            Step::BindDevice { name, device } => self.bind_device(name, *device),
            Step::LinkDevices => self.link_devices(),
            Step::Mask(path) => self.mask(path),
            Step::MakeReadOnly(path) => self.make_read_only(path),
            Step::Pivot => mount::pivot(self.root()?),
            Step::SetHostname(name) => nix::unistd::sethostname(name).context("set", || name.clone()),
            Step::BringLoopbackUp => net::loopback_up(),
            Step::ConnectOutputs => self.connect_outputs(),
            Step::BoundCapabilities { keep } => self.bound_capabilities(keep),
            Step::BecomeUser(user) => self.become_user(user.as_ref()),
            Step::LimitCapabilities => capability::keep_only(self.keep),
            Step::MakeWorkdir(path) => tree::make_folder(self.root()?, path, 0o755).map(drop),
            Step::EnterWorkdir(path) => self.enter_workdir(path),
            Step::ForbidNewPrivileges => process::forbid_new_privileges(),
            Step::CloseDescriptors => fd::close_on_exec_from(3),
            Step::LoadSeccomp { .. } => seccomp::load_program(&self.filter),
            _ => Err(Error::new("take", format!("{step} inside"), Errno::NOSYS)),
        }
    }

    fn root(&self) -> Result<&OwnedFd> {
        self.root.as_ref().ok_or_else(|| Error::new("find", "new root", Errno::NOENT))
    }

    /// `0` means the writer; and since it is one thread that moves itself, the kernel need not stop the world for it.
    fn join_cgroups(&mut self, expected: usize) -> Result<()> {
        for (index, tasks) in self.tasks.iter_mut().enumerate() {
            tasks.write_all(b"0").context("join", || format!("cgroup {} of {expected}", index + 1))?;
        }
        self.tasks.clear();
        Ok(())
    }

    fn new_session(&self) -> Result<()> {
        rustix::process::setsid().context("begin", || "session".into())?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        process::reset_signals()?;
        process::new_session_keyring()
    }

    /// The staging folder is opened here and not by the monitor: a descriptor of its would lie in another mount namespace.
    fn attach_root(&mut self, staging: &std::path::Path) -> Result<()> {
        let overlay = self.handed_over(0)?;
        mount::attach(&overlay, tree::root(staging)?)?;
        self.root = Some(tree::root(staging)?);
        Ok(())
    }

    fn handed_over(&mut self, index: usize) -> Result<OwnedFd> {
        let missing = || Error::new("find", format!("mount {index}"), Errno::NOENT);
        self.mounts.get_mut(index).and_then(Option::take).ok_or_else(missing)
    }

    fn attach(&mut self, target: &str, index: usize, missing: Missing) -> Result<()> {
        let taken = self.handed_over(index)?;
        let is_folder = || rustix::fs::fstat(&taken).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        let target = match missing {
            Missing::Alike if !is_folder() => tree::make_file(self.root()?, target)?,
            Missing::Folder | Missing::Alike => tree::make_folder(self.root()?, target, 0o755)?,
        };
        mount::attach(&taken, &target)
    }

    fn mount(&self, kind: &str, target: &str, options: &[(&'static str, String)], attributes: Attributes) -> Result<()> {
        let folder = tree::make_folder(self.root()?, target, 0o755)?;
        refuse_link(self.root()?, target)?;
        let value = |(key, text)| (key, Value::of(text));
        let options: Vec<(&str, Value<'_>)> = options.iter().map(|(key, text)| (*key, text.as_str())).map(value).collect();
        let made = mount::new_filesystem(kind, &options, attributes)?;
        mount::attach(&made, &folder)
    }

    fn bind_device(&self, name: &str, (major, minor): (u32, u32)) -> Result<()> {
        let host = mount::open_path(std::path::Path::new("/dev").join(name).as_path())?;
        let stat = rustix::fs::fstat(&host).context("stat", || name.to_owned())?;
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || device != (major, minor) {
            return Err(Error::new("check", format!("/dev/{name}: not device {major}:{minor}"), Errno::NODEV));
        }
        let taken = mount::clone_opened(&host)?;
        mount::attach(&taken, tree::make_file(self.root()?, &format!("/dev/{name}"))?)
    }

    fn link_devices(&self) -> Result<()> {
        let dev = tree::open(self.root()?, "/dev", OFlags::PATH | OFlags::DIRECTORY)?;
        let links = [
            ("ptmx", "pts/ptmx"),
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ];
        for (name, to) in links {
            rustix::fs::symlinkat(to, &dev, name).context("link", || format!("/dev/{name}"))?;
        }
        Ok(())
    }

    /// A file reads as `/dev/null`, a folder as an empty one. What this kernel does not have needs no mask.
    fn mask(&self, path: &str) -> Result<()> {
        let Some((target, kind)) = self.existing(path)? else { return Ok(()) };
        let cover = if kind == FileType::Directory {
            let attributes = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NOEXEC;
            mount::new_filesystem("tmpfs", &[("size", Value::Text("0")), ("nr_inodes", Value::Text("1"))], attributes)?
        } else {
            // Ours, checked when it was bound: one that the image holds could be a link to anything (CVE-2025-31133).
            mount::clone_opened(tree::open(self.root()?, "/dev/null", OFlags::PATH | OFlags::NOFOLLOW)?)?
        };
        mount::attach(&cover, &target)
    }

    fn make_read_only(&self, path: &str) -> Result<()> {
        let Some((target, _)) = self.existing(path)? else { return Ok(()) };
        let cover = mount::clone_opened(&target)?;
        let attributes = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NODEV;
        mount::set_attributes(&cover, attributes | Attributes::MOUNT_ATTR_NOEXEC, Depth::One)?;
        mount::attach(&cover, &target)
    }

    fn existing(&self, path: &str) -> Result<Option<(OwnedFd, FileType)>> {
        match tree::open(self.root()?, path, OFlags::PATH | OFlags::NOFOLLOW) {
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::ACCESS) => Ok(None),
            Err(error) => Err(error),
            Ok(opened) => {
                let stat = rustix::fs::fstat(&opened).context("stat", || path.to_owned())?;
                Ok(Some((opened, FileType::from_raw_mode(stat.st_mode))))
            }
        }
    }

    fn connect_outputs(&mut self) -> Result<()> {
        let path = "/dev/null";
        // Looked at before it is opened: a pipe in its place would never answer.
        let is_device = self.existing(path)?.is_some_and(|(_, kind)| kind == FileType::CharacterDevice);
        if !is_device {
            return Err(Error::new("open", format!("{path}: not a device"), Errno::NODEV));
        }
        let null = tree::open(self.root()?, path, OFlags::RDONLY | OFlags::NOFOLLOW)?;
        fd::replace_standard(null, fd::Standard::Input)?;
        let outputs = self.outputs.take().ok_or_else(|| Error::new("find", "outputs", Errno::BADF))?;
        fd::replace_standard(&outputs.stdout, fd::Standard::Output)?;
        fd::replace_standard(&outputs.stderr, fd::Standard::Error)
    }

    fn bound_capabilities(&mut self, keep: &[String]) -> Result<()> {
        for name in keep {
            self.keep |= capability::by_name(name).ok_or_else(|| Error::new("find", format!("capability {name}"), Errno::INVAL))?;
        }
        capability::bound(self.keep)
    }

    fn become_user(&mut self, user: Option<&belljar_model::UserSpec>) -> Result<()> {
        let identity = user::look_up(self.root()?, user)?;
        for output in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
            let (owner, group) = (rustix::fs::Uid::from_raw(identity.uid), rustix::fs::Gid::from_raw(identity.gid));
            rustix::fs::fchown(output, Some(owner), Some(group)).context("give", || "outputs to the user".into())?;
        }
        become_mortal(identity.uid, identity.gid, &identity.groups)?;
        self.identity = Some(identity);
        Ok(())
    }

    /// Entered with the user's own rights, and checked to lie inside (CVE-2024-21626).
    fn enter_workdir(&self, path: &str) -> Result<()> {
        let folder = tree::open(self.root()?, path, OFlags::PATH | OFlags::DIRECTORY)?;
        rustix::process::fchdir(&folder).context("enter", || path.to_owned())?;
        let inside = std::env::current_dir().is_ok_and(|now| now.is_absolute());
        if inside { Ok(()) } else { Err(Error::new("enter", path, Errno::XDEV)) }
    }

    /// Becomes the program; returns only the reason why not.
    fn exec(&self, index: usize, first: First) -> Error {
        match self.prepare_exec() {
            Ok((candidates, arguments, environment)) => {
                // The death of the monitor from here on is the supervisor's to notice: containers outlive it.
                let _ = rustix::process::set_parent_process_death_signal(None);
                if first == First::Init
                    && let Err(error) = init::split()
                {
                    return error;
                }
                self.report(&Report { index, took_nsec: 0, outcome: Word::Begun });
                try_each(&candidates, &arguments, &environment)
            }
            Err(error) => error,
        }
    }

    fn prepare_exec(&self) -> Result<(Vec<CString>, Vec<CString>, Vec<CString>)> {
        let text = |text: &String| CString::new(text.as_str()).map_err(|_| Error::new("exec", text.clone(), Errno::INVAL));
        let process = &self.spec.process;
        let arguments = process.arguments.iter().map(text).collect::<Result<Vec<_>>>()?;
        let mut environment = process.environment.iter().map(text).collect::<Result<Vec<_>>>()?;
        if process.variable("HOME").is_none() {
            let home = self.identity.as_ref().map_or("/", |identity| &identity.home);
            environment.push(text(&format!("HOME={home}"))?);
        }
        let program = process.arguments.first().cloned().unwrap_or_default();
        let candidates = candidates(&program, process.variable("PATH").unwrap_or(crate::spec::DEFAULT_PATH));
        Ok((candidates.iter().map(text).collect::<Result<Vec<_>>>()?, arguments, environment))
    }
}

/// Where a program may be: as it is where it has a slash, else below each folder of `PATH` (`execvp(3)`).
fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let folder =
        |folder: &str| if folder.is_empty() { format!("./{program}") } else { format!("{}/{program}", folder.trim_end_matches('/')) };
    path.split(':').map(folder).collect()
}

/// Tries each; a folder without the program goes on to the next, one whose file may not be run is remembered.
fn try_each(candidates: &[CString], arguments: &[CString], environment: &[CString]) -> Error {
    let mut worst = Errno::NOENT;
    for candidate in candidates {
        let errno = match nix::unistd::execve(candidate, arguments, environment) {
            Err(errno) => Errno::from_raw_os_error(errno as i32),
            Ok(never) => match never {},
        };
        match errno {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => worst = errno,
            other => return Error::new("exec", "", other),
        }
    }
    Error::new("exec", "", worst)
}

/// `/proc` or `/sys` as a symbolic link of the image would send our mount, and every write to it, somewhere else
/// (CVE-2019-19921, CVE-2023-27561).
fn refuse_link(root: impl AsFd, target: &str) -> Result<()> {
    let opened = tree::open(root, target, OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = rustix::fs::fstat(&opened).context("stat", || target.to_owned())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => Err(Error::new("mount at", format!("{target}: it is a symbolic link"), Errno::LOOP)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_up_as_a_shell_would() {
        assert_eq!(candidates("sh", "/usr/bin:/bin/"), ["/usr/bin/sh", "/bin/sh"]);
        assert_eq!(candidates("./run", "/bin"), ["./run"]);
        assert_eq!(candidates("x", ":/bin"), ["./x", "/bin/x"]);
    }
}
