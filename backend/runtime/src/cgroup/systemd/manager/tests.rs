//! A conversation with systemd, whose other side is played here: each message is compared as bytes, each answer is one of those
//! that systemd 252 gave.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::cgroup::systemd::message::Kind;

/// The other side: greets, then takes one call after another and answers each with these messages.
fn play(mut stream: UnixStream, script: Vec<Vec<Message>>) -> std::thread::JoinHandle<Vec<Vec<u8>>> {
    std::thread::spawn(move || {
        let mut greeting = Vec::new();
        while !greeting.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            greeting.push(byte[0]);
        }
        stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n").unwrap();
        let mut begin = [0; 7];
        stream.read_exact(&mut begin).unwrap();
        let mut heard = vec![greeting, begin.to_vec()];
        for answers in script {
            let mut bytes = Vec::new();
            loop {
                if let Some((_, length)) = Message::decode(&bytes).unwrap() {
                    assert_eq!(length, bytes.len(), "one call at a time");
                    break;
                }
                let mut chunk = [0; 512];
                let length = stream.read(&mut chunk).unwrap();
                assert_ne!(length, 0, "a call is still to come");
                bytes.extend(&chunk[..length]);
            }
            heard.push(bytes);
            // In pieces, as a socket may hand them on.
            for piece in answers.iter().flat_map(Message::encode).collect::<Vec<u8>>().chunks(7) {
                stream.write_all(piece).unwrap();
            }
        }
        heard
    })
}

fn returned(serial: u32, body: Vec<Value>) -> Message {
    let call = Message::call(None, "/", "", "");
    Message { kind: Kind::Return, serial: 90 + serial, reply_to: Some(serial), path: None, interface: None, member: None, body, ..call }
}

fn refused(serial: u32, name: &str) -> Message {
    Message { kind: Kind::Error, error: Some(name.to_owned()), ..returned(serial, vec![Value::text("in its own words")]) }
}

fn job_removed(job: &str, result: &str) -> Message {
    let body = vec![Value::U32(7), Value::Path(job.to_owned()), Value::text("x.scope"), Value::text(result)];
    Message { kind: Kind::Signal, serial: 80, body, ..Message::call(None, PATH, INTERFACE, "JobRemoved") }
}

fn job(serial: u32) -> Message {
    returned(serial, vec![Value::Path("/org/freedesktop/systemd1/job/7".into())])
}

const JOB: &str = "/org/freedesktop/systemd1/job/7";

fn scope() -> Scope {
    let properties = vec![Property("MemoryMax", Value::U64(4096))];
    Scope { unit: "p-n.scope".to_owned(), slice: "a.slice".to_owned(), properties }
}

#[test]
fn a_scope_is_asked_for_in_these_bytes() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let peer = play(theirs, vec![vec![job_removed("/another", "failed"), job(1), job_removed(JOB, "done")]]);
    let mut bus = Bus::greet(ours, None).unwrap();
    scope().start(&mut bus, 42).unwrap();
    let heard = peer.join().unwrap();
    let uid: String = rustix::process::geteuid().as_raw().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
    assert_eq!(heard[0], format!("\0AUTH EXTERNAL {uid}\r\n").into_bytes());
    assert_eq!(heard[1], b"BEGIN\r\n");
    // As busctl prints the same call, checked by hand against the specification.
    let hexadecimal: String = heard[2].iter().map(|byte| format!("{byte:02x}")).collect();
    insta::assert_snapshot!(hexadecimal);
    let (message, _) = Message::decode(&heard[2]).unwrap().unwrap();
    assert_eq!((message.member.as_deref(), message.body[0].as_text()), (Some("StartTransientUnit"), Some("p-n.scope")));
    let Value::Array(_, properties) = &message.body[2] else { panic!("{message:?}") };
    let pids = Value::Struct(vec![Value::text("PIDs"), Value::Variant(Box::new(Value::Array("u".into(), vec![Value::U32(42)])))]);
    assert!(properties.contains(&pids));
}

#[test]
fn a_scope_that_failed_earlier_makes_way() {
    let exists = "org.freedesktop.systemd1.UnitExists";
    let (ours, theirs) = UnixStream::pair().unwrap();
    let peer = play(theirs, vec![vec![refused(1, exists)], vec![returned(2, vec![])], vec![job(3), job_removed(JOB, "done")]]);
    let mut bus = Bus::greet(ours, None).unwrap();
    scope().start(&mut bus, 42).unwrap();
    let members: Vec<String> =
        peer.join().unwrap()[2..].iter().map(|bytes| Message::decode(bytes).unwrap().unwrap().0.member.unwrap()).collect();
    assert_eq!(members, ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
}

#[test]
fn what_systemd_refuses_or_fails_is_told_in_its_words() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let peer = play(theirs, vec![vec![refused(1, "org.freedesktop.DBus.Error.AccessDenied")], vec![job(2), job_removed(JOB, "timeout")]]);
    let mut bus = Bus::greet(ours, None).unwrap();
    let no = scope().start(&mut bus, 42).unwrap_err().to_string();
    assert_eq!(no, "systemd: in its own words (org.freedesktop.DBus.Error.AccessDenied)");
    assert_eq!(scope().start(&mut bus, 42).unwrap_err().to_string(), "systemd: the job for p-n.scope ended as timeout");
    peer.join().unwrap();
    let cut = scope().start(&mut bus, 42).unwrap_err().to_string();
    assert!(cut.contains("StartTransientUnit: EPIPE"), "{cut}");
}

#[test]
fn a_unit_that_is_gone_has_ended() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let gone = || refused(1, "org.freedesktop.systemd1.NoSuchUnit");
    let peer = play(theirs, vec![vec![gone()], vec![refused(2, "org.freedesktop.systemd1.NoSuchUnit")], vec![returned(3, vec![])]]);
    let mut bus = Bus::greet(ours, None).unwrap();
    stop(&mut bus, "p-n.scope").unwrap();
    set_properties(&mut bus, "p-n.scope", &scope().properties).unwrap();
    peer.join().unwrap();
}
