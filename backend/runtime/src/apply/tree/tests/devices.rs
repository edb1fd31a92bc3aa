//! Devices, and what is planted in their place.

use super::*;

pub(super) fn device(path: &str, (major, minor): (u32, u32)) -> Device {
    Device { path: path.into(), kind: DeviceKind::Character, major, minor, mode: 0o640, uid: 0, gid: 9 }
}

#[test]
fn devices_are_what_they_are_called_and_nothing_planted_is_taken_for_one() {
    with_tree(
        |scene| {
            let dev = scene.root.path().join("dev");
            std::fs::create_dir(&dev).unwrap();
            std::fs::write(dev.join("zero"), "planted").unwrap();
            symlink(scene.canary.path().join("file"), dev.join("full")).unwrap();
            symlink(scene.canary.path(), dev.join("net")).unwrap();
            std::fs::write(dev.join("ptmx"), "planted").unwrap();
        },
        |scene| {
            let mut place = |path: &str, number, way| scene.inside.take(&TreeStep::PlaceDevice { device: device(path, number), way });
            for way in [Way::Made, Way::Bound] {
                place(&format!("/dev/sub/null{}", way as u8), (1, 3), way).unwrap();
                assert_eq!(place("/dev/net/tun", (10, 200), way).map_err(|error| error.errno), Err(Errno::LOOP));
            }
            assert_eq!(place("/dev/zero", (1, 5), Way::Made).map_err(|error| error.errno), Err(Errno::NODEV));
            assert_eq!(place("/dev/full", (1, 7), Way::Made).map_err(|error| error.errno), Err(Errno::NODEV));
            assert_eq!(place("/dev/full", (1, 7), Way::Bound).map_err(|error| error.errno), Err(Errno::LOOP));
            assert!(place("/dev/nothing", (1, 200), Way::Bound).is_err(), "a device that the host does not have");
            place("/dev/zero", (1, 5), Way::Bound).unwrap();
            scene.inside.take(&TreeStep::LinkDevices).unwrap();
            for name in ["sub/null0", "sub/null1"] {
                let made = std::fs::metadata(scene.path("dev").join(name)).unwrap();
                assert_eq!(made.rdev(), rustix::fs::makedev(1, 3), "{name}");
            }
            let made = std::fs::metadata(scene.path("dev/sub/null0")).unwrap();
            assert_eq!((made.mode() & 0o7777, made.gid()), (0o640, 9), "whatever the umask");
            assert_eq!(std::fs::read_link(scene.path("dev/ptmx")).unwrap(), Path::new("pts/ptmx"));
        },
    );
}

#[test]
fn a_dev_that_is_a_link_is_refused_and_nothing_is_made_at_its_end() {
    with_tree(
        |scene| symlink(scene.canary.path(), scene.root.path().join("dev")).unwrap(),
        |scene| {
            for way in [Way::Made, Way::Bound] {
                let step = TreeStep::PlaceDevice { device: device("/dev/null", (1, 3)), way };
                assert_eq!(scene.inside.take(&step).map_err(|error| error.errno), Err(Errno::LOOP));
            }
            assert_eq!(scene.inside.take(&TreeStep::LinkDevices).map_err(|error| error.errno), Err(Errno::LOOP));
        },
    );
}

#[test]
fn what_is_no_terminal_does_not_become_the_console() {
    with_tree(
        |_| {},
        |scene| {
            for path in ["/dev/null", "/dev/ptmx", "/etc/hostname"] {
                let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
                assert_eq!(scene.inside.bind_console(opened.as_fd()).map_err(|error| error.errno), Err(Errno::NODEV), "{path}");
            }
            assert!(!scene.path("dev/console").exists());
        },
    );
}
