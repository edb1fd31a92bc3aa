//! What a program in a container has: output, exit status, arguments, terminal, input; and what is executed beside it.

use std::io::Write;
use std::process::Stdio;

use belljar_testbed::wait_until;

use crate::engine::{Engine, Kind};
use crate::under_both;

under_both!(
    a_program_writes_and_ends_as_it_wants_to,
    a_program_that_cannot_be_executed_is_told_from_one_that_failed,
    a_program_has_the_environment_folder_user_and_name_it_was_given,
    a_terminal_is_one_and_has_the_size_of_ours,
    input_reaches_the_program,
    what_is_executed_later_is_inside_too,
    what_is_executed_later_may_have_a_terminal,
    what_is_executed_and_missing_is_said,
    a_log_keeps_both_streams_apart,
    an_image_is_built_by_running_its_steps,
    a_first_process_may_be_a_reaper,
);

fn a_program_writes_and_ends_as_it_wants_to(engine: &Engine) {
    let output = engine.run_output(&["--rm"], &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
}

fn a_program_that_cannot_be_executed_is_told_from_one_that_failed(engine: &Engine) {
    let missing = engine.run_output(&["--rm"], &["no-such-program"]);
    assert_eq!(missing.status.code(), Some(127), "{missing:?}");
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("no-such-program") && said.contains("not found"), "{said}");
    let folder = engine.run_output(&["--rm"], &["/etc/words"]);
    assert_eq!(folder.status.code(), Some(126), "{folder:?}");
    let said = String::from_utf8_lossy(&folder.stderr).to_lowercase();
    assert!(said.contains("permission denied"), "{said}");
}

fn a_program_has_the_environment_folder_user_and_name_it_was_given(engine: &Engine) {
    let flags = ["--env", "GLASS=bell jar", "--workdir", "/etc", "--user", "guest", "--hostname", "inside", "--group-add", "audio"];
    let told = engine.script(&flags, "echo $GLASS; pwd; id -un; id -G; hostname; umask");
    assert_eq!(told, "bell jar\n/etc\nguest\n1000 29\ninside\n0022");
    let limits = engine
        .script(&["--ulimit", "nofile=512:1024", "--ulimit", "nproc=500:500"], "ulimit -n; ulimit -Hn; grep processes /proc/self/limits");
    assert!(limits.starts_with("512\n1024\n") && limits.contains(" 500 "), "{limits}");
}

fn a_terminal_is_one_and_has_the_size_of_ours(engine: &Engine) {
    let words = engine.words("run", &["--rm", "--interactive", "--tty"], &["sh", "-c", "sleep 1; tty; stty size; test -c /dev/console"]);
    let shown = engine.in_terminal((33, 77), &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(shown.contains("/dev/pts/0\n33 77"), "{shown}");
    let without = engine.script(&["--tty"], "tty; ls -l /proc/self/fd/1");
    assert!(without.contains("/dev/pts/0"), "{without}");
}

fn input_reaches_the_program(engine: &Engine) {
    let words = engine.words("run", &["--rm", "--interactive"], &["sh", "-c", "read line; echo got $line; cat | wc -c"]);
    let mut command = engine.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client runs");
    let mut input = child.stdin.take().expect("its input is piped");
    input.write_all(b"glass\n").and_then(|()| input.write_all(&[b'x'; 100_000])).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "got glass\n100000\n", "{output:?}");
}

fn what_is_executed_later_is_inside_too(engine: &Engine) {
    engine.start_script("one", &["--hostname", "inside", "--env", "GLASS=bell"], "sleep 1d");
    assert_eq!(engine.call(&["exec", "one", "sh", "-c", "hostname; echo $GLASS; cat /proc/1/comm"]), "inside\nbell\nsleep");
    let chosen = ["exec", "--user", "1000:29", "--workdir", "/etc", "--env", "A=b", "one", "sh", "-c", "id -u; id -g; pwd; echo $A"];
    assert_eq!(engine.call(&chosen), "1000\n29\n/etc\nb");
    let namespaces = "for kind in mnt pid net ipc uts; do readlink /proc/self/ns/$kind; done";
    let first = namespaces.replace("self", "1");
    assert_eq!(engine.call(&["exec", "one", "sh", "-c", namespaces]), engine.call(&["exec", "one", "sh", "-c", &first]));
    let rights = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status; cat /proc/self/cgroup";
    assert_eq!(engine.call(&["exec", "one", "sh", "-c", rights]), engine.call(&["exec", "one", "sh", "-c", &rights.replace("self", "1")]));
    assert_eq!(engine.output(&["exec", "one", "sh", "-c", "exit 9"]).status.code(), Some(9));
    engine.call(&["exec", "--detach", "one", "sh", "-c", "echo later > /tmp/later"]);
    wait_until("what was executed has written", || {
        let output = engine.output(&["exec", "one", "cat", "/tmp/later"]);
        (output.stdout == b"later\n").then_some(())
    });
    let left = engine.call(&["exec", "one", "ls", "/proc/self/fd"]);
    assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"], "descriptor 3 is ls's own folder");
}

fn what_is_executed_later_may_have_a_terminal(engine: &Engine) {
    engine.start_script("one", &[], "sleep 1d");
    let words = ["exec", "--interactive", "--tty", "one", "sh", "-c", "sleep 1; tty; stty size"];
    let shown = engine.in_terminal((21, 91), &words);
    assert!(shown.contains("/dev/pts/0\n21 91"), "{shown}");
}

fn what_is_executed_and_missing_is_said(engine: &Engine) {
    engine.start_script("one", &[], "sleep 1d");
    let missing = engine.output(&["exec", "one", "no-such-program"]);
    assert!(matches!(missing.status.code(), Some(126 | 127)), "{missing:?}");
    let said = format!("{}{}", String::from_utf8_lossy(&missing.stdout), String::from_utf8_lossy(&missing.stderr));
    assert!(said.contains("no-such-program"), "{said}");
    engine.call(&["kill", "one"]);
    engine.wait_for("one", "exited");
    assert!(!engine.output(&["exec", "one", "true"]).status.success());
}

fn a_log_keeps_both_streams_apart(engine: &Engine) {
    engine.start_script("one", &[], "for n in 1 2 3; do echo out $n; echo err $n >&2; done");
    engine.call(&["wait", "one"]);
    let output = engine.output(&["logs", "one"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out 1\nout 2\nout 3\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err 1\nerr 2\nerr 3\n");
    assert!(engine.call(&["logs", "--tail=1", "--timestamps", "one"]).lines().count() <= 1);
}

fn an_image_is_built_by_running_its_steps(engine: &Engine) {
    let folder = engine.place.folder("build");
    let steps = format!("FROM {}\nRUN echo built > /etc/built && id -u\nCMD [\"cat\", \"/etc/built\"]\n", crate::image::NAME);
    std::fs::write(folder.join("Dockerfile"), steps).expect("a file can be written");
    let mut words = vec!["build", "--tag", "belljar.test/built:1", "--network=none"];
    let runtime = crate::runtime(&engine.place);
    if engine.kind == Kind::Podman {
        words.extend(["--runtime", &runtime, "--isolation=oci"]);
    }
    let folder = engine.place.text("build");
    words.push(&folder);
    // The builder that is part of the daemon, not the one that is another program.
    let output = engine.command(&words).env("DOCKER_BUILDKIT", "0").output().expect("the client runs");
    belljar_testbed::place::succeeded("build", &output);
    assert_eq!(engine.call(&["run", "--rm", "--network=none", "belljar.test/built:1"]), "built");
}

fn a_first_process_may_be_a_reaper(engine: &Engine) {
    let reaper = match engine.kind {
        Kind::Podman => "catatonit",
        Kind::Docker => "docker-init",
    };
    if crate::needs(&[reaper]).is_none() {
        return;
    }
    assert!(engine.script(&["--init"], "cat /proc/1/cmdline | tr '\\0' ' '").contains("init"));
}
