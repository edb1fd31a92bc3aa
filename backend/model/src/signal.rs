//! Signals by name and number, as `kill(1)` and `docker kill` take them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// A signal of Linux on x86-64 and arm64, 1 to 64 (`signal(7)`). Written `SIGTERM` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(i32);

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD",
    "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

impl Signal {
    /// The signal that nothing can catch.
    pub const KILL: Signal = Signal(9);
    /// The polite request to end; the default stop signal.
    pub const TERM: Signal = Signal(15);

    /// The signal with this number, if there is one (1 to 64).
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=64).contains(&number).then_some(Self(number))
    }

    /// The number that `kill(2)` takes.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0 - 1).ok().and_then(|index| NAMES.get(index)) {
            Some(name) => write!(formatter, "SIG{name}"),
            None => write!(formatter, "SIG{}", self.0),
        }
    }
}

impl FromStr for Signal {
    type Err = Invalid;

    /// Reads `TERM`, `SIGTERM`, `sigterm`, `15`, `SIG40`, `SIGRTMIN+3` and `SIGRTMAX-1`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let upper = text.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let by_name = NAMES.iter().position(|name| *name == bare).map(|index| Self(index as i32 + 1));
        let by_number = || bare.parse().ok().and_then(Self::from_number);
        by_name.or_else(by_number).or_else(|| real_time(bare)).ok_or_else(|| {
            Invalid::new("signal", format!("{text:?} is not a signal: write a name such as SIGTERM, or a number from 1 to 64"))
        })
    }
}

/// `RTMIN`, `RTMIN+3`, `RTMAX-1`: as the C library counts them, which keeps the kernel's first two for itself.
fn real_time(bare: &str) -> Option<Signal> {
    const FIRST: i32 = 34;
    const LAST: i32 = 64;
    let distance = |text: &str, sign| match text {
        "" => Some(0),
        text => text.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    let number = match (bare.strip_prefix("RTMIN"), bare.strip_prefix("RTMAX")) {
        (Some(rest), _) => FIRST + distance(rest, '+')?,
        (_, Some(rest)) => LAST - distance(rest, '-')?,
        _ => return None,
    };
    (FIRST..=LAST).contains(&number).then_some(Signal(number))
}

crate::by_text::by_text!(Signal);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_read_by_name_and_by_number() {
        for text in ["TERM", "SIGTERM", "sigterm", "15", " term "] {
            assert_eq!(text.parse(), Ok(Signal::TERM), "{text}");
        }
        assert_eq!("SIG40".parse::<Signal>().map(Signal::number), Ok(40));
        for (text, number) in [("SIGRTMIN+3", 37), ("rtmin", 34), ("RTMAX", 64), ("SIGRTMAX-30", 34), ("RTMIN+30", 64)] {
            assert_eq!(text.parse::<Signal>().map(Signal::number), Ok(number), "{text}");
        }
        for text in ["", "0", "65", "-9", "SIG", "NOPE", "RTMIN-1", "RTMIN+31", "RTMAX-31", "RTMIN3", "RTMIN+-1", "RTMIN+999"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
        assert_eq!(Signal::KILL.to_string(), "SIGKILL");
    }
}
