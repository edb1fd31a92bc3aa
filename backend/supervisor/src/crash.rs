//! Places at which a test may crash the server: after every step that leaves something on the host or in the database.

/// Every place, in the order in which a container's life passes them, and then an image's.
pub const PLACES: [&str; 30] = [
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
    "commit.marked",
    "commit.frozen",
    "commit.packed",
    "commit.let_go",
    "image.layers",
    "image.row",
    "image.layer_removed",
];

/// Crashes here, if a test wants that.
pub(crate) fn here(place: &'static str) {
    belljar_linux::crash::here(place, &PLACES);
}
