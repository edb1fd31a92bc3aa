//! Writing over the runtime through `/proc/<pid>/exe` (CVE-2019-5736): from the container's first process, from a script,
//! from an exec, and from beside. The runtime is a copy, whose digest must not change.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use belljar_testbed::wait_until;
use sha2::{Digest, Sha256};

use super::{Root, on};
use crate::bed::probe::compiled_before;
use crate::bed::runtime::find_program;
use crate::bed::{Bed, Kind, Runtime, own_by};

/// How often the runtime enters the container while somebody inside waits for it.
const ENTRIES: usize = 30;

/// A copy of our executable, and the runtime that it is.
struct Copy {
    path: PathBuf,
    digest: Vec<u8>,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Copy {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/var/tmp").expect("a folder can be made");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        let path = folder.path().join("belljar-copy");
        fs::copy(crate::EXECUTABLE, &path).expect("the executable can be copied");
        Self { digest: digest(&path), runtime: Runtime::ours(&path), path, _folder: folder }
    }

    #[track_caller]
    fn assert_unchanged(&self) {
        assert!(digest(&self.path) == self.digest, "the runtime was overwritten");
    }
}

fn digest(path: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(path).expect("the executable can be read")).to_vec()
}

/// Puts a loader of the attacker's where our executable asks for the host's; false where it cannot be compiled.
fn install_interpreter(bed: &Bed) -> bool {
    let target = bed.root("lib64/ld-linux-x86-64.so.2");
    fs::create_dir_all(bed.root("lib64")).expect("a folder can be made");
    if let Some(program) = compiled_before("interpreter") {
        fs::copy(program, &target).expect("the program can be copied");
        return true;
    }
    let Some(compiler) = find_program("cc") else { return false };
    let source = bed.path("interpreter.c");
    fs::write(&source, include_str!("interpreter.c")).expect("a file can be written");
    let mut command = Command::new(compiler);
    command.args(["-nostdlib", "-static", "-O1", "-fno-stack-protector", "-o"]).arg(&target).arg(&source);
    assert!(command.status().expect("the compiler runs").success(), "the attacker's loader compiles");
    true
}

/// Runs `attack` on a copy of our executable, and looks at it afterwards.
fn on_a_copy(attack: impl Fn(&Bed, Root, &Copy)) {
    crate::bed::with(Kind::Ours, |_| {
        let copy = Copy::new();
        on(&copy.runtime, |bed, root| {
            if install_interpreter(bed) {
                attack(bed, root, &copy);
                copy.assert_unchanged();
            }
        });
    });
}

/// What the attacker's loader says once it was loaded for the runtime.
const TRIED: &str = "later: holds ";

/// SIGSEGV, as a shell tells it.
const DIED_AS_LOADER: i32 = 128 + 11;

/// The container in the foreground, and made and started apart, so that no process of the runtime is left to keep its file
/// busy. It is refused, or the attacker's loader was there and wrote nothing.
fn attack(bed: &Bed) {
    let said = bed.run_as_is();
    let mut outputs = vec![format!("{}{}", said.out, said.err)];
    let create = bed.try_create(&[]);
    outputs.push(create.err);
    if create.status.success() {
        let start = bed.call(&["start", bed.id()]);
        wait_until("the container ends", || (bed.status() == "stopped").then_some(()));
        outputs.push(format!("{}{}", bed.output(), start.err));
        bed.call(&["delete", "--force", bed.id()]).ok();
    }
    println!("{} {outputs:?}", said.status);
    let is_told = outputs.iter().any(|output| output.contains(TRIED) || output.contains("level=error"));
    // Our code as a loader finds none of what a loader is given, and dies of it; but it ran inside.
    assert!(is_told || said.code() == DIED_AS_LOADER, "neither tried nor refused: {outputs:?}");
    assert!(!outputs.iter().any(|output| output.contains("later wrote")), "{outputs:?}");
}

#[test]
fn the_attack_works_on_a_program_that_is_not_protected() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        if !crate::bed::probe::install(&bed) || !install_interpreter(&bed) {
            return;
        }
        // Any program that asks for the same loader, and that the container may write: the very thing that the runtime is not.
        let victim = bed.root("victim");
        fs::copy(crate::EXECUTABLE, &victim).expect("the executable can be copied");
        let before = digest(&victim);
        let said = bed.arguments(&["/victim"]).run_as_is();
        assert!(said.out.contains("later wrote"), "{said:?}");
        assert!(digest(&victim) != before);
    });
}

#[test]
fn an_entrypoint_that_is_the_runtime_itself_does_not_overwrite_it() {
    on_a_copy(|bed, _, _| {
        bed.arguments(&["/proc/self/exe", "runtime", "--version"]);
        attack(bed);
    });
}

#[test]
fn a_script_whose_interpreter_is_the_runtime_does_not_overwrite_it() {
    on_a_copy(|bed, root, _| {
        fs::write(bed.root("entry"), "#!/proc/self/exe\n").expect("a file can be written");
        fs::set_permissions(bed.root("entry"), fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        if root == Root::Own {
            own_by(&bed.root("entry"), crate::userns::FIRST);
        }
        bed.arguments(&["/entry"]);
        attack(bed);
    });
}

#[test]
fn a_program_whose_loader_is_the_runtime_does_not_overwrite_it() {
    on_a_copy(|bed, _, _| {
        let source = bed.path("main.c");
        fs::write(&source, "int main(void) { return 0; }\n").expect("a file can be written");
        let mut command = Command::new("cc");
        command.arg("-o").arg(bed.root("entry")).arg(&source).arg("-Wl,--dynamic-linker=/proc/self/exe");
        assert!(command.status().expect("the compiler runs").success());
        bed.arguments(&["/entry"]);
        attack(bed);
    });
}

#[test]
fn what_enters_a_container_is_not_overwritten_from_inside() {
    on_a_copy(|bed, root, copy| {
        super::grant(bed, &["CAP_SYS_PTRACE"]);
        bed.arguments(&["probe", "overwrite", "1000"]).create().start().wait_output("overwriting");
        for entry in 0..ENTRIES {
            // The runtime itself with the attacker's loader is there for two seconds each time.
            let program = match entry % 10 {
                0 => "/proc/self/exe",
                odd if odd % 2 == 1 => "true",
                _ => "/no/such/program",
            };
            let _refused_or_not = bed.call(&["exec", bed.id(), program]);
        }
        fs::write(bed.root("stop"), "").expect("a file can be written");
        let output = bed.wait_output("overwrite: tries");
        // First what counts, then what the attacker believes.
        copy.assert_unchanged();
        assert!(output.contains(" wrote 0\n"), "{output}");
        // With the host's root as its own it gets so far as to open the file; nobody's root does not even see it.
        assert!(root == Root::Own || !output.contains("tries 0 "), "{output}");
    });
}

#[test]
fn what_waits_for_its_start_executes_a_file_that_cannot_be_written() {
    on_a_copy(|bed, root, copy| {
        bed.arguments(&["sleep", "1000"]).create();
        let path = format!("/proc/{}/exe", bed.pid());
        let file = fs::metadata(&path).expect("it executes a file");
        let copy = fs::metadata(&copy.path).expect("the copy is there");
        assert_eq!((file.dev(), file.ino()), (copy.dev(), copy.ino()), "it is the runtime that waits");
        let flags = rustix::fs::statvfs(&*path).expect("its mount can be asked").f_flag;
        let is_read_only = flags.contains(rustix::fs::StatVfsMountFlags::RDONLY);
        // A user namespace of its own has no right to the file, whatever the mount says. Where our executable has an entry of its
        // own it was protected before it knew of that.
        let may_be_writable = root == Root::Own && !cfg!(target_arch = "x86_64");
        assert!(may_be_writable || is_read_only, "{path} lies on a mount that can be written");
        bed.start().end();
    });
}
