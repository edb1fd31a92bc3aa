//! `events`: what a container uses, once or every few seconds, and that it ran out of memory; a line of JSON each, in runc's
//! shape.

use std::time::{Duration, Instant};

use belljar_linux::process;
use belljar_runtime::cgroup::Cgroup;
use belljar_runtime::cgroup::update::oom_kills;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value, json};

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

/// How often it is looked whether somebody was killed for memory.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const NSEC_OF_USEC: u64 = 1000;
const NSEC_OF_SEC: u64 = 1_000_000_000;

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    let id = line.only_word("events")?;
    let interval = duration(line.value("interval").unwrap_or("5s"))
        .ok_or_else(|| Error::Refused("--interval: duration interval must be greater than 0, such as 5s".into()))?;
    let (folder, record) = call.container(id)?;
    let gone = || Error::status(id, format!("container with id {id} is not running"));
    let first = record.first.filter(|_| folder.look(&record) != Status::Stopped).ok_or_else(gone)?;
    let cgroup = record.cgroup;
    if line.has("stats") {
        print(&stats(id, &cgroup))?;
        return Ok(DONE);
    }
    let pidfd = process::open(first.pid, first.start_ticks).map_err(|_| gone())?;
    let mut killed = kills(&cgroup);
    let mut next = Instant::now() + interval;
    loop {
        let pause = next.saturating_duration_since(Instant::now()).min(LOOK_EVERY);
        let pause = Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) };
        let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&pause)).is_ok_and(|ready| ready > 0);
        let now_killed = kills(&cgroup);
        if now_killed > killed {
            print(&format!("{}\n", json!({"type": "oom", "id": id})))?;
            killed = now_killed;
        }
        if ended {
            return Ok(DONE);
        }
        if Instant::now() >= next {
            print(&stats(id, &cgroup))?;
            next = Instant::now() + interval;
        }
    }
}

/// Reads `5s`, `500ms`, `1m`, `2h`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = (text[..digits].parse::<u64>().ok()?, &text[digits..]);
    let milliseconds = match unit {
        "ms" => number,
        "s" => number.checked_mul(1000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    };
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
}

fn kills(cgroup: &Cgroup) -> u64 {
    oom_kills(cgroup).unwrap_or_default()
}

/// A file of `name number` lines.
fn keys(text: &str) -> Map<String, Value> {
    let pair = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse::<u64>().ok()?.into()))
    };
    text.lines().filter_map(pair).collect()
}

/// The line of what is used now.
fn stats(id: &str, cgroup: &Cgroup) -> String {
    let data = json!({
        "cpu": cpu(cgroup),
        "memory": memory(cgroup),
        "pids": pids(cgroup),
        "blkio": block_io(cgroup),
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": null,
    });
    format!("{}\n", json!({"type": "stats", "id": id, "data": data}))
}

/// A file that holds one number; `max` is the largest there is.
fn number(cgroup: &Cgroup, controller: &str, file: &str) -> Option<u64> {
    let text = cgroup.read(controller, file)?;
    if text.trim() == "max" { Some(u64::MAX) } else { text.trim().parse().ok() }
}

/// Times in nanoseconds, whichever version counts them.
fn cpu(cgroup: &Cgroup) -> Value {
    let stat = keys(&cgroup.read("cpu", "cpu.stat").unwrap_or_default());
    let key = |name: &str| stat.get(name).and_then(Value::as_u64);
    let throttling = json!({
        "periods": key("nr_periods").unwrap_or_default(),
        "throttledPeriods": key("nr_throttled").unwrap_or_default(),
        "throttledTime": key("throttled_time").or(key("throttled_usec").map(|time| time * NSEC_OF_USEC)).unwrap_or_default(),
    });
    let usage = match key("usage_usec") {
        Some(total) => {
            let time = |name: &str| key(name).unwrap_or_default() * NSEC_OF_USEC;
            json!({"total": total * NSEC_OF_USEC, "user": time("user_usec"), "kernel": time("system_usec")})
        }
        None => {
            let ticks = keys(&cgroup.read("cpuacct", "cpuacct.stat").unwrap_or_default());
            let nsec_of_tick = NSEC_OF_SEC / rustix::param::clock_ticks_per_second().max(1);
            let time = |name: &str| ticks.get(name).and_then(Value::as_u64).unwrap_or_default() * nsec_of_tick;
            let each = cgroup.read("cpuacct", "cpuacct.usage_percpu").unwrap_or_default();
            let each: Vec<u64> = each.split_whitespace().filter_map(|time| time.parse().ok()).collect();
            let total = number(cgroup, "cpuacct", "cpuacct.usage").unwrap_or_default();
            json!({"total": total, "percpu": each, "user": time("user"), "kernel": time("system")})
        }
    };
    json!({"usage": usage, "throttling": throttling})
}

/// In bytes.
fn memory(cgroup: &Cgroup) -> Value {
    let either = |v1: &str, v2: &str| number(cgroup, "memory", v1).or_else(|| number(cgroup, "memory", v2));
    let entry = |names: [(&str, &str); 3]| {
        let [limit, usage, max] = names.map(|(v1, v2)| either(v1, v2));
        let failures = number(cgroup, "memory", "memory.failcnt").unwrap_or_default();
        json!({"limit": limit, "usage": usage, "max": max, "failcnt": failures})
    };
    let raw = keys(&cgroup.read("memory", "memory.stat").unwrap_or_default());
    json!({
        "cache": raw.get("total_cache").or(raw.get("file")).cloned().unwrap_or_default(),
        "usage": entry([
            ("memory.limit_in_bytes", "memory.max"),
            ("memory.usage_in_bytes", "memory.current"),
            ("memory.max_usage_in_bytes", "memory.peak"),
        ]),
        "swap": entry([
            ("memory.memsw.limit_in_bytes", "memory.swap.max"),
            ("memory.memsw.usage_in_bytes", "memory.swap.current"),
            ("memory.memsw.max_usage_in_bytes", "memory.swap.peak"),
        ]),
        "raw": raw,
    })
}

fn pids(cgroup: &Cgroup) -> Value {
    let limit = number(cgroup, "pids", "pids.max").filter(|limit| *limit != u64::MAX);
    json!({"current": number(cgroup, "pids", "pids.current").unwrap_or_default(), "limit": limit.unwrap_or_default()})
}

/// Bytes and operations, by device.
fn block_io(cgroup: &Cgroup) -> Value {
    let list = |file: &str| -> Vec<Value> {
        let text = cgroup.read("blkio", file).unwrap_or_default();
        let entry = |line: &str| {
            let mut words = line.split_whitespace();
            let (major, minor) = words.next()?.split_once(':')?;
            let (operation, value) = (words.next()?, words.next()?);
            let number = |text: &str| text.parse::<u64>().ok();
            Some(json!({"major": number(major)?, "minor": number(minor)?, "op": operation, "value": number(value)?}))
        };
        text.lines().filter_map(entry).collect()
    };
    json!({
        "ioServiceBytesRecursive": list("blkio.throttle.io_service_bytes_recursive"),
        "ioServicedRecursive": list("blkio.throttle.io_serviced_recursive"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_a_unit_and_is_not_nothing() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        for wrong in ["", "5", "s", "0s", "-1s", "1d", "99999999999999999999s"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
