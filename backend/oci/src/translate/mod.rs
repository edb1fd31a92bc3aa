//! A document and a folder in, the core's [`Spec`] out; or the field that makes no sense, and why.
//!
//! What is checked here is what the kernel would not say in time, or not say clearly: fields that contradict each other (a
//! hostname without a namespace for it), paths that are none, words that mean nothing here. What only the kernel knows is left
//! to it, and its answer names the step. Nothing is made, and nothing but the bundle's folders is looked at. It must never
//! know a command line or a state folder's files.
//!
//! What this cannot do is refused by name, never passed over: a container that is less than what was asked for is worse than
//! none. The exceptions are told with a warning: a capability that nobody here could have, as the specification wants it, what
//! would have to be mounted in a tree that is joined ([`others_tree`]), options that a bind cannot take, and what the kernel used
//! to have ([`obsolete`]).

mod hooks;
mod namespaces;
mod others_tree;
mod process;
mod tree;

use std::path::{Path, PathBuf};

use belljar_model::Invalid;
use belljar_model::namespace::Kind;
pub use belljar_runtime::cgroup::place::Driver;
use belljar_runtime::cgroup::resources::Beyond;
use belljar_runtime::cgroup::{CgroupPlace, Resources};
use belljar_runtime::spec::landlock::Landlock;
use belljar_runtime::spec::{Access, CpuAffinity, First, Keyring, Source, Start};
use belljar_runtime::{Spec, plan, seccomp};

use crate::document::{Document, Linux};

pub use process::{Caller, Rights, process};

/// What a container is made from beside its document.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Its id.
    pub id: &'a str,
    /// The bundle's folder, absolute.
    pub bundle: &'a Path,
    /// The folder that is the container's own.
    pub state_dir: &'a Path,
    /// How its cgroup is made.
    pub driver: Driver,
    /// When its program begins.
    pub start: Start,
    /// Whose keyring it has.
    pub keyring: Keyring,
    /// How many descriptors from 3 on it is given.
    pub preserved_descriptors: u32,
}

/// A spec, and what was done differently from how it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    /// The container.
    pub spec: Spec,
    /// Sentences.
    pub warnings: Vec<String>,
}

/// Turns a document into a spec. The error is the first field that makes no sense.
pub fn translate(document: &Document, request: &Request<'_>) -> Result<Translation, Invalid> {
    check_version(&document.oci_version)?;
    let linux = document.linux();
    let rootfs = rootfs(document, request.bundle)?;
    let namespaces = namespaces::namespaces(&linux.namespaces)?;
    let own = Own::of(&namespaces);
    let mut warnings = Vec::new();
    let wanted = document.process.as_ref().ok_or_else(|| Invalid::new("process", "it must not be empty"))?;
    let caller = Caller { keyring: request.keyring, preserved_descriptors: request.preserved_descriptors, rights: Rights::of(&namespaces) };
    let mut process = process(wanted, "process", &caller, &mut warnings)?;
    process.personality = process::personality(linux)?;
    process.seccomp = linux.seccomp.clone().map(seccomp::Choice::of);
    process.landlock = landlock(&document.annotations)?;
    // It is said of programs that follow (runtime-spec, *Process*, `execCPUAffinity`).
    process.cpu_affinity = CpuAffinity::default();
    let readonly_paths = tree::paths("linux.readonlyPaths", &linux.readonly_paths)?;
    let (roots, readonly_paths): (Vec<_>, Vec<_>) = readonly_paths.into_iter().partition(|path| Path::new(path) == Path::new("/"));
    let mut spec = Spec {
        id: request.id.to_owned(),
        attempt: 0,
        hostname: namespaces::hostname(document, &own)?,
        domainname: namespaces::domainname(document, &own)?,
        process,
        time_offsets: namespaces::time_offsets(linux, &own)?,
        ids: namespaces::ids(linux, &own)?,
        sysctls: linux.sysctl.clone(),
        root: tree::root(document, rootfs),
        mounts: tree::mounts(document, request.bundle, &mut warnings)?,
        devices: tree::devices(linux)?,
        masked_paths: tree::paths("linux.maskedPaths", &linux.masked_paths)?,
        readonly_paths,
        namespaces,
        cgroup: cgroup(linux, request)?,
        resources: resources(linux, &mut warnings)?,
        hooks: hooks::hooks(document, request.bundle)?,
        mount_label: Some(linux.mount_label.clone()).filter(|label| !label.is_empty()),
        first: First::Program,
        start: request.start,
        state_dir: request.state_dir.to_owned(),
        folders: None,
    };
    if !roots.is_empty() {
        spec.root.access = Access::ReadOnly;
    }
    plan::check_sysctls(&spec).map_err(|foreign| Invalid::new(format!("linux.sysctl[{}]", foreign.name), foreign.problem))?;
    refuse_what_is_missing(document)?;
    if !own.is_new(Kind::Mnt) {
        others_tree::leave(&mut spec, &own, &mut warnings)?;
    }
    Ok(Translation { spec, warnings })
}

/// The annotation that asks for Landlock's rules, for which the specification has no field: JSON, as
/// `{"paths":[{"path":"/usr","access":["read","execute"]}],"connect_tcp":[443],"confined":["signals"]}`.
pub const LANDLOCK_ANNOTATION: &str = "org.belljar.landlock";

/// Landlock's rules of a container, which its later programs are under as well.
pub fn landlock(annotations: &std::collections::BTreeMap<String, String>) -> Result<Option<Landlock>, Invalid> {
    let Some(text) = annotations.get(LANDLOCK_ANNOTATION) else { return Ok(None) };
    let field = || format!("annotations[{LANDLOCK_ANNOTATION}]");
    let rules: Landlock = serde_json::from_str(text).map_err(|error| Invalid::new(field(), error.to_string()))?;
    rules.check().map_err(|invalid| Invalid::new(field(), format!("{}: {}", invalid.field, invalid.problem)))?;
    Ok(Some(rules))
}

/// Where its cgroup is.
fn cgroup(linux: &Linux, request: &Request<'_>) -> Result<CgroupPlace, Invalid> {
    CgroupPlace::parse(Some(&linux.cgroups_path).filter(|path| !path.is_empty()).map(String::as_str), request.id, request.driver)
}

/// Where a document says what its cgroup may use.
const RESOURCES: &str = "linux.resources.";

/// The limits of its cgroup.
fn resources(linux: &Linux, warnings: &mut Vec<String>) -> Result<Resources, Invalid> {
    // What the specification has no words for, no bundle can ask for.
    let resources = Resources { beyond: Beyond::default(), ..linux.resources.clone().unwrap_or_default() };
    check_memory(&resources, RESOURCES)?;
    warnings.extend(obsolete(&resources, RESOURCES));
    Ok(resources)
}

/// What is asked for and no kernel of today can do or undo, in sentences: the specification still has the fields.
pub fn obsolete(resources: &Resources, parent: &str) -> Vec<String> {
    let Some(memory) = &resources.memory else { return Vec::new() };
    // 0 is not asked, and no limit is what holds.
    let kernel = memory.kernel.filter(|bytes| *bytes > 0).map(|bytes| {
        format!("{parent}memory.kernel: {bytes} is without effect: since Linux 5.16 the kernel's memory has no limit of its own, it counts as memory.limit does")
    });
    let apart = memory.use_hierarchy == Some(false);
    let hierarchy =
        apart.then(|| format!("{parent}memory.useHierarchy: false is without effect: since Linux 5.11 cgroups below always count"));
    kernel.into_iter().chain(hierarchy).collect()
}

/// Refuses amounts of memory that are none: below zero there is only -1, for no limit.
pub fn check_memory(resources: &Resources, parent: &str) -> Result<(), Invalid> {
    let Some(memory) = &resources.memory else { return Ok(()) };
    let amounts = [
        ("limit", memory.limit),
        ("reservation", memory.reservation),
        ("swap", memory.swap),
        ("kernel", memory.kernel),
        ("kernelTCP", memory.kernel_tcp),
    ];
    match amounts.into_iter().find_map(|(name, amount)| Some((name, amount.filter(|amount| *amount < -1)?))) {
        Some((name, amount)) => Err(Invalid::new(format!("{parent}memory.{name}"), format!("{amount} is neither bytes nor -1, no limit"))),
        None => Ok(()),
    }
}

/// The folder of the root file system.
pub fn rootfs(document: &Document, bundle: &Path) -> Result<PathBuf, Invalid> {
    let root = document.root.as_ref().ok_or_else(|| Invalid::new("root", "it must not be empty"))?;
    if root.path.is_empty() {
        return Err(Invalid::new("root.path", "it must not be empty"));
    }
    let path = bundle.join(&root.path);
    match std::fs::canonicalize(&path) {
        Ok(found) if found.is_dir() => Ok(found),
        Ok(_) => Err(Invalid::new("root.path", format!("{} is not a directory", path.display()))),
        Err(error) => Err(Invalid::new("root.path", format!("{}: {}", path.display(), plain(&error)))),
    }
}

/// Which kinds of namespaces a container does not share with the host.
struct Own(Vec<(Kind, Source)>);

impl Own {
    fn of(namespaces: &[belljar_runtime::spec::Namespace]) -> Self {
        Self(namespaces.iter().map(|namespace| (namespace.kind, namespace.source.clone())).collect())
    }

    /// A new one, or one that was there already.
    fn has(&self, kind: Kind) -> bool {
        self.0.iter().any(|(own, _)| *own == kind)
    }

    /// A new one.
    fn is_new(&self, kind: Kind) -> bool {
        self.0.iter().any(|(own, source)| *own == kind && *source == Source::New)
    }
}

/// The specification's versions are semantic: any 1.x is understood, since what it does not know is passed over.
fn check_version(version: &str) -> Result<(), Invalid> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match parts.as_slice() {
        ["1", minor, patch] if number(minor) && number(patch) => Ok(()),
        [major, minor, patch] if number(major) && number(minor) && number(patch) => {
            Err(Invalid::new("ociVersion", format!("version {version} of the specification is not supported, only 1.x.y")))
        }
        _ => Err(Invalid::new("ociVersion", format!("{version:?} is not a version such as 1.2.0"))),
    }
}

/// What the specification has and this runtime has not.
fn refuse_what_is_missing(document: &Document) -> Result<(), Invalid> {
    if document.linux().intel_rdt.is_some() {
        return Err(Invalid::new("linux.intelRdt", "Intel RDT is not supported"));
    }
    Ok(())
}

/// What the kernel says, without Rust's own number behind it.
fn plain(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => belljar_linux::error::cause(rustix::io::Errno::from_raw_os_error(number)),
        None => error.to_string(),
    }
}

/// A path from the root of the container.
fn absolute(field: &str, path: &str) -> Result<(), Invalid> {
    match path {
        "" => Err(Invalid::new(field, "it must not be empty")),
        path if !path.starts_with('/') => Err(Invalid::new(field, format!("{path:?} must be an absolute path"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
