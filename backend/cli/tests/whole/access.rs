//! Who gets in: on the socket root and the group, on TCP nobody without a login, from other sites nobody at all.

use belljar_testbed::{Client, Server};

use crate::belljar;

const PASSWORD: &str = "a-glass-bell-for-a-jar";

#[test]
fn on_tcp_nothing_answers_without_a_login() {
    let Some(server) = crate::server() else { return };
    server.run_script("private", "exec sleep 1d");
    for path in ["/api/v1/containers", "/api/v1/containers/private/logs", "/api/v1/events", "/api/v1/host", "/api/v1/tokens"] {
        let answer = server.tcp().get(path).expect(401);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
    }
    for path in ["/", "/containers", "/containers/private", "/events", "/settings", "/images"] {
        let answer = server.tcp().get(path).expect(303);
        assert!(answer.header("location").starts_with("/login"), "{path} leads to {}", answer.header("location"));
    }
    assert!(matches!(server.tcp().post("/containers/private/kill", "").status, 303 | 401 | 403));
    let forged = server.tcp().with("authorization", "Bearer not-a-token").get("/api/v1/containers");
    assert_eq!(forged.status, 401);
    assert_eq!(server.container("private")["state"], "running");
}

/// Sets the first password by the one-time link, and returns a client with the session's cookie.
fn sign_in_first(server: &Server) -> Client {
    let path = server.setup_path().expect("a one-time link is printed");
    let token = path.split("token=").nth(1).expect("the link carries a token");
    server.tcp().get(&path).expect(200);
    let form = format!("token={token}&password={PASSWORD}&again={PASSWORD}");
    let answer = server.tcp().post_form("/setup", &form).expect(303);
    let cookie = answer.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    server.tcp().with("cookie", cookie.split(';').next().unwrap_or_default())
}

#[test]
fn the_one_time_link_works_once() {
    let Some(mut server) = crate::server() else { return };
    let session = sign_in_first(&server);
    session.get("/containers").expect(200);
    session.get("/api/v1/containers").expect(200);

    let path = server.setup_path().expect("it was printed");
    assert_ne!(server.tcp().get(&path).status, 200, "the link is used up");
    let token = path.split("token=").nth(1).expect("the link carries a token");
    let again = server.tcp().post_form("/setup", &format!("token={token}&password=another-password&again=another-password"));
    assert!(again.header("set-cookie").is_empty(), "{}", again.text());

    server.stop();
    server.start_again();
    assert_eq!(server.setup_path(), None, "there is a password: no link is printed");
    session_survives(&server, &session);
}

fn session_survives(server: &Server, before: &Client) {
    // The port is a new one; the cookie is the same.
    let wrong = server.tcp().post_form("/login", "password=not-the-password");
    assert!(wrong.header("set-cookie").is_empty());
    let right = server.tcp().post_form("/login", &format!("password={PASSWORD}")).expect(303);
    assert!(!right.header("set-cookie").is_empty());
    drop(before.clone());
}

#[test]
fn a_request_from_another_site_is_refused_even_with_a_session() {
    let Some(server) = crate::server() else { return };
    server.run_script("target", "exec sleep 1d");
    let session = sign_in_first(&server);
    let foreign = session.clone().with("sec-fetch-site", "cross-site").with("origin", "https://elsewhere.example");
    foreign.post_form("/containers/target/kill", "").expect(403);
    let origin_only = session.clone().with("origin", "https://elsewhere.example");
    origin_only.post("/api/v1/containers/target/kill", "").expect(403);
    assert_eq!(server.container("target")["state"], "running");
    session.with("sec-fetch-site", "same-origin").post_form("/containers/target/kill", "").expect(303);
}

#[test]
fn a_host_header_of_another_name_is_refused() {
    let Some(server) = crate::server() else { return };
    let rebound = server.tcp().with("host", "elsewhere.example").get("/login");
    assert!((400..500).contains(&rebound.status), "{}", rebound.status);
}

#[test]
fn a_token_opens_the_api_until_it_is_revoked() {
    let Some(server) = crate::server() else { return };
    let printed = belljar(&server, &["token", "create", "script"]);
    let token = printed.split_whitespace().last().expect("the token is printed");
    let client = server.tcp().with("authorization", &format!("Bearer {token}"));
    client.get("/api/v1/containers").expect(200);
    server.api().delete("/api/v1/tokens/script").expect(204);
    client.get("/api/v1/containers").expect(401);
}

#[test]
fn every_answer_carries_the_headers_that_browsers_obey() {
    let Some(server) = crate::server() else { return };
    for path in ["/login", "/containers", "/api/v1/containers", "/static/belljar.css"] {
        let answer = server.tcp().get(path);
        assert!(answer.header("content-security-policy").contains("default-src 'self'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
}
