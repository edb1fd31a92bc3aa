//! Words for what the model knows: how a container ended, what a namespace isolates, what an event means.

use belljar_model::exit::Cause;
use belljar_model::namespace::Kind;
use belljar_model::overlay::{Role, Status};
use belljar_model::signal::Signal;
use belljar_model::{Event, EventKind, Exit, size};

use crate::Tone;

/// How a container ended, as a heading and the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// `Out of memory`.
    pub title: String,
    /// `limit 4 MiB, peak 4 MiB, process tail (pid 7)`; may be empty.
    pub detail: String,
    /// How to take it.
    pub tone: Tone,
}

impl Ending {
    /// The words for `exit`.
    pub fn of(exit: &Exit) -> Self {
        if exit.is_out_of_memory() {
            let detail = exit.out_of_memory.as_ref().map(ToString::to_string).unwrap_or_default();
            return Self { title: "Out of memory".into(), detail, tone: Tone::Bad };
        }
        let on_the_way = exit.out_of_memory.as_ref().map(|kill| format!("before that out of memory, {kill}"));
        let (title, detail, tone) = match &exit.cause {
            Cause::Exited { code: 0 } => ("Finished".to_owned(), "exit code 0".to_owned(), Tone::Plain),
            Cause::Exited { code } => (format!("Failed with exit code {code}"), code_hint(*code).to_owned(), Tone::Bad),
            Cause::Signaled { signal } => (format!("Ended by {signal}"), signal_hint(*signal).to_owned(), Tone::Warn),
            Cause::NeverStarted(failure) => ("Never started".to_owned(), failure.to_string(), Tone::Bad),
            Cause::Lost { why } => ("Lost".to_owned(), why.clone(), Tone::Warn),
        };
        let detail = match (on_the_way, detail.is_empty()) {
            (Some(words), true) => words,
            (Some(words), false) => format!("{detail}; {words}"),
            (None, _) => detail,
        };
        Self { title, detail, tone }
    }
}

/// What a shell means by an exit code (`bash(1)`, EXIT STATUS).
fn code_hint(code: u8) -> &'static str {
    match code {
        126 => "as a shell says it: the command cannot be executed",
        127 => "as a shell says it: the command was not found",
        _ => "",
    }
}

/// What ended a program that got this signal (`signal(7)`).
fn signal_hint(signal: Signal) -> &'static str {
    match signal.number() {
        4 => "illegal instruction",
        6 => "it gave up by itself (abort)",
        7 => "bad memory access (bus error)",
        8 => "arithmetic error",
        9 => "killed",
        11 => "bad memory access (segmentation fault)",
        15 => "asked to end",
        31 => "a system call that is not allowed",
        _ => "",
    }
}

/// What a namespace of this kind keeps apart.
pub fn isolates(kind: &Kind) -> &'static str {
    match kind {
        Kind::Mnt => "mount points: its own file tree",
        Kind::Pid => "process ids: its program is number 1",
        Kind::Net => "network devices, addresses, ports",
        Kind::Uts => "hostname",
        Kind::Ipc => "shared memory and message queues",
        Kind::User => "users and capabilities: root inside is nobody outside",
        Kind::Cgroup => "the root of the cgroup tree as it sees it",
        Kind::Time => "monotonic and boot clocks",
    }
}

/// What a layer with this role is.
pub fn role(role: &Role) -> &'static str {
    match role {
        Role::Upper => "its own changes, writable",
        Role::Init => "made by Belljar, read-only",
        Role::Extra => "asked for, read-only",
        Role::Image => "of the image, read-only",
    }
}

/// What the container did, as the badge says it.
pub fn status(status: &Status) -> &'static str {
    match status {
        Status::Unchanged => "",
        Status::Added => "added",
        Status::Modified => "copied up",
        Status::Metadata => "metadata only",
        Status::Deleted => "deleted",
        Status::Replaced => "replaced",
    }
}

/// What lies in the upper layer for an entry with this status.
pub fn status_hint(status: &Status) -> &'static str {
    match status {
        Status::Unchanged => "as in the layers below",
        Status::Added => "no layer below has it",
        Status::Modified => "copied to the upper layer and changed there",
        Status::Metadata => "copied to the upper layer with the same content: only mode, owner, time or attributes differ",
        Status::Deleted => "hidden by a whiteout in the upper layer",
        Status::Replaced => "hides what lies below: an opaque folder, or a file of another kind",
    }
}

/// An event's kind as words.
pub fn event(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::StartFailed => "start failed",
        EventKind::OutOfMemory => "out of memory",
        EventKind::LimitHit => "limit hit",
        EventKind::LimitsChanged => "limits changed",
        EventKind::Loosened => "less protected",
        EventKind::ImageImported => "image imported",
        EventKind::ImageDeleted => "image deleted",
        EventKind::ImagePulled => "image pulled",
        EventKind::ImagePullFailed => "pull failed",
        EventKind::ImageTagged => "image tagged",
        EventKind::ImageUntagged => "image untagged",
        EventKind::ImageCommitted => "image committed",
        EventKind::RegistryLogin => "registry login",
        EventKind::RegistryLogout => "registry logout",
        EventKind::VolumeCreated => "volume created",
        EventKind::VolumeFilled => "volume filled",
        EventKind::VolumeDeleted => "volume deleted",
        EventKind::VolumeFound => "volume found",
        EventKind::SpaceLow => "disk almost full",
        other => other.as_str(),
    }
}

/// How to take an event.
pub fn event_tone(event: &Event) -> Tone {
    match event.kind {
        EventKind::Started | EventKind::Resumed | EventKind::Restarted | EventKind::Found | EventKind::Healthy => Tone::Good,
        EventKind::StartFailed | EventKind::OutOfMemory | EventKind::Unhealthy | EventKind::ImagePullFailed => Tone::Bad,
        EventKind::Killed | EventKind::Lost | EventKind::Paused | EventKind::Loosened | EventKind::LimitHit | EventKind::Pressure => {
            Tone::Warn
        }
        EventKind::Created
        | EventKind::Exec
        | EventKind::FilesChanged
        | EventKind::LimitsChanged
        | EventKind::Exited
        | EventKind::Stopped
        | EventKind::Deleted
        | EventKind::ImageImported
        | EventKind::ImageDeleted
        | EventKind::ImagePulled
        | EventKind::ImageTagged
        | EventKind::ImageUntagged
        | EventKind::ImageCommitted
        | EventKind::RegistryLogin
        | EventKind::RegistryLogout
        | EventKind::VolumeCreated
        | EventKind::VolumeFilled
        | EventKind::VolumeDeleted => Tone::Plain,
        EventKind::VolumeFound | EventKind::SpaceLow => Tone::Warn,
    }
}

/// `rwxr-sr-t` of permission bits, as `ls -l` writes it.
pub fn mode(mode: &u32) -> String {
    let mut text = String::with_capacity(9);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A command as one would type it: what a shell would split or expand is quoted.
pub fn command(command: &[String]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=+./:@%,".contains(&byte);
    let quoted = command
        .iter()
        .map(|word| if !word.is_empty() && word.bytes().all(plain) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Names in one line, or a word where there are none.
pub fn list(names: &[impl AsRef<str>], none: &str) -> String {
    if names.is_empty() { none.to_owned() } else { names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ") }
}

/// `64 MiB`, or that there is no limit; a limit of nothing is `none`.
pub fn limit_bytes(limit: &Option<u64>) -> String {
    match limit {
        None => "no limit".to_owned(),
        Some(0) => "none".to_owned(),
        Some(bytes) => size::display(*bytes),
    }
}

#[cfg(test)]
mod tests {
    use belljar_model::exit::{OutOfMemory, Victim};

    use super::*;

    #[test]
    fn an_end_by_memory_is_said_in_words() {
        let victim = Some(Victim { pid: 7, command: "tail".into() });
        let kill = OutOfMemory { kills: 1, limit_bytes: Some(4 << 20), peak_bytes: Some(4 << 20), victim, went_on: false };
        let mut exit = Exit { cause: Cause::Signaled { signal: Signal::KILL }, out_of_memory: Some(kill), at_ms: 0 };
        let ending = Ending::of(&exit);
        assert_eq!((ending.title.as_str(), ending.tone), ("Out of memory", Tone::Bad));
        assert_eq!(ending.detail, "limit 4 MiB, peak 4 MiB, process tail (pid 7)");
        exit.cause = Cause::Exited { code: 3 };
        let ending = Ending::of(&exit);
        assert_eq!(ending.title, "Failed with exit code 3");
        assert!(ending.detail.starts_with("before that out of memory, limit 4 MiB"));
    }

    #[test]
    fn permission_bits_are_written_as_ls_does() {
        let cases = [(0o755, "rwxr-xr-x"), (0o4755, "rwsr-xr-x"), (0o2644, "rw-r-Sr--"), (0o1777, "rwxrwxrwt"), (0, "---------")];
        for (bits, text) in cases {
            assert_eq!(mode(&bits), text);
        }
    }

    #[test]
    fn a_command_can_be_typed_again() {
        let words = ["sh", "-c", "echo 'a' > /x", ""].map(str::to_owned);
        assert_eq!(command(&words), r"sh -c 'echo '\''a'\'' > /x' ''");
    }
}
