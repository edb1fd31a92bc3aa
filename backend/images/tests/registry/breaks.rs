//! Connections that break, stall, and servers that want to be asked later.

use std::time::{Duration, Instant};

use belljar_images::registry::Kind;
use belljar_model::pull::PullState;
use belljar_testbed::fake::{Content, Fake, Layer, Reply, Request, digest};

use crate::place::{Place, honest, layer, noise};

/// A registry with one image of one layer, which is answered by `turn`.
fn turning(layer: &Layer, turn: impl Fn(Reply, &Request) -> Reply + Send + Sync + 'static) -> Fake {
    let content = Content::of("1", std::slice::from_ref(layer));
    let blob = digest(&layer.blob);
    Fake::start(move |request| {
        let reply = content.reply(request);
        if request.path.ends_with(&blob) { turn(reply, request) } else { reply }
    })
}

#[track_caller]
fn arrives(fake: &Fake, layer: &Layer) -> Place {
    let place = Place::new();
    let _pulled = place.pull(&format!("{}/a:1", fake.host()));
    assert!(place.images.has_layer(&layer.diff_id.parse().unwrap()));
    place
}

#[test]
fn a_connection_that_is_cut_at_any_point_is_taken_up_there() {
    let layer = layer("a", noise(3000));
    let length = layer.blob.len();
    let points = (0..40).chain((40..length).step_by(97)).chain([length - 2, length - 1]);
    for point in points {
        let fake = turning(&layer, move |reply, request| if request.earlier == 0 { reply.cut_after(point) } else { reply });
        let place = arrives(&fake, &layer);
        assert_eq!(place.content(&layer.diff_id, "a"), noise(3000), "cut after {point}");
        let again = fake.requests().into_iter().rfind(|request| request.path.ends_with(&digest(&layer.blob))).unwrap();
        let range = (point > 0).then(|| format!("bytes={point}-"));
        assert_eq!(again.header("range"), range.as_deref(), "cut after {point}");
    }
}

#[test]
fn a_connection_that_is_cut_again_and_again_gets_there_while_it_brings_something() {
    let layer = layer("a", noise(2_000_000));
    let fake = turning(&layer, |reply, _| reply.cut_after(100_000));
    arrives(&fake, &layer);
    assert!(fake.count("GET", &digest(&layer.blob)) >= 20);
}

#[test]
fn a_connection_that_brings_nothing_is_given_up_after_a_few_tries() {
    let layer = layer("a", noise(20_000));
    for cut in [0, 100] {
        let fake = turning(&layer, move |reply, _| reply.cut_after(cut));
        Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Unavailable, "broke");
        assert_eq!(fake.count("GET", &digest(&layer.blob)), 5);
    }
}

#[test]
fn a_server_that_does_not_know_ranges_sends_again_what_is_here_and_it_is_passed_over() {
    let layer = layer("a", noise(500_000));
    let blob = layer.blob.clone();
    let fake = turning(&layer, move |_, request| {
        let whole = Reply::ok(blob.clone());
        if request.earlier < 3 { whole.cut_after(150_000 * (request.earlier + 1)) } else { whole }
    });
    let place = arrives(&fake, &layer);
    assert_eq!(place.content(&layer.diff_id, "a"), noise(500_000));
}

#[test]
fn a_server_that_refuses_ranges_is_asked_for_the_whole() {
    let layer = layer("a", noise(200_000));
    let blob = layer.blob.clone();
    let fake = turning(&layer, move |_, request| match (request.earlier, request.header("range")) {
        (0, _) => Reply::ok(blob.clone()).cut_after(100_000),
        (_, Some(_)) => Reply::status(416),
        (_, None) => Reply::ok(blob.clone()),
    });
    arrives(&fake, &layer);
}

#[test]
fn a_part_that_begins_elsewhere_is_not_taken_for_the_rest() {
    let layer = layer("a", noise(200_000));
    let blob = layer.blob.clone();
    let length = blob.len();
    let fake = turning(&layer, move |_, request| match (request.earlier, request.header("range")) {
        (0, _) => Reply::ok(blob.clone()).cut_after(100_000),
        (_, Some(_)) => {
            Reply::ok(&blob[50_000..]).with_status(206).header("content-range", &format!("bytes 50000-{}/{length}", length - 1))
        }
        (_, None) => Reply::ok(blob.clone()),
    });
    arrives(&fake, &layer);
}

#[test]
fn a_blob_that_changes_between_two_tries_is_refused() {
    let layer = layer("a", noise(200_000));
    let mut other = layer.blob.clone();
    other[5000] ^= 1;
    let good = layer.blob.clone();
    let changed = other.clone();
    let fake = turning(&layer, move |_, request| {
        if request.earlier == 0 {
            Reply::ok(good.clone()).header("etag", "\"1\"").cut_after(100_000)
        } else {
            Reply::ok(changed.clone()).header("etag", "\"2\"")
        }
    });
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Invalid, "changed while it was fetched");
    let again = fake.requests().into_iter().rfind(|request| request.path.ends_with(&digest(&layer.blob))).unwrap();
    assert_eq!(again.header("if-range"), Some("\"1\""));
    let (good, length) = (layer.blob.clone(), layer.blob.len() + 7);
    let fake = turning(&layer, move |_, request| {
        let part = Reply::ok(&good[100_000..]).with_status(206).header("content-range", &format!("bytes 100000-{}/{length}", length - 1));
        if request.earlier == 0 { Reply::ok(good.clone()).cut_after(100_000) } else { part }
    });
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Invalid, "should have");
}

#[test]
fn silence_is_a_broken_connection() {
    let layer = layer("a", noise(200_000));
    let fake = turning(&layer, |reply, request| if request.earlier == 0 { reply.stall_after(90_000) } else { reply });
    let begun = Instant::now();
    arrives(&fake, &layer);
    assert!(begun.elapsed() >= Duration::from_millis(400), "it was waited");
    assert_eq!(fake.count("GET", &digest(&layer.blob)), 2);
}

#[test]
fn silence_after_the_last_byte_is_the_end() {
    let layer = layer("a", noise(20_000));
    let length = layer.blob.len();
    let fake = turning(&layer, move |reply, _| reply.chunked().stall_after(length));
    arrives(&fake, &layer);
    assert_eq!(fake.count("GET", &digest(&layer.blob)), 1);
}

#[test]
fn a_byte_now_and_then_is_silence() {
    let layer = layer("a", noise(200_000));
    let fake = turning(&layer, |reply, request| if request.earlier == 0 { reply.paced(Duration::from_millis(50)) } else { reply });
    let begun = Instant::now();
    arrives(&fake, &layer);
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
}

#[test]
fn a_manifest_that_breaks_is_asked_for_again() {
    let content = Content::of("1", &[layer("a", "b")]);
    let fake = Fake::start(move |request| {
        let reply = content.reply(request);
        match (request.path.contains("/manifests/"), request.earlier) {
            (true, 0) => reply.cut_after(10),
            (true, 1) => Reply::status(502),
            (true, 2) => reply.stall_after(3),
            _ => reply,
        }
    });
    let _pulled = Place::new().pull(&format!("{}/a:1", fake.host()));
}

/// The pauses that were shown: why, and until when.
fn waits(place: &Place) -> Vec<(String, i64)> {
    let pictures = place.shown.lock().unwrap();
    let waits = pictures.iter().filter_map(|picture| match &picture.state {
        PullState::Waiting { because, until_ms } => Some((because.clone(), *until_ms)),
        _ => None,
    });
    let mut waits: Vec<_> = waits.collect();
    waits.dedup();
    waits
}

#[test]
fn asked_to_wait_it_waits_as_told_and_shows_it() {
    let layer = layer("a", "b");
    let fake = turning(&layer, |reply, request| if request.earlier == 0 { Reply::status(429).header("retry-after", "1") } else { reply });
    let begun = Instant::now();
    let place = arrives(&fake, &layer);
    assert!(begun.elapsed() >= Duration::from_secs(1), "it came back after {:?}", begun.elapsed());
    let waits = waits(&place);
    assert!(waits.iter().any(|(because, _)| because.contains("asked too often")), "{waits:?}");
    assert_eq!(place.shown.lock().unwrap().last().unwrap().state, PullState::Fetching);
}

#[test]
fn asked_to_wait_until_a_moment_it_waits_until_then_by_the_servers_own_clock() {
    let content = Content::of("1", &[layer("a", "b")]);
    let fake = Fake::start(move |request| {
        let later =
            Reply::status(503).header("date", "Sun, 06 Nov 1994 08:49:36 GMT").header("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT");
        if request.earlier == 0 && request.path.contains("/manifests/") { later } else { content.reply(request) }
    });
    let begun = Instant::now();
    let place = Place::new();
    let _pulled = place.pull(&format!("{}/a:1", fake.host()));
    assert!(begun.elapsed() >= Duration::from_secs(1), "it came back after {:?}", begun.elapsed());
}

#[test]
fn asked_to_wait_for_longer_than_anybody_does_it_fails_at_once_and_says_how_long() {
    for after in ["3600", "99999999999999999999"] {
        let fake = Fake::start(move |_| Reply::error(429, "TOOMANYREQUESTS").header("retry-after", after));
        Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::RateLimited, "asked too often");
        assert_eq!(fake.requests().len(), 1);
    }
}

#[test]
fn asked_too_often_without_a_time_it_waits_longer_and_longer_and_ends() {
    let fake = Fake::start(|_| Reply::status(429));
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::RateLimited, "asked too often");
    assert_eq!(fake.requests().len(), 5);
}

#[test]
fn asked_to_come_back_at_once_for_ever_it_ends() {
    let fake = Fake::start(|_| Reply::status(429).header("retry-after", "0"));
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::RateLimited, "asked too often");
    assert_eq!(fake.requests().len(), 11);
}

/// A plain server that reads a line before it says anything never answers a greeting of TLS.
#[test]
fn a_plain_server_on_loopback_that_waits_for_a_line_is_found_out() {
    use std::io::{BufRead, Write};
    let content = Content::of("1", &[layer("a", "b")]);
    let fake = honest(content);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let behind = fake.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
                let mut head = Vec::new();
                // Until an empty line: what is no HTTP is waited for, not refused.
                while !head.ends_with(b"\r\n\r\n") {
                    if reader.read_until(b'\n', &mut head).unwrap_or(0) == 0 {
                        return;
                    }
                }
                let mut server = std::net::TcpStream::connect(("127.0.0.1", behind)).unwrap();
                server.write_all(&head).unwrap();
                // One answer for each connection: its end is this server's.
                server.shutdown(std::net::Shutdown::Write).unwrap();
                let mut to = stream;
                let _either = std::io::copy(&mut server, &mut to);
            });
        }
    });
    let _pulled = Place::new().pull(&format!("{host}/a:1"));
}

#[test]
fn a_server_that_does_not_work_is_told_by_its_status() {
    let fake = Fake::start(|_| Reply::status(500));
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Unavailable, "answered 500");
    let fake = Fake::start(|_| Reply::status(418));
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Unavailable, "answered 418");
    assert_eq!(fake.requests().len(), 1, "that is no passing matter");
}

#[test]
fn nobody_there_and_no_such_host_are_told_apart() {
    let gone = { honest(Content::default()).host() };
    Place::new().refuses(&format!("{gone}/a:1"), Kind::Unavailable, "could not connect to 127.0.0.1");
    Place::new().refuses("nowhere.invalid/a:1", Kind::Unavailable, "could not find the address of nowhere.invalid");
}

#[test]
fn what_is_no_http_is_not_understood() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _written = std::io::Write::write_all(&mut stream, b"SSH-2.0-hello\r\n");
        }
    });
    Place::new().refuses(&format!("{host}/a:1"), Kind::Unavailable, "broke");
}
