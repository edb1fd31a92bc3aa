//! Hostile words and trees: what a container calls itself, its processes and its files, where people read them; and layers
//! whose folders are links to the host.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::{Canary, arena, attack, attack_by_exec, attacker};

/// What a terminal or a browser would act on.
const EVIL: &str = "\u{1b}]0;evil\u{7}\u{1b}[2J<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}\r\nHost: evil";

#[test]
fn hostile_words_are_shown_as_words() {
    let Some(server) = arena() else { return };
    let script = "
libc.prctl(15, b'\\x1b]0;evil\\x07<b>', 0, 0, 0)
os.write(1, b'\\x1b]0;evil\\x07<script>alert(1)</script>\\n'); said('up', 1); time.sleep(1000)";
    let options = json!({"labels": {EVIL: EVIL, "io.belljar.instance": "other", "org.belljar.landlock": "{}", "__proto__": "x"}, "env": {"EVIL": EVIL}});
    let mut body = attacker("words", script, &options);
    body["command"].as_array_mut().unwrap().push(json!(EVIL));
    let created = server.api().post_json("/api/v1/containers", &body);
    if created.status == 422 {
        // Control characters in a label may be refused; then they can do nothing. The rest is tried without them.
        body["labels"] = json!({"plain<script>alert(1)</script>": "\"'><img src=x onerror=alert(1)>", "io.belljar.instance": "other"});
        server.create(&body);
    }
    server.wait_for_log("words", "up");
    for page in ["/containers", "/containers/words", "/events", "/containers/words/logs", "/containers/words/processes"] {
        let answer = server.api().get(page);
        let text = answer.text();
        assert!(answer.status < 500, "{page}: {text}");
        for evil in ["<script>alert", "<img src=x", "\u{1b}", "onerror=alert(1)>"] {
            assert!(!text.contains(evil), "{page} carries {evil:?}");
        }
    }
    for arguments in [
        vec!["ps"],
        vec!["ps", "-a"],
        vec!["top", "words"],
        vec!["events", "words"],
        vec!["inspect", "words"],
        vec!["namespaces", "words"],
        vec!["plan", "words"],
    ] {
        let output = crate::belljar_output(&server, &arguments);
        assert!(!output.stdout.contains(&0x1b) && !output.stdout.contains(&7), "belljar {arguments:?} writes to the terminal");
    }
    let inside = attack_by_exec(
        &server,
        "words",
        "said('environment', os.environ['EVIL'] != '' and len([name for name in os.environ if 'evil' in name.lower()]))",
    );
    assert_eq!(inside.result("environment"), "1", "one variable stays one");
}

/// CVE-2026-41579, CVE-2023-27561, CVE-2019-19921 and their like: folders of a layer that are links to the host's.
#[test]
fn a_layer_whose_folders_lead_to_the_host_changes_nothing_there() {
    let Some(server) = arena() else { return };
    let before = Canary::look();
    let canary = server.scratch("canary");
    fs::write(canary.join("mark"), "outside").unwrap();
    let is_untouched = |what: &str| {
        let names: Vec<_> = fs::read_dir(&canary).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["mark"], "{what}");
        assert_eq!(fs::read_to_string(canary.join("mark")).unwrap(), "outside", "{what}");
    };
    let up = format!("../../../../../../../../../../..{}", canary.display());
    let ask = "said('proc', os.popen('stat -f -c %T /proc').read().strip()); said('null', stat.S_ISCHR(os.stat('/dev/null').st_mode)); said('masked', len(open('/proc/keys').read())); tried('sysctl', written, '/proc/sys/kernel/core_pattern', b'x'); said('capabilities', [line.split()[1] for line in open('/proc/self/status') if line.startswith('CapEff')])";
    for (number, (name, file)) in [
        ("dev", ""),
        ("proc", ""),
        ("sys", ""),
        ("etc", ""),
        ("tmp", ""),
        ("etc/hosts", "mark"),
        ("etc/hostname", "mark"),
        ("etc/resolv.conf", "mark"),
        ("dev/null", "mark"),
        ("dev/console", "mark"),
        ("dev/ptmx", "mark"),
        ("dev/pts", ""),
        ("dev/shm", ""),
        ("proc/sys", ""),
    ]
    .into_iter()
    .enumerate()
    {
        for (way, target) in
            [("absolute", canary.display().to_string()), ("up", up.clone()), ("through", "/proc/1/root/proc/1/cwd".to_owned())]
        {
            let layer = server.scratch(&format!("layer-{number}-{way}"));
            let link = layer.join(name);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(format!("{target}/{file}"), &link).unwrap();
            let container = format!("layer-{number}-{way}");
            let options = json!({"mounts": [{"type": "layer", "source": layer}], "hostname": "evil", "workdir": format!("/{name}")});
            server.create(&attacker(&container, ask, &options));
            let ended = server.wait_for_state(&container, "stopped");
            is_untouched(&container);
            if ended["exit"]["kind"] == "exited" && ended["exit"]["code"] == 0 {
                let said = super::Attempts(server.logs(&container));
                assert_eq!(
                    (said.result("proc"), said.result("null"), said.result("masked")),
                    ("proc", "True", "0"),
                    "{container}: {}",
                    said.0
                );
                said.ended("sysctl", &["EROFS", "EACCES"]);
                assert_eq!(said.result("capabilities"), "['00000000a80425fb']");
            }
        }
    }
    before.assert_unchanged();
    // A link that the image may have: a name inside, at the same place as the host's.
    let layer = server.scratch("layer-inside");
    fs::create_dir_all(layer.join("etc")).unwrap();
    symlink(canary.join("mark"), layer.join("etc/stranger")).unwrap();
    let script = format!(
        "tried('read', open, '/etc/stranger'); tried('write', open, '/etc/stranger', 'w'); tried('canary', os.listdir, '{}')",
        canary.display()
    );
    let said = attack(&server, "inside", &script, &json!({"mounts": [{"type": "layer", "source": layer}]}));
    said.all_ended(&["read", "write", "canary"], &["ENOENT"]);
    is_untouched("inside");
}
