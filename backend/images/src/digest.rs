//! Digests: what an archive or a skeleton *is*, in 32 bytes, and the name of its folder.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use belljar_model::Invalid;
use sha2::{Digest as _, Sha256};

/// A SHA-256. Written `sha256:` and 64 lower-case hexadecimal digits, as in the OCI image specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

const ALGORITHM: &str = "sha256:";

impl Digest {
    /// The digest whose 32 bytes these are.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 digits without the algorithm: the name of a folder. It holds no `/` and no `.`, whatever was parsed.
    pub fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _infallible = write!(text, "{byte:02x}");
            text
        })
    }

    /// The digest whose [`Digest::hex`] is `name`, if any.
    pub(crate) fn from_hex(name: &str) -> Option<Self> {
        let digits = name.as_bytes();
        if digits.len() != 64 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{ALGORITHM}{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digest = text.strip_prefix(ALGORITHM).and_then(Self::from_hex);
        digest.ok_or_else(|| Invalid::new("digest", format!("{text:?} is not {ALGORITHM} and 64 hexadecimal digits")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_survives_being_written_and_read() {
        let digest = Digest::new(std::array::from_fn(|index| index as u8 * 7));
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn nothing_but_a_digest_becomes_the_name_of_a_folder() {
        let long = "a".repeat(65);
        let upper = format!("sha256:{}", "A".repeat(64));
        for text in ["", "sha256:", "sha256:../../etc", "md5:00", &"0".repeat(64), &format!("sha256:{long}"), &upper] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
