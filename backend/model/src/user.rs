//! Who a container's program runs as: `user[:group]`, each a name of the image's own files or a number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Ids of one container: 0 to 65,535, the size of its range in the user namespace.
pub const ID_MAX: u32 = 65_535;

/// A user or group: digits are always a number, never looked up as a name (CVE-2016-3697).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOrId {
    /// To be looked up in `/etc/passwd` or `/etc/group` of the container.
    Name(String),
    /// Taken as it is; at most [`ID_MAX`].
    Id(u32),
}

/// `user`, `user:group`, `1000`, `1000:1000`, `user:1000`. Without a group: the user's own from `/etc/passwd`, or 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserSpec {
    /// The user.
    pub user: NameOrId,
    /// The group, where one was given.
    pub group: Option<NameOrId>,
}

impl FromStr for UserSpec {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (user, group) = match text.split_once(':') {
            Some((user, "")) => (user, None),
            Some((user, group)) => (user, Some(part(group)?)),
            None => (text, None),
        };
        Ok(Self { user: part(user)?, group })
    }
}

impl FromStr for NameOrId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        part(text)
    }
}

fn part(text: &str) -> Result<NameOrId, Invalid> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let too_large = || Invalid::new("user", format!("the id {text} is above {ID_MAX}, the largest inside a container"));
        return text.parse().ok().filter(|id| *id <= ID_MAX).map(NameOrId::Id).ok_or_else(too_large);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'$');
    if text.is_empty() || text.len() > 64 || text.starts_with('-') || !text.bytes().all(allowed) {
        return Err(Invalid::new("user", "must be user, user:group, or their numbers"));
    }
    Ok(NameOrId::Name(text.to_owned()))
}

impl fmt::Display for NameOrId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameOrId::Name(name) => formatter.write_str(name),
            NameOrId::Id(id) => write!(formatter, "{id}"),
        }
    }
}

impl fmt::Display for UserSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.user)?;
        self.group.as_ref().map_or(Ok(()), |group| write!(formatter, ":{group}"))
    }
}

crate::by_text::by_text!(UserSpec);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_an_id_and_never_wrap_around() {
        assert_eq!("1000".parse::<UserSpec>().map(|user| user.user), Ok(NameOrId::Id(1000)));
        for text in ["4294967296", "2147483648", "65536", "-1", ":1", "", "a b", "a:b:c"] {
            assert!(text.parse::<UserSpec>().is_err(), "{text}");
        }
        for text in ["postgres", "1000:1000", "www-data:33"] {
            assert_eq!(text.parse::<UserSpec>().map(|user| user.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("1:".parse::<UserSpec>().map(|user| user.to_string()).as_deref(), Ok("1"));
    }
}
