//! Races for real, some seconds each: somebody who shares a folder with the container exchanges a folder or a file for a
//! link to the host as quickly as the kernel allows, while the runtime mounts, masks or makes something there
//! (CVE-2021-30465, CVE-2024-45310, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881).

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use belljar_testbed::wait::patience;
use serde_json::json;

use super::{Canary, Root, on_ours};
use crate::bed::{Bed, Said, probe};

/// How long each race goes on.
const RACE: Duration = Duration::from_secs(3);

/// How long it may go on until that was often enough, and the container was made once.
const RACE_MOST: Duration = Duration::from_secs(20);

/// How often the runtime goes through the race, on the slowest machine.
const RUNS_AT_LEAST: u32 = 5;

/// Exchanges two names until it is dropped.
struct Exchange(Child);

impl Exchange {
    fn begin(one: &Path, other: &Path) -> Self {
        let program = probe::compiled().expect("the bed has the probe, so it is compiled");
        let mut command = Command::new(program);
        command.arg("exchange").arg(one).arg(other).arg("60").stdout(Stdio::piped());
        let mut child = command.spawn().expect("the probe runs");
        let mut said = String::new();
        let mut lines = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        lines.read_line(&mut said).expect("it says something");
        assert_eq!(said, "exchanging: 1\n", "the kernel exchanges the two");
        Self(child)
    }

    /// Whether it still does.
    fn goes_on(&mut self) -> bool {
        self.0.try_wait().expect("a child can be waited for").is_none()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Runs the container again and again while `one` and `other` are exchanged; `judge` looks at each end.
fn race(bed: &Bed, (one, other): (&Path, &Path), judge: impl Fn(&Said)) {
    let mut exchange = Exchange::begin(one, other);
    let (begun, mut runs, mut made) = (Instant::now(), 0, 0);
    // On a busy machine few runs fit the time, and it may be that none of them gets through.
    let is_short = |runs, made| runs < RUNS_AT_LEAST || made == 0;
    while begun.elapsed() < RACE || (is_short(runs, made) && begun.elapsed() < RACE_MOST * patience()) {
        let said = bed.run_as_is();
        assert!(said.code() <= 1 && !said.err.contains("panicked"), "{said:?}");
        made += u32::from(said.status.success());
        runs += 1;
        judge(&said);
    }
    println!("{runs} runs, {made} of them made the container");
    assert!(exchange.goes_on() && runs >= RUNS_AT_LEAST, "it was a race: {runs} runs");
    assert!(made > 0, "it got as far as the place of the exchange");
}

/// A volume that the attacker shares, mounted at `/volume`.
fn volume(bed: &Bed) -> std::path::PathBuf {
    let volume = bed.path("volume");
    fs::create_dir_all(volume.join("dir")).expect("a folder can be made");
    fs::write(volume.join("file"), "secret").expect("a file can be written");
    bed.mount(json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["rbind", "rw"]}));
    volume
}

#[test]
fn a_mount_in_a_shared_volume_never_lands_outside() {
    on_ours(|bed, _| {
        let canary = Canary::new(bed);
        let volume = volume(bed);
        symlink(&canary.path, volume.join("link")).expect("a link can be made");
        bed.mount(json!({"destination": "/volume/dir/made/deep", "type": "tmpfs", "source": "tmpfs"}));
        bed.script("true");
        race(bed, (&volume.join("dir"), &volume.join("link")), |_| canary.assert_alive());
        bed.assert_nothing_left();
    });
}

#[test]
fn a_mount_over_a_link_to_the_hosts_root_never_lands_there() {
    on_ours(|bed, _| {
        let canary = Canary::new(bed);
        let volume = volume(bed);
        let up = format!("{}{}", "../".repeat(30), canary.path.display());
        symlink(up, volume.join("link")).expect("a link can be made");
        bed.mount(json!({"destination": "/volume/dir", "type": "bind", "source": "/etc", "options": ["rbind", "ro"]}));
        // What is mounted has to be seen at its place, or the container is not made.
        bed.script(&format!("test -e {}/file && echo escaped; test -e /volume/dir && echo there; true", canary.path.display()));
        race(bed, (&volume.join("dir"), &volume.join("link")), |said| {
            canary.assert_alive();
            assert!(!said.out.contains("escaped"), "{said:?}");
        });
    });
}

#[test]
fn a_masked_file_is_masked_or_the_container_is_not_made() {
    on_ours(|bed, _| {
        let canary = Canary::new(bed);
        let volume = volume(bed);
        symlink(canary.path.join("file"), volume.join("link")).expect("a link can be made");
        bed.configure(|config| config["linux"]["maskedPaths"] = json!(["/volume/file", "/proc/keys"]));
        bed.script("stat -c %t:%T /proc/keys; cat /proc/keys | wc -c");
        race(bed, (&volume.join("file"), &volume.join("link")), |said| {
            canary.assert_alive();
            assert!(!said.status.success() || said.out == "1:3\n0\n", "{said:?}");
        });
    });
}

fn make_null(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).expect("a device can be made");
}

#[test]
fn masks_are_made_of_the_hosts_null_and_not_of_the_containers() {
    on_ours(|bed, root| {
        // The root has a /dev of its own, in which null is exchanged for what an attacker wants to be mounted writable.
        bed.configure(|config| {
            let is_below_dev = |mount: &serde_json::Value| mount["destination"].as_str().is_some_and(|target| target.starts_with("/dev"));
            config["mounts"].as_array_mut().expect("mounts are a list").retain(|mount| !is_below_dev(mount));
            config["linux"]["maskedPaths"] = json!(["/etc/secret", "/proc/keys"]);
        });
        fs::write(bed.root("etc/secret"), "secret").expect("a file can be written");
        // What the runtime makes where there is nothing: a node, or a file for the host's to be bound over.
        match root {
            Root::Host => make_null(&bed.root("dev/null")),
            Root::Own => fs::write(bed.root("dev/null"), "").expect("a file can be written"),
        }
        symlink("/proc/sys/kernel/hostname", bed.root("dev/bait")).expect("a link can be made");
        bed.script("stat -c %t:%T /etc/secret /proc/keys; cat /etc/secret");
        race(bed, (&bed.root("dev/null"), &bed.root("dev/bait")), |said| {
            assert!(!said.status.success() || said.out == "1:3\n1:3\n", "{said:?}");
        });
    });
}

#[test]
fn a_working_folder_is_never_made_outside() {
    on_ours(|bed, _| {
        let canary = Canary::new(bed);
        let volume = volume(bed);
        symlink(&canary.path, volume.join("link")).expect("a link can be made");
        bed.configure(|config| config["process"]["cwd"] = json!("/volume/dir/made/here"));
        bed.script("pwd");
        race(bed, (&volume.join("dir"), &volume.join("link")), |_| canary.assert_alive());
    });
}

/// Mounts that lie in the root's own `/dev`, which whoever shares the root can change.
fn with_a_dev_of_the_root(bed: &Bed) {
    bed.configure(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts are a list");
        mounts.retain(|mount| !matches!(mount["destination"].as_str(), Some("/dev" | "/dev/shm" | "/dev/mqueue")));
    });
    fs::create_dir_all(bed.root("dev/pts")).expect("a folder can be made");
}

/// Makes containers with a terminal while `exchanged` of the root's `/dev` is exchanged for a link to `bait`.
fn race_for_the_console(exchanged: &str, bait: impl Fn(&Canary) -> std::path::PathBuf) {
    on_ours(|bed, _| {
        let canary = Canary::new(bed);
        with_a_dev_of_the_root(bed);
        fs::write(bed.root("dev/console"), "").expect("a file can be written");
        symlink(bait(&canary), bed.root("dev/bait")).expect("a link can be made");
        bed.configure(|config| config["process"]["terminal"] = json!(true));
        bed.script("stat -c %t:%T /dev/console; stat -c %t /proc/sys/kernel/hostname; test -t 0 && echo terminal");
        // The numbers of the first terminal of a devpts, in hexadecimal. Where its own name is exchanged, it may mean the bait by
        // then, which has none.
        let (console, bait) = ("88:0\r\n0\r\nterminal\r\n", "0:0\r\n0\r\nterminal\r\n");
        let seen = std::cell::Cell::new(false);
        race(bed, (&bed.root(exchanged), &bed.root("dev/bait")), |said| {
            canary.assert_alive();
            let is_bait = exchanged == "dev/console" && said.out == bait;
            assert!(!said.status.success() || is_bait || said.out == console, "{said:?}");
            seen.set(seen.get() || said.out == console);
        });
        assert!(seen.get(), "it had its console at least once");
    });
}

#[test]
fn a_console_covers_nothing_but_its_own_place() {
    race_for_the_console("dev/console", |_| "/proc/sys/kernel/hostname".into());
}

#[test]
fn a_console_is_the_terminal_that_was_made() {
    race_for_the_console("dev/pts", |canary| canary.path.clone());
}

#[test]
fn what_is_written_to_proc_is_written_to_the_kernels_own() {
    on_ours(|bed, _| {
        let volume = volume(bed);
        let fake = volume.join("sys/net/ipv4/ip_forward");
        fs::create_dir_all(fake.parent().expect("it is deep")).expect("a folder can be made");
        fs::write(&fake, "as it was").expect("a file can be written");
        fs::create_dir_all(bed.root("proc")).expect("a folder can be made");
        symlink("/volume", bed.root("bait")).expect("a link can be made");
        bed.configure(|config| {
            // The volume first, so that it is there when `/proc` is looked for.
            config["mounts"].as_array_mut().expect("mounts are a list").rotate_right(1);
            config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        });
        bed.script("cat /proc/sys/net/ipv4/ip_forward");
        race(bed, (&bed.root("proc"), &bed.root("bait")), |said| {
            assert_eq!(fs::read_to_string(&fake).expect("it is there"), "as it was");
            // The name may mean the bait by then.
            assert!(!said.status.success() || ["1\n", "as it was"].contains(&said.out.as_str()), "{said:?}");
        });
    });
}
