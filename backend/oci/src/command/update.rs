//! `update`: other limits for a container that exists.
//!
//! What is not named stays as it is. What the kernel refuses is refused, and then nothing has changed.

use std::io::Read as _;
use std::path::Path;

use belljar_runtime::cgroup::resources::{Beyond, BlockIo, Cpu, Memory, Pids};
use belljar_runtime::cgroup::{self, Resources};

use super::{Call, Command, DONE, Error};
use crate::document::{self, DOCUMENT_BYTES_MAX};
use crate::flags::{self, Flag, Line, Order, valued};
use crate::state::Status;
use crate::translate;

const FLAGS: &[Flag] = &[
    valued("resources", "r", "FILE", "take everything from this JSON file, - for standard input; other flags are ignored then"),
    valued("blkio-weight", "", "N", "weight of its disk accesses, 10 to 1000"),
    valued("cpu-period", "", "USEC", "length of a period of processor time"),
    valued("cpu-quota", "", "USEC", "processor time in a period; -1 for no limit"),
    valued("cpu-burst", "", "USEC", "processor time that may be saved up"),
    valued("cpu-share", "", "N", "weight of its processor time"),
    valued("cpu-rt-period", "", "USEC", "length of a realtime period"),
    valued("cpu-rt-runtime", "", "USEC", "realtime processor time in such a period"),
    valued("cpuset-cpus", "", "LIST", "processors that it may use"),
    valued("cpuset-mems", "", "LIST", "memory nodes that it may use"),
    valued("cpu-idle", "", "0|1", "1 runs it only when nothing else wants to"),
    valued("kernel-memory", "", "BYTES", "accepted and not used: no kernel of today can limit it"),
    valued("kernel-memory-tcp", "", "BYTES", "limit of TCP buffers (cgroup v1)"),
    valued("memory", "", "BYTES", "limit of memory; -1 for none"),
    valued("memory-reservation", "", "BYTES", "memory that is kept when it is short"),
    valued("memory-swap", "", "BYTES", "limit of memory and swap together; -1 for none"),
    valued("pids-limit", "", "N", "limit of processes and threads; -1 for none"),
    valued("l3-cache-schema", "", "SCHEMA", "not supported"),
    valued("mem-bw-schema", "", "SCHEMA", "not supported"),
];

pub(super) const COMMAND: Command = Command {
    name: "update",
    words: "<container-id>",
    about: "change the limits of a container",
    flags: FLAGS,
    order: Order::Anywhere,
    run,
};

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    let id = line.only_word("update")?;
    let (folder, _lock, mut record, status) = call.locked(id)?;
    if status == Status::Stopped {
        return Err(Error::status(id, "container not running"));
    }
    let change = match line.value("resources").filter(|file| !file.is_empty()) {
        Some(file) => {
            let change = of_file(file)?;
            translate::check_memory(&change, "")?;
            change
        }
        None => of_flags(line)?,
    };
    translate::obsolete(&change, "").iter().for_each(|warning| call.journal.warning(warning));
    // What the specification has no words for, nobody can ask for here.
    let change = Resources { beyond: Beyond::default(), ..change };
    record.resources = cgroup::update(&change, &record.resources, &record.cgroup)?;
    folder.write(&record)?;
    Ok(DONE)
}

fn of_file(file: &str) -> Result<Resources, Error> {
    if file != "-" {
        return Ok(document::read(Path::new(file))?);
    }
    let mut text = Vec::new();
    let read = std::io::stdin().lock().take(DOCUMENT_BYTES_MAX).read_to_end(&mut text);
    read.map_err(|source| Error::File { operation: "read", path: "standard input".into(), source })?;
    document::parse(&text).map_err(|problem| Error::Refused(format!("standard input: {problem}")))
}

fn of_flags(line: &Line) -> Result<Resources, Error> {
    if let Some(flag) =
        ["l3-cache-schema", "mem-bw-schema"].into_iter().find(|flag| line.value(flag).is_some_and(|value| !value.is_empty()))
    {
        return Err(Error::Refused(format!("--{flag}: Intel RDT is not supported")));
    }
    let text = |flag: &str| line.value(flag).filter(|value| !value.is_empty()).map(str::to_owned);
    let memory = Memory {
        limit: bytes(line, "memory")?,
        reservation: bytes(line, "memory-reservation")?,
        swap: bytes(line, "memory-swap")?,
        kernel: bytes(line, "kernel-memory")?,
        kernel_tcp: bytes(line, "kernel-memory-tcp")?,
        // A limit below what is in use now would be carried out by killing.
        check_before_update: Some(true),
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: line.number("cpu-share")?,
        quota: line.number("cpu-quota")?,
        burst: line.number("cpu-burst")?,
        period: line.number("cpu-period")?,
        realtime_runtime: line.number("cpu-rt-runtime")?,
        realtime_period: line.number("cpu-rt-period")?,
        cpus: text("cpuset-cpus"),
        mems: text("cpuset-mems"),
        idle: line.number("cpu-idle")?,
    };
    let has_memory = memory != Memory { check_before_update: Some(true), ..Memory::default() };
    let limit: Option<i64> = line.number("pids-limit")?;
    let weight: Option<u16> = line.number("blkio-weight")?;
    Ok(Resources {
        memory: has_memory.then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        pids: limit.map(|limit| Pids { limit: Some(limit) }),
        block_io: weight.map(|weight| BlockIo { weight: Some(weight), ..BlockIo::default() }),
        ..Resources::default()
    })
}

/// `104857600`, `100M`, `-1`.
fn bytes(line: &Line, flag: &'static str) -> Result<Option<i64>, Error> {
    let Some(text) = line.value(flag).filter(|text| !text.is_empty()) else { return Ok(None) };
    let wrong = || flags::Error::Value { flag, value: text.to_owned(), problem: "it is not a size such as 104857600, 100M or -1" };
    if text == "-1" {
        return Ok(Some(-1));
    }
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[digits..].to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong().into()),
    };
    let number: i64 = text[..digits].parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).map(Some).ok_or_else(|| wrong().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(text: &str) -> Result<Resources, Error> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        of_flags(&flags::parse(FLAGS, Order::Anywhere, &words)?)
    }

    #[test]
    fn only_what_is_named_is_changed() {
        let change = resources("--memory 100M --cpu-quota -1 --pids-limit 7 id").expect("it is fine");
        assert_eq!(change.memory.and_then(|memory| memory.limit), Some(100 << 20));
        assert_eq!(change.cpu.and_then(|cpu| cpu.quota), Some(-1));
        assert_eq!(change.pids.and_then(|pids| pids.limit), Some(7));
        assert_eq!(resources("id").expect("it is nothing"), Resources::default());
    }

    #[test]
    fn what_is_no_amount_of_a_file_is_refused_by_field() {
        let change: Resources = serde_json::from_str(r#"{"memory": {"swap": -2}}"#).expect("it can be read");
        assert_eq!(translate::check_memory(&change, "").unwrap_err().field, "memory.swap");
    }

    #[test]
    fn what_is_no_size_is_refused_by_flag() {
        for wrong in ["10X", "M", "1.5G", "-2", "99999999999G"] {
            let told = resources(&format!("--memory {wrong} id")).unwrap_err().to_string();
            assert!(told.contains("-memory"), "{told}");
        }
    }
}
