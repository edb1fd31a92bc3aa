//! What enters a container, as somebody inside with every right to trace sees it; and a container that changed its own
//! root before somebody enters.

use std::fs;

use super::{Canary, on_ours};

/// How often somebody enters while the container hunts, with and without a user namespace together.
const ENTRIES: usize = 200;

#[test]
fn what_enters_cannot_be_traced_and_shows_nothing_of_the_host() {
    on_ours(|bed, _| {
        super::grant(bed, &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        // Where a runtime's descriptors and working folders could lead.
        fs::create_dir_all(bed.states()).expect("a folder can be made");
        for folder in [bed.path("bundle"), bed.states(), bed.path("")] {
            fs::write(folder.join("canary-of-the-host"), "").expect("a file can be written");
        }
        bed.script("probe hunt 1000; exec sleep 1000").create().start().wait_output("hunting");
        for _ in 0..ENTRIES / 2 {
            bed.call(&["exec", bed.id(), "true"]).ok();
        }
        fs::write(bed.root("stop"), "").expect("a file can be written");
        let output = bed.wait_output("seen");
        assert!(output.contains(" attached 0 folders 0 memory 0"), "{output}");
        assert!(!output.contains("seen 0 "), "the hunter saw what entered: {output}");
        fs::remove_file(bed.states().join("canary-of-the-host")).expect("a file can be removed");
    });
}

#[test]
fn a_container_that_covered_its_own_root_is_entered_inside() {
    on_ours(|bed, _| {
        let canary = Canary::new(bed);
        super::grant(bed, &["CAP_SYS_ADMIN"]);
        let script = "mkdir /other; cp -a /bin /other/bin; mkdir /other/proc; touch /other/inside; mount -o bind /other /; echo covered; exec sleep 1000";
        bed.script(script).create().start().wait_output("covered");
        let said = bed.exec("ls /; ls /canary /var/tmp/belljar-suite* 2> /dev/null; true");
        assert!(!said.out.contains("canary") && !said.out.contains("boot"), "{said:?}");
        bed.call(&["delete", "--force", bed.id()]).ok();
        canary.assert_alive();
        bed.assert_nothing_left();
    });
}

#[test]
fn a_container_that_put_a_file_system_over_its_root_is_entered_inside_or_not_at_all() {
    on_ours(|bed, _| {
        super::grant(bed, &["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]);
        bed.script("mount -t tmpfs tmpfs /; echo covered; exec sleep 1000").create().start().wait_output("covered");
        let said = bed.exec("ls /");
        assert!(!said.out.contains("boot") && !said.out.contains("usr"), "{said:?}");
        bed.call(&["delete", "--force", bed.id()]).ok();
        bed.assert_nothing_left();
    });
}

#[test]
fn a_container_whose_first_process_is_stopped_is_deleted() {
    on_ours(|bed, _| {
        bed.script("trap '' TERM INT HUP; (trap '' TERM; sleep 1000) & echo ready; kill -STOP $$; exec sleep 1000")
            .create()
            .start()
            .wait_output("ready");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(bed.pid()), nix::sys::signal::Signal::SIGSTOP).expect("a signal can be sent");
        bed.call(&["delete", "--force", bed.id()]).ok();
        bed.assert_nothing_left();
    });
}

#[test]
fn a_fork_bomb_is_held_and_ended() {
    on_ours(|bed, _| {
        bed.configure(|config| config["linux"]["resources"]["pids"] = serde_json::json!({"limit": 64}));
        bed.script("echo ready; bomb() { bomb | bomb & }; bomb 2> /dev/null; exec sleep 1000").create().start().wait_output("ready");
        belljar_testbed::wait_until("the bomb is at its limit", || {
            let count = bed.limit(("pids", "pids.current"), "pids.current").parse::<u32>().ok()?;
            (count >= 32).then_some(())
        });
        bed.call(&["delete", "--force", bed.id()]).ok();
        bed.assert_nothing_left();
    });
}
