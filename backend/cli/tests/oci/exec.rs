//! One more program in a running container: as strict as the first, with what the command line or a document asks for.

use std::fs;

use belljar_testbed::process::namespace_inode;
use belljar_testbed::wait_until;
use serde_json::json;

use crate::bed::{Bed, Kind, Runtime, Said};
use crate::differences::Difference;

sentences! {
    exec_runs_beside_the_first_process, exec_returns_the_exit_status, exec_returns_128_and_the_signal, exec_takes_a_user_and_a_group,
    a_user_without_a_group_is_not_root, exec_takes_a_folder, exec_takes_variables, exec_has_the_environment_of_the_container,
    exec_has_the_capabilities_of_the_container, exec_adds_a_capability, exec_reads_a_document, exec_takes_supplementary_groups,
    detached_exec_returns_at_once_and_writes_a_pid_file, exec_joins_every_namespace, exec_joins_the_cgroup,
    exec_into_a_paused_container_is_refused, exec_into_a_stopped_container_is_refused, exec_into_a_container_that_waits_works,
    exec_of_a_missing_program_is_an_error, exec_passes_standard_streams, exec_passes_extra_descriptors,
    exec_is_under_the_rules_of_landlock, exec_has_no_new_privileges_when_asked, many_execs_at_once_all_end, exec_into_a_missing_folder_is_an_error,
}

fn exec_runs_beside_the_first_process(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let said = bed.exec("tr '\\0' ' ' < /proc/1/cmdline; echo; hostname").ok();
    assert_eq!(said, "sleep 1000 \nbed\n");
    assert_eq!(bed.status(), "running");
}

fn exec_returns_the_exit_status(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    for status in [0, 1, 42, 255] {
        assert_eq!(bed.exec(&format!("exit {status}")).code(), status);
    }
}

fn exec_returns_128_and_the_signal(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    assert_eq!(bed.exec("kill -KILL $$").code(), 137);
    assert_eq!(bed.exec("kill -TERM $$").code(), 143);
}

fn exec_is_under_the_rules_of_landlock(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if bed.differs(Difference::NoLandlock) {
        return;
    }
    bed.configure(|config| {
        config["process"]["noNewPrivileges"] = json!(true);
        config["annotations"] = json!({"org.belljar.landlock": r#"{"paths": [{"path": "/", "access": ["read", "execute"]}]}"#});
    });
    bed.sleeping();
    assert!(!bed.exec("echo new > /new").status.success());
    let document = json!({"args": ["sh", "-c", "echo new > /new"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
    fs::write(bed.path("process.json"), document.to_string()).unwrap();
    let process = bed.path("process.json").display().to_string();
    assert!(!bed.call(&["exec", "--process", &process, bed.id()]).status.success(), "a document of its own says nothing of the rules");
    assert!(!bed.root("new").exists());
}

fn exec_takes_a_user_and_a_group(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    assert_eq!(bed.exec_with(&["--user", "1000:1007"], "id -u; id -g").ok(), "1000\n1007\n");
    assert_eq!(bed.exec_with(&["-u", "5:0"], "id -u; id -g").ok(), "5\n0\n");
}

fn a_user_without_a_group_is_not_root(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    assert_eq!(bed.exec_with(&["--user", "1000"], "id -u").line(), "1000");
    assert_eq!(bed.exec_with(&["--user", "1000"], "grep CapEff /proc/self/status").line(), "CapEff:\t0000000000000000");
    for user in ["-1", "4294967296", "99999999999999999999", "x:y"] {
        let said = bed.exec_with(&["--user", user], "id -u");
        let accepted = said.status.success();
        assert!(!accepted || bed.differs(Difference::WrappedUser), "the user {user} was taken: {said:?}");
    }
}

fn exec_takes_a_folder(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["cwd"] = json!("/etc")).sleeping();
    let own = if bed.differs(Difference::ExecFolder) { "/" } else { "/etc" };
    assert_eq!(bed.exec("pwd").line(), own, "where none is given");
    assert_eq!(bed.exec_with(&["--cwd", "/tmp"], "pwd").line(), "/tmp");
}

fn exec_into_a_missing_folder_is_an_error(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    bed.exec_with(&["--cwd", "/no/such"], "pwd").refused();
}

fn exec_takes_variables(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let path: &[&str] = if bed.differs(Difference::ExecEnvironmentAlone) { &["--env", "PATH=/bin"] } else { &[] };
    let with = |options: &[&str], script: &str| bed.exec_with(&[options, path].concat(), script).line();
    assert_eq!(with(&["--env", "ONE=1", "--env", "TWO=a b=c"], "echo \"$ONE|$TWO|$PATH\""), "1|a b=c|/bin");
    assert_eq!(with(&["--env", "TERM=other"], "echo $TERM"), "other", "the later one counts");
    bed.exec_with(&["-e", "ONE=1", "-e", "PATH=/bin"], "test $ONE = 1").ok();
}

fn exec_has_the_environment_of_the_container(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["env"] = json!(["PATH=/bin", "OWN=yes"])).sleeping();
    let mut command = bed.command(&["exec", bed.id(), "env"]);
    command.env("HOST_SECRET", "leaked");
    let said = Said::of(command).ok();
    assert!(said.contains("OWN=yes\n") && !said.contains("HOST_SECRET"), "{said}");
}

const CAPABILITIES: &str = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | tr -d '\\t' | tr '\\n' ' '";

fn exec_has_the_capabilities_of_the_container(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let expected =
        "CapInh:0000000000000000 CapPrm:00000000a80425fb CapEff:00000000a80425fb CapBnd:00000000a80425fb CapAmb:0000000000000000";
    assert_eq!(bed.exec(CAPABILITIES).line(), expected);
    bed.end();
    bed.delete().ok();
    bed.configure(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_KILL"]);
        }
    });
    bed.sleeping();
    assert_eq!(bed.exec(CAPABILITIES).line(), expected.replace("00000000a80425fb", "0000000000000020"));
}

fn exec_adds_a_capability(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let said = bed.exec_with(&["--cap", "CAP_NET_ADMIN"], CAPABILITIES).line();
    let expected = if bed.differs(Difference::ExecCapAlone) { "0000000000001000" } else { "00000000a80435fb" };
    assert!(said.contains(&format!("CapEff:{expected}")) && said.contains(&format!("CapBnd:{expected}")), "{said}");
    let said = bed.exec_with(&["--cap", "CAP_NO_SUCH"], "true");
    assert!(said.err.contains("CAP_NO_SUCH") || bed.differs(Difference::SilentCapability), "{said:?}");
}

fn exec_reads_a_document(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let document = json!({
        "args": ["sh", "-c", "pwd; id -u; id -G; echo $X; grep CapEff /proc/self/status; umask; ulimit -n; exit 5"],
        "cwd": "/tmp", "env": ["PATH=/bin", "X=y"], "user": {"uid": 1000, "gid": 1001, "additionalGids": [7], "umask": 63},
        "capabilities": {"bounding": ["CAP_KILL"], "permitted": [], "effective": []},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 100}], "noNewPrivileges": true,
    });
    fs::write(bed.path("process.json"), document.to_string()).unwrap();
    let said = bed.call(&["exec", "--process", bed.path("process.json").to_str().unwrap(), bed.id()]);
    assert_eq!(said.code(), 5, "{said:?}");
    let umask = if bed.differs(Difference::ExecUmask) { "0022" } else { "0077" };
    let expected = |most: u32| format!("/tmp\n1000\n1001 7\ny\nCapEff:\t0000000000000000\n{umask}\n{most}\n");
    let is_raised = said.out == expected(100) && bed.differs(Difference::RaisedOpenFiles);
    assert!(said.out == expected(99) || is_raised, "{said:?}");
    fs::write(bed.path("process.json"), "{\"args\": 5}").unwrap();
    bed.call(&["exec", "--process", bed.path("process.json").to_str().unwrap(), bed.id()]).refused();
    bed.call(&["exec", "--process", "/no/such/document", bed.id()]).refused();
}

fn exec_takes_supplementary_groups(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    if bed.differs(Difference::AdditionalGids) {
        return;
    }
    let said = bed.exec_with(&["--user", "1:2", "-g", "50", "-g", "51"], "id -G").line();
    assert_eq!(said, "2 50 51");
}

fn detached_exec_returns_at_once_and_writes_a_pid_file(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let file = bed.path("exec.pid");
    let arguments = ["exec", "--detach", "--pid-file", file.to_str().unwrap(), bed.id(), "sh", "-c", "echo from exec; exec sleep 1000"];
    Said::in_files(bed.command(&arguments), &bed.path("exec.out"), &bed.path("exec.err")).ok();
    let pid: i32 = fs::read_to_string(&file).unwrap().parse().expect("a number and nothing else");
    wait_until("the program prints", || fs::read_to_string(bed.path("exec.out")).ok().filter(|text| text == "from exec\n"));
    assert_eq!(namespace_inode(pid, "pid"), namespace_inode(bed.pid(), "pid"));
    assert_ne!(pid, bed.pid());
}

fn exec_joins_every_namespace(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let pid = bed.pid();
    for kind in ["mnt", "pid", "net", "uts", "ipc", "user", "cgroup"] {
        let inside = bed.exec(&format!("readlink /proc/self/ns/{kind}")).line();
        assert_eq!(inside, format!("{kind}:[{}]", namespace_inode(pid, kind)));
    }
}

fn exec_joins_the_cgroup(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let file = bed.path("exec.pid");
    let arguments = ["exec", "--detach", "--pid-file", file.to_str().unwrap(), bed.id(), "sleep", "1000"];
    Said::in_files(bed.command(&arguments), &bed.path("exec.out"), &bed.path("exec.err")).ok();
    let pid = fs::read_to_string(&file).unwrap();
    let of = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(of(&pid), of(&bed.pid().to_string()));
    assert!(of(&pid).contains(bed.id()));
}

fn exec_into_a_paused_container_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    bed.call(&["pause", bed.id()]).ok();
    if !bed.differs(Difference::ExecWhilePaused) {
        let said = bed.exec("true").refused();
        assert!(said.contains("paused"), "{said}");
    }
    bed.call(&["resume", bed.id()]).ok();
    bed.exec("true").ok();
}

fn exec_into_a_stopped_container_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping().end();
    bed.exec("true").refused();
}

fn exec_into_a_container_that_waits_works(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.arguments(&["sleep", "1000"]).create();
    assert_eq!(bed.exec("hostname").line(), "bed");
    assert_eq!(bed.status(), "created");
}

fn exec_of_a_missing_program_is_an_error(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let said = bed.call(&["exec", bed.id(), "/bin/no-such-program"]);
    let expected = 255;
    assert_eq!(said.code(), expected, "{said:?}");
    let said = said.refused();
    assert!(said.contains("no-such-program"), "{said}");
}

fn exec_passes_standard_streams(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    fs::write(bed.path("input"), "hello\n").unwrap();
    let mut command = bed.command(&["exec", bed.id(), "sh", "-c", "read line; echo out $line; echo err $line >&2"]);
    let output = command.stdin(fs::File::open(bed.path("input")).unwrap()).output().expect("the runtime starts");
    assert_eq!((output.stdout, output.stderr), (b"out hello\n".to_vec(), b"err hello\n".to_vec()));
}

fn exec_passes_extra_descriptors(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    fs::write(bed.path("three"), "third").unwrap();
    let command = bed.command(&["exec", "--preserve-fds", "1", bed.id(), "sh", "-c", "cat <&3"]);
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg("exec 3< \"$0\"; exec \"$@\"").arg(bed.path("three")).arg(command.get_program()).args(command.get_args());
    assert_eq!(Said::of(shell).line(), "third");
}

/// Ours alone: the others take for the caller's what they have opened themselves.
#[test]
fn descriptors_that_are_not_there_are_refused() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        bed.sleeping();
        for arguments in [["exec", "--preserve-fds", "2", bed.id(), "true"].as_slice(), &["run", "--preserve-fds", "2", "other"]] {
            let command = bed.command(arguments);
            let mut shell = std::process::Command::new("sh");
            let script = "exec 3< /dev/null 4<&-; exec \"$@\"";
            shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args()).current_dir(bed.path("bundle"));
            let said = Said::of(shell).refused();
            assert!(said.contains("--preserve-fds 2: descriptor 4 is not open"), "{said}");
        }
    });
}

fn exec_has_no_new_privileges_when_asked(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["noNewPrivileges"] = json!(false)).sleeping();
    let read = "grep NoNewPrivs /proc/self/status";
    assert_eq!(bed.exec(read).line(), "NoNewPrivs:\t0");
    assert_eq!(bed.exec_with(&["--no-new-privs"], read).line(), "NoNewPrivs:\t1");
}

fn many_execs_at_once_all_end(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let children: Vec<_> = (0..10)
        .map(|number| {
            let status = format!("exit {number}");
            bed.command(&["exec", bed.id(), "sh", "-c", &status]).stdin(std::process::Stdio::null()).spawn().expect("the runtime starts")
        })
        .collect();
    for (number, mut child) in children.into_iter().enumerate() {
        assert_eq!(child.wait().unwrap().code(), i32::try_from(number).ok());
    }
}
