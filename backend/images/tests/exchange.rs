//! Images out and in again: exports, OCI layouts, what `docker save` wrote, and what a hostile one of them may try. Every case has a canary
//! outside that must not change, and nothing may be left of what failed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end, also in its helpers")]

mod bed;

use std::io::Write;
use std::process::{Command, Stdio};

use bed::{Bed, Entry, file, folder, hard_link, soft_link, tar};
use belljar_images::{BringError, Brought, BroughtImage, Digest, Exported, ImportLimits, StagedLayer, ToExport};
use belljar_model::Reference;
use serde_json::{Value, json};

fn reference(name: &str) -> Reference {
    name.parse().unwrap()
}

/// Two layers as archives, of which the first comes twice in the image.
fn layers() -> [Vec<u8>; 2] {
    let first =
        tar(&[folder("etc"), file("etc/passwd", "root:x:0:0::/:/bin/sh"), hard_link("etc/passwd-", "etc/passwd"), soft_link("l", "etc")]);
    [first, tar(&[folder("etc"), file("etc/added", "x".repeat(5000)).mode(0o4755)])]
}

fn configuration(layers: &[&[u8]]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let history: Vec<Value> = (0..layers.len()).map(|number| json!({"created_by": format!("step {number}")})).collect();
    json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "Env": ["A=b"]},
        "rootfs": {"type": "layers", "diff_ids": ids}, "history": history})
    .to_string()
    .into_bytes()
}

fn place(bed: &Bed, layer: &[u8]) -> belljar_images::PlacedLayer {
    bed.images.stage_layer(layer, &ImportLimits::default()).and_then(StagedLayer::put_in_place).unwrap()
}

/// An image in a folder of images, exported.
fn exported(names: &[&str]) -> (Vec<u8>, Exported, Vec<u8>) {
    let bed = Bed::new();
    let [first, second] = layers();
    let _held = [place(&bed, &first), place(&bed, &second)];
    let config = configuration(&[&first, &second, &first]);
    let names: Vec<Reference> = names.iter().map(|name| reference(name)).collect();
    let image = ToExport { config: &config, names: &names };
    let mut archive = Vec::new();
    let exported = bed.images.export(&image, &mut archive).unwrap();
    let mut again = Vec::new();
    assert_eq!(bed.images.export(&image, &mut again).unwrap(), exported);
    assert!(archive == again, "the same image is the same bytes");
    assert_eq!((exported.digest, exported.remade.len()), (Digest::of(&config), 0));
    (archive, exported, config)
}

fn bring(bed: &Bed, archive: &[u8], wanted: Option<&str>) -> Result<BroughtImage, BringError> {
    let wanted = wanted.map(reference);
    let before = bed.left();
    let brought = bed.images.bring(archive, &ImportLimits::default(), wanted.as_ref());
    bed.check_outside();
    match brought {
        Ok(Brought::Oci(image)) => Ok(*image),
        Ok(Brought::Rootfs(imported, _)) => panic!("it was taken for a root file system: {imported:?}"),
        Err(error) => {
            // Layers that were whole are nobody's, and the sweep's.
            bed.images.sweep(&[]).unwrap();
            assert_eq!(bed.left(), before);
            Err(error)
        }
    }
}

/// The error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |source| format!("{error}: {}", told(source)))
}

#[track_caller]
fn refuses(archive: &[Entry], words: &str) {
    refuses_bytes(&tar(archive), words);
}

#[track_caller]
fn refuses_bytes(archive: &[u8], words: &str) {
    let error = bring(&Bed::new(), archive, None).expect_err(words);
    assert!(told(&error).contains(words), "{} does not say {words:?}", told(&error));
    assert!(error.is_invalid(), "{error:?} blames somebody else");
}

#[test]
fn what_was_exported_is_the_same_image_when_it_is_brought_in_elsewhere() {
    let (archive, exported, config) = exported(&["registry.example/a/b:1", "c"]);
    let zstd = zstd::encode_all(archive.as_slice(), 1).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive).unwrap();
    for archive in [archive, gzip.finish().unwrap(), zstd] {
        let bed = Bed::new();
        let image = bring(&bed, &archive, None).unwrap();
        assert_eq!((image.digest, &image.config), (exported.digest, &config));
        assert_eq!(Digest::of(&image.manifest), exported.manifest_digest);
        assert_eq!(image.names.iter().map(Reference::familiar).collect::<Vec<_>>(), ["registry.example/a/b:1", "c:latest"]);
        let commands: Vec<_> = image.contents.layers.iter().map(|layer| layer.command.as_deref().unwrap()).collect();
        assert_eq!((commands, image.contents.layers[1].size_bytes), (vec!["step 0", "step 1", "step 2"], 5000));
        assert!(image.pins.iter().all(|pin| bed.images.has_layer(pin.digest())));
    }
}

#[test]
fn a_layer_of_which_a_files_content_is_gone_is_made_anew_and_that_is_said() {
    let bed = Bed::new();
    let layer = tar(&[folder("d"), file("d/a", "first"), file("d/a", "second"), soft_link("l", "d/a")]);
    let placed = place(&bed, &layer);
    let config = configuration(&[&layer]);
    let mut archive = Vec::new();
    let exported = bed.images.export(&ToExport { config: &config, names: &[] }, &mut archive).unwrap();
    assert_eq!((exported.remade, exported.digest == Digest::of(&config)), (vec![placed.diff_id], false));
    let other = Bed::new();
    let image = bring(&other, &archive, None).unwrap();
    assert_eq!((image.digest, image.names.len()), (exported.digest, 0));
    let folder = |bed: &Bed, digest: &Digest| bed::listed(&bed.path("images/layers").join(digest.hex()));
    assert_eq!(folder(&other, image.pins[0].digest()), folder(&bed, &placed.diff_id));
    assert_eq!(image.contents.layers[0].command.as_deref(), Some("step 0"));
}

#[test]
fn an_export_of_a_damaged_layer_fails_and_says_which() {
    let bed = Bed::new();
    let [first, _] = layers();
    let placed = place(&bed, &first);
    let config = configuration(&[&first]);
    let path = bed.path("images/layers").join(placed.diff_id.hex()).join("etc/passwd");
    std::fs::write(&path, "root:x:0:0::/:/bin/zz").unwrap();
    let export = || bed.images.export(&ToExport { config: &config, names: &[] }, std::io::sink()).unwrap_err().to_string();
    assert!(export().contains("damaged") && export().contains(&placed.diff_id.hex()), "{}", export());
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(bed.path("images/layers").join(placed.diff_id.hex()).join("etc/passwd-")).unwrap();
    assert!(export().contains("could not be read"), "{}", export());
    drop(placed);
    bed.images.remove_layer(&Digest::of(&first)).unwrap();
    assert!(export().contains("not on this disk"), "{}", export());
}

/// Entries of an OCI layout: blobs, and an index of the last of them.
struct Layout {
    blobs: Vec<Vec<u8>>,
    index: Value,
}

fn descriptor(blob: &[u8], media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(blob).to_string(), "size": blob.len()})
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

impl Layout {
    /// Of one image with one layer.
    fn new() -> Self {
        let layer = tar(&[file("x", "y")]);
        Self::of(&layer, &configuration(&[&layer]))
    }

    fn of(layer: &[u8], config: &[u8]) -> Self {
        let manifest = json!({"schemaVersion": 2, "config": descriptor(config, CONFIG), "layers": [descriptor(layer, LAYER)]});
        let manifest = manifest.to_string().into_bytes();
        let index = json!({"schemaVersion": 2, "manifests": [descriptor(&manifest, MANIFEST)]});
        Self { blobs: vec![layer.to_vec(), config.to_vec(), manifest], index }
    }

    fn entries(&self) -> Vec<Entry> {
        let blob = |blob: &Vec<u8>| file(format!("blobs/sha256/{}", Digest::of(blob).hex()), blob);
        let ends = [file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}"), file("index.json", self.index.to_string())];
        self.blobs.iter().map(blob).chain(ends).collect()
    }

    /// With the bytes of one blob exchanged, under its old name.
    fn lying(&self, number: usize, bytes: &[u8]) -> Vec<Entry> {
        let mut entries = self.entries();
        entries[number] = file(format!("blobs/sha256/{}", Digest::of(&self.blobs[number]).hex()), bytes);
        entries
    }
}

#[test]
fn every_digest_and_every_size_of_a_layout_is_checked() {
    assert!(bring(&Bed::new(), &tar(&Layout::new().entries()), None).is_ok(), "it is right before");
    let layout = Layout::new();
    for (number, what) in [(0, "digest"), (1, "digest"), (2, "digest")] {
        let mut bytes = layout.blobs[number].clone();
        let at = bytes.iter().rposition(|byte| *byte == b'y').or_else(|| bytes.iter().position(|byte| *byte == b's')).unwrap();
        bytes[at] += 1;
        refuses(&layout.lying(number, &bytes), what);
        bytes.push(b' ');
        refuses(&layout.lying(number, &bytes), "size in bytes");
        let mut entries = layout.entries();
        entries.remove(number);
        refuses(&entries, "the archive has no blobs/sha256/");
    }
    let mut wrong = Layout::new();
    wrong.index["manifests"][0]["size"] = json!(7);
    refuses(&wrong.entries(), "size in bytes");
    // The blob is what is said of it, and not what the configuration says of the layer.
    let other = Layout::of(&tar(&[file("x", "other")]), &configuration(&[&tar(&[file("x", "y")])]));
    refuses(&other.entries(), "digest without compression");
    let two = Layout::of(&tar(&[file("x", "y")]), &configuration(&[&tar(&[file("x", "y")]), b"second"]));
    refuses(&two.entries(), "2 layers, and the manifest of 1");
}

#[test]
fn a_layer_in_a_layout_is_as_hostile_as_any() {
    for (entry, words) in [
        (file("../outside/canary", "x"), "`..`"),
        (hard_link("x", "/etc/passwd"), "not a file of this archive"),
        (file(".wh.", ""), "nothing that has a name"),
        (file("x", "").owner(70_000, 0), "user id"),
    ] {
        let layer = tar(&[entry]);
        refuses(&Layout::of(&layer, &configuration(&[&layer])).entries(), words);
    }
    let cut = &layers()[0][..600];
    refuses(&Layout::of(cut, &configuration(&[cut])).entries(), "damaged");
}

#[test]
fn blobs_that_are_links_pipes_or_folders_lead_nowhere() {
    let layout = Layout::new();
    let name = format!("blobs/sha256/{}", Digest::of(&layout.blobs[2]).hex());
    let mut entries = layout.entries();
    for instead in [
        soft_link(&name, "/etc/passwd"),
        soft_link(&name, "../../../../outside/canary"),
        soft_link(&name, format!("../../{name}")),
        Entry::new(b'6', &name, ""),
        Entry::new(b'3', &name, ""),
        folder(&name),
    ] {
        entries[2] = instead;
        refuses(&entries, "the archive has no");
    }
}

#[test]
fn an_index_that_goes_on_and_on_ends_at_the_limit() {
    let mut layout = Layout::new();
    for depth in 0..4 {
        let nested = layout.index.to_string().into_bytes();
        layout.index = json!({"schemaVersion": 2, "manifests": [descriptor(&nested, INDEX)]});
        layout.blobs.push(nested);
        match bring(&Bed::new(), &tar(&layout.entries()), None) {
            Ok(_) => assert!(depth < 3, "{depth}"),
            Err(error) => assert!(depth == 3 && told(&error).contains("indexes in one another"), "{depth}: {}", told(&error)),
        }
    }
    // One that names itself by a digest that it cannot have.
    let mut layout = Layout::new();
    layout.index["manifests"][0]["digest"] = json!(Digest::of(b"index").to_string());
    layout.index["manifests"][0]["mediaType"] = json!(INDEX);
    let entry = file(format!("blobs/sha256/{}", Digest::of(b"index").hex()), layout.index.to_string());
    let mut entries = layout.entries();
    entries.push(entry);
    refuses(&entries, "size in bytes");
}

#[test]
fn documents_of_a_layout_that_are_none_are_refused() {
    let with = |name: &str, content: &str| {
        let mut entries = Layout::new().entries();
        entries.push(file(name, content));
        entries
    };
    refuses(&with("index.json", "{"), "cannot be read");
    refuses(&with("index.json", "[]"), "cannot be read");
    refuses(&with("index.json", &json!({"schemaVersion": 2, "manifests": []}).to_string()), "no image at all");
    refuses(&with("index.json", &String::from_utf8(Layout::new().blobs[2].clone()).unwrap()), "it is a manifest");
    refuses(&with("index.json", &" ".repeat(5 << 20)), "limit");
    let mut both = Layout::new();
    both.index["layers"] = json!([]);
    refuses(&both.entries(), "to one reader");
    let many = configuration(&vec![&b""[..]; 501]);
    refuses(&Layout::of(b"", &many).entries(), "500 layers");
    let layer = tar(&[file("x", "y")]);
    let windows = String::from_utf8(configuration(&[&layer])).unwrap().replace("linux", "windows");
    refuses(&Layout::of(&layer, windows.as_bytes()).entries(), "made for windows");
    let helm = Layout::new();
    let mut manifest: Value = serde_json::from_slice(&helm.blobs[2]).unwrap();
    manifest["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    let manifest = manifest.to_string().into_bytes();
    let index = json!({"schemaVersion": 2, "manifests": [descriptor(&manifest, MANIFEST)]});
    refuses(&Layout { blobs: vec![helm.blobs[0].clone(), helm.blobs[1].clone(), manifest], index }.entries(), "no image of a container");
}

#[test]
fn of_several_images_the_one_that_is_asked_for_is_taken() {
    let (one, other) = (Layout::new(), Layout::of(&tar(&[file("o", "1")]), &configuration(&[&tar(&[file("o", "1")])])));
    let named = |layout: &Layout, name: &str| {
        let mut descriptor = layout.index["manifests"][0].clone();
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        descriptor
    };
    let index = json!({"schemaVersion": 2, "manifests": [named(&one, "1.0"), named(&other, "registry.example/o:2")]});
    let archive = tar(&Layout { blobs: [one.blobs.clone(), other.blobs.clone()].concat(), index }.entries());
    refuses_bytes(&archive, "the images 1.0, registry.example/o:2: say which one");
    let taken = |name: &str| bring(&Bed::new(), &archive, Some(name));
    assert_eq!(taken("registry.example/o:2").unwrap().digest, Digest::of(&other.blobs[1]));
    assert_eq!(taken("anything:1.0").unwrap().digest, Digest::of(&one.blobs[1]));
    assert!(told(&taken("absent").unwrap_err()).contains("none of them is the one"));
}

/// What `docker save` wrote before it wrote layouts: a folder for each layer, a later one of the same bytes as a link.
fn saved(list: &Value, config: &[u8]) -> Vec<Entry> {
    let [first, second] = layers();
    let config_name = format!("{}.json", Digest::of(config).hex());
    vec![
        folder("aaa"),
        file("aaa/VERSION", "1.0"),
        file("aaa/layer.tar", first),
        file("bbb/layer.tar", second),
        soft_link("ccc/layer.tar", "../aaa/layer.tar"),
        file(config_name, config),
        file("manifest.json", list.to_string()),
        file("repositories", "{}"),
    ]
}

fn saved_list(config: &[u8]) -> Value {
    json!([{"Config": format!("{}.json", Digest::of(config).hex()), "RepoTags": ["web:1", "registry.example/web:2", "not a tag"],
        "Layers": ["aaa/layer.tar", "bbb/layer.tar", "ccc/layer.tar"]}])
}

#[test]
fn what_docker_saved_in_its_old_form_is_brought_in_with_its_names() {
    let [first, second] = layers();
    let config = configuration(&[&first, &second, &first]);
    let image = bring(&Bed::new(), &tar(&saved(&saved_list(&config), &config)), None).unwrap();
    assert_eq!(image.names.iter().map(Reference::familiar).collect::<Vec<_>>(), ["web:1", "registry.example/web:2"]);
    assert_eq!((image.digest, image.contents.layers.len()), (Digest::of(&config), 3));
    let manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    assert_eq!(manifest["layers"][1]["digest"], Digest::of(&second).to_string());
}

#[test]
fn paths_of_a_saved_archive_reach_nothing_but_its_own_files() {
    let [first, second] = layers();
    let config = configuration(&[&first, &second, &first]);
    let with = |pointer: &str, value: Value| {
        let mut list = saved_list(&config);
        *list.pointer_mut(pointer).unwrap() = value;
        list
    };
    for path in ["../../outside/canary", "/etc/passwd", "aaa", "", "aaa/../../../../etc/passwd", "absent", "a\0b", "/proc/self/environ"] {
        refuses(&saved(&with("/0/Layers/0", json!(path)), &config), "the archive has no");
        refuses(&saved(&with("/0/Config", json!(path)), &config), "the archive has no");
    }
    refuses(&saved(&with("/0/Layers/0", json!("aaa/VERSION")), &config), "could not be unpacked");
    refuses(&saved(&with("/0/Layers/0", json!("bbb/layer.tar")), &config), "digest without compression");
    refuses(&saved(&with("/0/Layers", json!(["aaa/layer.tar"])), &config), "3 layers, and the manifest of 1");
    refuses(&saved(&with("/0/Layers", json!(vec!["aaa/layer.tar"; 501])), &config), "500 layers");
    refuses(&saved(&with("/0/Layers", json!(7)), &config), "cannot be read");
    refuses(&saved(&json!({}), &config), "cannot be read");
    refuses(&saved(&json!([]), &config), "no image with a name");
    let mut renamed = saved(&saved_list(&config), &config);
    renamed[5] = file(format!("{}.json", Digest::of(&config).hex()), configuration(&[&first]));
    refuses(&renamed, "the digest");
    for target in ["/etc/passwd", "../../../../../../etc/passwd", "/outside/canary", "layer.tar"] {
        let mut linked = saved(&saved_list(&config), &config);
        linked[3] = soft_link("bbb/layer.tar", target);
        refuses(&linked, "the archive has no");
    }
}

#[test]
fn of_several_saved_images_the_one_that_is_asked_for_is_taken() {
    let [first, second] = layers();
    let config = configuration(&[&first, &second, &first]);
    let mut list = saved_list(&config);
    let other = json!({"Config": list[0]["Config"], "RepoTags": ["other:1"], "Layers": list[0]["Layers"]});
    list.as_array_mut().unwrap().push(other);
    let archive = tar(&saved(&list, &config));
    refuses_bytes(&archive, "say which one");
    assert_eq!(bring(&Bed::new(), &archive, Some("other:1")).unwrap().names[0].familiar(), "other:1");
    assert!(bring(&Bed::new(), &archive, Some("absent:1")).is_err());
}

#[test]
fn a_root_file_system_is_one_whatever_else_lies_at_its_root() {
    let bed = Bed::new();
    for entries in [
        vec![folder("etc"), file("manifest.json", "[]")],
        vec![file("index.json", "{}"), file("x", "y")],
        vec![folder("oci-layout"), file("index.json", "{}")],
        vec![soft_link("oci-layout", "index.json"), file("index.json", "{}")],
    ] {
        let brought = bed.images.bring(tar(&entries).as_slice(), &ImportLimits::default(), None).unwrap();
        assert!(matches!(brought, Brought::Rootfs(..)), "{brought:?}");
        bed.check_outside();
    }
}

#[test]
fn skopeo_reads_what_is_exported_and_what_it_writes_is_brought_in() {
    if Command::new("skopeo").arg("--version").stdout(Stdio::null()).status().is_err() {
        return println!("skipped: needs skopeo");
    }
    let (archive, exported, _) = exported(&["registry.example/a/b:1"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ours.tar"), archive).unwrap();
    let skopeo = |script: &str| {
        let script = format!("set -e; export TMPDIR=$PWD; policy=--insecure-policy; {script}");
        let output = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    };
    for (from, to, file) in [
        ("oci-archive:ours.tar:registry.example/a/b:1", "docker-archive:docker.tar:theirs:1", "docker.tar"),
        ("docker-archive:ours.tar:registry.example/a/b:1", "oci-archive:oci.tar:theirs:1", "oci.tar"),
        ("oci-archive:ours.tar", "oci:layout:theirs", "layout.tar"),
    ] {
        let pack = if file == "layout.tar" { "tar -C layout -cf layout.tar ." } else { ":" };
        skopeo(&format!("skopeo $policy copy --quiet {from} {to}; {pack}"));
        let image =
            bring(&Bed::new(), &std::fs::read(folder.path().join(file)).unwrap(), None).unwrap_or_else(|error| panic!("{from}: {error:?}"));
        // From Docker's words to OCI's it writes the configuration anew.
        let is_same = image.digest == exported.digest || from.starts_with("docker");
        let layers = image.contents.layers.iter().map(|layer| layer.diff_id.clone()).collect::<Vec<_>>();
        let [first, second] = self::layers().map(|layer| Digest::of(&layer).to_string());
        assert_eq!((is_same, layers), (true, vec![first.clone(), second, first]), "{from} {to}");
    }
}

/// Whether a tool is installed; where not, says that the test is skipped.
fn installed(tool: &str) -> bool {
    let is_there = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !is_there {
        println!("skipped: needs {tool}");
    }
    is_there
}

#[test]
fn umoci_unpacks_what_is_exported_as_it_lies_here() {
    if !installed("umoci") || !bed::root_or_skip() {
        return;
    }
    let (archive, ..) = exported(&["registry.example/a/b:1"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ours.tar"), archive).unwrap();
    let script = "mkdir layout && tar -xf ours.tar -C layout && umoci unpack --image layout:registry.example/a/b:1 bundle";
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rootfs = folder.path().join("bundle/rootfs");
    let found: Vec<String> = bed::listed(&rootfs).into_iter().map(|line| line.chars().take(20).collect()).collect();
    assert_eq!(found, ["etc/ 755", "etc/added 4755 xxxxx", "etc/passwd 644 root:", "etc/passwd- 644 root", "l -> etc"]);
}

#[test]
fn podman_loads_what_is_exported_under_its_name() {
    if !installed("podman") || !bed::root_or_skip() {
        return;
    }
    let (archive, exported, _) = exported(&["registry.example/a/b:1"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ours.tar"), archive).unwrap();
    let podman = |arguments: &[&str]| {
        let mut podman = Command::new("podman");
        podman.args(["--root", "root", "--runroot", "run", "--storage-driver", "vfs"]).args(arguments);
        let output = podman.current_dir(folder.path()).env("TMPDIR", folder.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    podman(&["load", "--input", "ours.tar"]);
    assert_eq!(podman(&["image", "inspect", "--format", "{{.Id}}", "registry.example/a/b:1"]).trim(), exported.digest.hex());
}
