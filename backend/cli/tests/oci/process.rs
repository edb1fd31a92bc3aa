//! What the container's first process is: who, where, with what, and how much of it.

use serde_json::json;

use crate::bed::{Bed, Kind, Runtime, Said, probe};
use crate::differences::Difference;

sentences! {
    the_process_has_the_user_and_groups, supplementary_groups_are_exactly_those_listed, umask_is_set, the_folder_is_where_it_starts,
    a_missing_folder_is_made, a_relative_folder_is_refused, the_environment_is_exactly_what_is_listed, home_comes_from_the_users_entry,
    limits_are_set, a_limit_listed_twice_is_refused, five_sets_of_capabilities, ambient_capabilities_reach_another_user, unknown_capabilities_are_warned_of_or_refused,
    an_effective_capability_that_is_not_permitted_is_refused, no_capabilities_at_all, no_new_privileges_is_as_asked, oom_score_adj_is_set, arguments_are_passed_as_they_are,
    programs_are_found_in_the_path_of_the_container, empty_arguments_are_refused, a_uid_beyond_32_bits_is_refused, domain_name_and_hostname_are_set,
    the_first_process_leads_a_session, the_personality_is_set, the_scheduler_is_set, io_priority_is_set,
    keys_of_the_caller_stay_outside, keys_of_the_caller_are_there_when_asked,
}

fn the_process_has_the_user_and_groups(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [7, 8]}));
    assert_eq!(
        bed.run("id -u; id -g; id -G; grep -E '^(Uid|Gid)' /proc/self/status").ok(),
        "1000\n1001\n1001 7 8\nUid:\t1000\t1000\t1000\t1000\nGid:\t1001\t1001\t1001\t1001\n"
    );
}

fn supplementary_groups_are_exactly_those_listed(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
    assert_eq!(bed.run("grep Groups /proc/self/status").line(), "Groups:", "neither the host's, nor those of /etc/group");
}

fn umask_is_set(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    assert_eq!(bed.run("umask").line(), "0022");
    bed.configure(|config| config["process"]["user"]["umask"] = json!(0o27));
    assert_eq!(bed.run("umask; touch /new; stat -c %a /new").ok(), "0027\n640\n");
}

fn the_folder_is_where_it_starts(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["cwd"] = json!("/etc"));
    assert_eq!(bed.run("pwd; readlink /proc/self/cwd").ok(), "/etc\n/etc\n");
}

fn a_missing_folder_is_made(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["cwd"] = json!("/made/on/the/way"));
    assert_eq!(bed.run("pwd; stat -c '%u %a' /made").ok(), "/made/on/the/way\n0 755\n");
}

fn a_relative_folder_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    for folder in ["etc", "", "."] {
        bed.configure(|config| config["process"]["cwd"] = json!(folder));
        let said = bed.run("pwd");
        assert!(!said.status.success() || bed.differs(Difference::RelativeFolder), "{folder:?}: {said:?}");
    }
}

fn the_environment_is_exactly_what_is_listed(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["env"] = json!(["PATH=/bin", "A=1", "B=a=b c", "EMPTY=", "HOME=/x"]));
    let mut lines: Vec<String> = bed.arguments(&["env"]).run_as_is().ok().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["A=1", "B=a=b c", "EMPTY=", "HOME=/x", "PATH=/bin"]);
}

fn home_comes_from_the_users_entry(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    assert_eq!(bed.run("echo $HOME").line(), "/root");
    bed.configure(|config| config["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
    assert_eq!(bed.run("echo $HOME").line(), "/home");
}

fn limits_are_set(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| {
        config["process"]["rlimits"] = json!([
            {"type": "RLIMIT_NOFILE", "soft": 111, "hard": 222}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_STACK", "soft": 8_388_608, "hard": 18_446_744_073_709_551_615u64},
        ]);
    });
    let said = bed.run("grep -E 'open files|core file|stack' /proc/1/limits | tr -s ' '").ok();
    assert!(said.contains("Max open files 111 222 files") && said.contains("Max core file size 0 0 bytes"), "{said}");
    assert!(said.contains("Max stack size 8388608 unlimited bytes"), "{said}");
    bed.sleeping();
    if !bed.differs(Difference::ExecLimits) {
        let most = bed.exec("ulimit -n").line();
        assert!(most == "111" || (most == "222" && bed.differs(Difference::RaisedOpenFiles)), "{most}");
    }
}

/// Ours alone: the others need up to eight themselves, and name no limit where there are fewer.
#[test]
fn few_open_files_are_enough_to_begin_with() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        for most in 0..6 {
            bed.configure(|config| config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": most, "hard": most}]));
            assert_eq!(bed.run("ulimit -n").line(), most.to_string());
            bed.sleeping();
            let said = bed.exec("ulimit -n");
            let is_told = said.err.contains(&format!("RLIMIT_NOFILE of {most} leaves too few"));
            assert!(is_told || said.out == format!("{most}\n"), "{said:?}");
            bed.end();
            bed.delete().ok();
        }
    });
}

fn a_limit_listed_twice_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let one = json!({"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100});
    bed.configure(|config| config["process"]["rlimits"] = json!([one, one]));
    assert!(!bed.run("true").status.success() || bed.differs(Difference::RepeatedLimit));
    bed.configure(|config| config["process"]["rlimits"] = json!([{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]));
    let said = bed.run("true").refused();
    assert!(said.contains("RLIMIT_NONSENSE"), "{said}");
}

const SETS: &str = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | tr -d '\\t' | tr '\\n' ' '";

fn five_sets_of_capabilities(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| {
        config["process"]["capabilities"] = json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_CHROOT", "CAP_SETPCAP"],
            "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_CHROOT"],
            "effective": ["CAP_CHOWN", "CAP_KILL"],
            "inheritable": ["CAP_KILL"],
            "ambient": ["CAP_KILL"],
        });
    });
    // What root executes gains its whole bounding set (capabilities(7)), so the program runs as somebody else.
    bed.configure(|config| config["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
    let said = bed.run(SETS).line();
    assert_eq!(
        said,
        "CapInh:0000000000000020 CapPrm:0000000000000020 CapEff:0000000000000020 CapBnd:0000000000040121 CapAmb:0000000000000020"
    );
}

fn ambient_capabilities_reach_another_user(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let caps = json!(["CAP_CHOWN"]);
    bed.configure(|config| {
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        config["process"]["capabilities"] =
            json!({"bounding": caps, "permitted": caps, "effective": caps, "inheritable": caps, "ambient": caps});
    });
    assert_eq!(bed.run("touch /tmp/file && chown 5:6 /tmp/file && stat -c '%u %g' /tmp/file").line(), "5 6");
}

fn unknown_capabilities_are_warned_of_or_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_NO_SUCH"]));
    let said = bed.run("true");
    assert!(said.err.contains("CAP_NO_SUCH") || bed.differs(Difference::SilentCapability), "{said:?}");
}

fn an_effective_capability_that_is_not_permitted_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["capabilities"] = json!({"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"]}));
    let said = bed.run("true").refused();
    assert!(bed.kind() != Kind::Ours || said.contains("process.capabilities.effective: CAP_CHOWN"), "{said}");
    bed.assert_nothing_left();
}

fn no_capabilities_at_all(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["capabilities"] = json!({}));
    let zero = "CapInh:0000000000000000 CapPrm:0000000000000000 CapEff:0000000000000000 CapBnd:0000000000000000 CapAmb:0000000000000000";
    assert_eq!(bed.run(SETS).line(), zero);
}

fn no_new_privileges_is_as_asked(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    assert_eq!(bed.run("grep NoNewPrivs /proc/1/status").line(), "NoNewPrivs:\t1");
    bed.configure(|config| config["process"]["noNewPrivileges"] = json!(false));
    assert_eq!(bed.run("grep NoNewPrivs /proc/1/status").line(), "NoNewPrivs:\t0");
}

fn oom_score_adj_is_set(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["oomScoreAdj"] = json!(321));
    assert_eq!(bed.run("cat /proc/1/oom_score_adj").line(), "321");
    bed.sleeping();
    if !bed.differs(Difference::ExecLimits) {
        assert_eq!(bed.exec("cat /proc/self/oom_score_adj").line(), "321");
    }
}

fn arguments_are_passed_as_they_are(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let odd = "a b\t\"'\\$x\n*é\u{1f600}";
    bed.arguments(&["sh", "-c", "printf '%s|' \"$@\"", "sh", odd, "", "-x"]);
    assert_eq!(bed.run_as_is().ok(), format!("{odd}||-x|"));
}

fn programs_are_found_in_the_path_of_the_container(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    std::fs::create_dir(bed.root("own")).unwrap();
    std::fs::copy(bed.root("bin/busybox"), bed.root("own/echo")).unwrap();
    bed.configure(|config| config["process"]["env"] = json!(["PATH=/nowhere:/own"]));
    assert_eq!(bed.arguments(&["echo", "found"]).run_as_is().line(), "found");
}

fn empty_arguments_are_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.arguments(&[]).run_as_is().refused();
    bed.configure(|config| {
        config["process"].as_object_mut().unwrap().remove("args");
    });
    bed.run_as_is().refused();
    bed.assert_nothing_left();
}

fn a_uid_beyond_32_bits_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    for uid in [json!(4_294_967_296u64), json!(-1), json!(0.5)] {
        bed.configure(|config| config["process"]["user"]["uid"] = uid.clone());
        let said = bed.run("id -u");
        assert!(!said.status.success() || bed.differs(Difference::WrappedUser), "{uid}: {said:?}");
    }
    bed.configure(|config| config["process"]["user"]["uid"] = json!("0"));
    assert!(!bed.run("id -u").status.success() || bed.differs(Difference::LooseTypes));
}

fn domain_name_and_hostname_are_set(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["hostname"] = json!("other.example"));
    assert_eq!(bed.run("hostname").line(), "other.example");
    bed.configure(|config| config["domainname"] = json!("example.org"));
    if !bed.differs(Difference::NoDomainName) {
        assert_eq!(bed.run("cat /proc/sys/kernel/domainname").line(), "example.org");
    }
    bed.without_namespace("uts");
    bed.run("true").refused();
}

fn the_first_process_leads_a_session(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    assert_eq!(bed.run("cut -d ' ' -f 5,6 /proc/1/stat").line(), "1 1");
}

fn the_personality_is_set(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["linux"]["personality"] = json!({"domain": "LINUX32"}));
    if !bed.differs(Difference::NoPersonality) {
        assert_eq!(bed.run("cat /proc/self/personality").line(), "00000008");
    }
}

fn the_scheduler_is_set(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5}));
    if !bed.differs(Difference::NoScheduler) {
        assert_eq!(bed.run("cut -d ' ' -f 19,41 /proc/1/stat").line(), "5 3");
        bed.configure(|config| config["process"]["scheduler"] = json!({"policy": "SCHED_NONSENSE"}));
        bed.run("true").refused();
    }
}

fn io_priority_is_set(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) || bed.differs(Difference::NoIoPriority) {
        return;
    }
    bed.configure(|config| config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    // ioprio_get(IOPRIO_WHO_PROCESS, self): the class in bits 13 and up.
    assert_eq!(bed.run("probe syscall 252 1 0").line(), format!("syscall: {}", (2 << 13) | 6));
}

const KEY: &str = "key-of-the-caller";

/// The runtime, called in a session whose keyring has a key.
fn with_key(bed: &Bed, arguments: &[&str]) -> Said {
    let runtime = bed.command(arguments);
    let mut command = std::process::Command::new(probe::compiled().expect("it was installed"));
    command.args(["within", KEY]).arg(runtime.get_program()).args(runtime.get_args()).current_dir(bed.path("bundle"));
    Said::in_files(command, &bed.path("output"), &bed.path("errors"))
}

/// What a container and what enters it find in their session's keyring: run, created and started, entered.
fn keys(bed: &Bed, options: &[&str]) -> [String; 3] {
    let look = format!("probe key {KEY}; echo looked");
    bed.script(&look);
    let run = with_key(bed, &[&["run"], options, &[bed.id()]].concat()).ok();
    bed.script(&format!("{look}; exec sleep 1000"));
    with_key(bed, &[&["create"], options, &[bed.id()]].concat()).ok();
    bed.start();
    let created = bed.wait_output("looked\n");
    let entered = with_key(bed, &["exec", bed.id(), "sh", "-c", &look]).ok();
    [run, created, entered].map(|said| said.replace("looked\n", ""))
}

fn keys_of_the_caller_stay_outside(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    let [run, created, entered] = keys(&bed, &[]);
    assert_eq!([run, created], ["key: ENOKEY\n"; 2]);
    assert!(entered == "key: ENOKEY\n" || bed.differs(Difference::CallersKeyring), "{entered}");
}

fn keys_of_the_caller_are_there_when_asked(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    let there = format!("key: {KEY}\n");
    let [run, created, entered] = keys(&bed, &["--no-new-keyring"]);
    assert_eq!([&run, &created], [&there; 2]);
    let expected = if bed.differs(Difference::ExecKeyring) { &there } else { "key: ENOKEY\n" };
    assert_eq!(entered, expected);
}
