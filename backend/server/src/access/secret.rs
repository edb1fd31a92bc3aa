//! Random texts that open a door, and what is kept of them.

use std::fmt::Write as _;

use belljar_store::SecretHash;
use sha2::{Digest, Sha256};

/// What a person or program holds: 256 random bits as 64 hexadecimal digits.
pub(crate) struct Secret {
    /// The digits.
    pub(crate) text: String,
}

impl Secret {
    /// A new one.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self { text })
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> SecretHash {
        hash(&self.text)
    }
}

/// What is kept of a secret: its SHA-256. A slow hash is for what people choose; 256 random bits need none. Looking one
/// up by its hash also leaves nothing to compare byte by byte.
pub(crate) fn hash(text: &str) -> SecretHash {
    Sha256::digest(text.as_bytes()).into()
}
