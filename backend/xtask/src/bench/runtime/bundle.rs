//! The bundles that are run: a static busybox, and a description with the whole default isolation of Docker: six namespaces
//! of its own, its mounts, its masks, its fourteen capabilities, its filter, and a cgroup. One more has a user namespace too.

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::repository;

/// The list of calls that the field's default filter allows, as the tests of our own filter have it.
const FIELD: &str = "backend/runtime/src/seccomp/field.txt";

/// What the field's default filter needs beside names.
const CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];
/// Paths that read as empty.
pub(super) const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
];
/// Paths that cannot be written.
pub(super) const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Whether a container has a user namespace of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    /// It has not: root inside is root.
    Host,
    /// It has.
    Own,
}

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// `true`.
    True,
    /// `sleep`, until it is killed.
    Stay,
}

/// Where runtimes keep their states: in memory, as `/run` is wherever something starts the machine.
const STATES: &str = "/dev/shm";

/// What was built for release here, and takes part: ours, and the least that a container can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Executable {
    /// Ours.
    Belljar,
    /// The bare program.
    Bare,
}

impl Executable {
    /// Its place below the folder of what is built for release.
    fn built(self) -> &'static str {
        match self {
            Executable::Belljar => "belljar",
            Executable::Bare => "examples/bare",
        }
    }
}

/// One folder for each, below one folder.
pub(super) struct Bundles {
    folder: PathBuf,
    states: tempfile::TempDir,
}

impl Bundles {
    /// Makes the root file system and every bundle.
    pub(super) fn make(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let root = folder.join("rootfs");
        for place in ["bin", "dev", "proc", "sys", "tmp", "etc"] {
            fs::create_dir_all(root.join(place))?;
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).map_err(|error| format!("needs Debian's busybox-static: {error}"))?;
        for name in ["true", "sleep"] {
            symlink("busybox", root.join("bin").join(name))?;
        }
        let states = tempfile::Builder::new().prefix("belljar-bench-").tempdir_in(STATES)?;
        let made = Self { folder: folder.to_owned(), states };
        for executable in [Executable::Belljar, Executable::Bare] {
            made.install(executable)?;
        }
        let seccomp = filter(&repository::read(&repository::root().join(FIELD))?);
        for (program, user) in
            [(Program::True, User::Host), (Program::True, User::Own), (Program::Stay, User::Host), (Program::Stay, User::Own)]
        {
            let bundle = made.bundle(program, user);
            fs::create_dir_all(&bundle)?;
            fs::write(bundle.join("config.json"), description(&root, program, user, &seccomp).to_string())?;
        }
        Ok(made)
    }

    /// Puts an executable where it is run, as the others were put where they are: written from one end to the other. What a
    /// linker has left, page by page in the order in which it came to them, is in pieces of one page in memory too, and
    /// everybody who executes it has to be shown each of them by itself.
    fn install(&self, executable: Executable) -> Result<(), Box<dyn Error>> {
        let built = repository::root().join("target/release").join(executable.built());
        let place = self.executable(executable);
        fs::create_dir_all(place.parent().unwrap_or(&self.folder))?;
        let failed = |error| format!("cannot install {}: {error}", built.display());
        fs::write(&place, fs::read(&built).map_err(failed)?)?;
        fs::set_permissions(&place, Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Where an executable of ours is run from.
    pub(super) fn executable(&self, executable: Executable) -> PathBuf {
        self.folder.join("bin").join(Path::new(executable.built()).file_name().unwrap_or_default())
    }

    /// The folder that everything is in.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a runtime keeps its states.
    pub(super) fn state(&self, runtime: &str) -> PathBuf {
        self.states.path().join(runtime)
    }

    /// The root file system.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("rootfs")
    }

    /// A bundle.
    pub(super) fn bundle(&self, program: Program, user: User) -> PathBuf {
        self.folder.join(format!("{program:?}-{user:?}"))
    }
}

fn description(root: &Path, program: Program, user: User, seccomp: &Value) -> Value {
    let arguments = match program {
        Program::True => json!(["/bin/true"]),
        Program::Stay => json!(["/bin/sleep", "86400"]),
    };
    let capabilities: Vec<String> = CAPABILITIES.iter().map(|name| format!("CAP_{name}")).collect();
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount", "cgroup"];
    let mut linux = json!({
        "resources": {"devices": [{"allow": false, "access": "rwm"}], "memory": {"limit": 268_435_456}, "pids": {"limit": 100}},
        "maskedPaths": MASKED, "readonlyPaths": READ_ONLY, "seccomp": seccomp,
    });
    if user == User::Own {
        namespaces.push("user");
        linux["uidMappings"] = json!([{"containerID": 0, "hostID": 1_000_000, "size": 65_536}]);
        linux["gidMappings"] = linux["uidMappings"].clone();
    }
    linux["namespaces"] = namespaces.iter().map(|kind| json!({"type": kind})).collect();
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": arguments, "env": ["PATH=/bin"], "cwd": "/", "noNewPrivileges": true,
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": root}, "hostname": "bench", "mounts": mounts(), "linux": linux,
    })
}

fn mounts() -> Value {
    let mount = |kind: &str, target: &str, options: &str| {
        let options: Vec<&str> = options.split(',').collect();
        json!({"destination": target, "type": kind, "source": kind, "options": options})
    };
    json!([
        mount("proc", "/proc", "nosuid,noexec,nodev"),
        mount("tmpfs", "/dev", "nosuid,strictatime,mode=755,size=65536k"),
        mount("devpts", "/dev/pts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        mount("sysfs", "/sys", "nosuid,noexec,nodev,ro"),
        mount("cgroup", "/sys/fs/cgroup", "nosuid,noexec,nodev,ro"),
        mount("mqueue", "/dev/mqueue", "nosuid,noexec,nodev"),
        mount("tmpfs", "/dev/shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
    ])
}

/// The field's default filter for these capabilities: names from the list of facts, and the four calls whose arguments
/// decide (`personality`, `socket`, `clone`, `clone3`).
fn filter(field: &str) -> Value {
    let holds = |condition: &str| match condition.split_once(':') {
        None => condition == "always",
        Some(("arch", architectures)) => {
            architectures.split(',').any(|name| name == if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" })
        }
        Some(("cap", name)) => CAPABILITIES.iter().any(|capability| name.strip_prefix("CAP_") == Some(capability)),
        Some((kind, _)) => kind == "kernel",
    };
    let lines = field.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
    let names: Vec<&str> = lines.filter(|(condition, _)| holds(condition)).flat_map(|(_, names)| names.split(' ')).collect();
    let when = |name: &str, index: u8, value: u64, op: &str| {
        let test = json!([{"index": index, "value": value, "op": op}]);
        json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": test})
    };
    let mut rules = vec![json!({"names": names, "action": "SCMP_ACT_ALLOW"})];
    rules.extend([0, 8, 0x20000, 0x20008, 0xffff_ffff].map(|persona| when("personality", 0, persona, "SCMP_CMP_EQ")));
    rules.extend([(38, "SCMP_CMP_LT"), (39, "SCMP_CMP_EQ"), (40, "SCMP_CMP_GT")].map(|(family, op)| when("socket", 0, family, op)));
    let masked = json!([{"index": 0, "value": 2_114_060_288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]);
    rules.push(json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": masked}));
    rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}));
    let native = if cfg!(target_arch = "aarch64") {
        json!(["SCMP_ARCH_AARCH64"])
    } else {
        json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    };
    json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": native, "syscalls": rules})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_takes_the_names_whose_conditions_hold() {
        let field = "# facts\nalways read write\ncap:CAP_SYS_CHROOT chroot\ncap:CAP_SYS_ADMIN mount\nkernel:4.8 ptrace\narch:arm,arm64 set_tls\narch:amd64 arch_prctl";
        let names = filter(field)["syscalls"][0]["names"].clone();
        let own = if cfg!(target_arch = "aarch64") { "set_tls" } else { "arch_prctl" };
        assert_eq!(names, json!(["read", "write", "chroot", "ptrace", own]));
    }
}
