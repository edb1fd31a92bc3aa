//! Labels of the two security modules that give a process one when it executes: AppArmor's profile, SELinux's context
//! (`apparmor(7)`, `selinux(8)`). Written through a [`Procfs`] that nobody else can reach; a label that went to another file
//! than the kernel's would be one that was never set (CVE-2019-16884, CVE-2023-28642).

use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::procfs::Procfs;

/// Which of the two modules this kernel uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Active {
    /// AppArmor.
    pub apparmor: Presence,
    /// SELinux.
    pub selinux: Presence,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// It is.
    Present,
    /// It is not.
    #[default]
    Absent,
}

/// Looks which modules this kernel uses.
pub fn active() -> Active {
    of_host(Path::new("/"))
}

/// As [`active`], of a folder that looks like a host's root.
fn of_host(root: &Path) -> Active {
    let enabled = std::fs::read_to_string(root.join("sys/module/apparmor/parameters/enabled"));
    let present = |found| if found { Presence::Present } else { Presence::Absent };
    Active {
        apparmor: present(enabled.is_ok_and(|text| text.starts_with('Y'))),
        // Mounted by whoever loads the policy; without a policy nothing has a context.
        selinux: present(root.join("sys/fs/selinux/enforce").exists()),
    }
}

/// The profile that AppArmor puts this thread under when it executes.
pub fn set_apparmor_profile(proc: &Procfs, profile: &str) -> Result<()> {
    let content = format!("exec {profile}");
    // The module's own folder, since Linux 5.8, is meant by no other module; older kernels have the common file only.
    match proc.write_own("attr/apparmor/exec", &content) {
        Err(error) if error.errno == Errno::NOENT => proc.write_own("attr/exec", &content),
        written => written,
    }
    .map_err(|error| Error::new("apply", format!("AppArmor profile {profile}"), error.errno))
}

/// The context that SELinux gives this thread when it executes.
pub fn set_selinux_context(proc: &Procfs, context: &str) -> Result<()> {
    proc.write_own("attr/exec", context).map_err(|error| Error::new("apply", format!("SELinux label {context}"), error.errno))
}

/// The context that SELinux gives keyrings that this thread makes from now on.
pub fn set_selinux_keyring_context(proc: &Procfs, context: &str) -> Result<()> {
    proc.write_own("attr/keycreate", context)
        .map_err(|error| Error::new("apply", format!("SELinux label {context} of keyrings"), error.errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_told_by_their_own_files() {
        let host = tempfile::tempdir().unwrap();
        assert_eq!(of_host(host.path()), Active::default());
        let apparmor = host.path().join("sys/module/apparmor/parameters");
        std::fs::create_dir_all(&apparmor).unwrap();
        std::fs::write(apparmor.join("enabled"), "N\n").unwrap();
        assert_eq!(of_host(host.path()), Active::default(), "built in, and not switched on");
        std::fs::write(apparmor.join("enabled"), "Y\n").unwrap();
        std::fs::create_dir_all(host.path().join("sys/fs/selinux")).unwrap();
        std::fs::write(host.path().join("sys/fs/selinux/enforce"), "1").unwrap();
        assert_eq!(of_host(host.path()), Active { apparmor: Presence::Present, selinux: Presence::Present });
    }

    #[test]
    fn a_label_that_no_module_takes_is_an_error_and_names_it() {
        if active() != Active::default() {
            println!("skipped: needs a kernel without AppArmor and SELinux");
            return;
        }
        let proc = Procfs::seen().unwrap();
        let refused = set_apparmor_profile(&proc, "docker-default").unwrap_err();
        assert!(refused.to_string().starts_with("apply AppArmor profile docker-default: E"), "{refused}");
        assert!(set_selinux_context(&proc, "system_u:system_r:container_t:s0").is_err());
        assert!(set_selinux_keyring_context(&proc, "system_u:system_r:container_t:s0").is_err());
    }
}
