//! Where a registry may lead, and how it is spoken to: redirects, TLS, proxies.

use belljar_images::registry::{Credentials, Kind, Proxies, Settings};
use belljar_testbed::fake::{Content, Fake, Proxy, Reply, digest};

use crate::place::{Place, honest, layer};

/// A registry that answers every request for a blob with a redirect.
fn leading(to: impl Fn(&str) -> String + Send + Sync + 'static) -> Fake {
    let content = Content::of("1", &[layer("a", "b")]);
    Fake::start(move |request| {
        let own = request.header("host").unwrap_or_default();
        if request.path.contains("/blobs/") && !request.path.contains("/led/") { Reply::redirect(&to(own)) } else { content.reply(request) }
    })
}

#[track_caller]
fn refuses(fake: &Fake, words: &str) {
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Invalid, words);
}

#[test]
fn a_redirect_to_this_machine_is_not_followed() {
    let trap = honest(Content::default());
    let port = trap.port();
    for host in ["127.0.0.1", "localhost", "[::1]", "127.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"] {
        let fake = leading(move |_| format!("https://{host}:{port}/v2/led/blobs/x"));
        refuses(&fake, "an address of this machine");
    }
    let fake = leading(move |_| format!("https://0.0.0.0:{port}/v2/led/blobs/x"));
    refuses(&fake, "nobody's");
    let fake = leading(|_| "https://169.254.169.254/latest/meta-data".to_owned());
    refuses(&fake, "link-local");
    let fake = leading(|_| "https://[fe80::1]/".to_owned());
    refuses(&fake, "link-local");
    assert_eq!(trap.requests().len(), 0, "the trap was asked");
}

/// By a name that looks like any other: what counts is the address that is connected to.
#[test]
fn a_redirect_to_this_machine_by_another_name_is_not_followed() {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let names =
        hosts.lines().filter(|line| line.starts_with("127.") || line.starts_with("::1")).flat_map(|line| line.split_whitespace().skip(1));
    let Some(name) = names.filter(|name| !name.ends_with("localhost") && !name.starts_with('#')).map(str::to_owned).next() else {
        return belljar_testbed::skip("a name for loopback in /etc/hosts");
    };
    let trap = honest(Content::default());
    let port = trap.port();
    let fake = leading(move |_| format!("https://{name}:{port}/led/"));
    refuses(&fake, "this machine");
    assert_eq!(trap.requests().len(), 0, "the trap was asked");
}

#[test]
fn a_redirect_to_plain_http_is_not_followed() {
    let fake = leading(|_| "http://blobs.example/x".to_owned());
    refuses(&fake, "plain HTTP");
    let fake = leading(|_| "file:///etc/passwd".to_owned());
    refuses(&fake, "neither http nor https");
    let fake = leading(|_| "https://user:secret@blobs.example/x".to_owned());
    refuses(&fake, "with a login");
}

#[test]
fn redirects_in_a_circle_come_to_an_end() {
    let fake = leading(|_| "/v2/a/blobs/round-and-round".to_owned());
    refuses(&fake, "more than 5 redirects");
    assert!(fake.requests().len() < 20, "{}", fake.requests().len());
}

#[test]
fn a_redirect_without_or_with_a_senseless_address_is_refused() {
    let content = Content::of("1", &[layer("a", "b")]);
    let fake = Fake::start(move |request| if request.path.contains("/blobs/") { Reply::status(302) } else { content.reply(request) });
    refuses(&fake, "does not say where");
    let fake = leading(|_| "https://[nothing".to_owned());
    refuses(&fake, "no address");
    let fake = leading(|_| format!("http://{}.example/", "a".repeat(50_000)));
    let error = Place::new().try_pull(&format!("{}/a:1", fake.host())).unwrap_err();
    assert!(crate::place::chain(&error).len() < 1500);
}

#[test]
fn a_redirect_to_the_registry_itself_is_followed() {
    let layer = layer("a", "b");
    let mut content = Content::of("1", std::slice::from_ref(&layer));
    content.put("led/here", "application/octet-stream", &layer.blob);
    let blob = digest(&layer.blob);
    let fake =
        Fake::start(move |request| if request.path.ends_with(&blob) { Reply::redirect("/v2/led/here") } else { content.reply(request) });
    let place = Place::new();
    let _pulled = place.pull(&format!("{}/a:1", fake.host()));
    assert_eq!(place.content(&layer.diff_id, "a"), b"b");
}

#[test]
fn a_registry_on_loopback_that_speaks_tls_is_spoken_to_by_tls() {
    let content = Content::of("1", &[layer("a", "b")]);
    let fake = Fake::start_with_tls(&["127.0.0.1"], move |request| content.reply(request));
    let place = Place::believing(&fake, Proxies::default());
    let _pulled = place.pull(&format!("{}/a:1", fake.host()));
}

#[test]
fn a_registry_on_loopback_that_does_not_prove_who_it_is_is_not_spoken_to_plainly_instead() {
    let content = Content::of("1", &[layer("a", "b")]);
    let fake = Fake::start_with_tls(&["127.0.0.1"], move |request| content.reply(request));
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Unavailable, "TLS");
    let other = Fake::start_with_tls(&["registry.example"], |_| Reply::status(200));
    Place::believing(&other, Proxies::default()).refuses(&format!("{}/a:1", other.host()), Kind::Unavailable, "TLS");
    assert!(fake.requests().is_empty() && other.requests().is_empty());
}

fn through(proxy: &Proxy) -> Proxies {
    let url = proxy.url();
    Proxies::from_variables(move |name| (name == "HTTPS_PROXY").then(|| url.clone()))
}

#[test]
fn through_a_proxy_the_blobs_of_another_host_arrive_and_it_sees_no_login() {
    let layer = layer("a", "b");
    let content = Content::of("1", std::slice::from_ref(&layer));
    let blob = digest(&layer.blob);
    let wanted = blob.clone();
    let fake = Fake::start_with_tls(&["registry.example", "blobs.example"], move |request| {
        let host = request.header("host").unwrap_or_default();
        match (host, request.header("authorization")) {
            ("registry.example", None) => Reply::status(401).header("www-authenticate", "Basic realm=\"x\""),
            ("registry.example", Some(_)) if request.path.ends_with(&blob) => {
                Reply::redirect(&format!("https://blobs.example/blobs/{blob}?signed=secret"))
            }
            ("blobs.example", Some(_)) => Reply::status(400),
            _ => content.reply(request),
        }
    });
    let proxy = Proxy::start(&[("registry.example:443", fake.port()), ("blobs.example:443", fake.port())]);
    let mut place = Place::believing(&fake, through(&proxy));
    place.credentials = Some(Credentials::Password { user: "me".into(), password: "hunter2".into() });
    let _pulled = place.pull("registry.example/a:1");
    let to_blobs: Vec<_> = fake.requests().into_iter().filter(|request| request.header("host") == Some("blobs.example")).collect();
    assert!(to_blobs.iter().any(|request| request.path.contains(&wanted)), "{to_blobs:?}");
    assert!(to_blobs.iter().all(|request| request.header("authorization").is_none()), "{to_blobs:?}");
    let asked = proxy.asked();
    assert!(asked.iter().all(|head| head.contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=")), "{asked:?}");
    assert!(!asked.concat().contains("hunter2"));
}

#[test]
fn a_redirect_from_tls_to_plain_http_or_to_this_machine_is_not_followed_through_a_proxy_either() {
    for (to, words) in [
        ("http://registry.example/x", "plain HTTP"),
        ("https://127.0.0.1/x", "this machine"),
        ("https://localhost/x", "this machine"),
        ("https://169.254.169.254/x", "link-local"),
    ] {
        let content = Content::of("1", &[layer("a", "b")]);
        let fake = Fake::start_with_tls(&["registry.example"], move |request| {
            if request.path.contains("/blobs/") { Reply::redirect(to) } else { content.reply(request) }
        });
        let proxy = Proxy::start(&[("registry.example:443", fake.port())]);
        Place::believing(&fake, through(&proxy)).refuses("registry.example/a:1", Kind::Invalid, words);
    }
}

#[test]
fn a_proxy_that_does_not_lead_there_is_told_and_its_login_is_not() {
    let proxy = Proxy::start(&[]);
    let fake = Fake::start_with_tls(&["registry.example"], |_| Reply::status(200));
    let place = Place::believing(&fake, through(&proxy));
    place.refuses("registry.example/a:1", Kind::Unavailable, "answered 502");
    let said = crate::place::chain(&place.try_pull("registry.example/a:1").unwrap_err());
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn plain_http_is_for_loopback_alone() {
    let content = Content::of("1", &[layer("a", "b")]);
    let fake = Fake::start(move |request| content.reply(request));
    let proxy = Proxy::start(&[("registry.example:443", fake.port())]);
    let place = Place::patient(Settings {
        proxies: through(&proxy),
        patience: belljar_images::registry::Patience { pause_first: std::time::Duration::from_millis(2), ..Default::default() },
        ..Settings::default()
    });
    place.refuses("registry.example/a:1", Kind::Unavailable, "TLS");
    assert!(fake.requests().is_empty(), "{:?}", fake.requests());
}

#[test]
fn localhost_is_loopback_by_its_name() {
    let fake = honest(Content::of("1", &[layer("a", "b")]));
    let _pulled = Place::new().pull(&format!("localhost:{}/a:1", fake.port()));
}
