//! How often and how long: pauses between tries, what a registry asks to be waited, and when it is enough.
//!
//! What brought something starts the count again: a line that breaks every minute still fetches a large layer. What a registry *asked* to
//! be waited is no failed try, and has a limit of its own. Pauses are drawn, so that what failed together does not come again together.

use std::time::Duration;

use hyper::http::{HeaderMap, header};
use jiff::Timestamp;

use super::error::Cause;
use super::limits::{BROUGHT_BYTES, PAUSE_FIRST, PAUSE_MAX, STALL_LIMIT, TRIES_MAX, TRIES_TOTAL_MAX, WAIT_MAX, WAITED_MAX, WAITS_MAX};
use super::progress::Progress;

/// The lengths of pauses. What a person has is [`Patience::default`]; a test has less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Before the second try; each further one is twice as long.
    pub pause_first: Duration,
    /// How long nothing may arrive.
    pub stall: Duration,
    /// The longest that a registry may ask to be waited.
    pub wait_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { pause_first: PAUSE_FIRST, stall: STALL_LIMIT, wait_max: WAIT_MAX }
    }
}

/// The tries of one thing.
pub(super) struct Tries<'a> {
    patience: Patience,
    progress: &'a Progress,
    in_a_row: u32,
    total: u32,
    /// Pauses that were asked for.
    asked: u32,
    waited: Duration,
}

impl<'a> Tries<'a> {
    pub(super) fn new(patience: Patience, progress: &'a Progress) -> Self {
        Self { patience, progress, in_a_row: 0, total: 0, asked: 0, waited: Duration::ZERO }
    }

    /// After a try that failed of `cause` and brought so many bytes: waits before the next one, or gives the cause back where there
    /// shall be none.
    pub(super) async fn after(&mut self, cause: Cause, brought_bytes: u64) -> Result<(), Cause> {
        if brought_bytes >= BROUGHT_BYTES {
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        self.total += 1;
        let asked = match &cause {
            Cause::RateLimited { after } | Cause::Busy { after, .. } => *after,
            _ => None,
        };
        if !cause.is_passing() || self.total >= TRIES_TOTAL_MAX {
            return Err(cause);
        }
        let pause = match asked {
            Some(asked) if asked > self.patience.wait_max || self.waited + asked > WAITED_MAX || self.asked >= WAITS_MAX => {
                return Err(cause);
            }
            Some(asked) => {
                self.in_a_row -= 1;
                self.asked += 1;
                // "At once" is never meant by who was asked too often.
                let pause = asked.max(self.patience.pause_first);
                self.waited += pause;
                pause
            }
            None if self.in_a_row >= TRIES_MAX => return Err(cause),
            None => pause(self.patience.pause_first, self.in_a_row),
        };
        let _shown = self.progress.waiting(&cause, pause);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// The pause before the try after the `tries`th: between half of it and the whole.
fn pause(first: Duration, tries: u32) -> Duration {
    let whole = first.saturating_mul(1 << (tries.saturating_sub(1)).min(16)).min(PAUSE_MAX);
    let drawn = getrandom::u32().unwrap_or(u32::MAX / 2);
    whole / 2 + whole.mul_f64(f64::from(drawn) / f64::from(u32::MAX) / 2.0)
}

/// What `Retry-After` asks for: seconds, or a moment, which is counted from the server's own `Date` where it has one, since its clock and
/// ours may differ (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: header::HeaderName| headers.get(name)?.to_str().ok();
    let asked = text(header::RETRY_AFTER)?.trim();
    if !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are longer than anybody waits.
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    let until = moment(asked)?;
    let from = text(header::DATE).and_then(moment).unwrap_or(now);
    Some(Duration::try_from(until.duration_since(from)).unwrap_or(Duration::ZERO))
}

/// A moment as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn moment(text: &str) -> Option<Timestamp> {
    let parsed = jiff::fmt::rfc2822::parse(text).ok();
    parsed.map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_to_be_waited_is_read_as_seconds_or_as_a_moment() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().expect("a moment");
        let headers = |pairs: &[(header::HeaderName, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect()
        };
        for (pairs, expected) in [
            (vec![(header::RETRY_AFTER, "7")], Some(7)),
            (vec![(header::RETRY_AFTER, " 0 ")], Some(0)),
            (vec![(header::RETRY_AFTER, "99999999999999999999999999")], Some(u64::MAX)),
            (vec![(header::RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT")], Some(37)),
            (vec![(header::RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT"), (header::DATE, "Sun, 06 Nov 1994 08:49:30 GMT")], Some(7)),
            (vec![(header::RETRY_AFTER, "Sun, 06 Nov 1994 08:00:00 GMT")], Some(0)),
            (vec![(header::RETRY_AFTER, "-3")], None),
            (vec![(header::RETRY_AFTER, "soon")], None),
            (vec![], None),
        ] {
            assert_eq!(retry_after(&headers(&pairs), now), expected.map(Duration::from_secs), "{pairs:?}");
        }
    }

    #[test]
    fn pauses_grow_differ_and_have_an_end() {
        let first = Duration::from_secs(1);
        for (tries, least, most) in [(1, 500, 1000), (2, 1000, 2000), (3, 2000, 4000), (60, 15_000, 30_000)] {
            let pauses: Vec<u128> = (0..50).map(|_| pause(first, tries).as_millis()).collect();
            assert!(pauses.iter().all(|pause| (least..=most).contains(pause)), "{tries}: {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{tries}: all the same");
        }
    }
}
