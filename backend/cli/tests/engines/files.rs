//! Files, mounts and devices in a container.

use crate::engine::{Engine, Kind};
use crate::under_both;

under_both!(
    a_read_only_root_is_and_what_is_mounted_may_be_written,
    a_temporary_file_system_has_its_size_and_its_mode,
    a_folder_of_the_host_is_seen_and_may_be_read_only,
    a_volume_outlives_its_container,
    a_device_is_there_with_the_rights_it_was_given,
    the_usual_devices_and_file_systems_are_there,
    files_are_copied_in_and_out,
    changes_are_listed_and_kept_as_an_image,
    shared_memory_has_the_size_it_was_given,
    mounts_go_on_to_a_container_where_that_was_asked_for,
);

fn a_read_only_root_is_and_what_is_mounted_may_be_written(engine: &Engine) {
    let folder = engine.place.folder("shared").to_string_lossy().into_owned();
    let flags = ["--read-only", "--tmpfs=/scratch", "--volume", &format!("{folder}:/shared")];
    let script = "(echo x > /etc/x) 2> /dev/null || echo kept; echo x > /scratch/x && echo x > /shared/x && cat /shared/x";
    assert_eq!(engine.script(&flags, script), "kept\nx");
    assert_eq!(engine.place.shell(&format!("cat {folder}/x")), "x");
}

fn a_temporary_file_system_has_its_size_and_its_mode(engine: &Engine) {
    let script = "df -k /scratch | tail -1 | tr -s ' ' | cut -d' ' -f2; stat -c %a /scratch; grep ' /scratch ' /proc/mounts";
    let said = engine.script(&["--tmpfs=/scratch:rw,size=4m,mode=1700,noexec"], script);
    assert!(said.starts_with("4096\n1700\n") && said.contains("noexec"), "{said}");
}

fn a_folder_of_the_host_is_seen_and_may_be_read_only(engine: &Engine) {
    let folder = engine.place.folder("shared").to_string_lossy().into_owned();
    std::fs::write(format!("{folder}/note"), "from the host\n").expect("a file can be written");
    let one_file = format!("{folder}/note:/etc/note:ro");
    let flags = ["--volume", &format!("{folder}:/a/deep/place:ro"), "--volume", &one_file];
    let script = "cat /a/deep/place/note /etc/note; (echo x > /a/deep/place/x) 2> /dev/null || echo kept; (echo x > /etc/note) 2> /dev/null || echo kept";
    assert_eq!(engine.script(&flags, script), "from the host\nfrom the host\nkept\nkept");
}

fn a_volume_outlives_its_container(engine: &Engine) {
    engine.call(&["volume", "create", "kept"]);
    engine.script(&["--volume=kept:/kept"], "echo once >> /kept/turns");
    assert_eq!(engine.script(&["--volume=kept:/kept"], "echo twice >> /kept/turns; cat /kept/turns"), "once\ntwice");
    engine.call(&["volume", "rm", "kept"]);
}

fn a_device_is_there_with_the_rights_it_was_given(engine: &Engine) {
    let read =
        "stat -c '%t %T' /dev/log-of-kernel; dd if=/dev/log-of-kernel of=/dev/null bs=4k count=1 iflag=nonblock 2> /dev/null && echo read";
    let said = engine
        .script(&["--device=/dev/kmsg:/dev/log-of-kernel:r"], &format!("{read}; (echo x > /dev/log-of-kernel) 2> /dev/null || echo kept"));
    assert!(said.starts_with("1 b\n") && said.ends_with("kept"), "{said}");
    // A node that it makes itself is of no use: Docker lets it make one, podman does not.
    let made = engine.script(&[], "mknod /tmp/kmsg c 1 11 2> /dev/null; head -c1 /tmp/kmsg > /dev/null 2>&1 && echo read || echo kept");
    assert_eq!(made, "kept");
}

fn the_usual_devices_and_file_systems_are_there(engine: &Engine) {
    let script = "echo x > /dev/null; head -c3 /dev/zero | wc -c; head -c3 /dev/urandom | wc -c; (echo x > /dev/full) 2> /dev/null || echo full; \
                  test -L /dev/ptmx && test -L /dev/fd && echo links; cat /proc/mounts";
    let said = engine.script(&[], script);
    assert!(said.starts_with("3\n3\nfull\nlinks\n"), "{said}");
    let kind_at = |point: &str| said.lines().rfind(|line| line.split(' ').nth(1) == Some(point)).and_then(|line| line.split(' ').nth(2));
    assert_eq!(kind_at("/"), Some("overlay"));
    for (point, kind) in
        [("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "tmpfs"), ("/dev/pts", "devpts"), ("/dev/mqueue", "mqueue"), ("/dev/shm", "tmpfs")]
    {
        assert_eq!(kind_at(point), Some(kind), "{said}");
    }
    assert!(said.contains(" /sys/fs/cgroup"), "{said}");
}

fn files_are_copied_in_and_out(engine: &Engine) {
    engine.start_script("one", &["--tmpfs=/scratch"], "sleep 1d");
    let note = engine.place.file("note", "there and back\n");
    engine.call(&["cp", &note, "one:/etc/note"]);
    assert_eq!(engine.call(&["exec", "one", "cat", "/etc/note"]), "there and back");
    engine.call(&["cp", "one:/etc/words", &engine.place.text("words")]);
    assert_eq!(engine.place.shell(&format!("cat {}", engine.place.text("words"))), "from the image");
}

fn changes_are_listed_and_kept_as_an_image(engine: &Engine) {
    engine.start_script("one", &[], "echo new > /etc/new; rm /etc/words; sleep 1d");
    belljar_testbed::wait_until("it has changed its files", || {
        let changes = engine.call(&["diff", "one"]);
        (changes.contains("A /etc/new") && changes.contains("D /etc/words")).then_some(())
    });
    // Docker and podman stand the container still meanwhile.
    engine.call(&["commit", "--pause=true", "one", "belljar.test/kept:1"]);
    assert_eq!(engine.inspect("one")["State"]["Status"], "running");
    assert_eq!(engine.call(&["run", "--rm", "--network=none", "belljar.test/kept:1", "cat", "/etc/new"]), "new");
}

fn shared_memory_has_the_size_it_was_given(engine: &Engine) {
    let script = "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2; echo x > /dev/shm/x";
    assert_eq!(engine.script(&["--shm-size=8m"], script), "8192");
}

fn mounts_go_on_to_a_container_where_that_was_asked_for(engine: &Engine) {
    let folder = engine.place.folder("shared").to_string_lossy().into_owned();
    engine.place.shell(&format!("mkdir {folder}/later; mount --bind {folder} {folder}; mount --make-rshared {folder}"));
    engine.start_script("follows", &["--volume", &format!("{folder}:/shared:rslave")], "sleep 1d");
    engine.start_script("alone", &["--volume", &format!("{folder}:/shared:rprivate")], "sleep 1d");
    engine.place.shell(&format!("mount -t tmpfs none {folder}/later; echo seen > {folder}/later/word"));
    assert_eq!(engine.call(&["exec", "follows", "cat", "/shared/later/word"]), "seen");
    assert!(!engine.output(&["exec", "alone", "cat", "/shared/later/word"]).status.success());
    if engine.kind == Kind::Docker {
        let back = ["--volume", &format!("{folder}:/shared:rshared"), "--privileged"];
        engine.start_script(
            "gives",
            &back,
            "mkdir /shared/back; mount -t tmpfs none /shared/back; echo back > /shared/back/word; sleep 1d",
        );
        belljar_testbed::wait_until("a mount comes back", || {
            engine.output(&["exec", "follows", "cat", "/shared/back/word"]).status.success().then_some(())
        });
        engine.place.shell(&format!("umount {folder}/back"));
    }
    engine.place.shell(&format!("umount {folder}/later"));
}
