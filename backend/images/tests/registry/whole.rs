//! Images that are as they should be.

use belljar_images::registry::{Kind, Wanted};
use belljar_model::image::Platform;
use belljar_model::pull::{PullLayerState, PullState};
use belljar_testbed::fake::{Content, Fake, Layer, digest, document};
use serde_json::json;

use crate::bed::{file, tar};
use crate::place::{GZIP, PLAIN, Place, ZSTD, chain, gzip, honest, layer, noise};

#[test]
fn an_image_of_several_layers_in_every_compression_arrives_whole() {
    let archive = tar(&[file("plain", "uncompressed")]);
    let zipped = tar(&[file("zstd", "compressed")]);
    let layers = [
        layer("a", "lowest"),
        Layer::new(&archive, archive.clone(), PLAIN),
        Layer::new(&zipped, zstd::encode_all(zipped.as_slice(), 1).unwrap(), ZSTD),
        layer("b", noise(700_000)),
    ];
    let fake = honest(Content::of("1", &layers));
    let place = Place::new();
    let pulled = place.pull(&format!("{}/some/image:1", fake.host()));
    assert_eq!(place.content(&layers[0].diff_id, "a"), b"lowest");
    assert_eq!(place.content(&layers[1].diff_id, "plain"), b"uncompressed");
    assert_eq!(place.content(&layers[2].diff_id, "zstd"), b"compressed");
    assert_eq!(place.content(&layers[3].diff_id, "b"), noise(700_000));
    let told: Vec<(&str, Option<&str>)> =
        pulled.contents.layers.iter().map(|layer| (layer.diff_id.as_str(), layer.digest.as_deref())).collect();
    let digests: Vec<String> = layers.iter().map(|layer| digest(&layer.blob)).collect();
    let expected: Vec<(&str, Option<&str>)> =
        layers.iter().zip(&digests).map(|(layer, digest)| (layer.diff_id.as_str(), Some(digest.as_str()))).collect();
    assert_eq!(told, expected);
    assert_eq!(pulled.contents.layers[3].size_bytes, 700_000);
    assert_eq!(pulled.contents.layers[2].command.as_deref(), Some("step 2"));
    assert_eq!(pulled.contents.config.command, ["/bin/sh"]);
    assert_eq!(digest(&pulled.manifest), pulled.manifest_digest.to_string());
    assert_eq!(pulled.pins.len(), 4);
    let pictures = place.shown.lock().unwrap();
    let last = pictures.last().unwrap();
    assert!(last.layers.iter().all(|layer| layer.state == PullLayerState::Done && layer.received_bytes == layer.total_bytes), "{last:?}");
    assert_eq!(last.state, PullState::Fetching);
}

#[test]
fn layers_that_are_here_are_not_fetched_again_and_one_that_an_image_has_twice_only_once() {
    let (first, second) = (layer("a", "shared"), layer("b", "only in the second"));
    let mut content = Content::of("one", std::slice::from_ref(&first));
    content.image("two", &[first.clone(), second.clone(), second.clone()]);
    let fake = honest(content);
    let place = Place::new();
    let _first = place.pull(&format!("{}/a/b:one", fake.host()));
    let pulled = place.pull(&format!("{}/a/b:two", fake.host()));
    assert_eq!(pulled.contents.layers.len(), 3);
    assert_eq!(fake.count("GET", &format!("blobs/{}", digest(&first.blob))), 1);
    assert_eq!(fake.count("GET", &format!("blobs/{}", digest(&second.blob))), 1);
    let shown = place.shown.lock().unwrap().last().unwrap().layers.iter().map(|layer| layer.state).collect::<Vec<_>>();
    assert_eq!(shown[0], PullLayerState::Present);
    let mut others = [shown[1], shown[2]];
    others.sort_by_key(|state| state.as_str());
    assert_eq!(others, [PullLayerState::Done, PullLayerState::Present]);
}

#[test]
fn two_images_that_share_a_layer_and_are_pulled_at_once_fetch_it_once() {
    let (shared, own) = (layer("a", noise(300_000)), layer("b", "own"));
    let mut content = Content::of("one", std::slice::from_ref(&shared));
    content.image("two", &[shared.clone(), own]);
    let fake = honest(content);
    let place = Place::new();
    let (one, two) = (place.wanted(&format!("{}/a:one", fake.host())), place.wanted(&format!("{}/a:two", fake.host())));
    let progress = tokio::sync::watch::Sender::default();
    let (one, two) =
        place.run(async { futures_util::future::join(place.client.pull(&one, &progress), place.client.pull(&two, &progress)).await });
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    assert_eq!(fake.count("GET", &format!("blobs/{}", digest(&shared.blob))), 1);
}

#[test]
fn no_more_layers_than_are_allowed_come_at_once() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let layers: Vec<Layer> = (0..8).map(|index| layer(&format!("f{index}"), [index; 100])).collect();
    let content = Content::of("1", &layers);
    let blobs: Vec<String> = layers.iter().map(|layer| digest(&layer.blob)).collect();
    let fake = Fake::start(move |request| {
        if blobs.iter().any(|blob| request.path.ends_with(blob.as_str())) {
            MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(30));
            NOW.fetch_sub(1, Ordering::SeqCst);
        }
        content.reply(request)
    });
    let place = Place::new();
    let _pulled = place.pull(&format!("{}/a:1", fake.host()));
    assert_eq!(MOST.load(Ordering::SeqCst), 3);
}

#[test]
fn the_image_for_this_machine_is_found_in_an_index_and_by_the_index_digest() {
    let own = layer("own", "for this machine");
    let mut content = Content::default();
    let manifest = content.image("own", std::slice::from_ref(&own));
    let bytes = document(&manifest);
    let platform = belljar_images::config::host_platform();
    let entry = |architecture: &str, digest: &str, size: usize| {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
               "platform": {"os": "linux", "architecture": architecture}})
    };
    let nothing = digest(b"of another machine");
    let index = json!({"schemaVersion": 2, "manifests": [
        entry("s390x", &nothing, 18), entry(&platform.architecture, &digest(&bytes), bytes.len()),
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": nothing, "size": 18,
         "platform": {"os": "unknown", "architecture": "unknown"}, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
    ]});
    let described = content.manifest("latest", &index);
    let outer =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json", "manifests": [described]});
    content.manifest("nested", &outer);
    let fake = honest(content);
    let place = Place::new();
    let pulled = place.pull(&format!("{}/a", fake.host()));
    assert_eq!(pulled.manifest_digest.to_string(), digest(&document(&index)));
    assert_eq!(pulled.manifest, bytes);
    let by_digest = place.pull(&format!("{}/a@{}", fake.host(), digest(&document(&index))));
    assert_eq!(by_digest.manifest_digest, pulled.manifest_digest);
    assert_eq!(place.pull(&format!("{}/a:nested", fake.host())).manifest, bytes);
    let other = Platform { os: "linux".into(), architecture: "riscv64".into(), variant: None };
    let refused = place.try_pull_for(&Wanted { platform: other.clone(), ..place.wanted(&format!("{}/a", fake.host())) });
    let said = chain(&refused.unwrap_err());
    assert!(said.contains("linux/riscv64") && said.contains("linux/s390x"), "{said}");
    let alone = place.try_pull_for(&Wanted { platform: other, ..place.wanted(&format!("{}/a:own", fake.host())) }).unwrap_err();
    assert_eq!(alone.kind(), Kind::NotFound);
    assert!(chain(&alone).contains("linux/riscv64"), "{}", chain(&alone));
}

#[test]
fn a_newer_image_is_noticed_by_a_head_alone() {
    let mut content = Content::of("1", &[layer("a", "b")]);
    let manifest = content.image("1", &[layer("a", "c")]);
    let fake = honest(content);
    let place = Place::new();
    let name = format!("{}/a:1", fake.host());
    assert_eq!(place.resolve(&name).unwrap().to_string(), digest(&document(&manifest)));
    assert!(fake.requests().iter().all(|request| request.method == "HEAD"), "{:?}", fake.requests());
    assert_eq!(place.resolve(&format!("{}/a:2", fake.host())).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn an_image_without_layers_is_an_image() {
    let fake = honest(Content::of("1", &[]));
    let pulled = Place::new().pull(&format!("{}/a:1", fake.host()));
    assert!(pulled.contents.layers.is_empty());
}

#[test]
fn a_gzip_layer_of_several_members_is_one_archive() {
    let archive = tar(&[file("a", noise(5000)), file("b", "end")]);
    let (head, tail) = archive.split_at(3000);
    let layer = Layer::new(&archive, [gzip(head), gzip(tail)].concat(), GZIP);
    let fake = honest(Content::of("1", std::slice::from_ref(&layer)));
    let place = Place::new();
    let _pulled = place.pull(&format!("{}/a:1", fake.host()));
    assert_eq!(place.content(&layer.diff_id, "b"), b"end");
}

#[test]
fn a_pull_that_is_dropped_leaves_nothing() {
    let big = layer("a", noise(400_000));
    let blob = digest(&big.blob);
    let content = Content::of("1", &[layer("small", "done first"), big]);
    let fake = Fake::start(move |request| {
        let reply = content.reply(request);
        if request.path.ends_with(&blob) { reply.stall_after(200_000) } else { reply }
    });
    let place = Place::patient(belljar_images::registry::Settings::default());
    let wanted = place.wanted(&format!("{}/a:1", fake.host()));
    let progress = tokio::sync::watch::Sender::new(belljar_images::registry::Snapshot::default());
    let mut pictures = progress.subscribe();
    place.run(async {
        let arriving = pictures.wait_for(|picture| picture.layers.iter().any(|layer| layer.state == PullLayerState::Done));
        let pull = place.client.pull(&wanted, &progress);
        futures_util::future::select(Box::pin(pull), Box::pin(arriving)).await;
    });
    belljar_testbed::wait_until("nothing is left", || place.left().is_empty().then_some(()));
}
