//! What tests have to compile, made here for a machine that has no compiler: small programs in C, and a profile of AppArmor.

use std::path::Path;

use super::Error;
use crate::command::{command, find, run};
use crate::repository;

/// Sources of the repository, and the options with which the tests compile them too.
const SOURCES: [(&str, &[&str]); 2] = [
    ("backend/cli/tests/oci/bed/probe.c", &["-static", "-O1", "-pthread"]),
    ("backend/cli/tests/oci/attacks/interpreter.c", &["-nostdlib", "-static", "-O1", "-fno-stack-protector"]),
];

/// The profile, which the kernel takes compiled, and the parser that does it.
const PROFILE: &str = "backend/cli/tests/oci/apparmor.profile";
const PARSER: &str = "apparmor_parser";

/// What the parser may use. Without these words it would ask the host's kernel, which may have no AppArmor; then the policy is
/// that of ten years ago. The package has what newer kernels know.
const FEATURES: &str = "/usr/share/apparmor-features/features";

/// Compiles them into `folder`, each under the name of its source. The compiler is what links Rust as well.
pub(super) fn compile(folder: &Path) -> Result<(), Error> {
    if let Some(parser) = find(PARSER).filter(|_| Path::new(FEATURES).exists()) {
        let mut parse = command(&parser.to_string_lossy(), &["--skip-kernel-load", "--skip-cache"]);
        parse.args(["--kernel-features", FEATURES, "--policy-features", FEATURES]);
        run(parse.arg("--ofile").arg(folder.join("apparmor")).arg(PROFILE))?;
    }
    SOURCES.into_iter().try_for_each(|(source, options)| {
        let source = repository::root().join(source);
        let program = folder.join(source.file_stem().unwrap_or_default());
        Ok(run(command("cc", options).arg("-o").arg(&program).arg(&source))?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_made_of_a_source_that_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        compile(folder.path()).expect("they are compiled");
        for name in ["probe", "interpreter"] {
            assert!(folder.path().join(name).is_file(), "{name}");
        }
    }
}
