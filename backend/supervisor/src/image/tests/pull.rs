//! Pulls from a fake registry on loopback: one for all who ask, as long as anybody does.

use std::time::Duration;

use belljar_model::pull::PullState;
use belljar_model::{Draft, ImageName, PullPolicy};
use belljar_testbed::fake::{Content, Fake, Layer, Reply, digest};

use super::archive_named;
use crate::testing::{Bench, DEAF, config};
use crate::{ErrorKind, Login, StartNow};

const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

fn layer(folder: &str) -> Layer {
    let archive = archive_named(folder);
    Layer::new(&archive, archive.clone(), PLAIN)
}

fn honest(content: Content) -> Fake {
    Fake::start(move |request| content.reply(request))
}

/// A registry of one image, whose layer everybody waits for.
fn slow() -> Fake {
    let layer = layer("a");
    let (content, blob) = (Content::of("1", std::slice::from_ref(&layer)), digest(&layer.blob));
    Fake::start(move |request| {
        let reply = content.reply(request);
        if request.path.ends_with(&blob) { reply.stall_after(0) } else { reply }
    })
}

fn name(fake: &Fake, rest: &str) -> ImageName {
    format!("{}/{rest}", fake.host()).parse().expect("a name")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_under_its_name_and_a_container_begins_as_it_says() {
    let fake = honest(Content::of("1", &[layer("a"), layer("b")]));
    let bench = Bench::new().await;
    let asked = name(&fake, "some/web:1");
    let image = bench.supervisor.pull_image(&asked, None).expect("asked").finish().await.expect("pulled");
    assert_eq!((&image.name, image.contents.layers.len()), (&asked, 2));
    assert!(bench.supervisor.pulls().is_empty(), "it is over");
    let mut draft: Draft = config("web", DEAF).into();
    (draft.image, draft.config.image, draft.config.command) = (asked.to_string(), asked.clone(), Vec::new());
    let container = bench.supervisor.create(draft, StartNow::No).await.expect("created");
    assert_eq!((container.config.command, container.image_digest), (vec!["/bin/sh".to_owned()], Some(image.digest.clone())));
    let again = bench.supervisor.find_image(&format!("{}/some/web@{}", fake.host(), image.manifest_digest.expect("it has one")));
    assert_eq!(again.expect("by its manifest").image.digest, image.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_pulls_what_is_missing_where_that_is_asked_for_and_only_then() {
    let fake = honest(Content::of("1", &[layer("a")]));
    let bench = Bench::new().await;
    let asked = name(&fake, "web:1");
    let draft = |pull| {
        let draft: Draft = config("web", DEAF).into();
        Draft { image: asked.to_string(), config: belljar_model::Config { image: asked.clone(), ..draft.config.clone() }, pull, ..draft }
    };
    let refused = bench.supervisor.create(draft(PullPolicy::Never), StartNow::No).await.expect_err("it is not here");
    assert!(matches!(&refused, crate::Error::Invalid(invalid) if invalid.field == "image"), "{refused:?}");
    assert!(fake.requests().is_empty());
    bench.supervisor.create(draft(PullPolicy::Missing), StartNow::No).await.expect("pulled and created");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_what_is_being_pulled_watches_that_and_the_last_to_go_ends_it() {
    let fake = slow();
    let bench = Bench::new().await;
    let asked = name(&fake, "web:1");
    let mut first = bench.supervisor.pull_image(&asked, None).expect("asked");
    while first.now().layers.is_empty() {
        first.next().await;
    }
    let second = bench.supervisor.pull_image(&asked, None).expect("watched");
    assert_eq!((bench.supervisor.pulls().len(), fake.count("GET", "manifests/1")), (1, 1), "one pull for both");
    drop(first);
    assert_eq!(bench.supervisor.pulls().len(), 1, "somebody watches it");
    drop(second);
    let ended = async {
        while !bench.supervisor.pulls().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("nobody watches it");
    assert!(bench.supervisor.find_image(asked.as_str()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_kept_goes_on_unwatched_until_somebody_ends_it() {
    let fake = slow();
    let bench = Bench::new().await;
    let asked = name(&fake, "web:1");
    bench.supervisor.pull_image(&asked, None).expect("asked").keep();
    let mut watched = bench.supervisor.pull_image(&asked, None).expect("watched");
    while watched.now().layers.is_empty() {
        watched.next().await;
    }
    bench.supervisor.cancel_pull(&asked).expect("it is under way");
    let last = loop {
        let pull = watched.next().await;
        if pull.is_over() {
            break pull;
        }
    };
    assert!(matches!(&last.state, PullState::Failed { problem } if problem.ends_with("was cancelled")), "{last:?}");
    assert_eq!(watched.finish().await.map_err(|error| error.kind()), Err(ErrorKind::Conflict));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_registry_has_is_told_as_not_found_and_leaves_nothing() {
    let fake = honest(Content::of("1", &[layer("a")]));
    let bench = Bench::new().await;
    let missing = bench.supervisor.pull_image(&name(&fake, "web:2"), None).expect("asked").finish().await.expect_err("no such tag");
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    let host = bench.supervisor.pull_image(&"host".parse().expect("a name"), None);
    assert_eq!(host.map(drop).map_err(|error| error.kind()), Err(ErrorKind::Invalid));
    assert_eq!(bench.supervisor.images().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moved_is_pulled_again_and_the_old_image_goes() {
    let mut contents = Content::of("1", &[layer("a")]);
    contents.image("2", &[layer("b")]);
    let moved = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let now = std::sync::Arc::clone(&moved);
    let fake = Fake::start(move |request| {
        let mut request = request.clone();
        if now.load(std::sync::atomic::Ordering::SeqCst) && request.path.ends_with("manifests/1") {
            request.path = request.path.replace("manifests/1", "manifests/2");
        }
        contents.reply(&request)
    });
    let bench = Bench::new().await;
    let asked = name(&fake, "web:1");
    let old = bench.supervisor.pull_image(&asked, None).expect("asked").finish().await.expect("pulled");
    moved.store(true, std::sync::atomic::Ordering::SeqCst);
    let new = bench.supervisor.pull_image(&asked, None).expect("asked").finish().await.expect("pulled");
    assert_ne!(old.digest, new.digest);
    assert_eq!(bench.supervisor.images().len(), 2, "host, and the new one");
    assert_eq!(std::fs::read_dir(bench.shared().home.folders.data_dir.join("images/layers")).expect("a folder").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_kept_only_when_the_registry_takes_it_and_is_used_by_the_next_pull() {
    // `ann:right` in base64.
    const RIGHT: &str = "Basic YW5uOnJpZ2h0";
    let contents = Content::of("1", &[layer("a")]);
    let fake = Fake::start(move |request| match request.header("authorization") {
        Some(RIGHT) if request.path.ends_with("/v2/") => Reply::ok("{}"),
        Some(RIGHT) => contents.reply(request),
        _ => Reply::status(401).header("www-authenticate", "Basic realm=\"registry\""),
    });
    let bench = Bench::new().await;
    let login = |password: &str| Login::Password { username: "ann".into(), password: password.into() };
    let refused = bench.supervisor.log_in(&fake.host(), login("wrong")).await.expect_err("refused");
    assert!(matches!(&refused, crate::Error::Invalid(invalid) if invalid.field == "password"), "{refused:?}");
    assert!(!format!("{refused:?}").contains("wrong"));
    let denied = bench.supervisor.pull_image(&name(&fake, "web:1"), None).expect("asked").finish().await;
    assert_eq!(denied.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    let known = bench.supervisor.log_in(&fake.host(), login("right")).await.expect("taken");
    assert_eq!((known.host, known.username.as_deref()), (fake.host(), Some("ann")));
    let bench = bench.reopened(async || {}).await;
    bench.supervisor.pull_image(&name(&fake, "web:1"), None).expect("asked").finish().await.expect("pulled");
    bench.supervisor.log_out(&fake.host()).await.expect("logged out");
    assert!(bench.supervisor.registries().await.expect("read").is_empty());
    assert_eq!(bench.supervisor.log_out(&fake.host()).await.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
}
