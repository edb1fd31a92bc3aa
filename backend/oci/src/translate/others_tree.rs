//! A container without a mount namespace of its own. The host's tree takes no mounts: what asks for one is refused. A joined
//! tree is taken as it is: what it has mounted is the matter of whoever made it, and what was asked for beside that is left out
//! with a warning.

use belljar_model::Invalid;
use belljar_model::namespace::Kind;
use belljar_runtime::Spec;
use belljar_runtime::spec::{Access, Terminal};

use super::Own;

/// Takes out of the spec what would have to be mounted, or refuses it by its field.
pub(super) fn leave(spec: &mut Spec, own: &Own, warnings: &mut Vec<String>) -> Result<(), Invalid> {
    let asked = [
        ("mounts", !spec.mounts.is_empty()),
        ("linux.maskedPaths", !spec.masked_paths.is_empty()),
        ("linux.readonlyPaths", !spec.readonly_paths.is_empty()),
        ("root.readonly", spec.root.access == Access::ReadOnly),
        ("linux.rootfsPropagation", spec.root.propagation.is_some()),
        ("linux.devices", !spec.devices.is_empty()),
        ("linux.mountLabel", spec.mount_label.is_some()),
    ];
    let fields: Vec<&str> = asked.into_iter().filter_map(|(field, is_asked)| is_asked.then_some(field)).collect();
    if !own.has(Kind::Mnt) {
        let problem = "linux.namespaces: without a mount namespace of its own it would be mounted on the host";
        return fields.first().map_or(Ok(()), |field| Err(Invalid::new(*field, problem)));
    }
    if !fields.is_empty() {
        let names = fields.join(", ");
        warnings.push(format!("linux.namespaces: the tree of the joined mount namespace is taken as it is, without {names}"));
    }
    if matches!(spec.process.terminal, Terminal::Pty { .. }) {
        warnings.push("process.terminal: the tree is somebody else's, so the terminal is not bound to /dev/console".to_owned());
    }
    (spec.mounts, spec.masked_paths, spec.readonly_paths, spec.devices) = Default::default();
    (spec.root.access, spec.root.propagation, spec.mount_label) = (Access::ReadWrite, None, None);
    Ok(())
}
