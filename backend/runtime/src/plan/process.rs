//! The order of the steps of the process, once it has its tree: names, outputs, then privileges go, each when it was last
//! needed.

use std::sync::Arc;

use belljar_model::Invalid;
use belljar_model::namespace::Kind;

use super::is_new;
use crate::seccomp::{self, Prepared};
use crate::spec::{Process, Spec};
use crate::step::ProcessStep;

/// File mode creation mask where none was asked for.
const UMASK: u32 = 0o022;

pub(super) fn session_step(process: &Process) -> ProcessStep {
    ProcessStep::NewSession { keyring: process.keyring, umask: process.umask.unwrap_or(UMASK) }
}

/// What is set around the program: names, network, outputs.
pub(super) fn surroundings(spec: &Spec) -> Vec<ProcessStep> {
    let mut steps: Vec<ProcessStep> = spec.hostname.clone().map(ProcessStep::SetHostname).into_iter().collect();
    if is_new(spec, Kind::Net) {
        steps.push(ProcessStep::BringLoopbackUp);
    }
    steps.push(ProcessStep::ConnectOutputs);
    steps
}

/// Each privilege goes when it was last needed: dropping from the bounding set needs `SETPCAP`, changing the user needs
/// `SETUID`; the filter comes last, so that it need not allow what we still do.
pub(super) fn privileges(spec: &Spec) -> Result<Vec<ProcessStep>, Invalid> {
    let process = &spec.process;
    let mut steps = vec![
        ProcessStep::MakeWorkdir(process.workdir.clone()),
        ProcessStep::BoundCapabilities { keep: process.capabilities.bounding.clone() },
        ProcessStep::BecomeUser(process.user.clone()),
        ProcessStep::LimitCapabilities,
        ProcessStep::EnterWorkdir(process.workdir.clone()),
    ];
    if process.no_new_privileges {
        steps.push(ProcessStep::ForbidNewPrivileges);
    }
    steps.push(ProcessStep::CloseDescriptors);
    steps.extend(filter(process)?.map(ProcessStep::LoadSeccomp));
    steps.push(ProcessStep::Exec { arguments: process.arguments.clone(), environment: process.environment.clone(), first: spec.first });
    Ok(steps)
}

/// Compiled here, before anything is made: a profile that cannot be is refused by its field.
fn filter(process: &Process) -> Result<Option<Arc<Prepared>>, Invalid> {
    let Some(choice) = &process.seccomp else { return Ok(None) };
    seccomp::for_process(choice, &process.capabilities.bounding).map(Some)
}
