//! `events`: what a container uses, once or every few seconds, and that it ran out of memory; a line of JSON each, in runc's
//! shape.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use belljar_linux::process;
use belljar_runtime::cgroup::Cgroup;
use belljar_runtime::cgroup::events::Watch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;

use super::stats::Stats;
use super::{Call, Command, DONE, Error, print};
use crate::flags::{Flag, Line, Order, switch, valued};
use crate::state::Status;

const FLAGS: &[Flag] =
    &[valued("interval", "", "DURATION", "time between two (default 5s)"), switch("stats", "", "show what is used now, and end")];

pub(super) const COMMAND: Command = Command {
    name: "events",
    words: "<container-id>",
    about: "show what a container uses, and that it ran out of memory",
    flags: FLAGS,
    order: Order::Anywhere,
    run,
};

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    let id = line.only_word("events")?;
    let interval = duration(line.value("interval").unwrap_or("5s"))
        .ok_or_else(|| Error::Refused("--interval: duration interval must be greater than 0, such as 5s".into()))?;
    let (folder, record) = call.container(id)?;
    let gone = || Error::status(id, format!("container with id {id} is not running"));
    let first = record.first.filter(|_| folder.look(&record) != Status::Stopped).ok_or_else(gone)?;
    if line.has("stats") {
        tell(&stats(id, &record.cgroup))?;
        return Ok(DONE);
    }
    let pidfd = process::open(first.pid, first.start_ticks).map_err(|_| gone())?;
    follow(id, &record.cgroup, &pidfd, interval)
}

/// Until the container has ended.
fn follow(id: &str, cgroup: &Cgroup, pidfd: &OwnedFd, interval: Duration) -> Result<u8, Error> {
    let mut watch = Watch::begin(cgroup)?;
    let mut next = Instant::now() + interval;
    loop {
        let pause = next.saturating_duration_since(Instant::now());
        let pause = Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: pause.subsec_nanos().into() };
        let mut waited = vec![PollFd::new(pidfd, PollFlags::IN)];
        waited.extend(watch.as_ref().map(|watch| PollFd::new(watch, PollFlags::IN)));
        match poll(&mut waited, Some(&pause)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(belljar_linux::Error::new("wait for", format!("container {id}"), errno).into()),
        }
        let has_ended = !waited[0].revents().is_empty();
        drop(waited);
        // Looked at after the end, too: it may have ended for want of memory.
        let seen = watch.as_mut().map(Watch::look).transpose()?;
        if seen.is_some_and(|seen| seen.out_of_memory > 0) {
            tell(&Event::Oom { id })?;
        }
        if has_ended || seen.is_some_and(|seen| seen.is_over) {
            return Ok(DONE);
        }
        if Instant::now() >= next {
            tell(&stats(id, cgroup))?;
            next = Instant::now() + interval;
        }
    }
}

/// A line, as runc writes it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Event<'a> {
    /// It ran out of memory.
    Oom { id: &'a str },
    /// What it uses.
    Stats { id: &'a str, data: Box<Stats> },
}

fn stats<'a>(id: &'a str, cgroup: &Cgroup) -> Event<'a> {
    Event::Stats { id, data: Box::new(Stats::read(cgroup)) }
}

fn tell(line: &Event<'_>) -> Result<(), Error> {
    let line = serde_json::to_string(line).map_err(|error| Error::Refused(format!("cannot write JSON: {error}")))?;
    print(&format!("{line}\n"))
}

/// Reads `5s`, `500ms`, `1.5h`, `1m30s`: what Go reads as a duration.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_a_unit_and_is_not_nothing() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("1000000us"), Some(Duration::from_secs(1)));
        for wrong in ["", "5", "s", "0s", "-1s", "1d", "1m30", "1.5.s", "99999999999999999999s"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
