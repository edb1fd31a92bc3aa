//! The store on real files. It must never know what the supervisor makes of the rows. Start reading at the first test, which
//! takes a container through its life.

use belljar_model::container::{ProcessRef, Restart};
use belljar_model::exit::{Cause, Victim};
use belljar_model::image::{Contents, ImageKind, LayerInfo};
use belljar_model::{Config, Container, ContainerId, EventKind, Exit, Image, Limits, Mount, NewEvent, OutOfMemory, Signal, State, Wanted};

use super::*;

struct Scratch {
    folder: tempfile::TempDir,
    store: Store,
}

impl Scratch {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("belljar.db")).await.expect("a new database");
        Self { folder, store }
    }

    /// As after a restart of the server.
    async fn reopened(self) -> Self {
        self.store.close().await;
        let store = Store::open(&self.folder.path().join("belljar.db")).await.expect("the same database");
        Self { folder: self.folder, store }
    }
}

fn container(number: u8, name: &str) -> Container {
    let config = Config {
        limits: Limits {
            memory_bytes: Some(4 << 20),
            memory_swap_bytes: Some(0),
            cpus: Some(0.5),
            pids: Some(64),
            cpu_weight: Some(50),
            io: vec![belljar_model::limits::IoLimit { device: "/dev/sda".into(), read_bytes_per_second: Some(1), ..Default::default() }],
            ..Limits::default()
        },
        mounts: vec![Mount::Bind { source: "/srv".into(), target: "/data".into(), readonly: true, idmap: None }],
        restart: Restart::OnFailure,
        env: [("TZ".to_owned(), "Europe/Paris".to_owned())].into(),
        ..serde_json::from_str(&format!(r#"{{"name":"{name}","image":"host","command":["sleep","1d"]}}"#)).expect("a config")
    };
    Container {
        id: ContainerId::from_bytes([number; 32]),
        config,
        state: State::Creating,
        wanted: Wanted::Running,
        uid_base: Some(65_536 * u32::from(number)),
        without_ids: None,
        image_digest: None,
        created_at_ms: 1_700_000_000_000 + i64::from(number),
        started_at_ms: None,
        init: None,
        monitor: None,
        exit: None,
        restarts: 0,
    }
}

fn event(container: &Container, kind: EventKind) -> NewEvent {
    NewEvent {
        at_ms: 1_700_000_000_123,
        kind,
        container: Some(container.id.clone()),
        subject: container.config.name.to_string(),
        message: format!("it's \"{}\"", kind.as_str()),
    }
}

#[tokio::test]
async fn a_container_is_read_back_exactly_as_it_was_recorded() {
    let scratch = Scratch::new().await;
    let mut web = container(1, "web");
    scratch.store.insert(&web, event(&web, EventKind::Created), Durability::Deferred).await.expect("inserted");
    assert_eq!(scratch.store.load_all().await.expect("read"), [web.clone()]);

    web.state = State::Running;
    web.started_at_ms = Some(1_700_000_001_000);
    web.init = Some(ProcessRef { pid: 4242, start_ticks: 99 });
    web.monitor = Some(ProcessRef { pid: 4241, start_ticks: 98 });
    web.config.limits = Limits::default();
    let victim = Some(Victim { pid: 7, command: "tail".into() });
    let out_of_memory = Some(OutOfMemory { kills: 1, limit_bytes: Some(4 << 20), peak_bytes: Some(4 << 20), victim, went_on: false });
    web.exit = Some(Exit { cause: Cause::Signaled { signal: Signal::KILL }, out_of_memory, at_ms: 5 });
    web.restarts = 3;
    let events = vec![event(&web, EventKind::Started), event(&web, EventKind::Restarted)];
    let recorded = scratch.store.record(&web, events, Durability::Durable).await.expect("recorded");
    assert_eq!(
        recorded.iter().map(|event| (event.id, event.kind)).collect::<Vec<_>>(),
        [(2, EventKind::Started), (3, EventKind::Restarted)]
    );

    let scratch = scratch.reopened().await;
    assert_eq!(scratch.store.load_all().await.expect("read"), [web]);
}

#[tokio::test]
async fn a_name_that_is_taken_names_its_owner_and_leaves_no_event() {
    let scratch = Scratch::new().await;
    let (first, second) = (container(1, "web"), container(2, "web"));
    scratch.store.insert(&first, event(&first, EventKind::Created), Durability::Deferred).await.expect("inserted");
    let refused = scratch.store.insert(&second, event(&second, EventKind::Created), Durability::Deferred).await;
    assert!(matches!(&refused, Err(InsertError::NameTaken { id, .. }) if *id == first.id), "{refused:?}");
    assert_eq!(scratch.store.events(&EventQuery::default()).await.expect("read").len(), 1);

    let third = container(3, "db");
    scratch.store.insert(&third, event(&third, EventKind::Created), Durability::Durable).await.expect("the connection is usable again");
}

#[tokio::test]
async fn two_containers_never_share_ids_of_the_host() {
    let scratch = Scratch::new().await;
    let (first, mut second) = (container(1, "web"), container(2, "db"));
    second.uid_base = first.uid_base;
    scratch.store.insert(&first, event(&first, EventKind::Created), Durability::Deferred).await.expect("inserted");
    let refused = scratch.store.insert(&second, event(&second, EventKind::Created), Durability::Deferred).await;
    assert!(matches!(refused, Err(InsertError::Store(Error::Statement { .. }))), "{refused:?}");
    second.uid_base = None;
    scratch
        .store
        .insert(&second, event(&second, EventKind::Created), Durability::Deferred)
        .await
        .expect("sharing the host's own is allowed");
}

#[tokio::test]
async fn nothing_is_recorded_as_running_without_a_process() {
    let scratch = Scratch::new().await;
    let mut web = container(1, "web");
    scratch.store.insert(&web, event(&web, EventKind::Created), Durability::Deferred).await.expect("inserted");
    web.state = State::Running;
    let events = vec![event(&web, EventKind::Started)];
    assert!(scratch.store.record(&web, events, Durability::Durable).await.is_err());
    assert_eq!(scratch.store.load_all().await.expect("read")[0].state, State::Creating);
}

#[tokio::test]
async fn a_container_that_is_not_there_cannot_be_recorded() {
    let scratch = Scratch::new().await;
    let web = container(1, "web");
    let refused = scratch.store.record(&web, vec![event(&web, EventKind::Started)], Durability::Durable).await;
    assert!(refused.is_err());
    assert!(scratch.store.events(&EventQuery::default()).await.expect("read").is_empty());
}

#[tokio::test]
async fn a_removed_container_leaves_its_diary_and_nothing_else() {
    let scratch = Scratch::new().await;
    let web = container(1, "web");
    scratch.store.insert(&web, event(&web, EventKind::Created), Durability::Deferred).await.expect("inserted");
    let removed = scratch.store.remove(&web.id, event(&web, EventKind::Deleted)).await.expect("removed");
    assert_eq!(removed.map(|event| event.kind), Some(EventKind::Deleted));
    assert!(scratch.store.load_all().await.expect("read").is_empty());
    let limits: i64 = sqlx::query_scalar("SELECT count(*) FROM limits").fetch_one(&scratch.store.readers).await.expect("counted");
    assert_eq!(limits, 0);
    let query = EventQuery { container: Some(web.id.clone()), ..EventQuery::default() };
    let kinds: Vec<EventKind> = scratch.store.events(&query).await.expect("read").into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Deleted, EventKind::Created]);
}

#[tokio::test]
async fn events_are_paged_both_ways_newest_first() {
    let scratch = Scratch::new().await;
    let (web, db) = (container(1, "web"), container(2, "db"));
    for one in [&web, &db] {
        scratch.store.insert(one, event(one, EventKind::Created), Durability::Deferred).await.expect("inserted");
    }
    for one in [&web, &web, &db] {
        scratch.store.record(one, vec![event(one, EventKind::Started)], Durability::Deferred).await.expect("recorded");
    }
    let ids = async |query: EventQuery| -> Vec<i64> {
        scratch.store.events(&query).await.expect("read").into_iter().map(|event| event.id).collect()
    };
    assert_eq!(ids(EventQuery::default()).await, [5, 4, 3, 2, 1]);
    assert_eq!(ids(EventQuery { limit: 2, ..EventQuery::default() }).await, [5, 4]);
    assert_eq!(ids(EventQuery { before_id: Some(4), limit: 2, ..EventQuery::default() }).await, [3, 2]);
    assert_eq!(ids(EventQuery { after_id: Some(3), ..EventQuery::default() }).await, [5, 4]);
    assert_eq!(ids(EventQuery { container: Some(web.id), ..EventQuery::default() }).await, [4, 3, 1]);
}

#[tokio::test]
async fn the_oldest_events_make_room_and_numbers_are_never_used_again() {
    let scratch = Scratch::new().await;
    let web = container(1, "web");
    scratch.store.insert(&web, event(&web, EventKind::Created), Durability::Deferred).await.expect("inserted");
    let many = vec![event(&web, EventKind::Started); EVENTS_KEPT as usize];
    let last = scratch.store.record(&web, many, Durability::Deferred).await.expect("recorded").pop().expect("one");
    assert_eq!(last.id, i64::from(EVENTS_KEPT) + 1);
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&scratch.store.readers).await.expect("counted");
    assert_eq!(kept, i64::from(EVENTS_KEPT));
}

#[tokio::test]
async fn who_stops_waiting_in_the_middle_of_a_commit_does_not_stop_the_next_one() {
    let scratch = Scratch::new().await;
    let (first, second) = (container(1, "web"), container(2, "db"));
    for polls in 1..6 {
        let mut insert = Box::pin(scratch.store.insert(&first, event(&first, EventKind::Created), Durability::Durable));
        for _ in 0..polls {
            if futures_util::poll!(&mut insert).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(insert);
        scratch.store.insert(&second, event(&second, EventKind::Created), Durability::Durable).await.expect("the next one");
        scratch.store.remove(&first.id, event(&first, EventKind::Deleted)).await.expect("whether it came to be or not");
        scratch.store.remove(&second.id, event(&second, EventKind::Deleted)).await.expect("removed");
    }
}

fn image(name: &str, digit: char) -> Image {
    let digest = format!("sha256:{}", digit.to_string().repeat(64));
    let layer = LayerInfo { diff_id: digest.clone(), digest: None, size_bytes: 1, entries: 1, command: Some("COPY it's \"/\"".into()) };
    Image {
        name: name.parse().expect("a name"),
        kind: ImageKind::Oci,
        manifest_digest: Some(digest.clone()),
        digest,
        size_bytes: 1 << 40,
        entries: 3,
        created_at_ms: 7,
        contents: Arc::new(Contents { layers: vec![layer], made_at_ms: Some(-1), ..Contents::default() }),
    }
}

fn told(kind: EventKind) -> Vec<NewEvent> {
    vec![NewEvent { at_ms: 1, kind, container: None, subject: "x".into(), message: "y".into() }]
}

fn put(image: &Image) -> ImageChange {
    let documents = Documents { manifest: b"{\"a\": 1}\n".to_vec(), config: b"{}\xff".to_vec() };
    ImageChange {
        put: Some((image.clone(), Some(documents))),
        name: vec![(image.name.clone(), image.digest.clone())],
        ..ImageChange::default()
    }
}

#[tokio::test]
async fn images_are_read_back_under_each_of_their_names_with_their_documents_byte_for_byte() {
    let scratch = Scratch::new().await;
    let (a, b) = (image("a", 'a'), image("b", 'b'));
    for image in [&b, &a] {
        scratch.store.change_images(put(image), told(EventKind::ImagePulled)).await.expect("put");
    }
    let tag = ImageChange { name: vec![("c".parse().expect("a name"), a.digest.clone())], ..ImageChange::default() };
    let events = scratch.store.change_images(tag, told(EventKind::ImageTagged)).await.expect("tagged");
    assert_eq!((events.len(), events[0].kind), (1, EventKind::ImageTagged));
    let c = Image { name: "c".parse().expect("a name"), ..a.clone() };
    let scratch = scratch.reopened().await;
    assert_eq!(scratch.store.load_images().await.expect("read"), [a.clone(), b, c]);
    let documents = scratch.store.image_documents(&a.digest).await.expect("read").expect("there");
    assert_eq!((&documents.manifest[..], &documents.config[..]), (&b"{\"a\": 1}\n"[..], &b"{}\xff"[..]));
    assert_eq!(scratch.store.image_documents("sha256:0").await.expect("read"), None);
}

#[tokio::test]
async fn a_name_goes_over_to_another_image_and_the_first_stays_without_one() {
    let scratch = Scratch::new().await;
    let (old, new) = (image("a", 'a'), image("a", 'b'));
    for image in [&old, &new] {
        scratch.store.change_images(put(image), told(EventKind::ImagePulled)).await.expect("put");
    }
    let nameless = Image { name: old.digest.parse().expect("an id"), ..old.clone() };
    assert_eq!(scratch.store.load_images().await.expect("read"), [nameless, new]);
    let remove = ImageChange { remove: vec![old.digest], ..ImageChange::default() };
    scratch.store.change_images(remove, told(EventKind::ImageDeleted)).await.expect("removed");
    assert_eq!(scratch.store.load_images().await.expect("read").len(), 1);
}

#[tokio::test]
async fn an_image_that_a_name_or_a_container_needs_is_not_removed_and_nothing_is_told() {
    let scratch = Scratch::new().await;
    let image = image("a", 'a');
    scratch.store.change_images(put(&image), told(EventKind::ImagePulled)).await.expect("put");
    let remove = || ImageChange { remove: vec![image.digest.clone()], ..ImageChange::default() };
    assert!(scratch.store.change_images(remove(), told(EventKind::ImageDeleted)).await.is_err(), "it has a name");
    let mut web = container(1, "web");
    web.image_digest = Some(image.digest.clone());
    scratch.store.insert(&web, event(&web, EventKind::Created), Durability::Deferred).await.expect("inserted");
    assert_eq!(scratch.store.load_all().await.expect("read"), [web.clone()]);
    let unname = ImageChange { unname: vec![image.name.clone()], ..remove() };
    assert!(scratch.store.change_images(unname, told(EventKind::ImageDeleted)).await.is_err(), "it has a container");
    assert_eq!(scratch.store.load_images().await.expect("read"), std::slice::from_ref(&image), "all or nothing");
    scratch.store.remove(&web.id, event(&web, EventKind::Deleted)).await.expect("removed");
    let unname = ImageChange { unname: vec![image.name.clone()], ..remove() };
    scratch.store.change_images(unname, told(EventKind::ImageDeleted)).await.expect("removed");
    let kinds: Vec<_> = scratch.store.events(&EventQuery::default()).await.expect("read").into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::ImageDeleted, EventKind::Deleted, EventKind::Created, EventKind::ImagePulled]);
}

#[tokio::test]
async fn a_registry_is_what_it_was_last_saved_as() {
    let scratch = Scratch::new().await;
    let sealed = Login::Sealed { username: "me".into(), sealed: vec![0, 1, 255] };
    let registry = |login| Registry { host: "registry.example:5000".into(), login, saved_at_ms: 5 };
    let told = |kind| told(kind).remove(0);
    for login in [Login::DockerConfig { path: "/root/.docker/config.json".into() }, sealed] {
        scratch.store.save_registry(&registry(login.clone()), told(EventKind::RegistryLogin)).await.expect("saved");
        assert!(scratch.store.registry("registry.example:5000").await.expect("read") == Some(registry(login)));
    }
    assert_eq!(scratch.store.registries().await.expect("read").len(), 1);
    scratch.store.remove_registry("registry.example:5000", told(EventKind::RegistryLogout)).await.expect("removed");
    assert!(scratch.store.registries().await.expect("read").is_empty());
}

#[tokio::test]
async fn a_new_password_ends_every_session() {
    let scratch = Scratch::new().await;
    assert!(!scratch.store.has_users().await.expect("read"));
    let user = scratch.store.save_user("admin", "$argon2id$1", 1).await.expect("made");
    let secret = [7; 32];
    let session = NewSession { user_id: user.id, secret, created_at_ms: 1, expires_at_ms: 100 };
    scratch.store.insert_session(&session).await.expect("begun");
    let found = scratch.store.session(&secret, 99).await.expect("read").expect("there");
    assert_eq!((found.user.as_str(), found.expires_at_ms), ("admin", 100));
    assert_eq!(scratch.store.session(&secret, 100).await.expect("read"), None, "it has ended");

    let changed = scratch.store.save_user("admin", "$argon2id$2", 2).await.expect("changed");
    assert_eq!((changed.id, changed.password_hash.as_str(), changed.created_at_ms), (user.id, "$argon2id$2", 1));
    assert_eq!(scratch.store.session(&secret, 50).await.expect("read"), None);
    assert_eq!(scratch.store.user("admin").await.expect("read"), Some(changed));
    assert!(scratch.store.has_users().await.expect("read"));
}

#[tokio::test]
async fn a_token_is_known_by_its_secret_until_it_is_removed() {
    let scratch = Scratch::new().await;
    assert!(scratch.store.insert_token("backup", &[1; 32], 10).await.expect("made"));
    assert!(!scratch.store.insert_token("backup", &[2; 32], 10).await.expect("refused"));
    let last_used = async |now_ms| scratch.store.use_token(&[1; 32], now_ms).await.expect("read").map(|token| token.last_used_at_ms);
    assert_eq!(last_used(1000).await, Some(None));
    assert_eq!(last_used(2000).await, Some(Some(1000)), "as it was before");
    assert_eq!(last_used(90_000).await, Some(Some(1000)), "the same minute is not noted again");
    assert_eq!(scratch.store.tokens().await.expect("read")[0].last_used_at_ms, Some(90_000));
    assert!(scratch.store.use_token(&[2; 32], 1).await.expect("read").is_none());
    assert!(scratch.store.remove_token("backup").await.expect("removed"));
    assert!(!scratch.store.remove_token("backup").await.expect("gone"));
    assert!(scratch.store.use_token(&[1; 32], 1).await.expect("read").is_none());
}

#[tokio::test]
async fn a_setting_is_what_it_was_last_set_to() {
    let scratch = Scratch::new().await;
    assert_eq!(scratch.store.setting("setup").await.expect("read"), None);
    for value in ["a", "b"] {
        scratch.store.save_setting("setup", value).await.expect("saved");
    }
    assert_eq!(scratch.reopened().await.store.setting("setup").await.expect("read").as_deref(), Some("b"));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_by_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("belljar.db");
    std::fs::write(&path, "certainly not a database, and long enough to have a header".repeat(20)).expect("written");
    let refused = Store::open(&path).await.map(drop).expect_err("no database").to_string();
    assert!(refused.contains("belljar.db"), "{refused}");
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_named_and_not_guessed() {
    let scratch = Scratch::new().await;
    let web = container(1, "web");
    scratch.store.insert(&web, event(&web, EventKind::Created), Durability::Deferred).await.expect("inserted");
    let spoil = sqlx::query("UPDATE containers SET config = '{\"command\":7}'");
    let mut other = options(&scratch.folder.path().join("belljar.db"), READER_CACHE_KIB).connect().await.expect("another connection");
    spoil.execute(&mut other).await.expect("spoilt");
    let refused = scratch.store.load_all().await.expect_err("nonsense");
    assert!(matches!(&refused, Error::Row { table: "containers", column: "config", key, .. } if *key == web.id.as_str()), "{refused:?}");
}

#[tokio::test]
async fn a_database_of_the_first_form_is_read_by_this_one() {
    use sqlx::{ConnectOptions as _, Connection as _};
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("belljar.db");
    let mut first = sqlx::migrate!("../../migrations");
    first.migrations = first.migrations.iter().take(1).cloned().collect::<Vec<_>>().into();
    let mut connection = options(&path, WRITER_CACHE_KIB).connect().await.expect("a new database");
    first.run(&mut connection).await.expect("the first form");
    let id = "ab".repeat(32);
    let row = "INSERT INTO containers (id, name, image, config, state, wanted, uid_base, created_at_ms) VALUES (?1, 'web', 'host', \
         '{\"command\":[\"sleep\",\"1d\"],\"restart\":\"no\"}', 'created', 'stopped', 65536, 5)";
    sqlx::query(row).bind(&id).execute(&mut connection).await.expect("a row");
    connection.close().await.expect("closed");
    let store = Store::open(&path).await.expect("the same database");
    let mut all = store.load_all().await.expect("read");
    let mut web = all.pop().expect("one container");
    assert_eq!((web.id.as_str(), web.without_ids.as_deref(), web.config.namespaces.is_default()), (id.as_str(), None, true));
    web.without_ids = Some("ramfs cannot map owners".into());
    web.config.security.new_privileges = belljar_model::security::NewPrivileges::Allowed;
    store.record(&web, Vec::new(), Durability::Durable).await.expect("recorded");
    assert_eq!(store.load_all().await.expect("read"), [web]);
}

/// A database as the first `versions` migrations leave it.
async fn of_an_old_form(path: &Path, versions: usize) -> SqliteConnection {
    let mut old = sqlx::migrate!("../../migrations");
    old.migrations = old.migrations.iter().take(versions).cloned().collect::<Vec<_>>().into();
    let mut connection = options(path, WRITER_CACHE_KIB).connect().await.expect("a new database");
    old.run(&mut connection).await.expect("an old form");
    connection
}

#[tokio::test]
async fn every_old_form_of_images_becomes_references_and_containers_keep_theirs() {
    use sqlx::Connection as _;
    // What an old name becomes.
    let names = [
        ("web", "web:latest"),
        ("Web", "web:latest-3"),
        ("WEB", "web:latest-2"),
        ("Debian_12.5", "debian_12.5:latest"),
        ("a__b--c", "a__b--c:latest"),
        ("odd..name", "odd--name:latest-2"),
        ("odd-.name_", "odd--name:latest"),
        ("x___y", "x---y:latest"),
        ("end.-_", "end:latest"),
        ("Host", "host:latest"),
    ];
    for versions in 1..5 {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("belljar.db");
        let mut connection = of_an_old_form(&path, versions).await;
        for (number, (old, _)) in names.iter().enumerate() {
            // The first three are the same archive.
            let digest = format!("sha256:{:064x}", number.max(2));
            let image = "INSERT INTO images VALUES (?1, 'rootfs', ?2, 10, 3, ?3)";
            sqlx::query(image).bind(old).bind(digest).bind(number as i64).execute(&mut connection).await.expect("an image");
            let container = "INSERT INTO containers (id, name, image, config, state, wanted, created_at_ms) \
                 VALUES (?1, ?2, ?2, '{\"command\":[\"a\"]}', 'created', 'stopped', ?3)";
            let id = format!("{number:064x}");
            sqlx::query(container).bind(id).bind(old).bind(number as i64).execute(&mut connection).await.expect("a container");
        }
        let host = "INSERT INTO containers (id, name, image, config, state, wanted, created_at_ms) \
             VALUES (?1, 'h', 'host', '{\"command\":[\"a\"]}', 'created', 'stopped', 99)";
        sqlx::query(host).bind("f".repeat(64)).execute(&mut connection).await.expect("a container");
        connection.close().await.expect("closed");

        let store = Store::open(&path).await.expect("the same database");
        let images = store.load_images().await.expect("read");
        assert_eq!(images.len(), names.len(), "form {versions}");
        let containers = store.load_all().await.expect("read");
        for (container, (old, new)) in containers.iter().zip(names) {
            assert_eq!((container.config.name.as_str(), container.config.image.as_str()), (old, new), "form {versions}");
            let image = images.iter().find(|image| image.name.as_str() == new).expect(new);
            assert_eq!(container.image_digest.as_deref(), Some(image.digest.as_str()), "{old} stands on what it stood on");
            let layer = &image.contents.layers[0];
            assert_eq!((image.kind, image.contents.layers.len(), &layer.diff_id), (ImageKind::Rootfs, 1, &image.digest));
            assert_eq!((layer.size_bytes, image.size_bytes, image.entries), (10, 10, 3));
        }
        let host = containers.last().expect("the last one");
        assert_eq!((host.config.image.is_host(), host.image_digest.as_deref()), (true, None));
    }
}

#[tokio::test]
async fn an_event_can_change_nothing_but_the_diary() {
    let scratch = Scratch::new().await;
    let web = container(1, "web");
    scratch.store.insert(&web, event(&web, EventKind::Created), Durability::Deferred).await.expect("inserted");
    let told = scratch.store.tell(event(&web, EventKind::Exec), Durability::Deferred).await.expect("told").expect("an event");
    let newest = scratch.store.events(&EventQuery { limit: 1, ..EventQuery::default() }).await.expect("read");
    assert_eq!((newest, scratch.store.load_all().await.expect("read")), (vec![told], vec![web]));
}
