//! `cp`: files into a container and out of it, by the rules of `docker cp`.
//!
//! ```text
//!                      destination is missing     is a file            is a folder
//! a file is copied     becomes that file (*)      takes its place      gets into it, with its name
//! a folder is copied   becomes that folder        is refused           gets into it, with its name; SOURCE/. without
//! (*) unless it ends in a slash, which only a folder does
//! ```
//! The host's side is packed and unpacked here, in this process, with this user's rights, by the code that works inside
//! containers. What comes out of a container is hostile: it gets nowhere but into the destination.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use belljar_api::files::{Moved, PathStat};
use belljar_api::query;
use belljar_model::Invalid;
use belljar_model::files::Owners;
use belljar_model::overlay::FileKind;
use belljar_monitor::files::{self, Links, Manner, Whose};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;

use super::{DONE, Outcome, Session, of};
use crate::arguments::files::CopyArguments;
use crate::client::Pieces;
use crate::failure::Failure;

/// Most links that are followed, one to the next; as the kernel's own limit.
const LINKS_MAX: usize = 40;

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A tar archive from standard input, or to standard output.
    Stream,
    /// A path of this machine.
    Here(String),
    /// A path of a container.
    In { container: String, path: String },
}

impl Place {
    fn read(text: &str) -> Self {
        match text.split_once(':') {
            _ if text == "-" => Place::Stream,
            // A path of this machine may hold a colon; it then begins with a slash or a dot, as in Docker.
            Some((container, path)) if !text.starts_with(['/', '.']) && !container.is_empty() => {
                let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
                Place::In { container: container.to_owned(), path }
            }
            _ => Place::Here(text.to_owned()),
        }
    }
}

pub(crate) async fn copy(session: &mut Session, arguments: CopyArguments) -> Outcome {
    let (source, destination) = (Place::read(&arguments.source), Place::read(&arguments.destination));
    match (source, destination) {
        (Place::In { container, path }, Place::Stream) => to_stream(session, &container, &path, &arguments).await,
        (Place::In { container, path }, Place::Here(here)) => {
            let out = Out { session, container: &container, arguments: &arguments };
            out.copy(&path, &here).await
        }
        (Place::Stream, Place::In { container, path }) => from_stream(session, (&container, &path), owners(&arguments)).await,
        (Place::Here(here), Place::In { container, path }) => into(session, &here, (&container, &path), &arguments).await,
        (Place::In { .. }, Place::In { .. }) => {
            Err(Invalid::new("cp", "copies between a container and this machine, not between containers").into())
        }
        (Place::Here(_) | Place::Stream, Place::Here(_) | Place::Stream) => {
            Err(Invalid::new("cp", "needs a container: write CONTAINER:PATH at one of the two ends").into())
        }
    }
}

fn owners(arguments: &CopyArguments) -> Owners {
    if arguments.archive { Owners::Archive } else { Owners::Root }
}

fn archive_path(container: &str, path: &str) -> String {
    let query = query::write(&query::At { path: path.to_owned() });
    format!("{}?{query}", of(container, "archive"))
}

/// What stands at a path of a container; `None` where nothing does.
async fn stat(session: &Session, container: &str, path: &str) -> Result<Option<PathStat>, Failure> {
    session.client.head(&archive_path(container, path)).await
}

/// Where a path of a container leads to when its last part is a link, with what stands there.
async fn followed(session: &Session, container: &str, path: &str) -> Result<(String, Option<PathStat>), Failure> {
    let mut path = path.to_owned();
    for _link in 0..LINKS_MAX {
        match stat(session, container, &path).await? {
            Some(PathStat { kind: FileKind::Symlink, link_target: Some(target), .. }) => {
                let folder = path.trim_end_matches('/').rsplit_once('/').map_or("", |(folder, _)| folder);
                let next = if target.starts_with('/') { target } else { format!("{folder}/{target}") };
                path = normalized(&next);
            }
            stat => return Ok((path, stat)),
        }
    }
    Err(Invalid::new("cp", format!("{path} is a link that leads to no end")).into())
}

/// A path without `.` and `..`, which in a container lead no further up than its root.
fn normalized(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

async fn to_stream(session: &mut Session, container: &str, path: &str, arguments: &CopyArguments) -> Outcome {
    let path = if arguments.follow_link { followed(session, container, path).await?.0 } else { path.to_owned() };
    let (_, mut pieces) = session.client.download(&archive_path(container, &path)).await?;
    let mut out = std::io::stdout().lock();
    while let Some(piece) = pieces.next().await? {
        out.write_all(&piece).map_err(|source| Failure::Output { source })?;
    }
    out.flush().map_err(|source| Failure::Output { source })?;
    Ok(DONE)
}

async fn from_stream(session: &mut Session, (container, path): (&str, &str), owners: Owners) -> Outcome {
    let archive = tokio::fs::File::open("/dev/stdin").await.map_err(|source| Failure::File { path: "-".into(), source })?;
    let target = unpack_path(container, path, owners);
    let _moved: Moved = session.client.put(&target, archive).await?;
    Ok(DONE)
}

fn unpack_path(container: &str, path: &str, owners: Owners) -> String {
    let query = query::write(&query::Unpack { path: path.to_owned(), owners });
    format!("{}?{query}", of(container, "archive"))
}

/// A path's folder and its last part.
fn split(path: &str) -> (&str, &str) {
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((folder, name)) => (folder, name),
        None => (".", path),
    }
}

fn is_content(path: &str) -> bool {
    path.ends_with("/.") || path == "."
}

async fn into(session: &mut Session, here: &str, (container, path): (&str, &str), arguments: &CopyArguments) -> Outcome {
    // Also says whether there is such a container.
    let _container: serde_json::Value = session.client.fetch(&super::container(container)).await?;
    let (root, here_path) = from_here(here, arguments)?;
    let found = files::find(&root, &here_path).map_err(|error| local(here, &error))?;
    let is_folder = found.stat().kind == FileKind::Directory;
    let (there, at) = followed(session, container, path).await?;
    let own_name = if is_content(here) { "." } else { split(here).1 };
    let refused = |problem: &str| Failure::from(Invalid::new("cp", format!("{path} {problem}")));
    let (folder, name) = match at {
        Some(PathStat { kind: FileKind::Directory, .. }) => (there.as_str(), if is_folder && is_content(here) { "." } else { own_name }),
        Some(_) if is_folder => return Err(refused("is no folder, and a folder cannot take its place")),
        Some(_) if path.ends_with('/') || is_content(path) => return Err(refused("is no folder")),
        None if !is_folder && path.ends_with('/') => return Err(refused("is not there, and a file does not become a folder")),
        Some(_) | None => split(&there),
    };
    let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|errno| unset("make a pipe", errno))?;
    let (found, target) = (found.named(name), unpack_path(container, folder, owners(arguments)));
    let packed = tokio::task::spawn_blocking(move || files::pack(found, std::fs::File::from(ours)));
    let archive = tokio::fs::File::from_std(std::fs::File::from(theirs));
    let sent: Result<Moved, Failure> = session.client.put(&target, archive).await;
    match (sent, packed.await) {
        // What could not be read here is the reason, whatever the server made of a half archive.
        (_, Ok(Err(error))) if !matches!(error, files::Error::Output(_)) => Err(local(here, &error)),
        (sent, _) => sent.map(|_| DONE),
    }
}

/// The root of this machine, and a path from there on.
fn from_here(here: &str, arguments: &CopyArguments) -> Result<(OwnedFd, String), Failure> {
    let absolute = std::path::absolute(here).map_err(|source| Failure::File { path: here.into(), source })?;
    let absolute = if arguments.follow_link { std::fs::canonicalize(&absolute).unwrap_or(absolute) } else { absolute };
    let mut path = absolute.to_str().map(str::to_owned).ok_or_else(|| Failure::from(Invalid::new("cp", "a path must be UTF-8")))?;
    // Both mean what is in it, and `absolute` takes them away.
    if is_content(here) || here.ends_with('/') {
        path.push_str("/.");
    }
    let root = belljar_linux::tree::root(Path::new("/")).map_err(|error| unset("open /", error.errno))?;
    Ok((root, path))
}

fn local(path: &str, error: &files::Error) -> Failure {
    Failure::File { path: path.into(), source: std::io::Error::other(error.chain()) }
}

fn unset(what: &'static str, errno: rustix::io::Errno) -> Failure {
    Failure::Process { what, source: errno.into() }
}

/// A copy out of a container.
struct Out<'a> {
    session: &'a mut Session,
    container: &'a str,
    arguments: &'a CopyArguments,
}

impl Out<'_> {
    async fn copy(self, path: &str, here: &str) -> Outcome {
        let (there, _) = match self.arguments.follow_link {
            true => followed(self.session, self.container, path).await?,
            false => (path.to_owned(), None),
        };
        let target = PathBuf::from(here);
        let is_folder_here = target.is_dir();
        let refused = |problem: &str| Failure::from(Invalid::new("cp", format!("{here} {problem}")));
        let _container: serde_json::Value = self.session.client.fetch(&super::container(self.container)).await?;
        let at = stat(self.session, self.container, &there).await?;
        let is_folder = at.as_ref().is_some_and(|stat| stat.kind == FileKind::Directory);
        let name = if is_content(path) { "." } else { split(path).1 };
        match (is_folder, is_folder_here) {
            (true, true) if is_content(path) || name.is_empty() => self.unpack(&format!("{there}/."), target).await,
            (true, true) => self.folder(&there, target.join(name)).await,
            (true, false) if target.symlink_metadata().is_ok() => Err(refused("is no folder, and a folder cannot take its place")),
            (true, false) => self.folder(&there, target).await,
            (false, true) => self.file(&there, &target, name).await,
            (false, false) if here.ends_with('/') => Err(refused("is no folder")),
            (false, false) => {
                let (folder, name) = split(here);
                self.file(&there, Path::new(folder), name).await
            }
        }
    }

    /// What is in a folder into `target`, which is made where it is missing.
    async fn folder(self, path: &str, target: PathBuf) -> Outcome {
        match std::fs::create_dir(&target) {
            Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists && target.is_dir() && !target.is_symlink() => {}
            made => made.map_err(|source| Failure::File { path: target.clone(), source })?,
        }
        self.unpack(&format!("{path}/."), target).await
    }

    /// A file becomes `name` in the folder: unpacked beside it, in a folder of its own, and put in its place.
    async fn file(self, path: &str, folder: &Path, name: &str) -> Outcome {
        let failed = |source| Failure::File { path: folder.join(name), source };
        let scratch = folder.join(format!(".belljar-{}", std::process::id()));
        std::fs::create_dir(&scratch).map_err(failed)?;
        let unpacked = self.unpack(path, scratch.clone()).await;
        let own_name = split(path).1;
        let placed = unpacked.and_then(|done| {
            std::fs::rename(scratch.join(own_name), folder.join(name)).map_err(failed)?;
            Ok(done)
        });
        // It holds nothing but what came.
        let _ = belljar_linux::removal::remove(&scratch);
        placed
    }

    async fn unpack(self, path: &str, target: PathBuf) -> Outcome {
        let (_, pieces) = self.session.client.download(&archive_path(self.container, path)).await?;
        let owners = if self.arguments.archive { Whose::Archive } else { Whose::Mine };
        let manner = Manner { links: Links::Refused, owners };
        let absolute = std::path::absolute(&target).map_err(|source| Failure::File { path: target.clone(), source })?;
        let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|errno| unset("make a pipe", errno))?;
        let unpacked = tokio::task::spawn_blocking(move || {
            let root = belljar_linux::tree::root(Path::new("/"))?;
            files::unpack(&root, &absolute.to_string_lossy(), std::fs::File::from(theirs), manner)
        });
        let handed = hand_on(pieces, ours).await;
        match unpacked.await {
            // An answer that broke off is why the archive is not whole.
            Ok(unpacked) => handed.and_then(|()| unpacked.map(|_| DONE).map_err(|error| local(&target.display().to_string(), &error))),
            Err(_) => Err(Failure::Process { what: "unpack", source: std::io::Error::other("it broke") }),
        }
    }
}

/// Writes an answer into a pipe. Whoever reads that may stop: they say themselves why.
async fn hand_on(mut pieces: Pieces, pipe: OwnedFd) -> Result<(), Failure> {
    let made = pipe::Sender::from_owned_fd(pipe);
    let mut pipe = made.map_err(|source| Failure::Process { what: "write a pipe", source })?;
    while let Some(piece) = pieces.next().await? {
        if pipe.write_all(&piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_stream_a_path_here_or_one_in_a_container() {
        let here = |path: &str| Place::Here(path.to_owned());
        let inside = |container: &str, path: &str| Place::In { container: container.to_owned(), path: path.to_owned() };
        for (text, place) in [
            ("-", Place::Stream),
            ("web:/etc/x", inside("web", "/etc/x")),
            ("web:etc", inside("web", "/etc")),
            ("web:", inside("web", "/")),
            ("web:/a:b", inside("web", "/a:b")),
            ("./a:b", here("./a:b")),
            ("/a:b", here("/a:b")),
            (":x", here(":x")),
            ("file", here("file")),
        ] {
            assert_eq!(Place::read(text), place, "{text}");
        }
    }

    #[test]
    fn paths_are_taken_apart_as_docker_does() {
        assert_eq!(normalized("/a/./b/../c//d/"), "/a/c/d");
        assert_eq!(normalized("/../../x"), "/x");
        assert_eq!((split("/a/b/"), split("/a"), split("a")), (("/a", "b"), ("/", "a"), (".", "a")));
        assert!(is_content("x/.") && is_content(".") && !is_content("x."));
    }
}
