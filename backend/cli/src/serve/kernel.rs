//! What the kernel must have, looked at before anything is made. Each thing that is missing has its own sentence.

use belljar_linux::tree;
use belljar_runtime::cgroup::Hierarchies;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::FsOpenFlags;
use rustix::process::Uid;

use super::refusal::Refusal;

/// The oldest kernel: overlayfs takes idmapped lower layers since 5.19, and without them every image would have to be
/// copied for every container.
const KERNEL_MIN: (u32, u32) = (5, 19);
/// Controllers without which limits would be empty promises.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// Checks everything that a container will need.
pub(crate) fn check() -> Result<(), Refusal> {
    check_root(rustix::process::geteuid())?;
    check_version(&read("/proc/sys/kernel/osrelease")?)?;
    check_overlayfs()?;
    check_user_namespaces(read("/proc/sys/user/max_user_namespaces").ok().as_deref())?;
    check_openat2()?;
    check_cgroups(Hierarchies::probe().ok().as_ref())
}

fn read(path: &str) -> Result<String, Refusal> {
    std::fs::read_to_string(path).map_err(|error| Refusal::Unknown { source: belljar_linux::Error::from_io("read", path, &error) })
}

fn check_root(user: Uid) -> Result<(), Refusal> {
    if user.is_root() { Ok(()) } else { Err(Refusal::NotRoot) }
}

fn check_version(release: &str) -> Result<(), Refusal> {
    let mut numbers = release.trim().split(|character: char| !character.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL_MIN {
        return Ok(());
    }
    let what = format!("what Linux {}.{} brought (it is {})", KERNEL_MIN.0, KERNEL_MIN.1, release.trim());
    Err(Refusal::Kernel { what, remedy: "boot a newer one, such as that of Debian 12 or Ubuntu 24.04" })
}

/// Asked for, not looked up in `/proc/filesystems`: where overlayfs is a module, the asking loads it.
fn check_overlayfs() -> Result<(), Refusal> {
    overlayfs_because(rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map(drop))
}

fn overlayfs_because(opened: Result<(), Errno>) -> Result<(), Refusal> {
    let missing = |what: &str, remedy| Err(Refusal::Kernel { what: what.into(), remedy });
    match opened {
        Ok(()) => Ok(()),
        Err(Errno::NODEV) => missing("overlayfs", "load it with `modprobe overlay`, or boot one that has CONFIG_OVERLAY_FS"),
        // A seccomp filter or a capability set of an outer container.
        Err(_) => missing("the right to mount", "in a container, run Belljar privileged"),
    }
}

/// `max` is the content of `/proc/sys/user/max_user_namespaces`, which is missing without `CONFIG_USER_NS`.
fn check_user_namespaces(max: Option<&str>) -> Result<(), Refusal> {
    let missing = |remedy| Err(Refusal::Kernel { what: "user namespaces".into(), remedy });
    match max.map(str::trim) {
        None => missing("boot one that has CONFIG_USER_NS"),
        Some("0") => missing("allow them with `sysctl user.max_user_namespaces=15000`"),
        Some(_) => Ok(()),
    }
}

fn check_openat2() -> Result<(), Refusal> {
    let opened = tree::root(std::path::Path::new("/")).and_then(|root| tree::open(&root, "/", OFlags::PATH | OFlags::DIRECTORY));
    match opened {
        Ok(_) => Ok(()),
        // A seccomp filter of an outer container answers so, too.
        Err(error) if matches!(error.errno, Errno::NOSYS | Errno::PERM) => {
            Err(Refusal::Kernel { what: "openat2".into(), remedy: "in a container, run Belljar privileged" })
        }
        Err(source) => Err(Refusal::Unknown { source }),
    }
}

/// Every controller must live in some hierarchy; in which one does not matter.
fn check_cgroups(hierarchies: Option<&Hierarchies>) -> Result<(), Refusal> {
    let Some(hierarchies) = hierarchies else {
        return Err(Refusal::Kernel {
            what: "a mounted cgroup hierarchy".into(),
            remedy: "mount one with `mount -t cgroup2 none /sys/fs/cgroup`",
        });
    };
    match CONTROLLERS.into_iter().find(|controller| hierarchies.of(controller).is_none()) {
        None => Ok(()),
        Some(controller) => {
            let remedy =
                "boot with `cgroup_enable=memory` on its command line where that is it, and run outside of containers that hide it";
            Err(Refusal::Kernel { what: format!("the cgroup controller {controller}"), remedy })
        }
    }
}

#[cfg(test)]
mod tests {
    use belljar_model::cgroup::Version;
    use belljar_runtime::cgroup::Hierarchy;

    use super::*;

    fn sentence(outcome: Result<(), Refusal>) -> String {
        outcome.map_or_else(|refusal| refusal.to_string(), |()| "fine".into())
    }

    /// A hybrid host: one controller on v1, the others on v2.
    fn hierarchies(controllers: &[&str]) -> Hierarchies {
        let (first, others) = controllers.split_first().expect("one controller");
        let hierarchy = |version, controllers: &[&str]| Hierarchy {
            version,
            point: "/sys/fs/cgroup".into(),
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
        };
        Hierarchies::of_list(vec![hierarchy(Version::V1, &[*first]), hierarchy(Version::V2, others)])
    }

    #[test]
    fn old_kernels_are_refused_by_version() {
        for release in ["5.19.0-generic", "6.1.0-13-amd64\n", "6.18.44", "10.0"] {
            assert_eq!(sentence(check_version(release)), "fine", "{release}");
        }
        for release in ["5.18.19", "4.19.0-26-amd64", "", "nonsense"] {
            assert!(sentence(check_version(release)).contains("Linux 5.19"), "{release}");
        }
    }

    #[test]
    fn everything_that_is_missing_says_what_to_do() {
        let without_memory = hierarchies(&["cpu", "pids"]);
        let sentences = [
            (sentence(check_cgroups(None)), "mount -t cgroup2"),
            (sentence(check_cgroups(Some(&without_memory))), "the cgroup controller memory"),
            (sentence(check_root(Uid::from_raw(1000))), "sudo"),
            (sentence(overlayfs_because(Err(Errno::NODEV))), "modprobe overlay"),
            (sentence(overlayfs_because(Err(Errno::PERM))), "privileged"),
            (sentence(check_user_namespaces(None)), "CONFIG_USER_NS"),
            (sentence(check_user_namespaces(Some("0\n"))), "sysctl"),
        ];
        for (sentence, remedy) in sentences {
            assert!(sentence.contains(remedy), "{sentence}");
        }
        assert_eq!(sentence(check_user_namespaces(Some("96283\n"))), "fine");
        assert_eq!(sentence(check_cgroups(Some(&hierarchies(&CONTROLLERS)))), "fine");
    }
}
