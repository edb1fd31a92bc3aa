//! Places at which a test may crash the server: after every step that leaves something on the host or in the database.
//!
//! A debug build ends at once, without destructors, where the variable [`VARIABLE`] names the place. A release build has
//! none of this.

/// Names the place to crash at, one of [`PLACES`].
#[cfg(debug_assertions)]
const VARIABLE: &str = "BELLJAR_CRASH_AT";

/// Exit status of such a crash: what a shell shows for SIGKILL.
#[cfg(debug_assertions)]
const STATUS: i32 = 137;

/// Every place, in the order in which a container's life passes them.
pub const PLACES: [&str; 23] = [
    "create.inserted",
    "create.folders",
    "volume.folder",
    "volume.inserted",
    "fill.begun",
    "fill.copied",
    "fill.placed",
    "start.folders",
    "start.spec",
    "start.launched",
    "start.ready",
    "start.recorded",
    "stop.wanted",
    "stop.signalled",
    "stop.killed",
    "stop.ended",
    "stop.recorded",
    "delete.wanted",
    "delete.cgroup",
    "delete.folders",
    "delete.volume_row",
    "delete.row",
    "volume.row",
];

/// Crashes here, if a test wants that.
#[cfg(debug_assertions)]
pub(crate) fn here(place: &'static str) {
    use std::sync::OnceLock;
    static WANTED: OnceLock<Option<String>> = OnceLock::new();
    debug_assert!(PLACES.contains(&place), "{place} is not in the list of places");
    if WANTED.get_or_init(|| std::env::var(VARIABLE).ok()).as_deref() == Some(place) {
        belljar_linux::process::exit_now(STATUS);
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn here(_place: &'static str) {}
