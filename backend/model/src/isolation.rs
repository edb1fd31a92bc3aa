//! Which namespaces a container shall live in: its own, the host's, another container's, or those behind a path.
//!
//! What is *asked* stands here; what is *so*, by inode, is in [`crate::namespace`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::mount::absolute_path;
use crate::namespace::Kind;
use crate::{ContainerId, ContainerName, Invalid};

/// Most seconds that a clock may be set off by: the kernel refuses clocks that end within 30 years (`time_namespaces(7)`).
pub const TIME_OFFSET_SECONDS_MAX: i64 = 8_000_000_000;

/// Whose a namespace shall be. Written `private`, `host`, `container:NAME` or `path:/…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Whose {
    /// The container's own.
    Private,
    /// The host's.
    Host,
    /// That of another container, by name or id; it must run when this one starts.
    Container(String),
    /// That of a file such as `/proc/42/ns/net` or `/run/netns/lab`.
    Path(String),
}

impl FromStr for Whose {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse = |problem: String| Err(Invalid::new("namespace", problem));
        match text.split_once(':') {
            None if text == "private" => Ok(Whose::Private),
            None if text == "host" => Ok(Whose::Host),
            Some(("container", key)) if key.parse::<ContainerName>().is_ok() || is_id(key) => Ok(Whose::Container(key.to_owned())),
            Some(("container", key)) => refuse(format!("{key:?} is not a container's name or id")),
            Some(("path", path)) => {
                absolute_path("namespace", path)?;
                Ok(Whose::Path(path.to_owned()))
            }
            _ => refuse(format!("{text:?} is neither private, host, container:NAME nor path:/…")),
        }
    }
}

/// Whole or in its short form.
fn is_id(key: &str) -> bool {
    key.parse::<ContainerId>().is_ok() || (key.len() == 12 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

impl fmt::Display for Whose {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whose::Private => formatter.write_str("private"),
            Whose::Host => formatter.write_str("host"),
            Whose::Container(key) => write!(formatter, "container:{key}"),
            Whose::Path(path) => write!(formatter, "path:{path}"),
        }
    }
}

crate::by_text::by_text!(Whose);

/// What was asked of each kind of namespace; what is `None` has its default ([`Namespaces::of`]). The mount namespace is
/// always the container's own: it *is* its root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Namespaces {
    /// Network devices, addresses, ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net: Option<Whose>,
    /// Process ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<Whose>,
    /// Message queues and shared memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc: Option<Whose>,
    /// Hostname and domain name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uts: Option<Whose>,
    /// Root of the cgroup tree as seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Whose>,
    /// Boot and monotonic clocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Whose>,
    /// User and group ids. `private` *requires* ids of its own: where the host cannot give them, the start is refused. Not
    /// given, the container then runs without them, visibly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Whose>,
}

impl Namespaces {
    /// Whether nothing was asked.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What was asked of this kind.
    pub fn asked(&self, kind: Kind) -> Option<&Whose> {
        match kind {
            Kind::Mnt => None,
            Kind::Net => self.net.as_ref(),
            Kind::Pid => self.pid.as_ref(),
            Kind::Ipc => self.ipc.as_ref(),
            Kind::Uts => self.uts.as_ref(),
            Kind::Cgroup => self.cgroup.as_ref(),
            Kind::Time => self.time.as_ref(),
            Kind::User => self.user.as_ref(),
        }
    }

    /// Whose this kind shall be: what was asked, else its default. That is `private`, with two exceptions: the clocks are the
    /// host's; and who joins the processes or the shared memory of a container joins its user namespace too, because ids of
    /// its own would have no right to either.
    pub fn of(&self, kind: Kind) -> Whose {
        match (self.asked(kind), kind) {
            (Some(whose), _) => whose.clone(),
            (None, Kind::Time) => Whose::Host,
            (None, Kind::User) => self.joined_with_ids().cloned().unwrap_or(Whose::Private),
            (None, _) => Whose::Private,
        }
    }

    /// Whether it shall have ids of its own.
    pub fn has_own_ids(&self) -> bool {
        self.of(Kind::User) == Whose::Private
    }

    /// Whether its ids are those of another container, or of a path.
    pub fn shares_ids_of_others(&self) -> bool {
        matches!(self.of(Kind::User), Whose::Container(_) | Whose::Path(_))
    }

    fn joined_with_ids(&self) -> Option<&Whose> {
        [&self.pid, &self.ipc].into_iter().flatten().find(|whose| matches!(whose, Whose::Container(_)))
    }

    /// The containers that are joined: the kind, and the container's name or id.
    pub fn joined(&self) -> Vec<(Kind, String)> {
        let joined = |kind: Kind| match self.of(kind) {
            Whose::Container(key) => Some((kind, key)),
            Whose::Private | Whose::Host | Whose::Path(_) => None,
        };
        Kind::ALL.into_iter().filter_map(joined).collect()
    }

    /// Refuses what contradicts itself. `name` is the container's own.
    pub fn check(&self, name: &ContainerName) -> Result<(), Invalid> {
        if let Some((kind, _)) = self.joined().iter().find(|(_, key)| key == name.as_str()) {
            return Err(Invalid::new(format!("namespaces.{}", kind.as_str()), "a container cannot join itself"));
        }
        let (user, own) = (self.of(Kind::User), "cannot be joined with user ids of its own: give namespaces.user the same");
        for kind in [Kind::Pid, Kind::Ipc] {
            if let Some(Whose::Container(key)) = self.asked(kind)
                && !matches!(&user, Whose::Host)
                && user != Whose::Container(key.clone())
            {
                return Err(Invalid::new(format!("namespaces.{}", kind.as_str()), own));
            }
        }
        Ok(())
    }
}

/// What is added to the clocks inside, in seconds (`time_namespaces(7)`). It makes the time namespace the container's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeOffsets {
    /// Of `CLOCK_MONOTONIC`.
    #[serde(skip_serializing_if = "is_zero")]
    pub monotonic: i64,
    /// Of `CLOCK_BOOTTIME`, and so of the uptime.
    #[serde(skip_serializing_if = "is_zero")]
    pub boottime: i64,
}

fn is_zero(seconds: &i64) -> bool {
    *seconds == 0
}

impl TimeOffsets {
    /// Whether nothing is added.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses offsets that no clock can have, and clocks that are not the container's own.
    pub fn check(&self, namespaces: &Namespaces) -> Result<(), Invalid> {
        for (field, seconds) in [("time_offsets.monotonic", self.monotonic), ("time_offsets.boottime", self.boottime)] {
            if !(-TIME_OFFSET_SECONDS_MAX..=TIME_OFFSET_SECONDS_MAX).contains(&seconds) {
                let most = TIME_OFFSET_SECONDS_MAX;
                return Err(Invalid::new(field, format!("must be between -{most} and {most} seconds, not {seconds}")));
            }
        }
        match &namespaces.time {
            Some(whose) if !self.is_none() && *whose != Whose::Private => {
                Err(Invalid::new("time_offsets", format!("needs clocks of its own: namespaces.time is {whose}")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(json: &str) -> Namespaces {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn whose_a_namespace_is_reads_back_as_it_was_written() {
        for text in ["private", "host", "container:web", "path:/run/netns/lab"] {
            assert_eq!(text.parse::<Whose>().map(|whose| whose.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "none", "container:", "container:a/b", "path:relative", "path:/a/../b", "bridge"] {
            assert!(text.parse::<Whose>().is_err(), "{text}");
        }
        let id = "ab".repeat(32);
        assert_eq!(format!("container:{id}").parse(), Ok(Whose::Container(id)));
    }

    #[test]
    fn everything_is_its_own_by_default_but_the_clocks() {
        let default = Namespaces::default();
        for kind in Kind::ALL {
            let expected = if kind == Kind::Time { Whose::Host } else { Whose::Private };
            assert_eq!(default.of(kind), expected, "{kind:?}");
        }
        assert!(default.has_own_ids() && default.joined().is_empty());
    }

    #[test]
    fn who_joins_processes_or_memory_joins_the_ids_too() {
        let joined = namespaces(r#"{"ipc":"container:web"}"#);
        assert_eq!(joined.of(Kind::User), Whose::Container("web".into()));
        assert_eq!(joined.joined().len(), 2);
        let alone = namespaces(r#"{"net":"container:web"}"#);
        assert!(alone.has_own_ids(), "a network can be used with ids of its own");
    }

    #[test]
    fn contradictions_are_named_by_their_field() {
        let name = "db".parse().expect("a name");
        for (json, field) in [
            (r#"{"net":"container:db"}"#, "namespaces.net"),
            (r#"{"pid":"container:web","user":"private"}"#, "namespaces.pid"),
            (r#"{"ipc":"container:web","user":"container:other"}"#, "namespaces.ipc"),
        ] {
            assert_eq!(namespaces(json).check(&name).map_err(|invalid| invalid.field), Err(field.to_owned()), "{json}");
        }
        for json in [r#"{"pid":"container:web","user":"host"}"#, r#"{"pid":"host"}"#, r#"{"net":"path:/run/netns/a"}"#] {
            assert_eq!(namespaces(json).check(&name), Ok(()), "{json}");
        }
    }

    #[test]
    fn clocks_that_are_not_its_own_cannot_be_set_off() {
        let day = TimeOffsets { monotonic: 0, boottime: 86_400 };
        assert_eq!(day.check(&Namespaces::default()), Ok(()));
        assert!(day.check(&namespaces(r#"{"time":"host"}"#)).is_err());
        assert!(TimeOffsets { monotonic: i64::MIN, boottime: 0 }.check(&Namespaces::default()).is_err());
    }
}
