//! Hooks at each moment: in the right place, in the right order, with the state.

use belljar_runtime::cgroup::Hierarchies;
use belljar_runtime::spec::{Hook, Start};

use crate::bed::{Bed, Order};

fn hook(script: String) -> Hook {
    let arguments = vec!["sh".to_owned(), "-c".to_owned(), script];
    Hook { path: "/bin/sh".into(), arguments, environment: vec!["PATH=/usr/bin:/bin".into()], timeout_seconds: Some(20) }
}

pub(crate) fn hooks_run_in_order_each_in_its_place_with_the_state() {
    let Some(mut bed) = Bed::of("echo program") else { return };
    let out = bed.path("said");
    let say = |word: &str| hook(format!("(echo {word} $(readlink /proc/self/ns/uts) $(cat | tr -d '\"')) >> {}", out.display()));
    bed.spec.start = Start::WhenTold;
    bed.spec.hooks.state.oci_version = "1.2.0".into();
    bed.spec.hooks.create_runtime = vec![say("create-runtime-1"), say("create-runtime-2")];
    bed.spec.hooks.create_container = vec![say("create-container")];
    bed.spec.hooks.start_container = vec![hook("echo start-container".into())];
    bed.spec.hooks.poststart = vec![say("poststart")];
    bed.spec.hooks.poststop = vec![say("poststop"), hook("exit 1".into()), say("poststop-2")];
    let made = bed.run();
    let pid = made.pid.unwrap_or_else(|| panic!("{}", made.failure()));
    let started = bed.order(&Order::Start(Box::new(bed.spec.clone()), pid));
    assert_eq!(started.record.as_ref().unwrap().failure, None);
    let after = bed.order(&Order::AfterStart(Box::new(bed.spec.clone()), pid));
    assert_eq!(after.record.as_ref().unwrap().failure, None);
    let deleted = bed.order(&Order::Delete(Box::new(bed.spec.clone())));
    assert_eq!(deleted.record.as_ref().unwrap().failure, None);
    assert!(deleted.steps()[1].contains("failed and passed over"), "{:?}", deleted.steps());
    let said = std::fs::read_to_string(&out).unwrap();
    let words: Vec<&str> = said.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(words, ["create-runtime-1", "create-runtime-2", "create-container", "poststart", "poststop", "poststop-2"]);
    let own = std::fs::read_link("/proc/self/ns/uts").unwrap().display().to_string();
    let places: Vec<bool> = said.lines().map(|line| line.contains(&own)).collect();
    assert_eq!(places, [true, true, false, true, true, true], "only createContainer is inside: {said}");
    let told = |status: &str| format!("pid:{pid},status:{status}}}");
    assert!(said.contains(&told("creating")) && said.contains(&told("running")), "{said}");
}

/// Panics with whatever is there of a container that was undone.
#[track_caller]
fn assert_undone(bed: &Bed) {
    assert_eq!(bed.written(), "", "the program did not run");
    let cgroup = bed.spec.cgroup.cgroup(&Hierarchies::probe().unwrap());
    assert!(!cgroup.exists(), "a cgroup stays, and who may be in it");
    let names: Vec<_> = std::fs::read_dir(&bed.spec.state_dir).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(names.is_empty(), "its state stays: {names:?}");
    let folder = bed.path("").display().to_string();
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(folder.trim_end_matches('/')), "a mount stays: {table}");
}

pub(crate) fn a_hook_that_fails_before_the_start_undoes_the_container() {
    for start in [Start::AtOnce, Start::WhenTold] {
        for moment in ["runtime", "container"] {
            let Some(mut bed) = Bed::of("echo program") else { return };
            bed.spec.start = start;
            let found = bed.path("found");
            let hooks = &mut bed.spec.hooks;
            // While it runs there is something to undo.
            let first = hook(format!(
                "ls -d /sys/fs/cgroup/*/belljar-core-*/* /sys/fs/cgroup/belljar-core-*/* > {} 2> /dev/null; true",
                found.display()
            ));
            hooks.prestart.push(first);
            let list = if moment == "runtime" { &mut hooks.create_runtime } else { &mut hooks.create_container };
            list.push(hook("echo because >&2; exit 9".into()));
            let failure = bed.run().failure();
            assert!(failure.contains("it exited with 9: because"), "{failure}");
            assert!(std::fs::read_to_string(&found).unwrap().contains(&bed.spec.id), "there was a cgroup");
            assert_undone(&bed);
        }
    }
}

pub(crate) fn a_hook_inside_that_fails_ends_the_start() {
    let Some(mut bed) = Bed::of("echo program") else { return };
    bed.spec.hooks.start_container = vec![hook("exit 4".into())];
    let failure = bed.run().failure();
    assert!(failure.starts_with("run hooks.startContainer[0] /bin/sh") && failure.contains("it exited with 4"), "{failure}");
    assert_undone(&bed);
}
