//! Landlock's rules: made while every path of the container can be opened, put in force when nothing of ours needs one any
//! more.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use belljar_linux::landlock::{self, Handled, Ruleset, files, ports, scopes};
use belljar_linux::{Error, Result, tree};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::inside::Inside;
use crate::spec::landlock::{Confined, FileAccess, Landlock};

/// The kernel's version from which on it restricts cutting files.
const TRUNCATION_SINCE_ABI: u32 = 3;

/// Makes the rules of a container, and says what this kernel's version leaves open. Refuses, by its name, what it cannot do.
fn prepare(root: &OwnedFd, wanted: &Landlock) -> Result<(Ruleset, Option<String>)> {
    let abi = landlock::abi().map_err(|error| Error::new("ask for", "Landlock, which this kernel does not have", error.errno))?;
    let handled = handled(wanted, abi)?;
    let ruleset = Ruleset::new(&handled)?;
    for rule in &wanted.paths {
        let opened = tree::open(root, &rule.path, OFlags::PATH)?;
        let is_folder = tree::kind_of(&opened)? == FileType::Directory;
        let possible = if is_folder { handled.files } else { handled.files & files::OF_ONE_FILE };
        let allowed = rights(&rule.access) & possible;
        if allowed != 0 {
            ruleset.allow_below(&opened, allowed).map_err(|error| Error { subject: rule.path.clone(), ..error })?;
        }
    }
    for (asked, right) in [(&wanted.bind_tcp, ports::BIND), (&wanted.connect_tcp, ports::CONNECT)] {
        asked.iter().flatten().try_for_each(|port| ruleset.allow_port(*port, right))?;
    }
    let note = (abi < TRUNCATION_SINCE_ABI).then(|| format!(": version {abi} of it does not keep files from being cut"));
    Ok((ruleset, note))
}

impl Inside<'_> {
    pub(super) fn prepare_landlock(&mut self, wanted: &Landlock) -> Result<()> {
        let (ruleset, note) = prepare(self.tree.root()?, wanted)?;
        self.rules = Some(ruleset);
        self.tree.note = note;
        Ok(())
    }

    pub(super) fn enforce_landlock(&mut self) -> Result<()> {
        let rules = self.rules.take().ok_or_else(|| Error::new("find", "Landlock rules", Errno::NOENT))?;
        rules.enforce()
    }
}

fn handled(wanted: &Landlock, abi: u32) -> Result<Handled> {
    let tcp = [(&wanted.bind_tcp, ports::BIND), (&wanted.connect_tcp, ports::CONNECT)];
    let ports = tcp.into_iter().filter(|(asked, _)| asked.is_some()).fold(0, |all, (_, right)| all | right);
    let scopes = wanted.confined.iter().fold(0, |all, confined| {
        all | match confined {
            Confined::AbstractSockets => scopes::ABSTRACT_SOCKETS,
            Confined::Signals => scopes::SIGNALS,
        }
    });
    let missing = |what: &str, since: u32| {
        Err(Error::new("ask for", format!("Landlock's rules for {what}, which need its version {since}; this is {abi}"), Errno::OPNOTSUPP))
    };
    if ports != 0 && abi < ports::SINCE_ABI {
        return missing("TCP ports", ports::SINCE_ABI);
    }
    if scopes != 0 && abi < scopes::SINCE_ABI {
        return missing("signals and abstract sockets", scopes::SINCE_ABI);
    }
    Ok(Handled { files: files::handled(abi), ports, scopes })
}

fn rights(access: &BTreeSet<FileAccess>) -> u64 {
    access.iter().fold(0, |all, access| {
        all | match access {
            FileAccess::Read => files::READ_FILE | files::READ_FOLDER,
            FileAccess::Execute => files::EXECUTE,
            FileAccess::Write => {
                let change = files::WRITE_FILE | files::TRUNCATE | files::CONTROL_DEVICE;
                change | files::MAKE | files::REMOVE_FILE | files::REMOVE_FOLDER | files::REFER
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::landlock::PathRule;

    fn rule(path: &str, access: &[FileAccess]) -> PathRule {
        PathRule { path: path.into(), access: access.iter().copied().collect() }
    }

    #[test]
    fn what_an_older_kernel_cannot_restrict_is_refused_by_name() {
        let ports = Landlock { bind_tcp: Some([80].into()), ..Landlock::default() };
        assert!(handled(&ports, 3).unwrap_err().to_string().contains("TCP ports, which need its version 4; this is 3"));
        let signals = Landlock { confined: [Confined::Signals].into(), ..Landlock::default() };
        assert!(handled(&signals, 5).is_err() && handled(&signals, 6).is_ok());
    }

    #[test]
    fn a_confined_thread_reaches_what_was_named_and_nothing_else() {
        let Ok(abi) = landlock::abi() else { return println!("skipped: needs Landlock") };
        let has_ports = abi >= 4;
        let folder = tempfile::tempdir().unwrap();
        for name in ["read", "write", "shut"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("file"), "x").unwrap();
        }
        std::os::unix::fs::symlink("/shut", folder.path().join("link")).unwrap();
        std::fs::write(folder.path().join("one"), "x").unwrap();
        let wanted = Landlock {
            paths: vec![
                rule("/read", &[FileAccess::Read]),
                rule("/write", &[FileAccess::Read, FileAccess::Write]),
                rule("/one", &[FileAccess::Read, FileAccess::Write]),
            ],
            connect_tcp: has_ports.then(BTreeSet::new),
            ..Landlock::default()
        };
        let root = tree::root(folder.path()).unwrap();
        let missing = Landlock { paths: vec![rule("/missing", &[FileAccess::Read])], ..Landlock::default() };
        assert_eq!(prepare(&root, &missing).map(drop).map_err(|error| error.errno), Err(Errno::NOENT));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (ruleset, _) = prepare(&root, &wanted).unwrap();
        let path = folder.path().to_owned();
        let confined = std::thread::spawn(move || {
            belljar_linux::process::forbid_new_privileges().unwrap();
            ruleset.enforce().unwrap();
            assert!(std::fs::read(path.join("read/file")).is_ok() && std::fs::write(path.join("read/file"), "y").is_err());
            assert!(std::fs::write(path.join("write/new"), "y").is_ok() && std::fs::remove_file(path.join("write/file")).is_ok());
            assert!(std::fs::write(path.join("one"), "y").is_ok() && std::fs::remove_file(path.join("one")).is_err());
            assert!(std::fs::read(path.join("shut/file")).is_err() && std::fs::read_dir(path.join("shut")).is_err());
            assert!(std::fs::rename(path.join("write/new"), path.join("shut/new")).is_err());
            assert_eq!(std::net::TcpStream::connect(address).is_err(), has_ports, "no port was named");
        });
        confined.join().unwrap();
    }
}
