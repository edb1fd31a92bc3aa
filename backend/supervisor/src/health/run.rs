//! One check: an exec whose output is bounded, and which never goes on for longer than it may.

use std::collections::VecDeque;
use std::sync::Arc;

use belljar_model::exec::{Exec, Ran};
use belljar_model::health::{CheckVerdict, Checked, HealthCheck, OUTPUT_BYTES_KEPT};
use belljar_model::{Container, Signal};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::clock::now_ms;
use crate::exec::{self, Leftovers, Piece, Running};
use crate::shared::Shared;
use crate::{Error, ErrorKind};

/// Most bytes that a check may write before it is killed. They are read at the server's expense, not the container's, and let go.
const WRITTEN_BYTES_MAX: u64 = 256 << 20;

/// Runs it, and says what came of it; `None` where that says nothing about the container, which does not run.
pub(super) async fn check(shared: &Arc<Shared>, container: Container, check: &HealthCheck, place: OwnedSemaphorePermit) -> Option<Checked> {
    let (began_at_ms, began) = (now_ms(), Instant::now());
    let exec = Exec {
        command: check.command.clone(),
        env: std::collections::BTreeMap::new(),
        user: None,
        workdir: None,
        time_limit_ms: check.timeout_ms,
    };
    let mut output = Tail::default();
    let verdict = match exec::begin(shared, container, exec, (place, Leftovers::Go)).await {
        Ok(running) => watch(running, &mut output, check).await,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => return None,
        Err(error) => CheckVerdict::Failed(why(&error)),
    };
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Some(Checked { began_at_ms, took_ms, verdict, output: output.into_text() })
}

/// Why it could not be run, without the container's name, which is told anyway.
fn why(error: &Error) -> String {
    match error {
        Error::ExecFailed { failure, .. } => failure.to_string(),
        other => crate::error::chain(other),
    }
}

async fn watch(mut running: Running, output: &mut Tail, check: &HealthCheck) -> CheckVerdict {
    while let Some(piece) = running.next().await {
        match piece {
            Piece::Stdout(bytes) | Piece::Stderr(bytes) => output.take(&bytes),
            Piece::Ended(ran) => return verdict(&ran, check),
        }
        if output.written > WRITTEN_BYTES_MAX {
            // Dropped, it is killed.
            return CheckVerdict::Flooded(WRITTEN_BYTES_MAX);
        }
    }
    verdict(&Ran::default(), check)
}

fn verdict(ran: &Ran, check: &HealthCheck) -> CheckVerdict {
    match ran {
        // One that ended by itself while it was about to be killed was too late all the same.
        Ran { timed_out: true, .. } => CheckVerdict::TimedOut(check.timeout_ms),
        Ran { code: Some(code), .. } => CheckVerdict::Exited(*code),
        Ran { signal: Some(signal), .. } => CheckVerdict::Signaled(Signal::clone(signal)),
        _ => CheckVerdict::Failed("nobody saw how it ended".to_owned()),
    }
}

/// The end of what was written.
#[derive(Debug, Default)]
struct Tail {
    kept: VecDeque<u8>,
    written: u64,
}

impl Tail {
    fn take(&mut self, bytes: &[u8]) {
        self.written = self.written.saturating_add(bytes.len() as u64);
        let bytes = &bytes[bytes.len().saturating_sub(OUTPUT_BYTES_KEPT)..];
        let surplus = (self.kept.len() + bytes.len()).saturating_sub(OUTPUT_BYTES_KEPT);
        self.kept.drain(..surplus);
        self.kept.extend(bytes);
    }

    /// As text, from the beginning of a character, in no more bytes than are kept.
    fn into_text(self) -> String {
        let is_cut = self.written > OUTPUT_BYTES_KEPT as u64;
        let bytes: Vec<u8> = self.kept.into();
        let is_inside = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
        let begin = if is_cut { bytes.iter().take(3).take_while(|byte| is_inside(byte)).count() } else { 0 };
        let mut text = String::from_utf8_lossy(&bytes[begin..]).into_owned();
        // What is not UTF-8 takes three bytes for each: again the end is what is kept.
        let surplus = text.len().saturating_sub(OUTPUT_BYTES_KEPT);
        let begin = (surplus..=text.len()).find(|place| text.is_char_boundary(*place)).unwrap_or_default();
        text.drain(..begin);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(pieces: &[&[u8]]) -> String {
        let mut tail = Tail::default();
        pieces.iter().for_each(|piece| tail.take(piece));
        tail.into_text()
    }

    #[test]
    fn the_end_of_an_output_is_kept_whole() {
        assert_eq!(tail(&[b"a\n", b"b"]), "a\nb");
        let flood = tail(&[&[b'x'; 10_000], b"\nthe reason\n"]);
        assert_eq!((flood.len(), flood.ends_with("x\nthe reason\n")), (OUTPUT_BYTES_KEPT, true));
        let wide = tail(&["é".repeat(3000).as_bytes(), b"!"]);
        assert!(wide.len() <= OUTPUT_BYTES_KEPT && wide.ends_with("é!") && !wide.contains('\u{fffd}'));
        let bytes = tail(&[&[0xff; 20_000]]);
        assert!(bytes.len() <= OUTPUT_BYTES_KEPT && bytes.chars().all(|letter| letter == '\u{fffd}'));
    }

    #[test]
    fn an_end_is_taken_for_what_it_was() {
        let check = HealthCheck { timeout_ms: 5, ..HealthCheck::of(vec!["true".into()]) };
        let late = Ran { code: Some(0), timed_out: true, ..Ran::default() };
        assert_eq!(verdict(&late, &check), CheckVerdict::TimedOut(5));
        assert_eq!(verdict(&Ran { code: Some(0), ..Ran::default() }, &check), CheckVerdict::Exited(0));
        assert_eq!(verdict(&Ran { signal: Some(Signal::KILL), ..Ran::default() }, &check), CheckVerdict::Signaled(Signal::KILL));
        assert!(!verdict(&Ran::default(), &check).is_healthy());
    }
}
