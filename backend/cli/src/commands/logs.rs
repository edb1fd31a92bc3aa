//! `logs`: standard output to standard output, standard error to standard error, as they were.

use std::io::Write as _;

use belljar_api::{LogLine, query, time};
use belljar_model::Invalid;
use belljar_model::log::Stream;

use super::{DONE, Outcome, Session, of};
use crate::arguments::{LogsArguments, Tail};
use crate::failure::Failure;
use crate::output::{Paper, now_ms};

/// Whether a line begins with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// It does.
    Timed,
    /// It does not.
    Bare,
}

/// `logs`.
pub(crate) async fn logs(session: &mut Session, arguments: LogsArguments) -> Outcome {
    let since = arguments.since.as_deref().map(|text| since(text, now_ms())).transpose()?;
    let tail = arguments.tail.and_then(|tail| match tail {
        Tail::All => None,
        Tail::Lines(lines) => Some(lines),
    });
    let query = query::Logs { follow: arguments.follow.into(), since, tail, stream: None };
    let path = format!("{}?{}", of(&arguments.container, "logs"), query::write(&query));
    let stamp = if arguments.timestamps { Stamp::Timed } else { Stamp::Bare };
    if arguments.follow {
        let mut lines = session.client.stream(&path).await?;
        while let Some(line) = lines.next_document::<LogLine>().await? {
            print(&mut session.paper, &line, stamp)?;
        }
    } else {
        for line in session.client.fetch::<Vec<LogLine>>(&path).await? {
            print(&mut session.paper, &line, stamp)?;
        }
    }
    Ok(DONE)
}

/// Prints one line where it was written to.
pub(crate) fn print(paper: &mut Paper, line: &LogLine, stamp: Stamp) -> Result<(), Failure> {
    let text = text(line, stamp);
    match line.stream {
        Stream::Stdout => paper.text(text.as_bytes()).and_then(|()| paper.flush()),
        Stream::Stderr => std::io::stderr().write_all(text.as_bytes()).map_err(|source| Failure::Output { source }),
    }
}

fn text(line: &LogLine, stamp: Stamp) -> String {
    let end = if line.partial { "" } else { "\n" };
    match stamp {
        Stamp::Timed => format!("{} {}{end}", time::from_micros(line.at_usec), line.text),
        Stamp::Bare => format!("{}{end}", line.text),
    }
}

/// A moment as it is, or an age (`90s`, `10m`, `2h`, `1h30m`) counted back from `now_ms`.
fn since(text: &str, now_ms: i64) -> Result<String, Invalid> {
    if time::to_micros(text).is_some() {
        return Ok(text.to_owned());
    }
    let age: jiff::SignedDuration = text.parse().map_err(|_| {
        Invalid::new("--since", format!("{text:?} is neither a time as in 2026-11-23T21:00:00Z nor an age as in 90s, 10m or 2h"))
    })?;
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Ok(time::from_millis(now_ms.saturating_sub(age_ms).max(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_becomes_a_moment() {
        let now_ms = time::to_millis("2026-11-23T21:30:00Z").expect("a moment");
        for (text, moment) in [
            ("10m", "2026-11-23T21:20:00.000Z"),
            ("1h30m", "2026-11-23T20:00:00.000Z"),
            ("90s", "2026-11-23T21:28:30.000Z"),
            ("2026-11-23T21:00:00Z", "2026-11-23T21:00:00Z"),
        ] {
            assert_eq!(since(text, now_ms).as_deref(), Ok(moment));
        }
        assert!(since("yesterday", now_ms).is_err());
    }

    #[test]
    fn a_line_that_goes_on_has_no_end_yet() {
        let line = |partial| LogLine { at_usec: 0, stream: Stream::Stdout, text: "ready".into(), partial };
        assert_eq!(text(&line(true), Stamp::Bare), "ready");
        assert_eq!(text(&line(false), Stamp::Timed), "1970-01-01T00:00:00.000000Z ready\n");
    }
}
