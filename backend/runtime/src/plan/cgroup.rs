//! The container's cgroup in the plan: made, guarded and limited before there is a process that could be in it. In v2 the process is
//! born there. Into those of v1 it moves itself, so they are made while it makes its namespaces; and where systemd makes the
//! cgroup, that is around the process as soon as there is one.

use std::path::PathBuf;

use belljar_model::Invalid;
use belljar_model::cgroup::Version;

use crate::cgroup::devices::{Guard, with_defaults};
use crate::cgroup::systemd::manager::Scope;
use crate::cgroup::systemd::properties;
use crate::cgroup::{Cgroup, CgroupPlace, Hierarchies, Part, limits, place, writes};
use crate::spec::Spec;
use crate::step::CgroupStep;
use crate::step::process::Joining;

/// Steps of the cgroup, by where they stand in the plan.
pub(super) struct Parts {
    /// Outside, before there is a process.
    pub(super) before_clone: Vec<CgroupStep>,
    /// How the process gets into v2.
    pub(super) joining: Joining,
    /// Outside, once there is a process.
    pub(super) after_clone: Vec<CgroupStep>,
    /// Inside, before anything else: the process moves itself.
    pub(super) join: Option<CgroupStep>,
}

/// The steps of the container's cgroup. Refuses what this host cannot enforce, by its field.
pub(super) fn parts(spec: &Spec, hierarchies: &Hierarchies) -> Result<Parts, Invalid> {
    let cgroup = spec.cgroup.cgroup(hierarchies);
    // Whoever asked is told in the words in which they asked: of a request, or of a bundle's document.
    let named = |invalid: Invalid| match &spec.folders {
        Some(_) => limits::named(invalid),
        None => Invalid::new(format!("linux.{}", invalid.field), invalid.problem),
    };
    let writes = writes(&spec.resources, &cgroup).map_err(named)?;
    let needed = place::needed(&writes);
    let held = guard(spec, &cgroup).map_err(named)?.map(CgroupStep::Guard).into_iter().chain(writes.into_iter().map(CgroupStep::Limit));
    let Some(unit) = spec.cgroup.unit() else {
        let of = |version: Version| Some(cgroup.clone().only(|part| part.version == version)).filter(|cgroup| !cgroup.parts().is_empty());
        let (unified, others) = (of(Version::V2), of(Version::V1));
        let joining = unified.as_ref().and_then(|cgroup| cgroup.parts().first()).map(|part| part.path.clone());
        let made = |cgroup: Option<Cgroup>| -> Vec<CgroupStep> {
            cgroup.into_iter().map(|cgroup| CgroupStep::Make { cgroup, needed: needed.clone() }).collect()
        };
        let (mut before_clone, mut after_clone) = (made(unified), made(others));
        if after_clone.is_empty() {
            before_clone.extend(held)
        } else {
            after_clone.extend(held)
        }
        let joining = joining.map_or(Joining::Later, Joining::AtBirth);
        return Ok(Parts { joining, join: join(&cgroup), before_clone, after_clone });
    };
    // What systemd does not manage is made by us and joined as ever; the rest comes with the scope.
    let ours = cgroup.clone().only(|part| part.version == Version::V1 && !part.is_named());
    let scope = Scope { unit, slice: slice(&spec.cgroup), properties: properties::of(&spec.resources, &cgroup).map_err(named)? };
    let join = join(&ours);
    Ok(Parts {
        before_clone: if ours.parts().is_empty() { Vec::new() } else { vec![CgroupStep::Make { cgroup: ours, needed }] },
        joining: Joining::Later,
        after_clone: std::iter::once(CgroupStep::Scope(scope)).chain(held).collect(),
        join,
    })
}

fn slice(place: &CgroupPlace) -> String {
    match place {
        CgroupPlace::Systemd { slice, .. } => slice.clone(),
        _ => String::new(),
    }
}

/// What guards devices. Where nobody asked for rules and the host has no way to enforce any, there is none, and the plan
/// shows that there is none: what a container has of devices is then what its tree has.
fn guard(spec: &Spec, cgroup: &Cgroup) -> Result<Option<Guard>, Invalid> {
    match Guard::new(&with_defaults(&spec.resources.devices), cgroup) {
        Err(_) if spec.resources.devices.is_empty() => Ok(None),
        guard => guard.map(Some),
    }
}

/// How the process moves itself into the cgroups of version 1; none where there are none.
pub(super) fn join(cgroup: &Cgroup) -> Option<CgroupStep> {
    let files: Vec<PathBuf> = cgroup.parts().iter().filter(|part| part.version == Version::V1).map(Part::joining_file).collect();
    (!files.is_empty()).then_some(CgroupStep::Join { files })
}
