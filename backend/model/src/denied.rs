//! System calls that a container asked for and was denied, where that is recorded.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// Its name; its number where it has none that is known.
    pub call: String,
    /// How often.
    pub times: u64,
}

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = match self.times {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        write!(formatter, "this program asked for {} {times}", self.call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_denied_is_told_as_a_sentence() {
        let denied = |times| Denied { call: "mount".into(), times }.to_string();
        assert_eq!(denied(3), "this program asked for mount 3 times");
        assert_eq!(denied(1), "this program asked for mount once");
    }
}
