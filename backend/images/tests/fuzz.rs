//! Whatever is changed in an archive or a configuration: it is answered, nothing outside is touched, nothing is left of a failure, and
//! what is taken holds what is promised of it. Mutations of what is right, for a minute each, from a seed that is told where one fails. Manifests and references are searched in
//! `tests/registry`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end, also in its helpers")]

mod bed;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use bed::{Bed, Entry, file, folder, hard_link, soft_link, tar};
use belljar_images::config::{Configuration, layer_info};
use belljar_images::{Brought, Digest, ImportLimits, Imported, StagedLayer, ToVerify};
use serde_json::json;

/// How long each of them goes on, unless `BELLJAR_FUZZ_SECONDS` says otherwise.
const FUZZ_TIME: Duration = Duration::from_secs(60);
/// Small, so that a random size does not fill the disk of whoever runs this.
const LIMITS: ImportLimits = ImportLimits { entries_max: 1000, archive_bytes_max: 1 << 20, ratio_max: 200, ratio_free_bytes: 1 << 18 };

/// Xorshift: the same seed is the same run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// Runs `one` with fresh dice until the time is over; on a panic the seed is on standard error.
fn for_a_minute(name: &str, mut one: impl FnMut(&mut Dice)) {
    let time = std::env::var("BELLJAR_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).map_or(FUZZ_TIME, Duration::from_secs);
    let first = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let (began, mut runs) = (Instant::now(), 0_u64);
    while began.elapsed() < time || runs < 100 {
        let seed = (first + runs).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let told = Seed(name, seed);
        one(&mut Dice(seed));
        drop(told);
        runs += 1;
    }
    println!("{name}: {runs} runs");
}

/// Says the seed where a run ends by a panic.
struct Seed<'a>(&'a str, u64);

impl Drop for Seed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: the seed was {}", self.0, self.1);
        }
    }
}

const INTERESTING: [&[u8]; 16] = [
    b"..",
    b"/",
    b".wh.",
    b".wh..wh..opq",
    b"\0",
    b"\xff\xff\xff\xff",
    b"7777777",
    b"00000000000",
    b"\x80\0\0\0",
    b"-1",
    b"18446744073709551615",
    b"path=",
    b"GNU.sparse.map=",
    b"x",
    b"L",
    b"1",
];

/// A few changes of any kind.
fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    const BLOCK: usize = 512;
    for _ in 0..1 + dice.roll(6) {
        if bytes.is_empty() {
            return;
        }
        let (at, blocks) = (dice.roll(bytes.len()), bytes.len() / BLOCK);
        let block = dice.roll(blocks) * BLOCK;
        match dice.roll(9) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = dice.roll(256) as u8,
            2 => {
                let word = INTERESTING[dice.roll(INTERESTING.len())];
                let end = bytes.len().min(at + word.len());
                bytes[at..end].copy_from_slice(&word[..end - at]);
            }
            3 => bytes.truncate(at),
            4 if blocks > 1 => {
                bytes.drain(block..block + BLOCK);
            }
            5 if blocks > 1 => {
                let copied = bytes[block..block + BLOCK].to_vec();
                let to = dice.roll(blocks) * BLOCK;
                bytes.splice(to..to, copied);
            }
            6 if blocks > 1 => {
                let copied = bytes[block..block + BLOCK].to_vec();
                let to = dice.roll(blocks) * BLOCK;
                bytes[to..to + BLOCK].copy_from_slice(&copied);
            }
            // The kind of an entry, or a byte of its name.
            7 if blocks > 0 => bytes[block + 156] = b"0123456LKxgS"[dice.roll(12)],
            _ if blocks > 0 => bytes[block + dice.roll(20)] = b"./ablx.w"[dice.roll(8)],
            _ => {}
        }
    }
}

/// Makes every header's checksum right again, so that a change reaches the code behind it.
fn with_checksums(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

fn layers() -> Vec<Vec<u8>> {
    vec![
        tar(&[
            folder("./"),
            folder("d").mode(0o1777),
            file("d/a", "content"),
            soft_link("d/link", "../../../outside"),
            hard_link("hard", "d/a"),
            hard_link("hl", "d/link"),
            Entry::new(b'6', "pipe", ""),
            Entry::new(b'3', "dev/null", ""),
            file("d/.wh.x", ""),
            file("x/.wh..wh..opq", ""),
            file("x/y", "z").pax(&[("path", b"x/renamed"), ("mtime", b"1.5"), ("SCHILY.xattr.user.k", b"v")]),
            file("x", "z").after(Entry::new(b'L', "././@LongLink", format!("{}end\0", "long/".repeat(30)))),
        ]),
        tar(&[
            folder("a"),
            soft_link("b", "a"),
            file("b/c", "behind"),
            soft_link("l", "/a/b"),
            file("l/x", "1"),
            file(".wh.a", ""),
            file(".wh.w", ""),
            file("w/in", "2"),
            folder("w"),
            file("a", "over"),
        ]),
        tar(&[
            file("s", "xyz").pax(&[("GNU.sparse.size", b"9000"), ("GNU.sparse.map", b"5,1,4096,2")]),
            Entry::new(b'S', "old", "x").raw(386, b"00000000004\x0000000000001\0").raw(483, b"00000000011\0"),
            file("t", format!("{:\0<512}{}", "1\n3\n2\n", "ab")).pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"new"),
                ("GNU.sparse.realsize", b"7"),
            ]),
        ]),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A mutated archive: mostly of blocks that are right by their checksums, sometimes compressed before or after.
fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.roll(seeds.len())].clone();
    match dice.roll(10) {
        0 => {
            bytes = gzip(&bytes);
            mutate(&mut bytes, dice);
        }
        1 => {
            bytes = zstd::encode_all(bytes.as_slice(), 1).unwrap();
            mutate(&mut bytes, dice);
        }
        2 => mutate(&mut bytes, dice),
        _ => {
            mutate(&mut bytes, dice);
            with_checksums(&mut bytes);
        }
    }
    bytes
}

#[test]
fn layers_are_answered_whatever_is_changed_in_them_for_a_minute() {
    let (bed, seeds) = (Bed::in_memory(), layers());
    for seed in &seeds {
        assert!(bed.images.stage_layer(seed.as_slice(), &LIMITS).is_ok(), "it is right before");
    }
    for_a_minute("layers", |dice| {
        let archive = mutated(&seeds, dice);
        let Ok(placed) = bed.images.stage_layer(archive.as_slice(), &LIMITS).and_then(StagedLayer::put_in_place) else {
            return bed.check_outside();
        };
        let diff_id = placed.diff_id;
        if placed.facts.is_exact {
            let mut again = Vec::new();
            bed.images.layer_archive(&diff_id).unwrap().read_to_end(&mut again).unwrap();
            assert_eq!(Digest::of(&again), diff_id);
        }
        let found = bed.images.verify(&ToVerify { manifest: None, config: None, layers: &[diff_id] });
        assert_eq!(found, [], "a layer that was just unpacked is what it is");
        drop(placed);
        bed.images.remove_layer(&diff_id).unwrap();
        bed.check_outside();
        assert_eq!(bed.left(), Vec::<String>::new());
    });
}

/// An OCI layout and what `docker save` wrote, of one layer.
fn images() -> Vec<Vec<u8>> {
    let layer = tar(&[file("x", "y")]);
    let config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]}});
    let config = config.to_string();
    let descriptor = |blob: &[u8], kind: &str| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": Digest::of(blob).to_string(), "size": blob.len()});
    let manifest = json!({"schemaVersion": 2, "config": descriptor(config.as_bytes(), "config.v1+json"), "layers": [descriptor(&layer, "layer.v1.tar")]});
    let manifest = manifest.to_string();
    let index = json!({"schemaVersion": 2, "manifests": [descriptor(manifest.as_bytes(), "manifest.v1+json")]});
    let blob = |bytes: &[u8]| file(format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes);
    let layout = [
        file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}"),
        file("index.json", index.to_string()),
        blob(&layer),
        blob(config.as_bytes()),
        blob(manifest.as_bytes()),
    ];
    let list = json!([{"Config": "c.json", "RepoTags": ["a:b"], "Layers": ["l/layer.tar"]}]);
    let saved = [file("manifest.json", list.to_string()), file("c.json", &config), file("k/layer.tar", &layer), soft_link("l", "k")];
    let linked = [file("manifest.json", list.to_string()), file("c.json", &config), file("k", &layer), soft_link("l/layer.tar", "../k")];
    vec![tar(&layout), tar(&saved), tar(&linked)]
}

#[test]
fn archives_of_images_are_answered_whatever_is_changed_in_them_for_a_minute() {
    let (bed, seeds) = (Bed::in_memory(), images());
    for seed in &seeds {
        assert!(matches!(bed.images.bring(seed.as_slice(), &LIMITS, None), Ok(Brought::Oci(_))), "it is right before");
    }
    bed.images.sweep(&[]).unwrap();
    for_a_minute("archives of images", |dice| {
        let archive = mutated(&seeds, dice);
        match bed.images.bring(archive.as_slice(), &LIMITS, None) {
            Ok(Brought::Oci(image)) => {
                assert_eq!(image.digest, Digest::of(&image.config));
                assert!(image.pins.iter().all(|pin| bed.images.has_layer(pin.digest())));
            }
            Ok(Brought::Rootfs(Imported { digest, .. }, _pin)) => assert!(bed.images.has_layer(&digest)),
            Err(_) => {}
        }
        bed.images.sweep(&[]).unwrap();
        bed.check_outside();
        assert_eq!(bed.left(), Vec::<String>::new());
    });
}

/// A few changes of a text, mostly of its parts.
fn mutate_text(text: &str, dice: &mut Dice) -> Vec<u8> {
    const PARTS: [&str; 18] = [
        "null",
        "[]",
        "{}",
        "\"\"",
        "-1",
        "1e999",
        "18446744073709551616",
        "\"\\u0000\"",
        "true",
        ",",
        ":",
        "[",
        "}",
        "\"/../x\"",
        "\"sha256:\"",
        "\"NONE\"",
        "{\"a\":{\"a\":{\"a\":1}}}",
        "\u{202e}",
    ];
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..1 + dice.roll(4) {
        let at = dice.roll(bytes.len());
        match dice.roll(4) {
            0 => {
                let part = PARTS[dice.roll(PARTS.len())];
                bytes.splice(at..at, part.bytes());
            }
            1 => {
                // In the place of a value: from a colon to the next comma or brace.
                let start = bytes[at..].iter().position(|byte| *byte == b':').map_or(at, |found| at + found + 1);
                let end =
                    bytes[start..].iter().position(|byte| matches!(byte, b',' | b'}' | b']')).map_or(bytes.len(), |found| start + found);
                bytes.splice(start..end, PARTS[dice.roll(PARTS.len())].bytes());
            }
            2 => {
                let end = (at + dice.roll(40)).min(bytes.len());
                let copied = bytes[at..end].to_vec();
                let to = dice.roll(bytes.len());
                bytes.splice(to..to, copied);
            }
            _ => mutate(&mut bytes, dice),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[test]
fn configurations_are_answered_whatever_is_changed_in_them_for_a_minute() {
    let digest = Digest::of(b"").to_string();
    let seed = json!({"architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05.678901234Z", "author": "x",
        "config": {"User": "a:b", "Env": ["A=1", "B"], "Entrypoint": ["/init"], "Cmd": ["x"], "WorkingDir": "/w", "Volumes": {"/d": {}},
        "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT", "Labels": {"k": "v"}, "Shell": ["/bin/ash", "-c"],
        "Healthcheck": {"Test": ["CMD-SHELL", "x"], "Interval": 5, "Timeout": 1, "StartPeriod": 2, "Retries": 2}},
        "rootfs": {"type": "layers", "diff_ids": [digest]}, "history": [{"created_by": "x", "empty_layer": true}, {"comment": "y"}]});
    let seed = seed.to_string();
    assert!(Configuration::parse(seed.as_bytes()).is_ok());
    for_a_minute("configurations", |dice| {
        let Ok(parsed) = Configuration::parse(&mutate_text(&seed, dice)) else { return };
        let layers = parsed.diff_ids.iter().map(|diff_id| layer_info(diff_id, None, (0, 0))).collect();
        let config = parsed.contents(layers).config;
        let (lists, maps) = ([&config.entrypoint, &config.command], [&config.env, &config.labels]);
        let texts = lists.into_iter().flatten().chain(maps.into_iter().flat_map(|map| map.iter().flat_map(|(key, value)| [key, value])));
        let texts = texts.chain(&config.volumes).chain(&config.user).chain(&config.workdir).chain(&config.stop_signal);
        assert!(texts.into_iter().all(|text| !text.contains('\0')), "{config:?}");
        assert!(config.volumes.iter().chain(&config.workdir).all(|path| path.starts_with('/')), "{config:?}");
        assert!(config.volumes.iter().all(|path| !path.split('/').any(|part| part == "..")), "{config:?}");
        assert!(config.health.is_none_or(|health| health.command.iter().any(String::is_empty) || health.check("health").is_ok()));
        let whole = serde_json::to_string(&config.env).unwrap();
        assert!(serde_json::from_str::<std::collections::BTreeMap<String, String>>(&whole).is_ok());
    });
}
