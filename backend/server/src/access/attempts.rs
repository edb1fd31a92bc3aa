//! How often somebody may try a password: some at once, then one every few seconds, by the address that they come from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tries at once.
const BURST: u32 = 8;
/// Time after which one more is allowed.
const REFILL: Duration = Duration::from_secs(10);
/// Addresses that are remembered; when it is full, those that may try freely again are forgotten, and if none may,
/// strangers wait with the others.
const ADDRESSES_MAX: usize = 4096;

/// The tries of everybody.
pub(crate) struct Attempts {
    /// For each address, the moment at which its tries would be full again: it lies in the future as far as tries were
    /// used up (the *generic cell rate algorithm*: one moment stands for bucket and clock).
    full_again: Mutex<HashMap<IpAddr, Instant>>,
}

impl Attempts {
    /// Nobody has tried.
    pub(crate) fn new() -> Self {
        Self { full_again: Mutex::new(HashMap::new()) }
    }

    /// Counts a try, or says how many seconds to wait.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        let mut full_again = self.full_again.lock().unwrap_or_else(PoisonError::into_inner);
        if full_again.len() >= ADDRESSES_MAX {
            full_again.retain(|_, moment| *moment > now);
        }
        let address = network_of(address);
        if full_again.len() >= ADDRESSES_MAX && !full_again.contains_key(&address) {
            return Err(REFILL.as_secs());
        }
        let moment = full_again.get(&address).copied().unwrap_or(now).max(now) + REFILL;
        let ahead = moment - now;
        if ahead > REFILL * BURST {
            return Err((ahead - REFILL * BURST).as_secs().max(1));
        }
        full_again.insert(address, moment);
        Ok(())
    }

    /// Forgets the tries of one who knew the password.
    pub(crate) fn forget(&self, address: IpAddr) {
        self.full_again.lock().unwrap_or_else(PoisonError::into_inner).remove(&network_of(address));
    }
}

/// A home has 2^64 IPv6 addresses to come from: they count as one.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) & !u128::from(u64::MAX)).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_one_try_is_allowed_every_few_seconds() {
        let (attempts, start) = (Attempts::new(), Instant::now());
        let address = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..BURST {
            assert_eq!(attempts.admit(address, start), Ok(()));
        }
        assert_eq!(attempts.admit(address, start), Err(REFILL.as_secs()));
        assert_eq!(attempts.admit(IpAddr::from([192, 0, 2, 2]), start), Ok(()), "another address is not punished");
        assert_eq!(attempts.admit(address, start + REFILL), Ok(()));
        assert!(attempts.admit(address, start + REFILL).is_err());
        attempts.forget(address);
        assert_eq!(attempts.admit(address, start + REFILL), Ok(()));
    }

    #[test]
    fn one_home_cannot_try_from_many_addresses() {
        let (attempts, start) = (Attempts::new(), Instant::now());
        let home = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        for host in 0..BURST as u16 {
            assert_eq!(attempts.admit(home(host), start), Ok(()));
        }
        assert!(attempts.admit(home(99), start).is_err());
    }

    #[test]
    fn a_crowd_of_addresses_costs_bounded_memory() {
        let (attempts, start) = (Attempts::new(), Instant::now());
        let crowd = |number: usize| IpAddr::from((number as u32).to_be_bytes());
        for number in 0..ADDRESSES_MAX {
            assert_eq!(attempts.admit(crowd(number), start), Ok(()));
        }
        assert!(attempts.admit(crowd(ADDRESSES_MAX), start).is_err());
        assert_eq!(attempts.admit(crowd(ADDRESSES_MAX), start + REFILL * 2), Ok(()), "they are forgotten in time");
    }
}
