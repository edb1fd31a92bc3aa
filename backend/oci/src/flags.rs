//! The command line, read by hand: what runc takes, as runc takes it.
//!
//! Engines start this program for every container, so its start is part of theirs. A table of flags that is walked costs
//! nothing before the first byte is read; a parser built at run time from descriptions cost more than reading the bundle. `-x`
//! and `--x`, `--x=y` and `--x y` mean the same, as in Go. It must never know what a command does.

use std::ffi::OsString;

/// One flag.
#[derive(Debug)]
pub(crate) struct Flag {
    /// Its name, without dashes.
    pub(crate) long: &'static str,
    /// Its one letter; empty where it has none.
    pub(crate) short: &'static str,
    /// What its value is called in the help; `None` for a switch.
    pub(crate) value: Option<&'static str>,
    /// What it is for.
    pub(crate) about: &'static str,
}

/// A flag with a value.
pub(crate) const fn valued(long: &'static str, short: &'static str, value: &'static str, about: &'static str) -> Flag {
    Flag { long, short, value: Some(value), about }
}

/// A flag without one.
pub(crate) const fn switch(long: &'static str, short: &'static str, about: &'static str) -> Flag {
    Flag { long, short, value: None, about }
}

/// Where flags may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Among the words too: `delete ID --force`.
    Anywhere,
    /// Before the first word only: the rest is somebody else's command line.
    First,
    /// Nowhere, and none is unknown: what is refused anyhow is refused for its own reason, whatever engines call it with.
    Unread,
}

/// What was written, told apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    values: Vec<(&'static str, String)>,
    /// What is no flag.
    pub(crate) words: Vec<String>,
}

/// A command line that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody knows this flag.
    #[error("flag provided but not defined: -{flag}")]
    Unknown { flag: String },
    /// Its value is missing.
    #[error("flag needs an argument: -{flag}")]
    NoValue { flag: &'static str },
    /// It has a value that makes no sense.
    #[error("invalid value {value:?} for flag -{flag}: {problem}")]
    Value { flag: &'static str, value: String, problem: &'static str },
    /// There are too few words or too many.
    #[error("{command:?} requires {wanted} argument(s)")]
    Words { command: &'static str, wanted: &'static str },
    /// A word is no text.
    #[error("argument {word:?} is not UTF-8")]
    Text { word: OsString },
}

/// Words as text.
pub(crate) fn texts(words: impl Iterator<Item = OsString>) -> Result<Vec<String>, Error> {
    words.map(|word| word.into_string().map_err(|word| Error::Text { word })).collect()
}

/// Tells flags and words apart.
pub(crate) fn parse(flags: &'static [Flag], order: Order, words: &[String]) -> Result<Line, Error> {
    let mut line = Line::default();
    if order == Order::Unread {
        let asks = words.iter().find(|word| matches!(word.as_str(), "--help" | "-help" | "-h"));
        line.words = words.to_vec();
        return asks.map_or(Ok(line), |_| Err(Error::Unknown { flag: "help".to_owned() }));
    }
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            line.words.push(word.clone());
            match order {
                Order::Anywhere => continue,
                Order::First | Order::Unread => break,
            }
        };
        let name = name.strip_prefix('-').unwrap_or(name);
        if name.is_empty() {
            break;
        }
        let (name, given) = name.split_once('=').map_or((name, None), |(name, given)| (name, Some(given)));
        let flag = find(flags, name).ok_or_else(|| Error::Unknown { flag: name.to_owned() })?;
        let value = match (flag.value, given) {
            (None, None | Some("true" | "1")) => String::new(),
            (None, Some("false" | "0")) => {
                line.values.retain(|(long, _)| *long != flag.long);
                continue;
            }
            (None, Some(value)) => {
                return Err(Error::Value { flag: flag.long, value: value.to_owned(), problem: "it takes true or false" });
            }
            (Some(_), Some(given)) => given.to_owned(),
            (Some(_), None) => rest.next().cloned().ok_or(Error::NoValue { flag: flag.long })?,
        };
        line.values.push((flag.long, value));
    }
    line.words.extend(rest.cloned());
    Ok(line)
}

fn find(flags: &'static [Flag], name: &str) -> Option<&'static Flag> {
    flags.iter().find(|flag| flag.long == name || (!flag.short.is_empty() && flag.short == name))
}

impl Line {
    /// Whether a switch was given.
    pub(crate) fn has(&self, long: &str) -> bool {
        self.values.iter().any(|(name, _)| *name == long)
    }

    /// The value of a flag; the last one where it was given more than once.
    pub(crate) fn value(&self, long: &str) -> Option<&str> {
        self.values(long).last()
    }

    /// Every value of a flag, in order.
    pub(crate) fn values(&self, long: &str) -> impl Iterator<Item = &str> {
        self.values.iter().filter(move |(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// The value of a flag as a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, long: &'static str) -> Result<Option<T>, Error> {
        let parsed = |value: &str| {
            value.parse().map_err(|_| Error::Value { flag: long, value: value.to_owned(), problem: "it is not a number that fits" })
        };
        self.value(long).map(parsed).transpose()
    }

    /// The one word of a command that takes a container and nothing else.
    pub(crate) fn only_word(&self, command: &'static str) -> Result<&str, Error> {
        match self.words.as_slice() {
            [one] => Ok(one),
            _ => Err(Error::Words { command, wanted: "exactly 1" }),
        }
    }

    /// The first word of a command that takes a container and more.
    pub(crate) fn first_word(&self, command: &'static str) -> Result<&str, Error> {
        self.words.first().map(String::as_str).ok_or(Error::Words { command, wanted: "a minimum of 1" })
    }
}

/// The flags, a line each, for the help.
pub(crate) fn describe(flags: &[Flag]) -> String {
    let head = |flag: &Flag| {
        let value = flag.value.map(|value| format!(" {value}")).unwrap_or_default();
        let short = if flag.short.is_empty() { String::new() } else { format!(", -{}{value}", flag.short) };
        format!("--{}{value}{short}", flag.long)
    };
    let width = flags.iter().map(|flag| head(flag).len()).max().unwrap_or_default();
    flags.iter().map(|flag| format!("   {:width$}  {}\n", head(flag), flag.about)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[valued("bundle", "b", "DIR", ""), switch("force", "f", ""), valued("env", "e", "K=V", "")];

    fn line(order: Order, text: &str) -> Result<Line, Error> {
        let words: Vec<String> = text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        parse(FLAGS, order, &words)
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        for text in ["-b /x id", "--bundle /x id", "-bundle=/x id", "--b=/x id", "id --bundle /x"] {
            let line = line(Order::Anywhere, text).expect("it is fine");
            assert_eq!((line.value("bundle"), line.words.as_slice()), (Some("/x"), &["id".to_owned()][..]), "{text}");
        }
        let line = line(Order::Anywhere, "-e A=1 -e B=2=3 -f id").expect("it is fine");
        assert_eq!((line.values("env").collect::<Vec<_>>(), line.has("force")), (vec!["A=1", "B=2=3"], true));
    }

    #[test]
    fn what_follows_the_first_word_of_exec_is_not_ours() {
        let words = line(Order::First, "-e A=1 id ls -f -x").expect("it is fine").words;
        assert_eq!(words, ["id", "ls", "-f", "-x"]);
        assert_eq!(line(Order::Anywhere, "-f -- -x").expect("it is fine").words, ["-x"]);
        assert_eq!(line(Order::Unread, "--image-path /x id").expect("it is fine").words, ["--image-path", "/x", "id"]);
        assert!(line(Order::Unread, "--help").is_err());
    }

    #[test]
    fn a_switch_can_be_told_to_be_off() {
        assert!(!line(Order::Anywhere, "-f=false").expect("it is fine").has("force"));
        assert!(line(Order::Anywhere, "--force=maybe").is_err());
    }

    #[test]
    fn what_nobody_knows_and_what_is_missing_is_named() {
        assert_eq!(line(Order::Anywhere, "--bogus").unwrap_err().to_string(), "flag provided but not defined: -bogus");
        assert_eq!(line(Order::Anywhere, "-b").unwrap_err().to_string(), "flag needs an argument: -bundle");
        assert_eq!(
            line(Order::Anywhere, "a b").unwrap().only_word("state").unwrap_err().to_string(),
            "\"state\" requires exactly 1 argument(s)"
        );
    }
}
