//! Logins and tokens: who sees them, what becomes of them when they end, and what a no means.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use belljar_images::registry::{Credentials, Kind};
use belljar_testbed::fake::{Content, Fake, Reply, Request, digest};

use crate::place::{Place, chain, layer, noise};

const PASSWORD: &str = "hunter2-is-a-secret";

fn password() -> Option<Credentials> {
    Some(Credentials::Password { user: "me".into(), password: PASSWORD.into() })
}

/// `me` and the password, as `Authorization: Basic` has it.
const BASIC: &str = "Basic bWU6aHVudGVyMi1pcy1hLXNlY3JldA==";

/// A registry that wants a token, of which each is good for `uses` requests; and where they are given out, by `gate`.
fn with_tokens(content: Content, uses: usize, gate: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Fake {
    let given = Arc::new(AtomicUsize::new(0));
    let left = Arc::new(AtomicUsize::new(0));
    Fake::start(move |request| {
        if request.path.starts_with("/token") {
            return gate(request).unwrap_or_else(|| {
                left.store(uses, Ordering::SeqCst);
                let token = given.fetch_add(1, Ordering::SeqCst) + 1;
                Reply::ok(format!(r#"{{"token":"t{token}","expires_in":300}}"#))
            });
        }
        let good = format!("Bearer t{}", given.load(Ordering::SeqCst));
        let has_left = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if request.header("authorization") == Some(good.as_str()) && has_left() {
            return content.reply(request);
        }
        let host = request.header("host").unwrap_or_default();
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="registry.example",scope="repository:a/b:pull""#);
        Reply::error(401, "UNAUTHORIZED").header("www-authenticate", &challenge)
    })
}

#[test]
fn anybody_gets_a_token_for_what_is_open_to_anybody() {
    let fake = with_tokens(Content::of("1", &[layer("a", "b")]), 1000, |request| {
        assert_eq!(request.header("authorization"), None);
        assert!(
            request.path.contains("service=registry.example") && request.path.contains("scope=repository%3Aa%2Fb%3Apull"),
            "{}",
            request.path
        );
        None
    });
    let _pulled = Place::new().pull(&format!("{}/a/b:1", fake.host()));
    assert_eq!(fake.requests().iter().filter(|request| request.path.starts_with("/token")).count(), 1);
}

/// Every layer meets the end of its token: what it is shown first is refused, and then something else has to come.
#[test]
fn a_token_that_ends_in_the_middle_is_renewed() {
    let layers: Vec<_> = (0..6).map(|index| layer(&format!("f{index}"), noise(10_000))).collect();
    let content = Content::of("1", &layers);
    let blobs: Vec<String> = layers.iter().map(|layer| digest(&layer.blob)).collect();
    let given = AtomicUsize::new(0);
    let refused: Mutex<BTreeMap<String, String>> = Mutex::default();
    let fake = Fake::start(move |request| {
        let host = request.header("host").unwrap_or_default();
        if request.path.starts_with("/token") {
            return Reply::ok(format!(r#"{{"token":"t{}"}}"#, given.fetch_add(1, Ordering::SeqCst)));
        }
        let no = Reply::status(401).header("www-authenticate", &format!(r#"Bearer realm="http://{host}/token""#));
        let Some(shown) = request.header("authorization") else { return no };
        let is_layer = blobs.iter().any(|blob| request.path.ends_with(blob.as_str()));
        match is_layer.then(|| refused.lock().unwrap().insert(request.path.clone(), shown.to_owned())) {
            Some(None) => no,
            Some(Some(before)) if before == shown => Reply::status(400),
            _ => content.reply(request),
        }
    });
    let pulled = Place::new().pull(&format!("{}/a/b:1", fake.host()));
    assert_eq!(pulled.contents.layers.len(), 6);
    assert!(fake.requests().iter().filter(|request| request.path.starts_with("/token")).count() >= 3);
}

#[test]
fn a_token_that_ends_while_a_layer_breaks_is_renewed_for_the_rest() {
    let layer = layer("a", noise(300_000));
    let content = Content::of("1", std::slice::from_ref(&layer));
    let blob = digest(&layer.blob);
    let cut = Arc::new(AtomicUsize::new(0));
    let inner = with_tokens(content, 3, |_| None);
    // The layer's first answer is cut, and by then the token has been used up.
    let port = inner.port();
    let counted = cut.clone();
    let front = Fake::start(move |request| {
        let mut reply = forward(port, request);
        if request.path.ends_with(&blob) && reply.body().len() > 1000 && counted.fetch_add(1, Ordering::SeqCst) == 0 {
            reply = reply.cut_after(150_000);
        }
        reply
    });
    let _pulled = Place::new().pull(&format!("{}/a/b:1", front.host()));
    assert_eq!(cut.load(Ordering::SeqCst), 2);
}

/// Asks another fake the same, and hands its answer on.
fn forward(port: u16, request: &Request) -> Reply {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    stream.write_all(format!("{} {} HTTP/1.1\r\n{headers}\r\n", request.method, request.path).as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Reply::ok(&answer[end + 4..]).with_status(status);
    for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(": ")).filter(|(name, _)| *name != "content-length") {
        reply = reply.header(name, value);
    }
    reply
}

#[test]
fn a_login_is_shown_to_the_realm_alone_and_traded_for_a_token() {
    let fake = with_tokens(Content::of("1", &[layer("a", "b")]), 1000, |request| {
        (request.header("authorization") != Some(BASIC)).then(|| Reply::status(401))
    });
    let mut place = Place::new();
    place.credentials = password();
    let _pulled = place.pull(&format!("{}/a/b:1", fake.host()));
    let to_registry = fake.requests().into_iter().filter(|request| request.path.starts_with("/v2/"));
    assert!(to_registry.into_iter().all(|request| request.header("authorization") != Some(BASIC)));
}

#[test]
fn an_identity_token_is_traded_in_a_form() {
    let fake = with_tokens(Content::of("1", &[layer("a", "b")]), 1000, |request| {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let good = request.method == "POST" && form.contains("grant_type=refresh_token") && form.contains("refresh_token=the-identity");
        (!good).then(|| Reply::status(400))
    });
    let mut place = Place::new();
    place.credentials = Some(Credentials::IdentityToken("the-identity".into()));
    let _pulled = place.pull(&format!("{}/a/b:1", fake.host()));
    assert!(fake.requests().iter().all(|request| !request.path.contains("the-identity")));
}

#[test]
fn a_registry_that_wants_the_login_itself_gets_it() {
    let content = Content::of("1", &[layer("a", "b")]);
    let fake = Fake::start(move |request| match request.header("authorization") {
        Some(BASIC) => content.reply(request),
        _ => Reply::error(401, "UNAUTHORIZED").header("www-authenticate", "Basic realm=\"registry\""),
    });
    let mut place = Place::new();
    place.refuses(&format!("{}/a:1", fake.host()), Kind::Denied, "needs a login");
    place.credentials = password();
    let _pulled = place.pull(&format!("{}/a:1", fake.host()));
    place.credentials = Some(Credentials::Password { user: "me".into(), password: "wrong".into() });
    place.refuses(&format!("{}/a:1", fake.host()), Kind::Denied, "login was refused");
}

#[test]
fn a_no_is_told_by_what_it_means_to_whom() {
    let mut place = Place::new();
    let fake = with_tokens(Content::default(), 0, |_| None);
    place.refuses(&format!("{}/a/b:1", fake.host()), Kind::Denied, "needs a login, or does not exist");
    place.credentials = password();
    place.refuses(&format!("{}/a/b:1", fake.host()), Kind::Denied, "or this login has no right to it");
    let refusing = with_tokens(Content::default(), 0, |_| Some(Reply::status(401)));
    place.refuses(&format!("{}/a/b:1", refusing.host()), Kind::Denied, "login was refused");
    let forbidding = Fake::start(|_| Reply::error(403, "DENIED"));
    place.refuses(&format!("{}/a/b:1", forbidding.host()), Kind::Denied, "no right to it");
}

#[test]
fn where_tokens_are_must_make_sense() {
    for (challenge, words) in [
        ("", "not what it wants"),
        ("Bearer realm=\"nonsense\"", "is none"),
        ("Bearer realm=\"http://auth.example/token\"", "plain HTTP"),
        ("Bearer realm=\"https://user:pass@auth.example/\"", "holds a login"),
        ("Bearer realm=\"https://169.254.169.254/token\"", "link-local"),
        ("Bearer realm=\"https://0.0.0.0/token\"", "nobody's"),
        ("Digest realm=\"x\"", "not what it wants"),
    ] {
        let fake = Fake::start(move |_| Reply::status(401).header("www-authenticate", challenge));
        let mut place = Place::new();
        place.credentials = password();
        place.refuses(&format!("{}/a:1", fake.host()), Kind::Invalid, words);
    }
}

#[test]
fn a_token_that_is_none_is_refused() {
    for (answer, words) in [
        (Reply::ok("nonsense"), "cannot be read"),
        (Reply::ok("[[[[[[[["), "cannot be read"),
        (Reply::ok("{}"), "missing"),
        (Reply::ok(format!(r#"{{"token":"{}"}}"#, "x".repeat(70_000))), "too long"),
        (Reply::ok("{\"token\":\"a\\r\\nHost: elsewhere\"}"), "holds what no token holds"),
        (Reply::ok(vec![b' '; 1 << 16]).endless().chunked(), "more than 262144 bytes"),
    ] {
        let fake = with_tokens(Content::default(), 1, move |_| Some(answer.clone()));
        Place::new().refuses(&format!("{}/a/b:1", fake.host()), Kind::Invalid, words);
    }
}

/// Whatever a server makes of a login, it is not told on.
#[test]
fn a_server_that_repeats_the_login_does_not_bring_it_into_an_error() {
    let fake = Fake::start(|request| {
        let said = request.header("authorization").unwrap_or_default();
        let repeated = format!(r#"{{"errors":[{{"code":"{said} {PASSWORD}","message":"{said} {PASSWORD}"}}]}}"#);
        let challenge = if said.is_empty() { "Basic realm=\"x\"".to_owned() } else { format!("Bearer realm=\"{PASSWORD}\"") };
        let status = if said.is_empty() { 401 } else { 400 };
        Reply::ok(repeated).with_status(status).header("www-authenticate", &challenge)
    });
    let mut place = Place::new();
    place.credentials = password();
    let error = place.try_pull(&format!("{}/a:1", fake.host())).unwrap_err();
    let said = format!("{} {error:?}", chain(&error));
    assert!(!said.contains(PASSWORD) && !said.contains("bWU6"), "{said}");
    assert!(place.shown.lock().unwrap().iter().all(|picture| !format!("{picture:?}").contains(PASSWORD)));
}
