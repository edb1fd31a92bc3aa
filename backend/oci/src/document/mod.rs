//! `config.json` of a bundle as types: runtime-spec 1.2, every field of Linux.
//!
//! A field that is there is read strictly: a wrong type or an unknown *word* (a namespace, a signal, a clock) is refused and
//! named by its path, `linux.namespaces[2].type`. A field that the specification does not have is passed over, as it demands
//! ("runtimes MUST NOT generate an error if they encounter an unknown property"); so are the sections of other systems. `null`
//! is what Go's engines write for "not given", and counts as that.
//!
//! Nothing here says what a document *means*, nor whether its fields agree: that is [`crate::translate`]. It must never know
//! the core's types but for resources and filters, which have their reader there.

mod linux;
mod process;
mod words;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use belljar_model::objects::Objects;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

pub use linux::{Device, IdMapping, IntelRdt, Linux, NamespaceEntry, Personality, TimeOffset};
pub use process::{Capabilities, ConsoleSize, CpuAffinity, IoPriority, Process, Rlimit, Scheduler, User};
pub use words::{Clock, DeviceKind, IoClass, NamespaceKind, PersonalityDomain, Propagation, RlimitKind, SchedulerFlag, SchedulerPolicy};

/// Name of the document in a bundle.
pub const CONFIG: &str = "config.json";
/// Largest document, in bytes. Kubernetes' biggest are some tens of KiB; 4 MiB holds every limit of the core many times.
pub const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// The version of the specification that is implemented.
pub const SPEC_VERSION: &str = "1.2.0";
/// The oldest version whose documents are read.
pub const SPEC_VERSION_MIN: &str = "1.0.0";

/// A document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("JSON specification file {} not found", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no document, but something else.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// It is larger than any that makes sense.
    #[error("{}: more than {DOCUMENT_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// It is not what it should be.
    #[error("{}: {problem}", path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// The field and what is wrong with it.
        problem: String,
    },
}

/// A whole `config.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Version of the specification that it follows.
    pub oci_version: String,
    /// The program; may be missing for a container that is only created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The root file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Its hostname.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its NIS domain name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// What is mounted, in order.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Programs that are run at points of its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// Notes of whoever made the bundle.
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is Linux's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
}

/// The root file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its folder, from the bundle's where relative.
    pub path: String,
    /// Whether nothing of it may be written.
    #[serde(default, deserialize_with = "absent")]
    pub readonly: bool,
}

/// One mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Path in the container.
    pub destination: String,
    /// Kind of file system; `bind` or nothing for a bind.
    #[serde(default, rename = "type", deserialize_with = "absent", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Device, or path on the host, from the bundle's folder where relative.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Options, as in `fstab(5)` and beyond.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// How user ids are shown on it.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// How group ids are shown on it.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

/// Programs of the host or of the container that are run at points of its life, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hooks {
    /// Deprecated name for `createRuntime`, called before those.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// After the namespaces are made, before the root is changed; in the runtime's namespaces.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// At the same point; in the container's namespaces.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// Before the program is executed; in the container.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// After the program was executed; in the runtime's namespaces.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// After the container was deleted; in the runtime's namespaces.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

/// One program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Absolute path.
    pub path: String,
    /// Arguments, the program's own name first.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its whole environment.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// After how many seconds it is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

/// Takes `null` for what is not there.
pub(crate) fn absent<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The same of texts by name, each of which may be `null` too.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let read: BTreeMap<String, Option<String>> = absent(deserializer)?;
    Ok(read.into_iter().map(|(name, text)| (name, text.unwrap_or_default())).collect())
}

impl Document {
    /// The document of a bundle, of its text.
    pub fn of_text(bundle: &Path, text: &[u8]) -> Result<Self, Error> {
        parse(text).map_err(|problem| Error::Wrong { path: bundle.join(CONFIG), problem })
    }

    /// What is Linux's own, or nothing of it.
    pub fn linux(&self) -> &Linux {
        static NONE: std::sync::LazyLock<Linux> = std::sync::LazyLock::new(Linux::default);
        self.linux.as_ref().unwrap_or(&NONE)
    }
}

/// The program that a document which was read before says, and nothing else of it.
pub fn program_of_text(bundle: &Path, text: &[u8]) -> Result<Process, Error> {
    #[derive(Deserialize)]
    struct Whole {
        process: Option<Process>,
    }
    let whole: Whole = parse(text).map_err(|problem| Error::Wrong { path: bundle.join(CONFIG), problem })?;
    Ok(whole.process.unwrap_or_default())
}

/// The text of a bundle's document.
pub fn text_of_bundle(bundle: &Path) -> Result<Vec<u8>, Error> {
    read_bounded(&bundle.join(CONFIG))
}

/// What a document says about whose ids are somebody's in the container.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Identities {
    /// Its namespaces.
    #[serde(deserialize_with = "absent")]
    pub namespaces: Vec<NamespaceEntry>,
    /// User ids of a new user namespace.
    #[serde(deserialize_with = "absent")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of it.
    #[serde(deserialize_with = "absent")]
    pub gid_mappings: Vec<IdMapping>,
}

/// The same by a look at a document's text, of which the rest may still be wrong. What cannot be read says nothing.
pub fn identities_of(text: &[u8]) -> Identities {
    #[derive(Deserialize)]
    struct Whole {
        linux: Option<Identities>,
    }
    serde_json::from_slice::<Whole>(text).ok().and_then(|whole| whole.linux).unwrap_or_default()
}

/// A JSON file of a person or an engine, of any of the documents' types.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    parse(&read_bounded(path)?).map_err(|problem| Error::Wrong { path: path.to_owned(), problem })
}

/// A JSON text, or the field that is wrong in it and how.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    // Keeping account of where it is costs the reader a third more, and is needed once there is something wrong.
    let mut quick = serde_json::Deserializer::from_slice(text);
    if let Ok(parsed) = T::deserialize(Objects(&mut quick))
        && quick.end().is_ok()
    {
        return Ok(parsed);
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let parsed = serde_path_to_error::deserialize(Objects(&mut reader)).map_err(|error| {
        let path = error.path().to_string();
        let problem = error.into_inner();
        // A text that is no JSON at all has no field. The problem's own kind does not tell: `null` for a word of a closed list is
        // bad syntax to the reader.
        let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
        if path == "." || !is_json() { problem.to_string() } else { format!("{path}: {problem}") }
    })?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(parsed)
}

/// The content of a regular file, if it is not too large. Somebody hostile may have put a pipe or a device in its place, which
/// would never answer, or never end.
fn read_bounded(path: &Path) -> Result<Vec<u8>, Error> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Read { path: path.to_owned(), source },
    };
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let file = std::fs::File::options().read(true).custom_flags(flags.bits() as i32).open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let mut text = Vec::with_capacity(about.len().min(DOCUMENT_BYTES_MAX) as usize + 1);
    file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > DOCUMENT_BYTES_MAX { Err(Error::TooLarge { path: path.to_owned() }) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn whose_ids_a_container_has_is_seen_at_a_glance_and_nothing_where_the_text_is_no_document() {
        let text =
            r#"{"linux":{"namespaces":[{"type":"user"}],"uidMappings":[{"containerID":0,"hostID":9,"size":1}],"gidMappings":null},"x":[]}"#;
        let seen = identities_of(text.as_bytes());
        assert_eq!((seen.namespaces.len(), seen.uid_mappings.len(), seen.gid_mappings.len()), (1, 1, 0));
        let twice = text.replace(r#","x":[]"#, r#","linux":null"#);
        for text in [twice.as_str(), "{}", r#"{"linux":null}"#, "[", "{\"linux\":{\"namespaces\":[{\"type\":\"new\"}]}}"] {
            assert!(identities_of(text.as_bytes()).namespaces.is_empty(), "{text}");
        }
    }

    use super::*;

    fn problem(text: &str) -> String {
        parse::<Document>(text.as_bytes()).expect_err("it is wrong")
    }

    #[test]
    fn a_wrong_field_is_named_by_its_path() {
        let linux = |inner: &str| format!(r#"{{"ociVersion": "1.2.0", "linux": {{{inner}}}}}"#);
        assert_eq!(
            problem(&linux(r#""namespaces": [{"type": "pid"}, {"type": "foo"}]"#)),
            "linux.namespaces[1].type: unknown namespace \"foo\" at line 1 column 81"
        );
        let wrong = problem(&linux(r#""maskedPaths": "x""#));
        assert!(wrong.starts_with("linux.maskedPaths: invalid type: string \"x\", expected a sequence"), "{wrong}");
        let wrong = problem(&linux(r#""seccomp": {"defaultAction": null}"#));
        assert!(wrong.starts_with("linux.seccomp.defaultAction: "), "{wrong}");
        let wrong = problem(&linux(r#""seccomp": {"defaultAction": nul}"#));
        assert!(!wrong.contains("defaultAction"), "what is no JSON has no field: {wrong}");
        let wrong = problem(r#"{"ociVersion": "1.2.0", "process": {"cwd": "/", "user": {"uid": -1}}}"#);
        assert!(wrong.starts_with("process.user.uid: invalid value: integer `-1`, expected u32"), "{wrong}");
        for (field, value) in
            [("root", r#"["/"]"#), ("hooks", "[]"), ("process", r#"{"cwd": "/", "user": [1000]}"#), ("linux", r#"{"resources": []}"#)]
        {
            let wrong = problem(&format!(r#"{{"ociVersion": "1.2.0", "{field}": {value}}}"#));
            assert!(wrong.starts_with(field) && wrong.contains("invalid type: sequence, expected struct"), "{wrong}");
        }
        assert!(problem(r#"{"process": {}}"#).starts_with("process: missing field `cwd`"));
        assert!(problem("{}").starts_with("missing field `ociVersion`"));
    }

    #[test]
    fn null_is_not_given_and_what_the_specification_does_not_know_is_passed_over() {
        let text = r#"{"ociVersion": "1.2.0", "process": null, "mounts": null, "hooks": {"prestart": null}, "windows": {"x": []},
            "linux": {"maskedPaths": null, "sysctl": null, "foo": 7}, "bar": {}}"#;
        let document: Document = parse(text.as_bytes()).expect("it is fine");
        assert_eq!((document.process.is_none(), document.mounts.len()), (true, 0));
    }

    #[test]
    fn what_is_no_json_is_said_without_a_field() {
        assert!(problem("{").starts_with("EOF while parsing"));
        assert!(problem("{}x").starts_with("missing field") || problem("{}x").starts_with("trailing"));
        assert!(problem("").starts_with("EOF while parsing"));
    }

    #[test]
    fn a_pipe_in_the_documents_place_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(CONFIG);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).expect("a pipe");
        assert!(matches!(text_of_bundle(folder.path()), Err(Error::NotAFile { .. })));
    }

    #[test]
    fn a_document_without_end_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = std::fs::File::create(folder.path().join(CONFIG)).expect("a file");
        file.set_len(DOCUMENT_BYTES_MAX + 1).expect("a long file");
        assert!(matches!(text_of_bundle(folder.path()), Err(Error::TooLarge { .. })));
    }
}
