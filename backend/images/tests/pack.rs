//! What a container changed as a layer: what is kept, what is left out, and what a hostile container may have put there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end, also in its helpers")]

mod bed;

use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use bed::{Bed, file, folder, root_or_skip, tar};
use belljar_images::config::{Changes, configuration_of, host_platform};
use belljar_images::{Digest, ImportLimits, PackError, PlacedLayer, StagedLayer, ToExport, ToVerify};
use belljar_model::image::{Contents, ImageConfig};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};

/// A folder as overlayfs leaves one, and more than it would.
fn upper() -> tempfile::TempDir {
    let upper = tempfile::tempdir().unwrap();
    let at = |path: &str| upper.path().join(path);
    std::fs::set_permissions(upper.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(at("etc/deep")).unwrap();
    std::fs::write(at("etc/changed"), "new").unwrap();
    std::fs::set_permissions(at("etc/changed"), PermissionsExt::from_mode(0o4711)).unwrap();
    std::os::unix::fs::chown(at("etc/changed"), Some(33), Some(42)).unwrap();
    std::fs::set_permissions(at("etc/changed"), PermissionsExt::from_mode(0o4711)).unwrap();
    std::fs::hard_link(at("etc/changed"), at("etc/second")).unwrap();
    symlink("/outside/canary", at("etc/link")).unwrap();
    std::fs::hard_link(at("etc/link"), at("etc/link2")).unwrap();
    for (path, kind, number) in [
        ("etc/gone", FileType::CharacterDevice, 0),
        ("etc/deep/gone", FileType::CharacterDevice, 0),
        ("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        ("disk", FileType::BlockDevice, 0),
        ("pipe", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
    ] {
        mknodat(CWD, at(path), kind, Mode::from_raw_mode(0o600), number).unwrap();
    }
    for (path, name, value) in [
        ("etc/deep", "trusted.overlay.opaque", "y"),
        ("etc", "trusted.overlay.origin", "x"),
        ("etc/changed", "user.k", "a\nb"),
        ("etc/changed", "user.overlay.opaque", "y"),
        ("etc/changed", "trusted.secret", "x"),
    ] {
        lsetxattr(at(path), name, value.as_bytes(), XattrFlags::empty()).unwrap();
    }
    let sparse = std::fs::File::create(at("sparse")).unwrap();
    sparse.write_all_at(b"end", 100_000).unwrap();
    for path in ["etc/changed", "sparse"] {
        std::fs::File::open(at(path)).unwrap().set_modified(UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789)).unwrap();
    }
    upper
}

fn pack(bed: &Bed, upper: &Path) -> Result<StagedLayer, PackError> {
    let packed = bed.images.pack_layer(upper, &ImportLimits::default());
    if packed.is_err() {
        bed.check_outside();
    }
    packed
}

fn place(bed: &Bed, upper: &Path) -> PlacedLayer {
    pack(bed, upper).unwrap_or_else(|error| panic!("{error:?}")).put_in_place().unwrap()
}

#[test]
fn a_folder_of_changes_comes_out_as_the_layer_that_it_was() {
    if !root_or_skip() {
        return;
    }
    let (bed, upper) = (Bed::new(), upper());
    let placed = place(&bed, upper.path());
    let layer = bed.path("images/layers").join(placed.diff_id.hex());
    let lines: Vec<String> = bed::listed(&layer).into_iter().filter(|line| !line.starts_with("sparse")).collect();
    assert_eq!(
        lines,
        [
            "etc/ 755",
            "etc/changed 4711 new",
            "etc/deep/ 755 opaque",
            "etc/deep/gone whiteout",
            "etc/gone whiteout",
            "etc/link -> /outside/canary",
            "etc/link2 -> /outside/canary",
            "etc/second 4711 new",
            "pipe| 600"
        ]
    );
    let look = |root: &Path| {
        use std::os::unix::fs::MetadataExt;
        let stat = root.join("etc/changed").metadata().unwrap();
        let mut names = [0; 1024];
        let length = rustix::fs::listxattr(root.join("etc/changed"), &mut names).unwrap();
        let has = |name: &str| names[..length].split(|byte| *byte == 0).any(|other| other == name.as_bytes());
        (stat.mtime(), stat.mtime_nsec(), stat.uid(), stat.gid(), stat.nlink(), has("user.k"), std::fs::read(root.join("sparse")).unwrap())
    };
    assert!(look(&layer) == look(upper.path()));
    let changed = layer.join("etc/changed");
    for name in ["user.overlay.opaque", "trusted.secret"] {
        assert!(rustix::fs::getxattr(&changed, name, &mut [0; 8][..]).is_err(), "{name}");
    }
    assert_eq!(bed.images.verify(&ToVerify { manifest: None, config: None, layers: &[placed.diff_id] }), []);
    assert_eq!(pack(&bed, upper.path()).unwrap().diff_id, placed.diff_id, "the same folder is the same layer");
}

#[test]
fn what_a_container_could_not_have_made_or_would_hide_another_file_is_refused() {
    if !root_or_skip() {
        return;
    }
    let refuses = |words: &str, make: &dyn Fn(&Path)| {
        let (bed, upper) = (Bed::new(), tempfile::tempdir().unwrap());
        make(upper.path());
        let error = pack(&bed, upper.path()).map(|staged| staged.diff_id).expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(bed.left(), Vec::<String>::new());
    };
    refuses("would hide", &|upper| std::fs::write(upper.join(".wh.passwd"), "").unwrap());
    refuses("would hide", &|upper| std::fs::create_dir_all(upper.join("a/.wh..wh..opq")).unwrap());
    for name in ["trusted.overlay.redirect", "trusted.overlay.metacopy"] {
        refuses("only a reference", &|upper| {
            std::fs::write(upper.join("x"), "").unwrap();
            lsetxattr(upper.join("x"), name, b"/etc", XattrFlags::empty()).unwrap();
        });
    }
    refuses("too deep", &|upper| std::fs::create_dir_all(upper.join("d/".repeat(300))).unwrap());
    refuses("could not put the layer", &|upper| {
        std::fs::write(upper.join("x"), "").unwrap();
        std::os::unix::fs::chown(upper.join("x"), Some(70_000), None).unwrap();
    });
    let (bed, upper) = (Bed::new(), tempfile::tempdir().unwrap());
    symlink(bed.outside(), upper.path().join("link")).unwrap();
    assert!(pack(&bed, &upper.path().join("link")).is_err(), "a link in the folder's place is not followed");
    assert!(pack(&bed, &upper.path().join("absent")).is_err());
}

#[test]
fn a_folder_that_changes_while_it_is_read_is_packed_or_refused_and_never_followed() {
    if !root_or_skip() {
        return;
    }
    let (bed, upper) = (Bed::new(), tempfile::tempdir().unwrap());
    let (file_path, away) = (upper.path().join("d/file"), upper.path().join("away"));
    std::fs::create_dir(upper.path().join("d")).unwrap();
    std::fs::write(&file_path, "mine").unwrap();
    symlink(bed.path("outside/canary"), &away).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                let _lost = rustix::fs::renameat_with(CWD, &file_path, CWD, &away, exchange);
            }
        });
        for _ in 0..100 {
            match pack(&bed, upper.path()) {
                Err(error) => assert!(error.to_string().contains("exchanged") || error.to_string().contains("could not open"), "{error}"),
                Ok(staged) => {
                    let placed = staged.put_in_place().unwrap();
                    let lines = bed::listed(&bed.path("images/layers").join(placed.diff_id.hex()));
                    assert!(!lines.iter().any(|line| line.contains("alive")), "{lines:?}");
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    bed.check_outside();
}

#[test]
fn an_image_with_a_layer_on_top_says_what_it_said_and_what_was_changed() {
    if !root_or_skip() {
        return;
    }
    let (bed, upper) = (Bed::new(), upper());
    let base = bed.images.import(tar(&[folder("etc"), file("etc/gone", "x")]).as_slice(), &ImportLimits::default()).unwrap();
    let config = configuration_of(&host_platform(), &base.digest, 1_700_000_000_000);
    let below = belljar_images::config::Configuration::parse(&config).unwrap().contents(Vec::new());
    let top = place(&bed, upper.path());
    let settings = ImageConfig {
        command: vec!["serve".into()],
        env: [("A".to_owned(), "b=c".to_owned())].into(),
        volumes: ["/data".to_owned()].into(),
        labels: [("k".to_owned(), "v".to_owned())].into(),
        user: Some("web".into()),
        workdir: Some("/srv".into()),
        health: serde_json::from_str(r#"{"command":["/bin/check"],"interval_ms":1500}"#).unwrap(),
        ..ImageConfig::default()
    };
    let changes = Changes {
        made_at_ms: 1_700_000_001_500,
        author: Some("somebody".into()),
        comment: Some("a note".into()),
        command: Some("make it".into()),
        config: Some(settings.clone()),
    };
    let made = bed.images.make_image((&config, &below), &top, &changes).unwrap();
    let Contents { platform, made_at_ms, author, config: said, layers, history } = &made.contents;
    assert_eq!((platform, *made_at_ms, author.as_deref(), said), (&below.platform, Some(1_700_000_001_500), Some("somebody"), &settings));
    assert_eq!(layers.iter().map(|layer| layer.diff_id.clone()).collect::<Vec<_>>(), [base.digest.to_string(), top.diff_id.to_string()]);
    let last = history.last().unwrap();
    assert_eq!((history.len(), last.command.as_deref(), last.comment.as_deref()), (2, Some("make it"), Some("a note")));
    assert_eq!((layers[1].command.as_deref(), layers[1].size_bytes), (Some("make it"), top.facts.size_bytes));
    assert_eq!((Digest::of(&made.config), Digest::of(&made.manifest)), (made.digest, made.manifest_digest));
    // It goes out and comes in as the same image.
    let mut archive = Vec::new();
    let exported = bed.images.export(&ToExport { config: &made.config, names: &[] }, &mut archive).unwrap();
    assert_eq!((exported.digest, exported.manifest_digest), (made.digest, made.manifest_digest));
    let keep = bed.images.make_image((&made.config, &made.contents), &top, &Changes::default()).unwrap();
    assert_eq!((&keep.contents.config, keep.contents.history.len()), (&settings, 3), "what is not changed stays");
}

#[test]
fn what_is_not_known_of_a_configuration_stays_and_a_history_that_is_short_is_filled_up() {
    let bed = Bed::new();
    let base = bed.images.import(tar(&[file("a", "1")]).as_slice(), &ImportLimits::default()).unwrap();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "moby.buildkit.x": [1, {"y": null}], "container": "0123",
        "config": {"Cmd": ["a"], "OnBuild": ["RUN x"], "ArgsEscaped": true}, "rootfs": {"type": "layers", "diff_ids": [base.digest.to_string()]}});
    let upper = tempfile::tempdir().unwrap();
    std::fs::write(upper.path().join("b"), "2").unwrap();
    let top = place(&bed, upper.path());
    let settings = ImageConfig { entrypoint: vec!["e".into()], ..ImageConfig::default() };
    let changes = Changes { command: Some("mine".into()), config: Some(settings), ..Changes::default() };
    let made = bed.images.make_image((config.to_string().as_bytes(), &Contents::default()), &top, &changes).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&made.config).unwrap();
    assert_eq!(document["moby.buildkit.x"], config["moby.buildkit.x"]);
    assert_eq!(document["config"], serde_json::json!({"OnBuild": ["RUN x"], "ArgsEscaped": true, "Entrypoint": ["e"]}));
    assert_eq!((document.get("container"), made.contents.layers[1].command.as_deref()), (None, Some("mine")));
    drop((base, top));
    bed.images.sweep(&[]).unwrap();
    let gone = bed.images.verify(&ToVerify { manifest: None, config: Some((&made.config, made.digest)), layers: &[] });
    assert_eq!(gone[0].problem, "the configuration speaks of other layers");
}
