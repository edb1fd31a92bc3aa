//! What enters a container, as somebody inside with every right to trace sees it; and a container that changed its own
//! root before somebody enters.

use std::fs;

use belljar_testbed::process::status_field;

use super::{Canary, Root, on_ours};
use crate::bed::{Bed, Said};

/// How often somebody enters while the container hunts, with and without a user namespace together.
const ENTRIES: usize = 200;

/// What a hunter said under one name.
fn told<'a>(output: &'a str, name: &str) -> Vec<&'a str> {
    output.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(":")).map(str::trim).collect()
}

/// How often something came to pass.
#[track_caller]
fn count(output: &str, name: &str) -> u64 {
    told(output, name).first().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{name} is not told: {output}"))
}

/// Has the container hunt while somebody enters again and again, and returns what the hunter said.
fn hunt(bed: &Bed) -> String {
    super::grant(bed, &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
    // Where a runtime's descriptors and working folders could lead.
    fs::create_dir_all(bed.states()).expect("a folder can be made");
    for folder in [bed.path("bundle"), bed.states(), bed.path("")] {
        fs::write(folder.join("canary-of-the-host"), "").expect("a file can be written");
    }
    bed.script("probe hunt 1000; exec sleep 1000").create().start().wait_output("hunting");
    for _ in 0..ENTRIES / 2 {
        let mut command = bed.command(&["exec", bed.id(), "true"]);
        command.env("SECRET", "secret-of-the-host");
        Said::of(command).ok();
    }
    fs::write(bed.root("stop"), "").expect("a file can be written");
    let output = bed.wait_output("hunted");
    println!("{}", output.lines().filter(|line| !line.starts_with("traced ")).collect::<Vec<_>>().join(", "));
    fs::remove_file(bed.states().join("canary-of-the-host")).expect("a file can be removed");
    output
}

/// CVE-2016-9962. With the host's ids and the right to trace, whatever is in the container's process namespace can be traced;
/// by then it has nothing that the container has not.
#[test]
fn what_enters_is_out_of_reach_behind_a_user_namespace_and_has_nothing_of_the_hosts_where_it_is_traced() {
    on_ours(|bed, root| {
        let output = hunt(bed);
        assert!(count(&output, "seen") > 0 && count(&output, "tries") > 0, "the hunter met what entered: {output}");
        assert_eq!(count(&output, "folders"), 0, "{output}");
        if root == Root::Own {
            let outcome = ["traced", "memory"].map(|what| count(&output, what));
            assert_eq!(outcome, [0, 0], "of {} tries: {output}", count(&output, "tries"));
            assert!(count(&output, "refused") > 0, "{output}");
            return;
        }
        assert!(count(&output, "traced") > 0, "the attack is real: {output}");
        let own = status_field(bed.pid(), "CapBnd").expect("the first process has a status");
        let number = |set: &str| u64::from_str_radix(set, 16).expect("a set is a number");
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            let sets = told(&output, &format!("traced {set}"));
            assert!(!sets.is_empty() && sets.iter().all(|held| number(held) & !number(&own) == 0), "{set}: {sets:?}, of {own}");
        }
        for place in ["root", "folder", "environment", "memory"] {
            assert_eq!(told(&output, &format!("traced {place}")), [""; 0], "{output}");
        }
        let descriptors = told(&output, "traced descriptor");
        // A pipe or a socket by which the end of its exec is told gives no way to a file.
        let strange: Vec<_> = descriptors.iter().filter(|link| !link.starts_with("socket:[") && !link.starts_with("pipe:[")).collect();
        assert!(strange.is_empty(), "{strange:?}");
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
    const LIMIT: u32 = 64;
    on_ours(|bed, _| {
        bed.configure(|config| config["linux"]["resources"]["pids"] = serde_json::json!({"limit": LIMIT}));
        bed.arguments(&["probe", "bomb"]).create().start().wait_output("fork: EAGAIN\n");
        assert!(bed.output().lines().all(|line| line == "fork: EAGAIN"), "by nothing else: {}", bed.output());
        let processes = || bed.limit(("pids", "pids.current"), "pids.current").parse::<u32>().expect("a number");
        let refused = || {
            let events = bed.limit(("pids", "pids.events"), "pids.events");
            events.strip_prefix("max ").and_then(|count| count.parse::<u64>().ok()).unwrap_or_else(|| panic!("{events}"))
        };
        // While it goes on and is refused a thousand times more.
        let enough = refused() + 1000;
        let mut most = 0;
        belljar_testbed::wait_until("it was refused a thousand times", || {
            most = most.max(processes());
            (refused() >= enough).then_some(())
        });
        assert_eq!(most, LIMIT, "as many as it may, and never more");
        bed.call(&["delete", "--force", bed.id()]).ok();
        bed.assert_nothing_left();
    });
}
