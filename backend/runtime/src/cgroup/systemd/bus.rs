//! A connection to systemd: its own socket, or the system's bus. One call at a time, each with a time limit.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use belljar_linux::error::Context;
use belljar_linux::{Error, Result};
use rustix::io::Errno;

use super::message::{Kind, Message, Value};

/// systemd's own socket, for root only: no bus between.
const PRIVATE: &str = "/run/systemd/private";
/// The system's bus.
const SYSTEM: &str = "/run/dbus/system_bus_socket";
/// How long an answer, or the end of a job, may take.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Longest line of the greeting.
const LINE_BYTES: usize = 1024;

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no way to systemd, or it was cut.
    #[error(transparent)]
    Connection(#[from] Error),
    /// It said no.
    #[error("systemd: {text} ({name})")]
    Refused {
        /// The error's name: `org.freedesktop.systemd1.UnitExists`.
        name: String,
        /// In its own words.
        text: String,
    },
    /// A job that it took on ended otherwise than done.
    #[error("systemd: the job for {unit} ended as {result}")]
    Job {
        /// The unit.
        unit: String,
        /// `failed`, `timeout`, `canceled`, ….
        result: String,
    },
}

impl Failure {
    /// As the failure of an operation on a unit.
    pub(super) fn told(self, operation: &'static str, unit: &str) -> Error {
        match self {
            Self::Connection(error) => error,
            refused => Error::new(operation, format!("{unit}: {refused}"), Errno::REMOTEIO),
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    received: Vec<u8>,
    serial: u32,
    /// Signals that came while an answer was waited for.
    signals: Vec<Message>,
    /// Whom calls go to: systemd's name on a bus, nobody on a direct connection.
    pub(super) destination: Option<&'static str>,
}

impl Bus {
    /// Connects to the systemd of this host.
    pub fn connect() -> std::result::Result<Self, Failure> {
        if let Ok(stream) = UnixStream::connect(PRIVATE) {
            return Self::greet(stream, None);
        }
        let stream = UnixStream::connect(SYSTEM).map_err(|error| {
            let subject = format!("systemd ({PRIVATE} and {SYSTEM}): it does not run on this host, so it cannot make cgroups");
            Error::from_io("connect to", subject, &error)
        })?;
        let mut bus = Self::greet(stream, Some("org.freedesktop.systemd1"))?;
        let name = "org.freedesktop.DBus";
        let to_bus = |member: &str| Message::call(Some(name), "/org/freedesktop/DBus", name, member);
        bus.call(to_bus("Hello"))?;
        let rule = "type='signal',path='/org/freedesktop/systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
        bus.call(Message { body: vec![Value::text(rule)], ..to_bus("AddMatch") })?;
        bus.call(Message::call(bus.destination, super::manager::PATH, super::manager::INTERFACE, "Subscribe"))?;
        Ok(bus)
    }

    /// The greeting: who we are is what the socket says of us, so only the number is named. Its end is sent with it: a call
    /// that systemd reads together with the end stays in its buffer until something else arrives, and has no answer.
    pub(super) fn greet(mut stream: UnixStream, destination: Option<&'static str>) -> std::result::Result<Self, Failure> {
        stream.set_read_timeout(Some(ANSWER_LIMIT)).context("set", || "time limit".into())?;
        stream.set_write_timeout(Some(ANSWER_LIMIT)).context("set", || "time limit".into())?;
        let uid: String = rustix::process::geteuid().as_raw().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").as_bytes()).context("greet", || "systemd".into())?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).context("greet", || "systemd".into())?;
            line.push(byte[0]);
            if line.len() > LINE_BYTES {
                return Err(Error::new("greet", "systemd", Errno::PROTO).into());
            }
        }
        if !line.starts_with(b"OK ") {
            return Err(Error::new("greet", "systemd, which does not know us", Errno::ACCESS).into());
        }
        Ok(Self { stream, received: Vec::new(), serial: 0, signals: Vec::new(), destination })
    }

    /// Calls and waits for the answer; its values.
    pub fn call(&mut self, mut message: Message) -> std::result::Result<Vec<Value>, Failure> {
        self.serial += 1;
        message.serial = self.serial;
        let member = message.member.clone().unwrap_or_default();
        self.stream.write_all(&message.encode()).context("call", || format!("systemd's {member}"))?;
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            let answer = self.receive(&member, deadline)?;
            match answer.kind {
                Kind::Signal => self.signals.push(answer),
                Kind::Return if answer.reply_to == Some(self.serial) => return Ok(answer.body),
                Kind::Error if answer.reply_to == Some(self.serial) => {
                    let text = answer.body.first().and_then(Value::as_text).unwrap_or_default().to_owned();
                    return Err(Failure::Refused { name: answer.error.unwrap_or_default(), text });
                }
                _ => {}
            }
        }
    }

    /// Waits until a job has been removed; how it ended.
    pub fn job_result(&mut self, job: &str) -> std::result::Result<String, Failure> {
        let deadline = Instant::now() + ANSWER_LIMIT;
        let mut waiting = std::mem::take(&mut self.signals).into_iter();
        loop {
            let signal = match waiting.next() {
                Some(signal) => signal,
                None => self.receive("JobRemoved", deadline)?,
            };
            if signal.kind == Kind::Signal
                && signal.member.as_deref() == Some("JobRemoved")
                && let [_, path, _, result] = &signal.body[..]
                && path.as_text() == Some(job)
            {
                return Ok(result.as_text().unwrap_or_default().to_owned());
            }
        }
    }

    fn receive(&mut self, waited_for: &str, deadline: Instant) -> Result<Message> {
        let subject = || format!("systemd's {waited_for}");
        loop {
            match Message::decode(&self.received) {
                Ok(Some((message, length))) => {
                    self.received.drain(..length);
                    return Ok(message);
                }
                Ok(None) => {}
                Err(_) => return Err(Error::new("understand", subject(), Errno::BADMSG)),
            }
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
            let Some(left) = left else { return Err(Error::new("wait for", subject(), Errno::TIMEDOUT)) };
            self.stream.set_read_timeout(Some(left)).context("set", || "time limit".into())?;
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Error::new("wait for", subject(), Errno::PIPE)),
                Ok(length) => self.received.extend(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(Error::new("wait for", subject(), Errno::TIMEDOUT));
                }
                Err(error) => return Err(Error::from_io("wait for", subject(), &error)),
            }
        }
    }
}

/// Whether a systemd runs this host, as `sd_booted(3)` finds out.
pub fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}
