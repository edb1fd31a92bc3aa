//! The command line itself: versions, features, the example description, logs, and systemd's notifications.

use std::fs;
use std::os::unix::net::UnixDatagram;

use serde_json::{Value, json};

use crate::bed::{Bed, Kind, Runtime, Said, probe};
use crate::differences::Difference;

sentences! {
    the_version_names_the_specification, features_are_told, every_command_tells_its_options, the_example_description_runs, an_example_is_not_written_over_a_description,
    errors_go_to_the_log_as_json, errors_go_to_the_log_as_text, the_log_is_appended_to, an_unknown_command_is_an_error, an_unknown_option_is_an_error, a_missing_argument_is_an_error,
    a_container_tells_systemd_that_it_is_ready, debug_says_more, a_description_that_is_missing_is_named, a_description_that_is_no_json_is_refused,
    an_older_and_an_unknown_version_of_the_specification, containers_of_one_root_are_not_seen_in_another,
}

fn plain(runtime: &Runtime, arguments: &[&str]) -> Said {
    let mut command = runtime.command();
    command.args(arguments);
    Said::of(command)
}

fn the_version_names_the_specification(runtime: &Runtime) {
    for option in ["--version", "-v"] {
        let said = plain(runtime, &[option]).ok();
        assert!(said.contains("version ") && said.lines().any(|line| line.starts_with("spec: 1.")), "{said}");
    }
}

fn features_are_told(runtime: &Runtime) {
    if runtime.kind() == Kind::Crun && Difference::NoFeatures.holds_for(Kind::Crun) {
        return;
    }
    let said: Value = serde_json::from_str(&plain(runtime, &["features"]).ok()).expect("JSON");
    let has = |path: &str, word: &str| {
        let list = said.pointer(path).and_then(Value::as_array).unwrap_or_else(|| panic!("{path} in {said}"));
        assert!(list.iter().any(|one| one == word), "{word} in {path} of {said}");
    };
    assert!(said["ociVersionMin"].as_str().is_some_and(|version| version.starts_with("1.")), "{said}");
    assert!(said["ociVersionMax"].as_str().is_some_and(|version| version.starts_with("1.")), "{said}");
    for hook in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        has("/hooks", hook);
    }
    for option in ["ro", "rbind", "nosuid", "rslave", "noatime", "tmpcopyup"] {
        has("/mountOptions", option);
    }
    for namespace in ["pid", "mount", "network", "ipc", "uts", "user", "cgroup"] {
        has("/linux/namespaces", namespace);
    }
    has("/linux/capabilities", "CAP_SYS_ADMIN");
    assert_eq!((&said["linux"]["cgroup"]["v1"], &said["linux"]["cgroup"]["v2"]), (&json!(true), &json!(true)));
    has("/linux/seccomp/actions", "SCMP_ACT_ERRNO");
    has("/linux/seccomp/operators", "SCMP_CMP_MASKED_EQ");
    has("/linux/seccomp/archs", "SCMP_ARCH_X86_64");
}

fn every_command_tells_its_options(runtime: &Runtime) {
    for command in ["create", "start", "run", "exec", "state", "kill", "delete", "list", "ps", "pause", "resume", "update"] {
        let said = plain(runtime, &[command, "--help"]).ok();
        assert!(said.contains(command) && said.to_lowercase().contains("usage"), "{command}: {said}");
    }
    assert!(plain(runtime, &["exec", "--help"]).ok().contains("--process"));
}

fn the_example_description_runs(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let own = bed.config();
    fs::remove_file(bed.path("bundle/config.json")).unwrap();
    bed.call(&["spec"]).ok();
    let written = fs::read_to_string(bed.path("bundle/config.json")).unwrap();
    bed.configure(|config| {
        *config = serde_json::from_str(&written).expect("the example is JSON");
        config["process"]["terminal"] = json!(false);
        config["root"]["readonly"] = json!(false);
        config["linux"]["cgroupsPath"] = own["linux"]["cgroupsPath"].clone();
        config["process"]["env"] = json!(["PATH=/bin"]);
    });
    assert_eq!(bed.run("echo example").line(), "example");
}

fn an_example_is_not_written_over_a_description(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let before = fs::read_to_string(bed.path("bundle/config.json")).unwrap();
    bed.call(&["spec"]).refused();
    assert_eq!(fs::read_to_string(bed.path("bundle/config.json")).unwrap(), before);
}

fn with_log(bed: &Bed, options: &[&str]) -> String {
    let log = bed.path("log");
    let mut command = bed.command(&[]);
    command.arg("--log").arg(&log).args(options).args(["state", "nobody"]);
    assert_eq!(Said::of(command).code(), 1);
    fs::read_to_string(log).unwrap()
}

fn errors_go_to_the_log_as_json(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let log = with_log(&bed, &["--log-format", "json"]);
    // What containerd reads: the last line with this level is the message of its error.
    let last: Value = serde_json::from_str(log.lines().next_back().expect("a line")).expect("JSON");
    assert_eq!(last["level"], "error", "{last}");
    assert!(last["msg"].as_str().is_some_and(|message| !message.is_empty()) && last["time"].is_string(), "{last}");
}

fn errors_go_to_the_log_as_text(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let log = with_log(&bed, &["--log-format", "text"]);
    assert!(log.contains("exist") || log.contains("nobody"), "{log}");
    let mut command = bed.command(&[]);
    command.args(["--log-format", "nonsense", "state", "nobody"]);
    Said::of(command).refused();
}

fn the_log_is_appended_to(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let first = with_log(&bed, &["--log-format", "json"]);
    let second = with_log(&bed, &["--log-format", "json"]);
    assert!(second.starts_with(&first) && second.len() > first.len(), "{second}");
}

fn an_unknown_command_is_an_error(runtime: &Runtime) {
    assert!(!plain(runtime, &["nonsense"]).status.success());
}

fn an_unknown_option_is_an_error(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.call(&["run", "--nonsense", bed.id()]).refused();
    bed.call(&["state", "--nonsense", bed.id()]).refused();
    bed.assert_nothing_left();
}

fn a_missing_argument_is_an_error(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    for command in ["create", "run", "start", "state", "kill", "delete", "exec", "ps", "pause", "resume", "update"] {
        let said = bed.call(&[command]);
        assert!(!said.status.success(), "{command}: {said:?}");
    }
    bed.call(&["state", "one", "two"]).refused();
}

fn a_container_tells_systemd_that_it_is_ready(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) || bed.differs(Difference::NotifyAlone) {
        return;
    }
    let path = bed.path("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("a socket can be bound");
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    bed.script("probe notify READY=1; exec sleep 1000");
    let mut command = bed.command(&["run", "--detach", bed.id()]);
    command.env("NOTIFY_SOCKET", &path);
    let said = Said::in_files(command, &bed.path("output"), &bed.path("errors"));
    assert!(said.status.success(), "{said:?}");
    let pid = format!("MAINPID={}", bed.pid());
    let mut told = String::new();
    while !told.contains("READY=1") || !told.contains(&pid) {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error} after {told:?}; the container said {}", bed.output()));
        told.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}

fn debug_says_more(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let log = bed.path("log");
    bed.arguments(&["true"]);
    let mut command = bed.command(&[]);
    command.arg("--debug").arg("--log").arg(&log).args(["run", bed.id()]);
    Said::of(command).ok();
    assert!(!fs::read_to_string(log).unwrap_or_default().is_empty() || bed.differs(Difference::SilentDebug));
}

fn a_description_that_is_missing_is_named(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    fs::remove_file(bed.path("bundle/config.json")).unwrap();
    let said = bed.call(&["run", bed.id()]).refused();
    assert!(said.contains("config.json"), "{said}");
    bed.assert_nothing_left();
}

fn a_description_that_is_no_json_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let absent: &[&str] = if bed.differs(Difference::NullDocument) { &[] } else { &["null"] };
    for text in ["", "{", "[]", "5", "{\"ociVersion\": \"1.0.2\"", "\u{feff}{}", "{} {}"].iter().chain(absent) {
        fs::write(bed.path("bundle/config.json"), text).unwrap();
        let said = bed.call(&["run", bed.id()]);
        assert_eq!(said.code(), 1, "{text:?}: {said:?}");
        said.refused();
    }
    fs::write(bed.path("bundle/config.json"), [0xff, 0xfe, 0x00]).unwrap();
    bed.call(&["run", bed.id()]).refused();
    bed.assert_nothing_left();
}

fn an_older_and_an_unknown_version_of_the_specification(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    for version in ["1.0.0", "1.0.2-dev"] {
        bed.configure(|config| config["ociVersion"] = json!(version));
        assert_eq!(bed.run("echo fine").line(), "fine", "{version}");
    }
    for version in ["2.0.0", "nonsense", ""] {
        bed.configure(|config| config["ociVersion"] = json!(version));
        let said = bed.run("true");
        assert!(!said.status.success() || bed.differs(Difference::AnyVersion), "{version}: {said:?}");
    }
}

fn containers_of_one_root_are_not_seen_in_another(runtime: &Runtime) {
    let (bed, other) = (Bed::new(runtime), Bed::new(runtime));
    bed.sleeping();
    other.call(&["state", bed.id()]).refused();
    other.call(&["kill", bed.id(), "KILL"]).refused();
    assert_eq!(bed.status(), "running");
}
