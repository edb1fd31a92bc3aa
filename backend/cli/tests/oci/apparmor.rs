//! AppArmor: what runs in a container and what enters it are under the profile that was asked for, and it confines them.
//!
//! Profiles are compiled by AppArmor's own parser, where the virtual machine's disk is made; the kernel takes the result as
//! a file. A host that runs these tests itself keeps its policy as it is.

use std::fs::{self, File};
use std::path::Path;

use belljar_testbed::skip;
use serde_json::json;

use crate::bed::probe::compiled_before;
use crate::bed::{Bed, Kind, Runtime};

sentences! {
    a_profile_confines_what_runs_and_what_enters, a_profile_that_is_not_loaded_is_refused,
}

/// Where the kernel takes policy.
const POLICY: &str = "/sys/kernel/security/apparmor";
/// As `apparmor.profile` calls it.
const NAME: &str = "belljar-suite";

fn is_enabled() -> bool {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|enabled| enabled.starts_with('Y'));
    if !enabled {
        skip("a kernel with AppArmor");
    }
    enabled
}

/// The profile in the kernel, for one test at a time, until this is dropped.
struct Loaded {
    /// Whose lock is held.
    _compiled: File,
}

impl Loaded {
    /// Loads it; `None` after saying what is missing.
    fn load() -> Option<Self> {
        let Some(compiled) = compiled_before("apparmor").filter(|_| Path::new(POLICY).exists()) else {
            skip("a compiled profile of AppArmor");
            return None;
        };
        let file = File::open(&compiled).expect("a file can be opened");
        file.lock().expect("a file can be locked");
        fs::write(Path::new(POLICY).join(".replace"), fs::read(&compiled).expect("a file can be read")).expect("the kernel takes it");
        Some(Self { _compiled: file })
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let removed = fs::write(Path::new(POLICY).join(".remove"), NAME);
        if !std::thread::panicking() {
            removed.expect("a profile can be removed");
        }
    }
}

fn a_profile_confines_what_runs_and_what_enters(runtime: &Runtime) {
    if !is_enabled() {
        return;
    }
    let Some(_loaded) = Loaded::load() else { return };
    let bed = Bed::new(runtime);
    for name in ["secret", "open"] {
        fs::write(bed.root("etc").join(name), "told\n").unwrap();
    }
    let look = "cat /proc/self/attr/current; cat /etc/open; cat /etc/secret 2>&1";
    let (free, confined) =
        ("unconfined\ntold\ntold\n", "belljar-suite (enforce)\ntold\ncat: can't open '/etc/secret': Permission denied\n");
    assert_eq!(bed.run(&format!("{look}; true")).ok(), free);
    bed.configure(|config| config["process"]["apparmorProfile"] = json!(NAME));
    assert_eq!(bed.run(&format!("{look}; true")).ok(), confined);
    bed.sleeping();
    assert_eq!(bed.exec(&format!("{look}; true")).ok(), confined, "what enters has the container's");
    bed.end();
    bed.delete().ok();
    bed.configure(|config| drop(config["process"].as_object_mut().unwrap().remove("apparmorProfile")));
    bed.sleeping();
    assert_eq!(bed.exec(&format!("{look}; true")).ok(), free);
    assert_eq!(bed.exec_with(&["--apparmor", NAME], &format!("{look}; true")).ok(), confined, "and one of its own where it is asked for");
}

fn a_profile_that_is_not_loaded_is_refused(runtime: &Runtime) {
    if !is_enabled() {
        return;
    }
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["apparmorProfile"] = json!("belljar-suite-of-nobody"));
    let said = bed.run("true").refused();
    assert!(bed.kind() != Kind::Ours || said.contains("AppArmor profile belljar-suite-of-nobody"), "{said}");
    bed.assert_nothing_left();
}
