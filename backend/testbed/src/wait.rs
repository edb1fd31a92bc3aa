//! Waiting for a condition, with a deadline, instead of sleeping for a time that is hoped to be enough.

use std::time::{Duration, Instant};

/// How long a condition may take before the test fails: ample for a loaded machine of two cores.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `look` finds something, and returns it; after [`DEADLINE`] it panics with `what`.
pub fn wait_until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    try_wait(DEADLINE, look).unwrap_or_else(|| panic!("waited {} s in vain until {what}", DEADLINE.as_secs()))
}

/// How many times longer than usual everything may take on this machine: `BELLJAR_TEST_PATIENCE`, or 1.
pub fn patience() -> u32 {
    std::env::var("BELLJAR_TEST_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Looks until `look` finds something or `limit`, times the machine's patience, is over.
pub fn try_wait<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit * patience();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_ends_the_wait() {
        let mut looks = 0;
        let found = wait_until("the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, 3);
    }

    #[test]
    fn a_condition_that_stays_false_ends_at_the_limit() {
        assert_eq!(try_wait(Duration::ZERO, || None::<()>), None);
    }
}
