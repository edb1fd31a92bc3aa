//! Names and identifiers, parsed once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, Reference};

/// Most characters of a container's name.
pub const NAME_CHARS_MAX: usize = 128;
/// Most characters of a hostname: `HOST_NAME_MAX` of Linux (`sethostname(2)`).
pub const HOSTNAME_CHARS_MAX: usize = 64;

/// A container's identifier: 32 random bytes as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// The identifier made of these random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        use fmt::Write as _;
        let mut hex = String::with_capacity(64);
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as people read them.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for ContainerId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(lower_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("id", "must be 64 lower-case hexadecimal digits"))
        }
    }
}

/// Makes a validated string type usable by serde, `Display` and `as_str`.
macro_rules! parsed_string {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.0
            }
        }
        impl TryFrom<String> for $type {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }
    };
}

parsed_string!(ContainerId);
parsed_string!(ContainerName);
parsed_string!(ImageName);
parsed_string!(Hostname);
parsed_string!(VolumeName);

/// A container's name: one to 128 of `a-z A-Z 0-9 _ . -`, starting with a letter or digit (Docker's rule, bounded).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

impl ContainerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        plain_name("name", text)?;
        // Whole or in its short form: `delete` of a name must never mean another container's id.
        if matches!(text.len(), 12 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Invalid::new("name", "must not look like a container id"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The name of an image on this host: `host`, a [`Reference`] in its familiar form (`nginx:latest`), whole: with its tag or digest; or
/// the image's id (`sha256:…`), for one that has no other name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName(String);

impl ImageName {
    /// The image that is the host's own userland. It always exists and cannot be imported over or deleted.
    pub const HOST: &'static str = "host";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the host's own userland.
    pub fn is_host(&self) -> bool {
        self.0 == Self::HOST
    }

    /// The id that it is; `None` for what somebody named.
    pub fn id(&self) -> Option<&str> {
        is_image_id(&self.0).then_some(self.0.as_str())
    }

    /// The reference that it is; `None` for `host` and for an id.
    pub fn reference(&self) -> Option<Reference> {
        if self.is_host() || self.id().is_some() { None } else { self.0.parse().ok() }
    }
}

impl FromStr for ImageName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == Self::HOST || is_image_id(text) {
            return Ok(Self(text.to_owned()));
        }
        text.parse().map(|reference: Reference| Self::from(&reference))
    }
}

impl From<&Reference> for ImageName {
    fn from(reference: &Reference) -> Self {
        Self(reference.familiar())
    }
}

/// Whether this is a whole digest, which the field takes for an image's id before it takes it for a repository `sha256`.
fn is_image_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The name of a volume: as a container's. One that was made for a container alone has 64 random hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

impl VolumeName {
    /// The name made of these random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(ContainerId::from_bytes(bytes).0)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As people read it: of 64 digits the first twelve.
    pub fn short(&self) -> &str {
        if self.looks_made() { &self.0[..12] } else { &self.0 }
    }

    /// Whether nobody thought of it: 64 hexadecimal digits.
    pub fn looks_made(&self) -> bool {
        self.0.parse::<ContainerId>().is_ok()
    }
}

impl FromStr for VolumeName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        plain_name("name", text).map(|()| Self(text.to_owned()))
    }
}

fn plain_name(field: &str, text: &str) -> Result<(), Invalid> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let Some(first) = text.bytes().next() else {
        return Err(Invalid::new(field, "must not be empty"));
    };
    if text.len() > NAME_CHARS_MAX {
        return Err(Invalid::new(field, format!("must have at most {NAME_CHARS_MAX} characters, has {}", text.chars().count())));
    }
    if !text.bytes().all(allowed) {
        return Err(Invalid::new(field, "may contain only letters, digits, '_', '.' and '-'"));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(Invalid::new(field, "must start with a letter or a digit"));
    }
    Ok(())
}

/// A hostname as `sethostname(2)` takes it: one to 64 letters, digits, `-` and `.`; no part empty or with `-` at an end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

impl Hostname {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > HOSTNAME_CHARS_MAX {
            return Err(Invalid::new("hostname", format!("must have 1 to {HOSTNAME_CHARS_MAX} characters")));
        }
        let part_is_valid = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !part.is_empty() && part.bytes().all(allowed) && !part.starts_with('-') && !part.ends_with('-')
        };
        if text.split('.').all(part_is_valid) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("hostname", "may contain only letters, digits, '-' and single dots, and no part may start or end with '-'"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_use_are_accepted() {
        for name in ["web", "db-1", "a", "Home_Assistant.2", "0"] {
            assert!(name.parse::<ContainerName>().is_ok(), "{name}");
        }
    }

    #[test]
    fn names_that_could_leave_their_folder_or_confuse_are_refused() {
        let long = "x".repeat(300);
        for name in ["", "a/b", "..", ".hidden", "-rf", "a b", "ä", "a\n", "a\0", long.as_str()] {
            assert!(name.parse::<ContainerName>().is_err(), "{name:?}");
        }
        for digits in [12, 64] {
            assert!("a".repeat(digits).parse::<ContainerName>().is_err(), "an id is not a name");
        }
    }

    #[test]
    fn an_image_is_host_or_a_reference_with_all_that_it_leaves_out() {
        for (text, name) in [("host", "host"), ("nginx", "nginx:latest"), ("docker.io/library/nginx:1", "nginx:1")] {
            assert_eq!(text.parse::<ImageName>().as_ref().map(ImageName::as_str), Ok(name));
        }
        assert!("host".parse::<ImageName>().is_ok_and(|name| name.reference().is_none()));
        assert!("Host".parse::<ImageName>().is_err(), "no second host in capitals");
        let id = format!("sha256:{}", "0a".repeat(32));
        let name: ImageName = id.parse().expect("an id");
        assert_eq!((name.as_str(), name.id(), name.reference()), (id.as_str(), Some(id.as_str()), None));
        assert!("sha256:0a".parse::<ImageName>().is_ok_and(|name| name.id().is_none()), "a short one is a repository's tag");
    }

    #[test]
    fn an_id_is_exactly_64_lower_case_digits() {
        let id = ContainerId::from_bytes([0xab; 32]);
        assert_eq!(id.short(), "abababababab");
        assert_eq!(id.as_str().parse::<ContainerId>().as_ref(), Ok(&id));
        assert!(id.as_str().to_uppercase().parse::<ContainerId>().is_err());
        assert!(id.as_str()[1..].parse::<ContainerId>().is_err());
    }

    #[test]
    fn hostnames_follow_the_kernel_and_the_resolver() {
        for name in ["web", "db.home.arpa", "a-b", "x1"] {
            assert!(name.parse::<Hostname>().is_ok(), "{name}");
        }
        let long = "h".repeat(65);
        for name in ["", "-a", "a-", "a..b", ".a", "a b", "a/b", long.as_str()] {
            assert!(name.parse::<Hostname>().is_err(), "{name:?}");
        }
    }
}
