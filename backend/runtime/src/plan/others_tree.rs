//! The order of the steps of a container without a mount namespace of its own: its tree is somebody else's, of which nothing is
//! changed. It has joined a mount namespace, then that one's root is its root; or it shares the maker's, then it is shut into a
//! folder of it.

use belljar_model::Invalid;
use belljar_model::namespace::Kind;

use super::Parts;
use crate::spec::{Access, Spec, Tree};
use crate::step::TreeStep;

/// All steps of the file system, by when they are taken; refuses what would have to be mounted, by its field.
pub(super) fn parts(spec: &Spec) -> Result<Parts<TreeStep>, Invalid> {
    let joined = spec.namespace(Kind::Mnt).is_some();
    let problem = if joined {
        "namespaces: it would be mounted in the tree of the mount namespace that is joined, which is somebody else's"
    } else {
        "namespaces: without a mount namespace of its own it would be mounted on the host"
    };
    if let Some(field) = mounted(spec) {
        return Err(Invalid::new(field, problem));
    }
    super::sysctl::check(spec)?;
    let Tree::Folder(folder) = &spec.root.tree else { return Err(Invalid::new("root.tree", problem)) };
    let mut parts = Parts::default();
    let folder = if joined { "/".into() } else { folder.clone() };
    parts.before_root = vec![TreeStep::OpenRoot { folder }];
    parts.inside.extend((!spec.sysctls.is_empty()).then_some(TreeStep::OpenProc));
    parts.pivot.extend((!joined).then_some(TreeStep::Chroot));
    parts.pivot.extend(super::tree::sysctls(spec));
    Ok(parts)
}

/// The first field that asks for a mount, or for a change of one.
fn mounted(spec: &Spec) -> Option<&'static str> {
    let asked = [
        ("mounts", !spec.mounts.is_empty()),
        ("masked_paths", !spec.masked_paths.is_empty()),
        ("readonly_paths", !spec.readonly_paths.is_empty()),
        ("root.access", spec.root.access == Access::ReadOnly),
        ("root.propagation", spec.root.propagation.is_some()),
        ("devices", !spec.devices.is_empty()),
        ("mount_label", spec.mount_label.is_some()),
    ];
    asked.into_iter().find_map(|(field, is_asked)| is_asked.then_some(field))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{facts, spec};
    use super::super::{make, tests::lines};
    use super::*;
    use crate::spec::{Namespace, Source};
    use belljar_model::cgroup::Version;

    fn bare(source: Option<Source>) -> Spec {
        let mut spec = spec(r#"{"name":"web","image":"host","command":["sh"]}"#, None);
        spec.namespaces.retain(|namespace| namespace.kind != Kind::Mnt);
        spec.namespaces.extend(source.map(|source| Namespace { kind: Kind::Mnt, source }));
        spec.root.tree = Tree::Folder("/bundle/rootfs".into());
        (spec.mounts, spec.masked_paths, spec.readonly_paths) = Default::default();
        spec
    }

    fn joined() -> Option<Source> {
        Some(Source::Path { path: "/proc/7/ns/mnt".into(), inode: Some(7) })
    }

    #[test]
    fn a_joined_tree_is_taken_as_it_is() {
        insta::assert_snapshot!(lines(&make(&bare(joined()), &facts(Version::V2)).unwrap()));
    }

    #[test]
    fn a_folder_of_the_hosts_tree_is_a_root_without_mounts() {
        insta::assert_snapshot!(lines(&make(&bare(None), &facts(Version::V2)).unwrap()));
    }

    #[test]
    fn what_would_be_mounted_is_refused_by_its_field() {
        for source in [None, joined()] {
            let refused = |change: &dyn Fn(&mut Spec)| {
                let mut spec = bare(source.clone());
                change(&mut spec);
                make(&spec, &facts(Version::V2)).unwrap_err().field
            };
            assert_eq!(refused(&|spec| spec.mounts = crate::spec::standard_mounts()), "mounts");
            assert_eq!(refused(&|spec| spec.masked_paths = vec!["/proc/kcore".into()]), "masked_paths");
            assert_eq!(refused(&|spec| spec.readonly_paths = vec!["/proc/sys".into()]), "readonly_paths");
            assert_eq!(refused(&|spec| spec.root.access = Access::ReadOnly), "root.access");
            assert_eq!(refused(&|spec| spec.root.propagation = Some(crate::spec::Propagation::Shared)), "root.propagation");
            assert_eq!(refused(&|spec| spec.mount_label = Some("x".into())), "mount_label");
        }
    }
}
