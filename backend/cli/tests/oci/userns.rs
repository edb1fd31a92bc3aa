//! User namespaces with mappings: who the container is outside, what it may own, and what it may not reach.

use std::fs::{self, File};
use std::io::{PipeReader, Read as _};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use belljar_testbed::process::status_field;
use belljar_testbed::{skip, wait_until};
use serde_json::json;

use crate::bed::{Bed, Runtime, Said, own_by, runtime};
use crate::differences::Difference;

/// The first id outside, of a container with a user namespace of its own.
pub(crate) const FIRST: u32 = 200_000;
/// How many ids it has.
pub(crate) const COUNT: u32 = 65_536;

sentences! {
    root_inside_is_nobody_outside, mappings_are_as_written, files_made_inside_belong_to_the_mapped_owner, exec_is_in_the_user_namespace,
    the_usual_mounts_work_in_a_user_namespace, a_terminal_works_in_a_user_namespace, devices_work_in_a_user_namespace,
    an_id_outside_the_mapping_is_refused, mappings_without_a_namespace_are_refused, a_namespace_without_mappings_is_refused,
    mappings_that_overlap_are_refused, several_ranges_are_mapped, a_mount_can_be_idmapped, limits_hold_in_a_user_namespace,
    hooks_and_deletion_work_with_a_user_namespace, outputs_that_are_pipes_can_be_opened_by_name, what_the_caller_has_by_name_keeps_its_owner,
    a_user_namespace_has_every_capability_whatever_the_caller_lacks, message_queues_belong_to_the_containers_root,
}

fn root_inside_is_nobody_outside(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.user_namespace().script("id -u; exec sleep 1000").create().start().wait_output("0\n");
    let outside = status_field(bed.pid(), "Uid").unwrap();
    assert_eq!(outside, "200000\t200000\t200000\t200000");
}

fn mappings_are_as_written(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.user_namespace();
    let map = bed.run("cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '").ok();
    assert_eq!(map, " 0 200000 65536\n 0 200000 65536\n");
}

fn files_made_inside_belong_to_the_mapped_owner(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.user_namespace();
    bed.run("touch /new; chown 5:6 /new").ok();
    let made = fs::metadata(bed.root("new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (FIRST + 5, FIRST + 6));
}

fn exec_is_in_the_user_namespace(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.user_namespace().sleeping();
    assert_eq!(bed.exec("id -u; tr -s ' ' < /proc/self/uid_map; hostname").ok(), "0\n 0 200000 65536\nbed\n");
    assert_eq!(bed.exec_with(&["--user", "1000:1000"], "id -u").line(), "1000");
}

fn the_usual_mounts_work_in_a_user_namespace(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.user_namespace();
    let said = bed.run("for i in /proc /dev /dev/pts /dev/shm /dev/mqueue /sys; do grep -q \" $i \" /proc/self/mountinfo || echo not $i; done; echo x > /dev/shm/x && echo wrote").line();
    assert_eq!(said, "wrote");
}

fn a_terminal_works_in_a_user_namespace(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.user_namespace().configure(|config| config["process"]["terminal"] = json!(true));
    bed.script("tty; stat -c 'owner %u' $(tty); echo again > /dev/console; sleep 1000");
    let console = crate::bed::console::Console::listen(&bed);
    bed.try_create(&["--console-socket", console.path()]).ok();
    let mut terminal = console.accept();
    bed.start();
    terminal.hear("/dev/pts/0");
    terminal.hear("owner 0");
    terminal.hear("again");
}

fn devices_work_in_a_user_namespace(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.user_namespace();
    let said =
        bed.run("echo x > /dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c; test -c /dev/tty && echo tty").ok();
    assert_eq!(said, "4\n4\ntty\n");
    // A node of its own would be of no use in a user namespace, and cannot be made.
    assert!(!bed.run("mknod /tmp/node c 1 3").status.success());
}

fn an_id_outside_the_mapping_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.user_namespace().configure(|config| config["process"]["user"]["uid"] = json!(COUNT));
    bed.run("id").refused();
    bed.assert_nothing_left();
}

fn mappings_without_a_namespace_are_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| {
        config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": FIRST, "size": COUNT}]);
        config["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": FIRST, "size": COUNT}]);
    });
    let said = bed.run("true");
    assert!(!said.status.success() || bed.differs(Difference::NeedlessMappings), "{said:?}");
}

fn a_namespace_without_mappings_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"})));
    let said = bed.run("true");
    assert!(!said.status.success(), "{said:?}");
}

fn mappings_that_overlap_are_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.user_namespace().configure(|config| {
        let one = json!({"containerID": 0, "hostID": FIRST, "size": 10});
        config["linux"]["uidMappings"] = json!([one, one]);
    });
    bed.run("true").refused();
    bed.assert_nothing_left();
}

fn several_ranges_are_mapped(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.user_namespace().configure(|config| {
        let ranges = json!([
            {"containerID": 0, "hostID": FIRST, "size": 10}, {"containerID": 1000, "hostID": 300_000, "size": 5},
        ]);
        config["linux"]["uidMappings"] = ranges.clone();
        config["linux"]["gidMappings"] = ranges;
    });
    assert_eq!(bed.run("tr -s ' ' < /proc/self/uid_map").ok(), " 0 200000 10\n 1000 300000 5\n");
}

fn a_mount_can_be_idmapped(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if bed.differs(Difference::NoIdmap) {
        return;
    }
    fs::create_dir(bed.path("shared")).unwrap();
    fs::write(bed.path("shared/file"), "text").unwrap();
    own_by(&bed.path("shared"), 1000);
    let map = json!([{"containerID": 0, "hostID": FIRST, "size": COUNT}]);
    bed.user_namespace().mount(json!({
        "destination": "/shared", "type": "bind", "source": bed.path("shared"), "options": ["bind"], "uidMappings": map, "gidMappings": map,
    }));
    // What is 1000 on the disk is 1000 inside, and what the container writes is on the disk what it is inside.
    assert_eq!(bed.run("stat -c %u /shared/file; touch /shared/new; chown 7:7 /shared/new").ok(), "1000\n");
    assert_eq!(fs::metadata(bed.path("shared/new")).unwrap().uid(), 7);
}

fn limits_hold_in_a_user_namespace(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.user_namespace().configure(|config| config["linux"]["resources"]["memory"] = json!({"limit": 67_108_864}));
    bed.sleeping();
    assert_eq!(bed.limit(("memory", "memory.limit_in_bytes"), "memory.max"), "67108864");
}

fn hooks_and_deletion_work_with_a_user_namespace(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let note = bed.path("note");
    bed.user_namespace().configure(|config| {
        config["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", format!("id -u > {}", note.display())]}]});
    });
    bed.run("true").ok();
    assert_eq!(fs::read_to_string(note).unwrap(), "0\n", "a hook of the runtime runs as the host's root");
    bed.assert_nothing_left();
}

/// Starts a command with pipes as its outputs, waits for its end, and returns their reading ends.
fn with_pipes(mut command: Command) -> [PipeReader; 2] {
    let [(out, out_end), (err, err_end)] = [std::io::pipe().unwrap(), std::io::pipe().unwrap()];
    let child = command.stdin(Stdio::null()).stdout(out_end).stderr(err_end).spawn().unwrap();
    // It has the writing ends as well, and nobody else may have.
    drop(command);
    let ended = crate::bed::said::wait_or_kill(child, crate::bed::said::LIMIT);
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}: {:?}", text_of([out, err]));
    [out, err]
}

fn text_of(ends: [PipeReader; 2]) -> [String; 2] {
    ends.map(|mut end| {
        let mut text = String::new();
        end.read_to_string(&mut text).unwrap();
        text
    })
}

/// As `nginx` does whose logs are `/dev/stdout` and `/dev/stderr`.
fn outputs_that_are_pipes_can_be_opened_by_name(runtime: &Runtime) {
    let script = "echo out > /dev/stdout; echo err > /dev/stderr";
    let said = ["out\n", "err\n"];
    for user in [0, 1000] {
        let bed = Bed::new(runtime);
        bed.user_namespace().script(script).configure(|config| config["process"]["user"] = json!({"uid": user, "gid": user}));
        assert_eq!(text_of(with_pipes(bed.command(&["run", bed.id()]))), said, "run as {user}");
        if !bed.differs(Difference::CreatedOutputs) {
            let ends = with_pipes(bed.command(&["create", bed.id()]));
            bed.start();
            assert_eq!(text_of(ends), said, "create as {user}");
            wait_until("it has ended", || (bed.status() == "stopped").then_some(()));
            bed.delete().ok();
        }
        if bed.differs(Difference::ExecOutputs) {
            continue;
        }
        bed.sleeping();
        let user = format!("{user}:{user}");
        let command = bed.command(&["exec", "--user", &user, bed.id(), "sh", "-c", script]);
        assert_eq!(text_of(with_pipes(command)), said, "exec as {user}");
    }
}

fn what_the_caller_has_by_name_keeps_its_owner(runtime: &Runtime) {
    let owner = |path: &std::path::Path| fs::metadata(path).map(|made| (made.uid(), made.gid())).unwrap();
    for has_users in [false, true] {
        let bed = Bed::new(runtime);
        if has_users {
            bed.user_namespace();
        }
        bed.script("true").configure(|config| config["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
        // A node of our own, as good as the host's, which is not to change hands for this.
        let [null, fifo, file] = ["null", "fifo", "file"].map(|name| bed.path(name));
        let made = Command::new("mknod").arg(&null).args(["c", "1", "3"]).status();
        if !made.is_ok_and(|status| status.success()) {
            return skip("the right to make devices");
        }
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(&file, "").unwrap();
        let terminal = nix::pty::openpty(None, None).unwrap();
        let of_terminal = || terminal.slave.try_clone().map(File::from).unwrap().metadata().map(|made| (made.uid(), made.gid())).unwrap();
        // Its group is what the host's devpts says.
        let before = [(0, 0), (0, 0), (0, 0), of_terminal()];
        let open = |path: &std::path::Path| File::options().read(true).write(true).open(path).unwrap();
        let exec = ["exec", "--user", "1000:1000", bed.id(), "true"];
        for streams in [[open(&null), open(&fifo), open(&file)], [0, 0, 0].map(|_| terminal.slave.try_clone().unwrap().into())] {
            let call = |arguments: &[&str]| {
                let [input, output, errors] = streams.each_ref().map(|stream| stream.try_clone().unwrap());
                let child = bed.command(arguments).stdin(input).stdout(output).stderr(errors).spawn().unwrap();
                let ended = crate::bed::said::wait_or_kill(child, crate::bed::said::LIMIT);
                assert!(ended.is_some_and(|status| status.success()), "{arguments:?}: {ended:?}: {:?}", fs::read_to_string(&file));
            };
            call(&["run", bed.id()]);
            bed.sleeping();
            call(&exec);
            bed.end();
            bed.delete().ok();
            bed.script("true");
        }
        let owners = [owner(&null), owner(&fifo), owner(&file), of_terminal()];
        assert!(owners == before || bed.differs(Difference::GivenFiles), "{owners:?}");
    }
}

fn a_user_namespace_has_every_capability_whatever_the_caller_lacks(runtime: &Runtime) {
    let Some(setpriv) = runtime::find_program("setpriv") else { return skip("setpriv") };
    let bed = Bed::new(runtime);
    let name = "CAP_WAKE_ALARM";
    let call = |arguments: &[&str]| {
        let (command, mut lacking) = (bed.command(arguments), Command::new(&setpriv));
        lacking.args(["--bounding-set", "-wake_alarm"]).arg(command.get_program()).args(command.get_args());
        Said::of({
            lacking.current_dir(bed.path("bundle"));
            lacking
        })
    };
    bed.user_namespace().script("grep -E 'Cap(Eff|Bnd)' /proc/self/status").configure(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!([name, "CAP_KILL"]);
        }
    });
    let expected = "CapEff:\t0000000800000020\nCapBnd:\t0000000800000020\n";
    assert_eq!(call(&["run", bed.id()]).ok(), expected);
    bed.sleeping();
    assert_eq!(call(&["exec", bed.id(), "grep", "-E", "Cap(Eff|Bnd)", "/proc/self/status"]).ok(), expected);
    let more = ["exec", "--cap", "CAP_AUDIT_READ", "--cap", name, bed.id(), "grep", "CapEff", "/proc/self/status"];
    let expected = if bed.differs(Difference::ExecCapAlone) { "0000002800000000" } else { "0000002800000020" };
    assert_eq!(call(&more).line(), format!("CapEff:\t{expected}"));
}

fn message_queues_belong_to_the_containers_root(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.user_namespace();
    let owners = bed.run("stat -c %u:%g /dev/mqueue; stat -c %u:%g /dev/shm").ok();
    let queues = if bed.differs(Difference::QueuesOfNobodysGroup) { "0:65534" } else { "0:0" };
    assert_eq!(owners, format!("{queues}\n0:0\n"));
}
