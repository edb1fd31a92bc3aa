//! Who gets past the guard: the real layers over a router that answers to everybody, without a socket.

use super::*;
use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, request};
use axum::routing::any;
use tower::ServiceExt;

const PASSWORD: &str = "correct horse battery";

struct House {
    access: Arc<Access>,
    router: Router,
    _folder: tempfile::TempDir,
}

/// An empty database behind the guard of a server on 127.0.0.1.
async fn house() -> House {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("belljar.db")).await.expect("a database");
    let access = Arc::new(Access::open(store, SocketAddr::from(([127, 0, 0, 1], 7070)), &[]));
    let inside = any(|who: Who| async move { format!("{who:?}") });
    let paths = ["/api/v1/containers", "/containers", "/login", "/setup", "/static/{file}", "/"];
    let router = paths.into_iter().fold(Router::new(), |router, path| router.route(path, inside.clone()));
    House { router: crate::app::around(router, access.clone()), access, _folder: folder }
}

fn from_network(method: Method, path: &str) -> request::Builder {
    let peer = Peer::Network(IpAddr::from([127, 0, 0, 1]));
    axum::http::Request::builder().method(method).uri(path).header(header::HOST, "localhost:7070").extension(peer)
}

impl House {
    async fn ask(&self, request: request::Builder) -> Response {
        self.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer")
    }

    async fn status(&self, request: request::Builder) -> u16 {
        self.ask(request).await.status().as_u16()
    }

    /// The cookie of a session, as a browser sends it back.
    async fn signed_in(&self) -> String {
        let token = self.access.issue_setup_token().await.expect("it can be made").expect("no password yet");
        pair(&self.access.set_up(&token, PASSWORD).await.expect("the first password is set"))
    }
}

fn pair(cookie: &HeaderValue) -> String {
    cookie.to_str().expect("text").split(';').next().expect("a pair").to_owned()
}

fn address() -> IpAddr {
    IpAddr::from([127, 0, 0, 1])
}

#[tokio::test]
async fn on_the_network_nothing_answers_without_a_login_but_the_way_in() {
    let house = house().await;
    for (path, status) in [("/login", 200), ("/setup", 200), ("/static/x.css", 200), ("/api/v1/containers", 401), ("/nowhere", 303)] {
        assert_eq!(house.status(from_network(Method::GET, path)).await, status, "{path}");
    }
    let sent_away = house.ask(from_network(Method::GET, "/containers?a=b")).await;
    assert_eq!(sent_away.status(), StatusCode::SEE_OTHER);
    assert_eq!(sent_away.headers()[header::LOCATION], "/login?next=%2Fcontainers%3Fa%3Db");
    assert_eq!(house.ask(from_network(Method::POST, "/containers")).await.headers()[header::LOCATION], "/login");
}

#[tokio::test]
async fn a_refusal_of_the_api_is_a_problem_document_that_says_what_to_do() {
    let house = house().await;
    let response = house.ask(from_network(Method::GET, "/api/v1/containers")).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
    let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.expect("a body");
    let problem: belljar_api::Problem = serde_json::from_slice(&body).expect("a problem");
    assert_eq!((problem.status, problem.detail.contains("belljar token create")), (401, true));
}

#[tokio::test]
async fn the_socket_is_for_those_whom_the_kernel_vouches_for() {
    let house = house().await;
    let on_socket = |peer: Peer| axum::http::Request::builder().uri("/containers").extension(peer);
    assert_eq!(house.status(on_socket(Peer::Trusted)).await, 200);
    assert_eq!(house.status(on_socket(Peer::Stranger)).await, 403);
    assert_eq!(house.status(axum::http::Request::builder().uri("/containers").header(header::HOST, "localhost")).await, 303);
}

#[tokio::test]
async fn the_one_time_link_sets_the_first_password_once() {
    let house = house().await;
    let token = house.access.issue_setup_token().await.expect("it can be made").expect("no password yet");
    assert!(house.access.is_setup_token(&token).await);
    assert!(house.access.set_up("0000", PASSWORD).await.is_err(), "a guess");
    let short = house.access.set_up(&token, "short").await.expect_err("too short");
    assert_eq!(short.problem.field.as_deref(), Some("password"));
    let cookie = pair(&house.access.set_up(&token, PASSWORD).await.expect("set"));
    assert_eq!(house.status(from_network(Method::GET, "/containers").header(header::COOKIE, cookie)).await, 200);
    assert!(house.access.set_up(&token, "another password").await.is_err(), "it is used up");
    assert_eq!(house.access.issue_setup_token().await.expect("it can be looked up"), None);
}

#[tokio::test]
async fn a_session_lasts_until_its_person_signs_out() {
    let house = house().await;
    let cookie = house.signed_in().await;
    let asked = || from_network(Method::GET, "/containers").header(header::COOKIE, format!("other=1; {cookie}"));
    let response = house.ask(asked()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let secret = cookie.split_once('=').expect("a pair").1;
    house.access.log_out(&Who::Session(secret::hash(secret))).await.expect("out");
    assert_eq!(house.status(asked()).await, 303);
}

#[tokio::test]
async fn the_cookie_is_kept_from_scripts_and_other_sites() {
    let house = house().await;
    house.signed_in().await;
    let cookie = house.access.log_in(address(), PASSWORD).await.expect("in");
    let text = cookie.to_str().expect("text");
    assert!(text.contains("; HttpOnly") && text.contains("; SameSite=Lax") && text.contains("; Path=/"), "{text}");
}

#[tokio::test]
async fn wrong_passwords_are_told_apart_from_too_many_of_them() {
    let house = house().await;
    house.signed_in().await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(house.access.log_in(address(), "wrong password").await.expect_err("wrong").problem.status);
    }
    assert_eq!((statuses[0], statuses[11]), (401, 429));
    let late = house.access.log_in(address(), PASSWORD).await.expect_err("also the right one has to wait");
    assert!(late.retry_after_s.is_some_and(|seconds| seconds > 0));
    assert!(house.access.log_in(IpAddr::from([192, 0, 2, 9]), PASSWORD).await.is_ok(), "somebody else does not");
}

#[tokio::test]
async fn a_new_password_ends_every_session() {
    let house = house().await;
    let old = house.signed_in().await;
    let wrong = house.access.change_password(address(), "wrong password", "a new password").await.expect_err("wrong");
    assert_eq!(wrong.problem.field.as_deref(), Some("current"));
    let new = pair(&house.access.change_password(address(), PASSWORD, "a new password").await.expect("changed"));
    assert_eq!(house.status(from_network(Method::GET, "/containers").header(header::COOKIE, old)).await, 303);
    assert_eq!(house.status(from_network(Method::GET, "/containers").header(header::COOKIE, new)).await, 200);
    assert!(house.access.log_in(address(), PASSWORD).await.is_err());
}

#[tokio::test]
async fn a_token_opens_the_api_until_it_is_deleted() {
    let house = house().await;
    let token = house.access.create_token("backup script").await.expect("made");
    let asked = || from_network(Method::GET, "/api/v1/containers").header(header::AUTHORIZATION, format!("Bearer {token}"));
    assert_eq!(house.status(asked()).await, 200);
    let wrong = from_network(Method::GET, "/api/v1/containers").header(header::AUTHORIZATION, "Bearer 0000");
    assert_eq!(house.status(wrong).await, 401);
    let again = house.access.create_token("backup script").await.expect_err("the name is taken");
    assert_eq!((again.problem.status, again.problem.field.as_deref()), (409, Some("name")));
    assert_eq!(house.access.create_token("").await.expect_err("no name").problem.status, 422);
    house.access.delete_token("backup script").await.expect("deleted");
    assert_eq!(house.status(asked()).await, 401);
    assert_eq!(house.access.delete_token("backup script").await.expect_err("gone").problem.status, 404);
}

#[tokio::test]
async fn other_sites_and_other_names_are_refused() {
    let house = house().await;
    let cookie = house.signed_in().await;
    let post = || from_network(Method::POST, "/containers").header(header::COOKIE, &cookie);
    assert_eq!(house.status(post().header("sec-fetch-site", "same-origin")).await, 200);
    assert_eq!(house.status(post().header("sec-fetch-site", "cross-site")).await, 403);
    assert_eq!(house.status(post().header(header::ORIGIN, "http://localhost:7070")).await, 200);
    assert_eq!(house.status(post().header(header::ORIGIN, "http://evil.example")).await, 403);
    let rebound = axum::http::Request::builder()
        .uri("/containers")
        .header(header::HOST, "evil.example:7070")
        .header(header::COOKIE, &cookie)
        .extension(Peer::Network(address()));
    assert_eq!(house.status(rebound).await, 403);
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let house = house().await;
    for path in ["/login", "/api/v1/containers", "/containers"] {
        let response = house.ask(from_network(Method::GET, path)).await;
        let policy = response.headers()["content-security-policy"].to_str().expect("text");
        assert!(
            policy.starts_with("default-src 'self';") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }
}
