//! Places at which a test may crash a process of ours: after every step that leaves something on the host.
//!
//! A debug build ends at once, without destructors, where the variable `BELLJAR_CRASH_AT` names the place. A release build has
//! none of this. It must never know what the places are: each crate that has some lists them.

/// Names the place to crash at.
#[cfg(debug_assertions)]
const VARIABLE: &str = "BELLJAR_CRASH_AT";

/// Exit status of such a crash: what a shell shows for SIGKILL.
#[cfg(debug_assertions)]
const STATUS: i32 = 137;

/// Crashes here, if a test wants that; `place` is one of `places`.
#[cfg(debug_assertions)]
pub fn here(place: &'static str, places: &[&str]) {
    use std::sync::OnceLock;
    static WANTED: OnceLock<Option<String>> = OnceLock::new();
    debug_assert!(places.contains(&place), "{place} is not in the list of places");
    if WANTED.get_or_init(|| std::env::var(VARIABLE).ok()).as_deref() == Some(place) {
        crate::process::exit_now(STATUS);
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub fn here(_place: &'static str, _places: &[&str]) {}
