//! What surrounds a container: the programs that are run at points of its life.

use std::path::Path;

use belljar_model::Invalid;
use belljar_runtime::spec::{Hook, HookState, Hooks};

use super::absolute;
use super::process::{check_environment, check_texts};
use crate::document::{self, Document};

/// The programs, with what they are told.
pub(super) fn hooks(document: &Document, bundle: &Path) -> Result<Hooks, Invalid> {
    if document.annotations.contains_key("") {
        return Err(Invalid::new("annotations", "a key must not be empty"));
    }
    let state =
        HookState { oci_version: document.oci_version.clone(), bundle: bundle.to_owned(), annotations: document.annotations.clone() };
    let Some(wanted) = &document.hooks else { return Ok(Hooks { state, ..Hooks::default() }) };
    Ok(Hooks {
        prestart: list("hooks.prestart", &wanted.prestart)?,
        create_runtime: list("hooks.createRuntime", &wanted.create_runtime)?,
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
        check_texts(&format!("{field}[{index}].args"), &hook.args)?;
        check_environment(&format!("{field}[{index}].env"), &hook.env)?;
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
