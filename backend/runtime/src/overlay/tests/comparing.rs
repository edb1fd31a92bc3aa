//! What is other about something that was copied up, and what each entry hides.

use super::*;

#[test]
fn what_was_copied_up_and_is_as_before_is_no_change() {
    let bed = Bed::furnished();
    let script = "cat etc/ro.txt > /dev/null; for file in etc/doomed.txt usr/bin/tool srv/folder/a; do
                    touch -r $file time; chmod 600 $file; chmod 644 $file; echo >> $file; truncate -s -1 $file; touch -r time $file; done
                  rm time; ln -sfn ro.txt etc/link; touch -h -d @5 etc/link";
    for (name, level) in [("doomed.txt", "etc"), ("tool", "usr/bin")] {
        assert!(bed.path(if level == "etc" { "image/etc" } else { "usr/bin" }).join(name).exists());
    }
    let Some(changes) = bed.changed_by(script) else { return };
    assert_eq!(changes, of(&[("/etc/link", Status::Metadata)]), "but a link whose time was set");
    let entry = entry_at(&bed, "/etc", "doomed.txt");
    assert_eq!((entry.status, entry.copied_up, entry.layer, entry.hides), (Status::Unchanged, true, 3, vec![3]));
    // One byte among the same number of them, at the same time.
    let Some(changes) = bed.changed_by("touch -r srv/other/c time; printf x > srv/other/c; touch -r time srv/other/c; rm time") else {
        return;
    };
    assert_eq!(changes, of(&[("/etc/link", Status::Metadata), ("/srv/other/c", Status::Modified)]));
}

#[test]
fn an_attribute_alone_is_metadata() {
    let bed = Bed::furnished();
    let marked = bed.run("true").is_some();
    std::fs::create_dir_all(bed.path("upper/srv/folder")).unwrap();
    std::fs::copy(bed.path("image/srv/folder/a"), bed.path("upper/srv/folder/a")).unwrap();
    let time = std::fs::metadata(bed.path("image/srv/folder/a")).unwrap().modified().unwrap();
    std::fs::File::options().write(true).open(bed.path("upper/srv/folder/a")).unwrap().set_modified(time).unwrap();
    assert_eq!(bed.changes(), []);
    let set = |path: &str| rustix::fs::setxattr(bed.path(path), "user.note", b"x", rustix::fs::XattrFlags::empty());
    if !marked || set("upper/srv/folder/a").is_err() {
        return println!("skipped: needs root and a file system with attributes");
    }
    assert_eq!(bed.changes(), of(&[("/srv/folder/a", Status::Metadata)]));
    set("image/srv/folder/a").unwrap();
    assert_eq!(bed.changes(), []);
}

#[test]
fn each_entry_says_what_it_hides_below() {
    let bed = Bed::furnished();
    let script = "echo x >> etc/ro.txt; rm etc/extra.conf; echo new > etc/new; rm -r srv/folder; mkdir srv/folder; echo x > srv/folder/z";
    let Some(changes) = bed.changed_by(script) else { return };
    let hides = |folder: &str, name: &str| {
        let entry = entry_at(&bed, folder, name);
        (entry.hides, entry.opaque)
    };
    assert_eq!(hides("/etc", "ro.txt"), (vec![2, 3], false), "the extra layer's, and the image's below that");
    assert_eq!(hides("/etc", "extra.conf"), (vec![2], false), "a whiteout");
    assert_eq!(hides("/etc", "new"), (vec![], false));
    assert_eq!(hides("/etc", "hosts"), (vec![], false));
    assert_eq!(hides("/", "etc"), (vec![], false), "folders are merged");
    assert_eq!(hides("/srv", "folder"), (vec![3], true), "an opaque folder");
    let below = |path: &str| super::changes(&bed.stack()).unwrap().into_iter().find(|change| change.path == path).unwrap().below;
    assert_eq!(
        (below("/etc/ro.txt"), below("/etc/extra.conf"), below("/etc/new"), below("/srv/folder")),
        (Some(2), Some(2), None, Some(3))
    );
    assert_eq!(changes.len(), 5);
}

#[test]
fn a_folder_that_was_deleted_and_made_again_as_it_was_is_no_change() {
    let bed = Bed::furnished();
    let script =
        "cp -a srv/folder srv/copy; cp -a etc/deep etc/copy; rm -r srv/folder etc/deep; mv srv/copy srv/folder; mv etc/copy etc/deep";
    let Some(changes) = bed.changed_by(script) else { return };
    assert_eq!(changes, []);
    let entry = entry_at(&bed, "/srv", "folder");
    assert_eq!((entry.opaque, entry.copied_up, entry.status), (true, true, Status::Unchanged));
    let Some(changes) = bed.changed_by("rm srv/folder/b; echo x > etc/deep/er/file; echo y > etc/deep/er/new") else { return };
    let expected = of(&[
        ("/etc/deep/er/file", Status::Modified),
        ("/etc/deep/er/new", Status::Added),
        ("/srv/folder", Status::Replaced),
        ("/srv/folder/a", Status::Added),
    ]);
    assert_eq!(changes, expected, "what is missing in it is hidden by the folder; what it has is compared");
}
