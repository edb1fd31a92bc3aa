//! Archives as people make them: what comes out is what GNU tar makes of them, and it comes out once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end, also in its helpers")]

mod bed;

use std::path::Path;
use std::process::{Command, Stdio};

use bed::{Bed, file, folder, root_or_skip, tar};
use belljar_images::Digest;
use belljar_model::image::{Image, ImageKind};
use sha2::Digest as _;

/// Runs a shell in `folder` and returns what it prints. Panics with its complaints where it fails.
fn shell(folder: &Path, script: &str) -> Vec<u8> {
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder).stdin(Stdio::null()).output().expect("sh runs");
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A tree as debootstrap leaves it, in small.
const TREE: &str = r#"
    umask 022
    mkdir -p tree/usr/bin tree/usr/lib/x86_64-linux-gnu tree/etc/alternatives tree/var/log tree/var/cache tree/root tree/home tree/dev tree/proc
    cd tree
    ln -s usr/bin bin; ln -s usr/lib lib
    mkdir -m 1777 tmp var/tmp; mkdir -m 2775 var/mail; chmod 700 root
    printf '#!/bin/sh\n' > usr/bin/sh; chmod 755 usr/bin/sh; ln usr/bin/sh usr/bin/dash; ln usr/bin/dash usr/bin/rbash
    head -c 1048577 /dev/urandom > usr/bin/big; chmod 4755 usr/bin/big
    head -c 511 /dev/zero > usr/lib/511; head -c 512 /dev/zero > usr/lib/512; head -c 513 /dev/zero > usr/lib/513; : > usr/lib/empty
    ln -s /usr/bin/sh etc/alternatives/sh; ln -s ../../usr/bin/absent etc/alternatives/absent; ln -s libc.so.6 usr/lib/x86_64-linux-gnu/libc.so
    printf 'root:x:0:0::/root:/bin/sh\n' > etc/passwd; printf 'secret' > etc/shadow; chmod 640 etc/shadow
    mkfifo var/log/pipe
    printf 'a name with spaces' > 'etc/a b  c'; printf 'x' > "$(printf 'etc/caf\303\251')"; printf 'x' > "$(printf 'etc/latin\351')"
    printf 'x' > "$(printf 'etc/new\nline')"; printf 'x' > 'etc/back\slash'; printf 'x' > 'etc/...'; printf 'x' > 'etc/-dash'
    touch -d '1999-12-31T23:59:59.123456789Z' etc/passwd usr/lib/empty
    touch -d '2001-01-01T00:00:00Z' usr/lib var/log
    cd ..
"#;

/// Names that need an extension header, and one that needs it for its target.
const LONG_NAMES: &str = r#"
    long=$(printf 'a-rather-long-name-%.0s' 1 2 3 4 5 6)
    mkdir -p "tree/$long/$long/$long"
    printf 'deep' > "tree/$long/$long/$long/file-$long"
    ln "tree/$long/$long/$long/file-$long" "tree/second-$long"
    ln -s "/$long/$long/$long/file-$long" "tree/link-$long"
    ln -s "$long" tree/short
"#;

/// Everything that can be seen of a tree, and a sum of each file; without the times of the folders that some of the
/// archives only imply.
const LOOK: &str = r#"
    find . -mindepth 1 -printf '%P|%y|%m|%U:%G|%l|%n\n' | sort
    find . -mindepth 1 ! -path './usr' ! -path './usr/lib' ! -path './etc' ! -path './etc/alternatives' -printf '%P|%T@\n' | sort
    find . -type f -printf '%s %P\n' | sort
    find . -type f -print0 | sort -z | xargs -0 sha256sum
"#;

/// Archives `tree` in a format, unpacks it with GNU tar and with ours, and compares the two trees.
fn compare(make: &str, create: &str) {
    let bed = Bed::new();
    let folder = tempfile::tempdir().unwrap();
    shell(folder.path(), make);
    shell(folder.path(), &format!("{create}; mkdir theirs; tar -xpf archive.tar -C theirs"));
    let archive = std::fs::read(folder.path().join("archive.tar")).unwrap();
    let imported = bed.import(&archive).unwrap_or_else(|error| panic!("{create}: {error}: {error:?}"));
    let layer = bed.path("images/layers").join(imported.digest.hex());
    let ours = shell(&layer, LOOK);
    let theirs = shell(&folder.path().join("theirs"), LOOK);
    assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{create}");
    let listed = shell(folder.path(), "tar -tf archive.tar");
    assert_eq!(imported.entries, listed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64, "{create}");
    let sum: [u8; 32] = sha2::Sha256::digest(&archive).into();
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(imported.digest.to_string(), format!("sha256:{hex}"));
}

#[test]
fn a_tree_in_every_format_of_gnu_tar_comes_out_as_gnu_tar_unpacks_it() {
    for format in ["gnu", "oldgnu", "pax", "ustar"] {
        compare(TREE, &format!("tar --format={format} -cf archive.tar -C tree ."));
    }
    // The oldest has no FIFOs.
    compare(&format!("{TREE} rm tree/var/log/pipe"), "tar --format=v7 -cf archive.tar -C tree .");
}

#[test]
fn long_names_come_out_in_the_formats_that_have_them() {
    for format in ["gnu", "pax"] {
        compare(&format!("{TREE}{LONG_NAMES}"), &format!("tar --format={format} -cf archive.tar -C tree ."));
    }
}

/// Files with holes at the beginning, in the middle, at the end, nowhere and everywhere, and one with more pieces than a block holds.
const HOLES: &str = r#"
    mkdir tree; cd tree
    truncate -s 3M all; truncate -s 1M end; printf 'x' | dd of=end conv=notrunc status=none
    printf 'tail' | dd of=begin bs=1M seek=2 status=none
    for piece in $(seq 0 60); do printf 'piece' | dd of=many bs=64K seek=$piece conv=notrunc status=none; done
    printf 'whole' > none
    cd ..
"#;

#[test]
fn sparse_files_come_out_as_gnu_tar_unpacks_them_with_their_holes() {
    for format in
        ["--format=gnu", "--format=pax --sparse-version=0.0", "--format=pax --sparse-version=0.1", "--format=pax --sparse-version=1.0"]
    {
        compare(HOLES, &format!("tar {format} --sparse -cf archive.tar -C tree ."));
        let bed = Bed::new();
        let folder = tempfile::tempdir().unwrap();
        shell(folder.path(), &format!("{HOLES} tar {format} --sparse -cf archive.tar -C tree ."));
        let layer = bed.layer(&std::fs::read(folder.path().join("archive.tar")).unwrap());
        assert!(std::os::unix::fs::MetadataExt::blocks(&layer.join("all").metadata().unwrap()) == 0, "{format}");
    }
}

#[test]
fn names_without_a_leading_dot_and_folders_that_are_only_implied_come_out() {
    compare(TREE, "cd tree; tar -cf ../archive.tar *; cd ..");
    compare(TREE, "tar -cf archive.tar -C tree usr/lib/511 etc/alternatives/sh");
    compare(TREE, "tar --absolute-names --transform 's,^,/,' -cf archive.tar -C tree etc usr");
}

#[test]
fn an_archive_that_was_added_to_comes_out_with_the_last_of_each_entry() {
    compare(TREE, "tar -cf archive.tar -C tree .; printf 'changed' > tree/etc/passwd; tar -rf archive.tar -C tree ./etc/passwd");
}

#[test]
fn owners_other_than_us_come_out() {
    if !root_or_skip() {
        return;
    }
    let make = format!(
        "{TREE} chown -R 33:33 tree/var/cache; chown 0:42 tree/etc/shadow; chown -h 1000:1000 tree/bin; chown 100:101 tree/var/log/pipe"
    );
    compare(&make, "tar --numeric-owner -cf archive.tar -C tree .");
}

#[test]
fn the_same_archive_twice_is_one_layer_and_can_be_removed() {
    let bed = Bed::new();
    let archive = tar(&[folder("d"), file("d/x", "x")]);
    let first = bed.import(&archive).unwrap();
    assert_eq!(bed.import(&archive).unwrap(), first);
    assert_eq!((first.entries, first.size_bytes), (2, 1));
    let image = |digest: Digest| Image {
        name: "mine".parse().unwrap(),
        kind: ImageKind::Rootfs,
        digest: digest.to_string(),
        manifest_digest: None,
        size_bytes: first.size_bytes,
        entries: first.entries,
        created_at_ms: 0,
        contents: std::sync::Arc::default(),
    };
    let layers = bed.images.layers(&image(first.digest)).unwrap();
    assert_eq!(layers.len(), 1);
    assert_eq!((layers[0].at.as_str(), Path::new(&layers[0].path).join("d/x").exists()), ("", true));
    bed.images.remove_layer(&first.digest).unwrap();
    bed.images.remove_layer(&first.digest).unwrap();
    assert!(!Path::new(&layers[0].path).exists());
    let error = bed.images.layers(&image(first.digest)).unwrap_err().to_string();
    assert!(error.contains("mine") && error.contains(&first.digest.hex()), "{error}");
}

#[test]
fn a_sweep_removes_what_is_half_done_or_belongs_to_nobody_and_nothing_else() {
    let bed = Bed::new();
    let used = bed.import(&tar(&[file("used", "x")])).unwrap();
    let unused = bed.import(&tar(&[file("unused", "x")])).unwrap();
    let host = bed.images.host().unwrap();
    let host_digest: Digest = host.image.digest.parse().unwrap();
    std::fs::create_dir_all(bed.path("images/tmp/half/done")).unwrap();
    std::fs::write(bed.path("images/tmp/file"), "x").unwrap();
    std::os::unix::fs::symlink(bed.path("outside"), bed.path("images/tmp/link")).unwrap();
    std::fs::create_dir(bed.path("images/layers/not-a-digest")).unwrap();
    let mut removed = bed.images.sweep(&[used.digest, host_digest]).unwrap().removed;
    removed.sort();
    let mut expected = vec![format!("layers/{}", unused.digest.hex()), format!("skeletons/{}", unused.digest.hex())];
    expected.extend(["layers/not-a-digest", "tmp/file", "tmp/half", "tmp/link"].map(str::to_owned));
    expected.sort();
    assert_eq!(removed, expected);
    assert!(bed.path("outside/canary").exists() && bed.images.layers(&host.image).is_ok());
    assert_eq!(bed.images.sweep(&[used.digest, host_digest]).unwrap().removed, Vec::<String>::new());
    assert_eq!(bed.images.sweep(&[used.digest]).unwrap().removed, [format!("host/{}", host_digest.hex())]);
}

#[test]
fn the_host_is_an_image_whose_layers_are_found_again_by_its_digest() {
    let bed = Bed::new();
    let host = bed.images.host().unwrap();
    assert_eq!(bed.images.host().unwrap(), host, "the same host is the same image");
    assert_eq!(bed.images.layers(&host.image).unwrap(), host.layers);
    assert!(host.image.name.is_host() && host.image.kind == ImageKind::Host);
}

#[test]
fn a_folder_of_images_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::new();
    for name in ["images", "images/layers", "images/skeletons", "images/host", "images/tmp"] {
        assert_eq!(bed.path(name).metadata().unwrap().permissions().mode() & 0o7777, 0o700, "{name}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let bed = Bed::new();
    let error = belljar_images::Images::open(bed.path("outside/canary")).unwrap_err().to_string();
    assert!(error.starts_with("could not make ") && error.contains("outside/canary"), "{error}");
}
