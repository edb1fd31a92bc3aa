//! Images whose files on this disk were damaged: it is found, told by file, and mended where they came from; what was cut off
//! half-way is never used and goes by itself.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use belljar_testbed::Server;
use belljar_testbed::fake::{Content, Fake, Layer};
use serde_json::{Value, json};

use crate::images::rootfs;
use crate::{belljar, belljar_output};

/// An image of two layers in a registry, pulled; and the folder of its upper layer.
struct Jar {
    server: Server,
    fake: Fake,
    name: String,
    layer: String,
}

impl Jar {
    fn pulled() -> Option<Self> {
        let server = crate::server()?;
        let layers = ["lower", "upper"].map(|word| {
            let archive = fs::read(rootfs(&server, word)).unwrap();
            Layer::new(&archive, archive.as_slice(), "application/vnd.oci.image.layer.v1.tar")
        });
        let layer = layers[1].diff_id.trim_start_matches("sha256:").to_owned();
        let content = Content::of("1", &layers);
        let fake = Fake::start(move |request| content.reply(request));
        let name = format!("{}/some/image:1", fake.host());
        belljar(&server, &["pull", &name]);
        Some(Self { server, fake, name, layer })
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.server.data_dir().join("images").join(name)
    }

    fn tree(&self) -> PathBuf {
        self.folder("layers").join(&self.layer)
    }

    fn skeleton(&self) -> PathBuf {
        self.folder("skeletons").join(&self.layer)
    }

    /// What `images verify` says, and whether all is well.
    fn verify(&self, flags: &[&str]) -> (String, bool) {
        let output = belljar_output(&self.server, &[&["images", "verify"], flags].concat());
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
    }

    /// Blobs that were fetched until now.
    fn fetched(&self) -> usize {
        self.fake.requests().iter().filter(|request| request.path.contains("/blobs/")).count()
    }

    #[track_caller]
    fn assert_whole(&self) {
        let (said, is_well) = self.verify(&[]);
        assert!(is_well && said.contains("all is as it was"), "{said}");
        assert_eq!(fs::read_dir(self.folder("damaged")).unwrap().count(), 0);
    }

    fn create(&self, name: &str) -> Value {
        let script = "read w < /etc/where; echo it is $w; exec sleep 1d";
        self.server.create(&json!({"image": self.name, "name": name, "command": ["/bin/sh", "-c", script]}))
    }
}

#[test]
fn what_is_damaged_is_told_by_file_and_fetched_anew() {
    let Some(jar) = Jar::pulled() else { return };
    jar.assert_whole();
    let flip = |path: &Path| {
        let (file, time) = (fs::File::options().write(true).open(path).unwrap(), path.metadata().unwrap().modified().unwrap());
        file.write_all_at(b"U", 0).unwrap();
        file.set_modified(time).unwrap();
    };
    type Damage<'a> = (&'a str, &'a dyn Fn());
    let damages: [Damage<'_>; 7] = [
        ("etc/where: its content has changed", &|| flip(&jar.tree().join("etc/where"))),
        ("bin/sleep: it is missing", &|| fs::remove_file(jar.tree().join("bin/sleep")).unwrap()),
        ("etc/new: it is no part of the layer", &|| fs::write(jar.tree().join("etc/new"), "").unwrap()),
        ("its skeleton is missing or damaged", &|| fs::File::options().write(true).open(jar.skeleton()).unwrap().set_len(20).unwrap()),
        ("its skeleton is missing or damaged", &|| fs::remove_file(jar.skeleton()).unwrap()),
        ("its folder is missing", &|| fs::remove_dir_all(jar.tree()).unwrap()),
        ("its folder is missing", &|| {
            fs::remove_dir_all(jar.tree()).unwrap();
            fs::remove_file(jar.skeleton()).unwrap();
        }),
    ];
    for (words, damage) in damages {
        damage();
        let (said, is_well) = jar.verify(&[]);
        assert!(!is_well && said.contains(words) && said.contains(&jar.layer[..12]), "{words}: {said}");
        let before = jar.fetched();
        let (said, is_well) = jar.verify(&["--repair"]);
        assert!(is_well && said.contains("whole again"), "{words}: {said}");
        // The configuration, and the one layer of two that is damaged.
        assert_eq!(jar.fetched() - before, 2, "{words}");
        jar.assert_whole();
    }
    jar.create("one");
    jar.server.wait_for_log("one", "it is upper");
}

#[test]
fn a_layer_that_a_running_container_stands_on_is_left_alone_until_that_rests() {
    let Some(jar) = Jar::pulled() else { return };
    jar.create("one");
    jar.server.wait_for_log("one", "it is upper");
    fs::write(jar.tree().join("etc/where"), "somebody\n").unwrap();
    let (said, is_well) = jar.verify(&["--repair"]);
    assert!(!is_well && said.contains("one runs on it: stop it first"), "{said}");
    assert_eq!(fs::read_to_string(jar.tree().join("etc/where")).unwrap(), "somebody\n");
    jar.server.act("one", "kill");
    let (said, is_well) = jar.verify(&["--repair", &jar.name]);
    assert!(is_well, "{said}");
    jar.assert_whole();
    jar.server.act("one", "start");
    assert_eq!(jar.server.container("one")["state"], "running");
}

#[test]
fn what_cannot_be_had_again_stays_as_damaged_as_it_is() {
    let Some(mut jar) = Jar::pulled() else { return };
    fs::write(jar.tree().join("etc/where"), "somebody\n").unwrap();
    let gone = Fake::start(|_| belljar_testbed::fake::Reply::status(503));
    drop(std::mem::replace(&mut jar.fake, gone));
    let (said, is_well) = jar.verify(&["--repair"]);
    assert!(!is_well && said.contains("still damaged"), "{said}");
    assert_eq!(fs::read_to_string(jar.tree().join("etc/where")).unwrap(), "somebody\n");
    assert_eq!(fs::read_dir(jar.folder("damaged")).unwrap().count(), 0);
    jar.create("one");
    jar.server.wait_for_log("one", "it is somebody");

    let archive = rootfs(&jar.server, "base").to_string_lossy().into_owned();
    belljar(&jar.server, &["images", "import", "base", &archive]);
    let digest = jar.server.api().get("/api/v1/images/base").expect(200).json()["digest"].as_str().unwrap()["sha256:".len()..].to_owned();
    fs::remove_file(jar.folder("layers").join(&digest).join("etc/where")).unwrap();
    let (said, is_well) = jar.verify(&["--repair", "base"]);
    assert!(!is_well && said.contains("it came from no registry: delete it, and bring it in again"), "{said}");
    belljar(&jar.server, &["images", "delete", "base"]);
    belljar(&jar.server, &["images", "import", "base", &archive]);
    let (said, is_well) = jar.verify(&["base"]);
    assert!(is_well, "{said}");
}

#[test]
fn what_was_cut_off_half_way_is_never_used_and_goes_with_the_next_start() {
    let Some(mut jar) = Jar::pulled() else { return };
    let stray = |digit: &str| digit.repeat(64);
    assert!(jar.server.stop().success());
    // Half-done work, a layer without a skeleton, a skeleton without a layer, and somebody's damaged layer that nobody has.
    for folder in [jar.folder("tmp/half"), jar.folder("layers").join(stray("a")), jar.folder("damaged").join(stray("c"))] {
        fs::create_dir_all(folder.join("etc")).unwrap();
        fs::write(folder.join("etc/file"), "half").unwrap();
    }
    fs::write(jar.folder("skeletons").join(stray("b")), "half").unwrap();
    // The layer of an image that was being mended when the server was gone.
    fs::rename(jar.tree(), jar.folder("damaged").join(&jar.layer)).unwrap();
    fs::rename(jar.skeleton(), jar.folder("damaged").join(format!("{}.skeleton", jar.layer))).unwrap();
    jar.server.start_again();
    let count = |name: &str| fs::read_dir(jar.folder(name)).unwrap().count();
    assert_eq!(["tmp", "damaged", "layers", "skeletons"].map(count), [0, 0, 2, 2]);
    jar.assert_whole();
    jar.create("one");
    jar.server.wait_for_log("one", "it is upper");
}
