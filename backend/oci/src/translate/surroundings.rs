//! What surrounds a container: its cgroup, and the programs that are run at points of its life.

use std::path::Path;

use belljar_model::Invalid;
use belljar_runtime::spec::{CgroupPlace, Hook, HookState, Hooks};

use super::{Driver, Request, absolute};
use crate::document::{self, Document};

/// What the cgroup of a bundle without a wish is called before its id. One folder, and none above it that would be left.
const PREFIX: &str = "belljar-oci";
/// The slice of such a bundle where systemd makes its cgroup.
const SLICE: &str = "system.slice";

/// Where its cgroup is: a path from each hierarchy's root, or systemd's three parts.
pub(super) fn cgroup(wanted: &str, request: &Request<'_>) -> Result<CgroupPlace, Invalid> {
    let field = "linux.cgroupsPath";
    match request.driver {
        Driver::Folders => {
            if wanted.contains('\0') || wanted.split('/').any(|name| name == "..") {
                return Err(Invalid::new(field, format!("{wanted:?} leads out of itself")));
            }
            let names: Vec<&str> = wanted.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
            Ok(CgroupPlace::Named(if names.is_empty() { format!("{PREFIX}-{}", request.id) } else { names.join("/") }))
        }
        Driver::Systemd if wanted.is_empty() => {
            Ok(CgroupPlace::Systemd { slice: SLICE.into(), prefix: PREFIX.into(), name: request.id.to_owned() })
        }
        Driver::Systemd => match wanted.split(':').collect::<Vec<_>>().as_slice() {
            [slice, prefix, name] if !name.is_empty() && !wanted.contains('/') => {
                let slice = if slice.is_empty() { SLICE } else { slice };
                Ok(CgroupPlace::Systemd { slice: slice.to_owned(), prefix: (*prefix).to_owned(), name: (*name).to_owned() })
            }
            _ => Err(Invalid::new(
                field,
                format!("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {wanted:?}"),
            )),
        },
    }
}

/// The programs, with what they are told.
pub(super) fn hooks(document: &Document, bundle: &Path) -> Result<Hooks, Invalid> {
    if document.annotations.contains_key("") {
        return Err(Invalid::new("annotations", "a key must not be empty"));
    }
    let state =
        HookState { oci_version: document.oci_version.clone(), bundle: bundle.to_owned(), annotations: document.annotations.clone() };
    let Some(wanted) = &document.hooks else { return Ok(Hooks { state, ..Hooks::default() }) };
    let mut create_runtime = list("hooks.prestart", &wanted.prestart)?;
    create_runtime.extend(list("hooks.createRuntime", &wanted.create_runtime)?);
    Ok(Hooks {
        create_runtime,
        create_container: list("hooks.createContainer", &wanted.create_container)?,
        start_container: list("hooks.startContainer", &wanted.start_container)?,
        poststart: list("hooks.poststart", &wanted.poststart)?,
        poststop: list("hooks.poststop", &wanted.poststop)?,
        state,
    })
}

fn list(field: &str, wanted: &[document::Hook]) -> Result<Vec<Hook>, Invalid> {
    let one = |(index, hook): (usize, &document::Hook)| {
        absolute(&format!("{field}[{index}].path"), &hook.path)?;
        let timeout = hook.timeout.map(|seconds| u32::try_from(seconds).ok().filter(|seconds| *seconds > 0));
        if timeout == Some(None) {
            return Err(Invalid::new(format!("{field}[{index}].timeout"), "it must be greater than zero"));
        }
        Ok(Hook {
            path: hook.path.clone().into(),
            arguments: hook.args.clone(),
            environment: hook.env.clone(),
            timeout_seconds: timeout.flatten(),
        })
    };
    wanted.iter().enumerate().map(one).collect()
}
