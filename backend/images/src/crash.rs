//! Places at which a test may crash the server while layers come and go: after every step that leaves something in the folder.

/// Every place: a layer comes (half of it there, whole, its skeleton in place, itself in place), and goes.
pub const PLACES: [&str; 6] =
    ["layer.half", "layer.staged", "layer.skeleton_placed", "layer.placed", "layer.put_aside", "layer.tree_removed"];

/// Crashes here, if a test wants that.
pub(crate) fn here(place: &'static str) {
    belljar_linux::crash::here(place, &PLACES);
}
