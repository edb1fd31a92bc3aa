//! What tag, delete and prune leave, with and without containers.

use std::io::Cursor;

use belljar_model::machine::{Force, Request};
use belljar_model::{Draft, EventKind};

use super::archive_named;
use crate::testing::{Bench, DEAF, config};
use crate::{ErrorKind, Prune, PruneScope, StartNow};

/// A bench with one image, `web:latest`.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    import(&bench, "web", "a").await;
    bench
}

async fn import(bench: &Bench, name: &str, folder: &str) {
    let name = name.parse().expect("a name");
    bench.supervisor.import_image(Some(name), Cursor::new(archive_named(folder))).await.expect("imported");
}

async fn container(bench: &Bench, name: &str, image: &str) -> belljar_model::Container {
    let draft = Draft { image: image.to_owned(), ..config(name, DEAF).into() };
    let mut draft = draft;
    draft.config.image = image.parse().expect("a name");
    bench.supervisor.create(draft, StartNow::No).await.expect("created")
}

fn names(bench: &Bench) -> Vec<String> {
    bench.supervisor.images().into_iter().skip(1).map(|image| image.name.to_string()).collect()
}

fn layers(bench: &Bench) -> usize {
    std::fs::read_dir(bench.shared().home.folders.data_dir.join("images/layers")).expect("a folder").count()
}

#[tokio::test]
async fn a_name_that_goes_to_another_image_takes_nothing_from_a_container() {
    let bench = bench().await;
    import(&bench, "other", "b").await;
    let web = container(&bench, "web", "web").await;
    let old = web.image_digest.clone().expect("it stands on one");
    bench.supervisor.tag_image("other", "web".parse().expect("a name")).await.expect("tagged");
    assert_eq!(names(&bench), ["other:latest", "web:latest", &old], "the old one has lost its name, and stays");
    let summary = bench.supervisor.find_image(&old[..15]).expect("by the beginning of its id");
    assert_eq!((summary.containers, summary.names.len()), (vec!["web".to_owned()], 0));
    let stack = format!("{:?}", bench.supervisor.stack(&web.id).await.expect("a stack"));
    assert!(stack.contains(&old[7..]), "it stands where it stood: {stack}");

    let bench = bench.reopened(async || {}).await;
    assert_eq!(names(&bench).len(), 3, "also after a restart");
    assert_eq!(layers(&bench), 2);
    bench.supervisor.ask(&web.id, Request::Delete(Force::Yes)).await.expect("deleted");
    let pruned = bench.supervisor.prune_images(Prune::default()).await.expect("pruned");
    assert_eq!((pruned.images.len(), pruned.layers.len(), layers(&bench)), (1, 1, 1));
}

#[tokio::test]
async fn an_image_without_containers_goes_with_its_last_name() {
    let bench = bench().await;
    import(&bench, "other", "b").await;
    bench.supervisor.tag_image("other", "web".parse().expect("a name")).await.expect("tagged");
    assert_eq!((names(&bench), layers(&bench)), (vec!["other:latest".to_owned(), "web:latest".to_owned()], 1));
    let query = belljar_store::EventQuery::default();
    let kinds: Vec<EventKind> = bench.supervisor.events(query).await.expect("events").into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::ImageDeleted, EventKind::ImageTagged, EventKind::ImageImported, EventKind::ImageImported]);
}

#[tokio::test]
async fn a_delete_takes_one_of_several_names_and_the_last_only_without_containers() {
    let bench = bench().await;
    bench.supervisor.tag_image("web", "registry.example/web:2".parse().expect("a name")).await.expect("tagged");
    let web = container(&bench, "web", "web").await;
    let digest = web.image_digest.clone().expect("it stands on one");
    let refused = bench.supervisor.delete_image(&digest).await.expect_err("two repositories");
    assert!(refused.to_string().contains("registry.example/web:2, web:latest"), "{refused}");
    let deleted = bench.supervisor.delete_image("web").await.expect("one of two");
    assert_eq!((deleted.names.len(), deleted.digest), (1, None));
    let refused = bench.supervisor.delete_image("registry.example/web:2").await.expect_err("a container stands on it");
    assert_eq!((refused.kind(), refused.to_string().ends_with("is used by web")), (ErrorKind::Conflict, true), "{refused}");
    bench.supervisor.ask(&web.id, Request::Delete(Force::Yes)).await.expect("deleted");
    let deleted = bench.supervisor.delete_image(&digest[7..19]).await.expect("by its id");
    assert_eq!((deleted.digest, names(&bench).len(), layers(&bench)), (Some(digest), 0, 0));
}

#[tokio::test]
async fn a_prune_takes_what_it_told_and_nothing_that_came_since() {
    let bench = bench().await;
    let all = Prune { scope: PruneScope::All, only: None };
    assert!(bench.supervisor.prunable_images(&Prune::default()).images.is_empty(), "it has a name");
    let told = bench.supervisor.prunable_images(&all);
    import(&bench, "later", "b").await;
    let only = told.images.iter().map(|image| image.digest.clone()).collect();
    let taken = bench.supervisor.prune_images(Prune { only: Some(only), ..all }).await.expect("pruned");
    assert_eq!((taken, names(&bench)), (told, vec!["later:latest".to_owned()]));
}

#[tokio::test]
async fn a_container_of_the_host_is_not_committed_and_a_name_with_a_digest_not_given() {
    let bench = bench().await;
    let web = bench.supervisor.create(config("web", DEAF), StartNow::No).await.expect("created");
    let refused = bench.supervisor.commit(&web.id, crate::Commit::default()).await.expect_err("no layer");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let digest = format!("a@sha256:{}", "0".repeat(64));
    for name in ["host", &digest, &digest[2..]] {
        let refused = bench.supervisor.tag_image("web", name.parse().expect("a name")).await.expect_err(name);
        assert!(matches!(&refused, crate::Error::Invalid(invalid) if invalid.field == "name"), "{name}: {refused:?}");
    }
}
