//! The whole application without a socket: a real supervisor on folders of its own, and requests handed to the router.
//!
//! No container is started here (`"start": false`), so that no monitor is needed; what runs is tested over a real socket,
//! with the executable.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::{Body, to_bytes};
use axum::http::{Method, StatusCode, request};
use belljar_monitor::Spawner;
use belljar_store::Store;
use belljar_supervisor::{Helpers, Mapper, Settings};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::listen::Peer;

/// Longest answer that a test reads.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Distinguishes the instances of one test process.
static OPENED: AtomicU32 = AtomicU32::new(0);

struct House {
    app: Arc<App>,
    router: Router,
    instance: String,
    _folder: tempfile::TempDir,
}

impl Drop for House {
    fn drop(&mut self) {
        belljar_testbed::traces::remove_cgroups(&self.instance);
    }
}

/// An instance without containers; `None`, and a line that says so, where the kernel would not let us.
async fn house() -> Option<House> {
    if !nix::unistd::Uid::effective().is_root() {
        belljar_testbed::skip("root");
        return None;
    }
    // Layers must not lie on an overlay, which `/tmp` may be inside a container.
    let folder = tempfile::Builder::new().prefix("belljar-").tempdir_in("/var/tmp").expect("a folder");
    let instance = format!("router-{}-{}", std::process::id(), OPENED.fetch_add(1, Ordering::Relaxed));
    let settings = Settings { instance: instance.clone(), data_dir: folder.path().join("data"), run_dir: folder.path().join("run") };
    std::fs::create_dir_all(&settings.data_dir).expect("a folder");
    std::fs::create_dir_all(&settings.run_dir).expect("a folder");
    let store = Store::open(&settings.data_dir.join("belljar.db")).await.expect("a database");
    // Nobody is asked to start anything: a program that ends at once will do.
    let spawner = Spawner::launch(std::path::Path::new("/bin/true")).expect("a program");
    // And nothing is mapped; a process with threads could not ask whether it can be.
    let helpers = Helpers { spawner, mapper: Mapper::new() };
    let supervisor = Supervisor::open(settings, store.clone(), helpers).await.expect("a supervisor");
    let access = Access::open(store, std::net::SocketAddr::from(([127, 0, 0, 1], 7070)), &[]);
    let app = Arc::new(App::new(supervisor, access));
    Some(House { router: router(app.clone()), app, instance, _folder: folder })
}

fn ask(method: Method, path: &str) -> request::Builder {
    axum::http::Request::builder().method(method).uri(path).extension(Peer::Trusted)
}

fn get(path: &str) -> request::Builder {
    ask(Method::GET, path)
}

impl House {
    async fn send(&self, request: request::Builder, body: impl Into<Body>) -> Response {
        self.router.clone().oneshot(request.body(body.into()).expect("a request")).await.expect("an answer")
    }

    async fn text(&self, request: request::Builder, body: impl Into<Body>) -> (u16, String) {
        let response = self.send(request, body).await;
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.expect("a body");
        (status, String::from_utf8(bytes.to_vec()).expect("text"))
    }

    async fn json(&self, request: request::Builder, body: Value) -> (u16, Value) {
        let (status, text) = self.text(request.header(header::CONTENT_TYPE, "application/json"), body.to_string()).await;
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") })
    }

    async fn post_form(&self, path: &str, form: &str) -> Response {
        let request = ask(Method::POST, path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, form.to_owned()).await
    }

    /// Creates a container that rests.
    async fn create(&self, name: &str) -> Value {
        let body =
            json!({"image": "host", "name": name, "command": ["<b>hostile</b>", "\"'&"], "labels": {"a": "<script>"}, "start": false});
        let (status, container) = self.json(ask(Method::POST, "/api/v1/containers"), body).await;
        assert_eq!(status, 201, "{container}");
        container
    }
}

async fn page_of(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[tokio::test]
async fn every_page_renders_with_none_one_and_two_hundred_containers() {
    let Some(house) = house().await else { return };
    let mut created = 0;
    for count in [0, 1, 200] {
        while created < count {
            house.create(&format!("c{created:03}")).await;
            created += 1;
        }
        for path in ["/containers", "/containers/new", "/images", "/events", "/host", "/settings"] {
            assert_page(&house, path).await;
        }
        let tabs = ["", "/namespaces", "/cgroup", "/overlay", "/overlay?path=/etc", "/logs", "/events", "/plan", "/delete"];
        for tab in tabs.into_iter().filter(|_| count > 0) {
            assert_page(&house, &format!("/containers/c000{tab}")).await;
        }
        let (_, list) = house.text(get("/containers"), "").await;
        assert_eq!(list.matches("<tr id=\"c-").count(), count);
    }
}

async fn assert_page(house: &House, path: &str) {
    let (status, html) = house.text(get(path), "").await;
    assert_eq!(status, 200, "{path}: {html}");
    assert!(html.trim_end().ends_with("</html>"), "{path}");
    assert!(!html.contains("<b>hostile") && !html.contains("<script>"), "{path} shows hostile text as it is");
}

#[tokio::test]
async fn what_is_not_there_is_told_as_a_document_to_programs_and_as_a_page_to_people() {
    let Some(house) = house().await else { return };
    for path in ["/api/v1/nothing", "/api/v1/containers/nobody", "/api/v1/containers/nobody/logs"] {
        let (status, problem) = house.json(get(path), Value::Null).await;
        assert_eq!((status, &problem["status"]), (404, &json!(404)), "{path}: {problem}");
    }
    assert_eq!(house.json(ask(Method::PATCH, "/api/v1/containers"), Value::Null).await.0, 405);
    assert_eq!(house.json(ask(Method::DELETE, "/api/v1/images/nobody"), Value::Null).await.0, 404);
    for path in ["/nothing", "/containers/nobody", "/containers/nobody/plan"] {
        let (status, html) = house.text(get(path), "").await;
        assert_eq!(status, 404, "{path}");
        assert!(html.starts_with("<!doctype html>") && html.contains("href=\"/containers\""), "{path}: {html}");
    }
}

#[tokio::test]
async fn a_wrong_request_names_the_field_and_leaves_nothing_behind() {
    let Some(house) = house().await else { return };
    let cases = [
        (json!({"colour": "red"}), 400, "colour"),
        (json!({"limits": {"cpus": "one"}}), 400, "limits.cpus"),
        (json!({"limits": {"memory_bytes": -1}}), 400, "limits.memory_bytes"),
        (json!({"limits": {"memory_bytes": u64::MAX}}), 422, "limits.memory_bytes"),
        (json!({"limits": {"cpus": 1e9}}), 422, "limits.cpus"),
        (json!({"limits": {"pids": 0}}), 422, "limits.pids"),
        (json!({"name": "a/b"}), 422, "name"),
        (json!({"name": "x".repeat(300)}), 422, "name"),
        (json!({"image": "nothing-like-it"}), 422, "image"),
        (json!({"mounts": [{"type": "bind", "source": "/nowhere/at/all", "target": "/t"}]}), 422, "mounts[0].source"),
    ];
    for (member, status, field) in cases {
        let mut body = json!({"image": "host", "command": ["true"], "start": false});
        body.as_object_mut().expect("an object").extend(member.as_object().expect("an object").clone());
        let (told, problem) = house.json(ask(Method::POST, "/api/v1/containers"), body).await;
        assert_eq!((told, &problem["field"]), (status, &json!(field)), "{problem}");
    }
    assert_eq!(house.json(get("/api/v1/containers"), Value::Null).await.1, json!([]));
    assert_eq!(house.json(get("/api/v1/containers?colour=red"), Value::Null).await.1["field"], "colour");
}

#[tokio::test]
async fn a_name_that_is_taken_names_the_container_that_has_it() {
    let Some(house) = house().await else { return };
    let first = house.create("web").await;
    let body = json!({"image": "host", "name": "web", "command": ["true"], "start": false});
    let (status, problem) = house.json(ask(Method::POST, "/api/v1/containers"), body).await;
    assert_eq!((status, &problem["field"], &problem["container"]), (409, &json!("name"), &first["id"]), "{problem}");
}

#[tokio::test]
async fn a_container_without_a_name_gets_one_and_can_be_found_by_it() {
    let Some(house) = house().await else { return };
    let body = json!({"image": "host", "command": ["true"], "start": false});
    let (_, container) = house.json(ask(Method::POST, "/api/v1/containers"), body).await;
    let name = container["name"].as_str().expect("a name");
    let (status, same) = house.json(get(&format!("/api/v1/containers/{name}")), Value::Null).await;
    assert_eq!((status, &same["id"], &same["state"]), (200, &container["id"], &json!("created")));
    assert_eq!(house.json(ask(Method::DELETE, &format!("/api/v1/containers/{name}")), Value::Null).await.0, 204);
    assert_eq!(house.json(get("/api/v1/containers"), Value::Null).await.1, json!([]));
}

#[tokio::test]
async fn a_past_is_asked_for_by_moments_and_outlives_its_container() {
    let Some(house) = house().await else { return };
    let id = house.create("web").await["id"].as_str().expect("an id").to_owned();
    let path = |key: &str, query: &str| format!("/api/v1/containers/{key}/usage/history{query}");
    let told = async |key: &str, query: &str| house.json(get(&path(key, query)), Value::Null).await;
    let nothing = |step_ms: i64| (200, json!({"step_ms": step_ms, "points": [], "suggestion": null}));
    assert_eq!(told("web", "").await, nothing(10_000));
    assert_eq!(told(&id[..12], "?step=1m").await, nothing(60_000));
    assert_eq!(told("web", "?from=0").await, nothing(3_600_000));
    for (query, field) in [("?from=soon", "from"), ("?from=5&to=5", "from"), ("?step=2h", "step"), ("?since=0", "since")] {
        let (status, problem) = told("web", query).await;
        let wrong = if field == "since" { 400 } else { 422 };
        assert_eq!((status, &problem["field"]), (wrong, &json!(field)), "{query}: {problem}");
    }
    assert_eq!(house.text(ask(Method::DELETE, &format!("/api/v1/containers/{id}")), "").await.0, 204);
    assert_eq!(told(&id[..12], "").await, nothing(10_000));
    assert_eq!((told("web", "").await.0, told(&"0".repeat(64), "").await.0), (404, 404));
}

#[tokio::test]
async fn a_form_that_is_wrong_comes_back_filled_with_the_message_at_its_field() {
    let Some(house) = house().await else { return };
    let response = house.post_form("/containers", "name=web&image=host&command=sleep+1d&memory=lots").await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let html = page_of(response).await;
    assert!(html.contains("value=\"sleep 1d\"") && html.contains("value=\"lots\"") && html.contains("is not a size"), "{html}");
}

#[tokio::test]
async fn a_form_creates_a_container_and_says_so_once_on_its_page() {
    let Some(house) = house().await else { return };
    let response = house.post_form("/containers", "name=web&image=host&command=sleep+1d").await;
    assert_eq!(
        (response.status(), &response.headers()[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/containers/web".parse().expect("a header"))
    );
    let cookie = response.headers()[header::SET_COOKIE].to_str().expect("text").split(';').next().expect("a pair").to_owned();
    let page = house.send(get("/containers/web").header(header::COOKIE, cookie), "").await;
    assert!(page.headers()[header::SET_COOKIE].to_str().expect("text").contains("Max-Age=0"), "the notice is said once");
    assert!(page_of(page).await.contains("web was created"));
    let deleted = house.post_form("/containers/web/delete", "").await;
    assert_eq!(
        (deleted.status(), &deleted.headers()[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/containers".parse().expect("a header"))
    );
}

#[tokio::test]
async fn a_button_that_cannot_be_pressed_leads_to_a_page_that_leads_back() {
    let Some(house) = house().await else { return };
    house.create("web").await;
    let response = house.post_form("/containers/web/pause", "").await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    let html = page_of(response).await;
    assert!(html.contains("is not running") && html.contains("/containers/web"), "{html}");
}

#[tokio::test]
async fn an_upload_that_is_no_archive_is_refused_at_the_file() {
    let Some(house) = house().await else { return };
    let part = |name: &str, text: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"x\"\r\n\r\n{text}\r\n");
    let body = part("name", "alpine") + &part("file", &"this is not an archive ".repeat(100)) + "--b--\r\n";
    let request = ask(Method::POST, "/images/import").header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
    let (status, html) = house.text(request, body).await;
    assert_eq!(status, 422, "{html}");
    assert!(html.contains("value=\"alpine\"") && html.contains("class=\"wrong\""), "{html}");
    let (status, problem) = house.json(ask(Method::POST, "/api/v1/images/import?name=alpine"), json!("not an archive")).await;
    assert_eq!(status, 422, "{problem}");
    assert_eq!(house.app.supervisor.images().len(), 1, "only the host's own");
}

#[tokio::test]
async fn half_an_archive_never_becomes_an_image() {
    let Some(house) = house().await else { return };
    let mut archive = tar_of_one_file();
    archive.truncate(600);
    let chunks = futures_util::stream::iter([Ok(axum::body::Bytes::from(archive)), Err(std::io::Error::other("the line went dead"))]);
    let (status, problem) = house.text(ask(Method::POST, "/api/v1/images/import?name=half"), Body::from_stream(chunks)).await;
    assert_eq!((status, problem.contains("the upload ended")), (400, true), "{problem}");
    assert_eq!(house.app.supervisor.images().len(), 1);
}

/// A ustar archive with one regular file (POSIX.1-2017, pax, "ustar Interchange Format").
fn tar_of_one_file() -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..5].copy_from_slice(b"hello");
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(b"00000001000\0");
    block[136..148].copy_from_slice(b"00000000000\0");
    block[148..156].fill(b' ');
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.resize(512 + 512 + 1024, 0);
    block
}

#[tokio::test]
async fn the_list_is_sent_whole_and_then_row_by_row() {
    let Some(house) = house().await else { return };
    let mut parts = house.send(get("/stream?page=containers"), "").await.into_body().into_data_stream();
    let first = parts.next().await.expect("a part").expect("readable");
    assert!(String::from_utf8_lossy(&first).starts_with("data: "));
    let id = house.create("web").await["short_id"].as_str().expect("an id").to_owned();
    let mut seen = String::new();
    while !seen.contains(&format!("id=\"c-{id}\"")) {
        seen.push_str(&String::from_utf8_lossy(&parts.next().await.expect("a part").expect("readable")));
    }
    house.json(ask(Method::DELETE, "/api/v1/containers/web"), Value::Null).await;
    while !seen.contains(&format!("event: gone\ndata: c-{id}")) {
        seen.push_str(&String::from_utf8_lossy(&parts.next().await.expect("a part").expect("readable")));
    }
}

#[tokio::test]
async fn streams_end_when_the_server_does() {
    let Some(house) = house().await else { return };
    house.create("web").await;
    let open = ["/stream?page=containers", "/stream?page=container&id=web", "/stream?page=events", "/api/v1/events?follow"];
    let mut bodies = Vec::new();
    for path in open {
        let response = house.send(get(path), "").await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream", "{path}");
        bodies.push(response.into_body());
    }
    house.app.ending.cancel();
    for body in bodies {
        to_bytes(body, ANSWER_BYTES_MAX).await.expect("it ends");
    }
}

#[tokio::test]
async fn events_are_followed_from_where_the_reader_was() {
    let Some(house) = house().await else { return };
    house.create("one").await;
    let (_, events) = house.json(get("/api/v1/events?limit=1"), Value::Null).await;
    let seen = events[0]["id"].as_i64().expect("a number");
    house.create("two").await;
    let request = get("/api/v1/events?follow").header("last-event-id", seen.to_string());
    let mut stream = house.send(request, "").await.into_body().into_data_stream();
    house.create("three").await;
    let mut text = String::new();
    while !text.contains("\"three\"") {
        text.push_str(&String::from_utf8_lossy(&stream.next().await.expect("an event").expect("readable")));
    }
    let of_two = text.find("\"two\"").expect("what was missed is told");
    assert!(of_two < text.find("\"three\"").expect("told") && !text.contains("\"one\""), "{text}");
}

#[tokio::test]
async fn a_browser_that_asks_for_it_gets_the_list_compressed() {
    let Some(house) = house().await else { return };
    for number in 0..20 {
        house.create(&format!("c{number}")).await;
    }
    let response = house.send(get("/containers").header(header::ACCEPT_ENCODING, "gzip"), "").await;
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    let stream = house.send(get("/stream?page=containers").header(header::ACCEPT_ENCODING, "gzip"), "").await;
    assert!(!stream.headers().contains_key(header::CONTENT_ENCODING), "a stream is not held back");
}
