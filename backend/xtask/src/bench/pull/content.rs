//! What is pulled: 9000 files of 204 MB, which gzip makes 95 MB of, the same on every machine; as one layer, and as four.
#![allow(clippy::expect_used, reason = "what cannot be written here ends the bench with a sentence")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use belljar_testbed::layout::Layout;
use belljar_testbed::made::{self, Failure};
use belljar_testbed::place::succeeded;
use belljar_testbed::registry::{Access, Registry};
use serde_json::json;

/// Files of all layers together, and the folders that they lie in.
const FILES: u64 = 9000;
const FOLDERS: u64 = 300;
/// Bytes of all files together.
const BYTES: u64 = 204_000_000;
/// Of a hundred words, so many are of a kind that no compression makes shorter.
const RANDOM_PERCENT: u64 = 17;
/// Different words of the others.
const WORDS: u64 = 4096;
/// What a change of makes everything anew.
const RECIPE: [&str; 2] = [include_str!("content.rs"), include_str!("../../../../testbed/src/layout.rs")];

/// One of the images.
pub(super) struct Image {
    /// Its name in the registry.
    pub(super) name: &'static str,
    /// What it is, for the table.
    pub(super) what: &'static str,
    layers: u64,
}

/// What is pulled, by its number of layers.
pub(super) const IMAGES: [Image; 2] =
    [Image { name: "pull/one:1", what: "one layer, 95 MB", layers: 1 }, Image { name: "pull/four:1", what: "the same in four", layers: 4 }];

/// Where it lies.
pub(super) struct Content {
    folder: PathBuf,
}

impl Content {
    /// Makes it where it is not there yet.
    pub(super) fn find() -> Result<Self, Box<dyn Error>> {
        match made::once("pull", &RECIPE, make) {
            Ok(folder) => Ok(Self { folder }),
            Err(Failure::Missing(what)) => Err(format!("needs {what}").into()),
            Err(Failure::Failed(why)) => Err(why.into()),
        }
    }

    /// The folder of a registry that holds the images.
    pub(super) fn registry(&self) -> PathBuf {
        self.folder.join("registry")
    }

    /// The one layer.
    pub(super) fn blob(&self) -> PathBuf {
        self.folder.join("one-0.tar.gz")
    }
}

fn make(folder: &Path) -> Result<(), Failure> {
    let registry = Registry::start(Access::Open).ok_or_else(|| Failure::Missing("docker-registry".to_owned()))?;
    let mut layout = Layout::begin(folder.join("layout"));
    for image in &IMAGES {
        let kind = image.name.split(['/', ':']).nth(1).unwrap_or_default();
        let layers = (0..image.layers).map(|number| {
            let name = format!("{kind}-{number}");
            archive(folder, &name, number * FILES / image.layers..(number + 1) * FILES / image.layers);
            let layer = layout.layer(folder, &name, ".gz");
            fs::remove_file(folder.join(format!("{name}.tar"))).expect("an archive can be removed");
            layer
        });
        let layers: Vec<_> = layers.collect();
        layout.image(image.name, &layers, &json!({"Cmd": ["/none"]}));
    }
    layout.end();
    for image in &IMAGES {
        let from = format!("oci:{}:{}", folder.join("layout").display(), image.name);
        let to = format!("docker://{}/{}", registry.address(), image.name);
        run("skopeo", &["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", &from, &to]);
    }
    run("cp", &["--archive", &registry.storage().to_string_lossy(), &folder.join("registry").to_string_lossy()]);
    run("rm", &["-r", &folder.join("layout").to_string_lossy()]);
    Ok(())
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    succeeded(program, &Command::new(program).args(arguments).output().expect("it runs"));
}

/// Writes `<name>.tar`, and `<name>.tar.gz` of it, with files of these numbers.
fn archive(folder: &Path, name: &str, numbers: std::ops::Range<u64>) {
    let (tree, tar) = (folder.join("tree"), folder.join(format!("{name}.tar")));
    let words = Words::new();
    for number in numbers {
        let path = tree.join(format!("usr/share/jar/{:03}/{number:05}", number % FOLDERS));
        fs::create_dir_all(path.parent().expect("it has one")).expect("a folder can be made");
        fs::write(path, words.file(number)).expect("a file can be written");
    }
    let (tree_text, tar_text) = (tree.to_string_lossy(), tar.to_string_lossy());
    let owner = ["--numeric-owner", "--owner=0", "--group=0", "--mode=u=rwX,go=rX", "--mtime=@1767225600", "--sort=name"];
    run("tar", &[&["--create", "--format=gnu", "--file", &tar_text, "--directory", &tree_text], &owner[..], &["."]].concat());
    run("gzip", &["-6", "--no-name", "--keep", &tar_text]);
    fs::remove_dir_all(tree).expect("a folder can be removed");
}

/// Numbers that look like chance, and are the same each time (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// What files are written of.
struct Words(Vec<Vec<u8>>);

impl Words {
    fn new() -> Self {
        let mut chance = Chance(1);
        let word = |chance: &mut Chance| (0..4 + chance.next() % 8).map(|_| b'a' + (chance.next() % 26) as u8).collect();
        Self((0..WORDS).map(|_| word(&mut chance)).collect())
    }

    /// The content of a file: most are small and some large, as in what programs are installed from.
    fn file(&self, number: u64) -> Vec<u8> {
        let mean = BYTES / FILES;
        // Of ten files one has half of the bytes.
        let size = if number.is_multiple_of(10) { mean * 5 } else { mean * 5 / 9 };
        let mut chance = Chance(number.wrapping_mul(0x1_0000_0001));
        let mut content = Vec::with_capacity(size as usize + 16);
        while (content.len() as u64) < size {
            if chance.next() % 100 < RANDOM_PERCENT {
                content.extend_from_slice(&chance.next().to_le_bytes());
            } else {
                // The product of two makes some words much more frequent than others.
                let (one, other) = (chance.next() % 64, chance.next() % 64);
                content.extend_from_slice(&self.0[(one * other) as usize]);
                content.push(b' ');
            }
        }
        content.truncate(size as usize);
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_the_same_each_time_and_as_large_as_they_should_be() {
        let words = Words::new();
        assert_eq!(words.file(7), Words::new().file(7));
        assert_ne!(words.file(7), words.file(8));
        let ten: usize = (0..10).map(|number| words.file(number).len()).sum();
        let expected = (BYTES / FILES * 10) as usize;
        assert!(ten.abs_diff(expected) < 100, "{ten} {expected}");
    }
}
