//! Layers that lie about themselves, never end, or explode.

use belljar_images::registry::Kind;
use belljar_testbed::fake::{Content, Fake, Layer, Reply, Request, digest};
use serde_json::json;

use crate::bed::{Entry, file, tar};
use crate::place::{GZIP, PLAIN, Place, chain, gzip, honest, layer, noise};

/// A registry with one image of two layers, the upper of which is answered by `lie`.
fn lying(upper: &Layer, lie: impl Fn(Reply, &Request) -> Reply + Send + Sync + 'static) -> Fake {
    let content = Content::of("1", &[layer("a", "honest"), upper.clone()]);
    let blob = digest(&upper.blob);
    Fake::start(move |request| {
        let reply = content.reply(request);
        if request.path.ends_with(&blob) { lie(reply, request) } else { reply }
    })
}

#[track_caller]
fn refuses(fake: &Fake, words: &str) {
    Place::new().refuses(&format!("{}/a/b:1", fake.host()), Kind::Invalid, words);
}

#[test]
fn a_layer_of_another_content_is_refused_although_its_archive_is_good() {
    let (said, other) = (layer("a", noise(2000)), layer("a", noise(2000).iter().rev().copied().collect::<Vec<u8>>()));
    assert_eq!(said.blob.len(), other.blob.len(), "only the content differs");
    let fake = lying(&said, move |reply, _| reply.with_body(other.blob.clone()));
    refuses(&fake, "should have the digest");
}

#[test]
fn a_layer_with_one_bit_changed_is_refused() {
    let upper = layer("a", noise(300_000));
    for at in [20, upper.blob.len() / 2, upper.blob.len() - 5] {
        let fake = lying(&upper, move |reply, _| {
            let mut body = reply.body().to_vec();
            body[at] ^= 1;
            reply.with_body(body)
        });
        refuses(&fake, "layer");
    }
}

#[test]
fn a_layer_whose_archive_is_not_the_one_that_the_configuration_means_is_refused() {
    let mut upper = layer("a", "b");
    upper.diff_id = digest(b"another archive");
    let fake = honest(Content::of("1", &[layer("x", "below"), upper]));
    refuses(&fake, "without its compression");
}

#[test]
fn a_layer_that_is_longer_than_said_is_refused() {
    let upper = layer("a", noise(100_000));
    for chunked in [true, false] {
        let fake = lying(&upper, move |reply, _| {
            let reply = reply.clone().with_body([reply.body(), &b"more"[..]].concat());
            if chunked { reply.chunked() } else { reply.unsaid() }
        });
        refuses(&fake, "has more");
    }
    let fake = lying(&upper, |reply, _| reply.clone().with_body([reply.body(), &b"more"[..]].concat()));
    refuses(&fake, "bytes and has");
}

#[test]
fn a_layer_that_is_shorter_than_said_is_refused() {
    let upper = layer("a", noise(100_000));
    let fake = lying(&upper, |reply, _| reply.clone().with_body(&reply.body()[..50_000]));
    refuses(&fake, "has 50000");
    let fake = lying(&upper, |reply, _| reply.clone().with_body(&reply.body()[..50_000]).chunked());
    refuses(&fake, "only 50000");
}

#[test]
fn a_layer_that_never_ends_is_ended() {
    let upper = layer("a", noise(100_000));
    for chunked in [true, false] {
        let fake = lying(&upper, move |reply, _| {
            let reply = reply.endless();
            if chunked { reply.chunked() } else { reply.unsaid() }
        });
        refuses(&fake, "has more");
    }
}

#[test]
fn a_size_that_a_manifest_and_a_server_agree_on_and_that_is_a_lie_is_refused() {
    let upper = layer("a", noise(10_000));
    let mut content = Content::default();
    let mut manifest = content.image("1", std::slice::from_ref(&upper));
    manifest["layers"][0]["size"] = json!(upper.blob.len() - 100);
    content.manifest("1", &manifest);
    let fake = honest(content);
    refuses(&fake, "should have");
}

#[test]
fn a_layer_that_explodes_is_refused_and_its_space_given_back() {
    let zeros = Entry::new(b'0', "zeros", vec![0; 200 << 20]);
    let archive = tar(&[zeros]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut archive.as_slice(), &mut encoder).unwrap();
    let bomb = Layer::new(&archive, encoder.finish().unwrap(), GZIP);
    drop(archive);
    let fake = honest(Content::of("1", &[layer("a", "honest"), bomb]));
    refuses(&fake, "for each compressed byte");
}

#[test]
fn what_is_no_archive_is_refused() {
    for blob in [&b"nothing like an archive"[..], b"", b"PK\x03\x04", &gzip(b"still no archive"), &[0x1f, 0x8b, 8, 0]] {
        let bad = Layer::new(blob, blob, GZIP);
        let fake = honest(Content::of("1", &[layer("a", "honest"), bad]));
        refuses(&fake, "layer");
    }
}

#[test]
fn an_entry_that_would_leave_its_layer_is_refused() {
    let archive = tar(&[file("../../outside", "x")]);
    let bad = Layer::new(&archive, archive.clone(), PLAIN);
    let fake = honest(Content::of("1", &[layer("a", "honest"), bad]));
    refuses(&fake, "`..`");
}

#[test]
fn bytes_after_the_archive_count_for_its_digest() {
    let archive = tar(&[file("a", "b")]);
    let blob = [gzip(&archive), b"trailing bytes that nobody unpacks".to_vec()].concat();
    let said = Layer::new(&archive, blob.clone(), GZIP);
    let fake = lying(&said, move |reply, _| {
        let mut other = blob.clone();
        let last = other.len() - 1;
        other[last] ^= 1;
        reply.with_body(other)
    });
    refuses(&fake, "layer");
}

#[test]
fn a_disk_that_takes_nothing_is_this_hosts_fault() {
    let fake = honest(Content::of("1", &[layer("a", noise(300_000)), layer("b", "c")]));
    let place = Place::new();
    let tmp = place.path("images/tmp");
    std::fs::remove_dir(&tmp).unwrap();
    std::fs::write(&tmp, "in the way").unwrap();
    let wanted = place.wanted(&format!("{}/a:1", fake.host()));
    let progress = tokio::sync::watch::Sender::default();
    let error = place.run(place.client.pull(&wanted, &progress)).unwrap_err();
    assert_eq!(error.kind(), Kind::Local);
    assert!(chain(&error).contains("could not keep the layer sha256:"), "{}", chain(&error));
}
