//! How long one layer takes from its bytes to its place on disk, and how much memory: `unpack LAYER FOLDER [ROUNDS]`, where FOLDER is
//! where images are to be kept. Each round begins without the layer. For comparison the same is told of inflating and hashing alone.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on should end")]

use std::fs::File;
use std::time::Instant;

use belljar_images::{Images, ImportLimits, StagedLayer};

/// Peak of this process's memory, as the kernel says it.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim().to_owned()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (layer, folder) = (arguments.next().unwrap(), arguments.next().unwrap());
    let rounds = arguments.next().map_or(5, |text| text.parse().unwrap());
    let images = Images::open(folder).unwrap();
    let limits = ImportLimits::default();
    for _ in 0..rounds {
        let began = Instant::now();
        let mut stream = belljar_archive::Stream::open(File::open(&layer).unwrap(), &limits).unwrap();
        while !stream.chunk(u64::MAX).unwrap().is_empty() {}
        let _digest = stream.finish();
        let inflated = began.elapsed();
        let began = Instant::now();
        let staged = images.stage_layer(File::open(&layer).unwrap(), &limits).unwrap();
        let unpacked = began.elapsed();
        let placed = StagedLayer::put_in_place(staged).unwrap();
        let in_place = began.elapsed();
        let (facts, diff_id) = (placed.facts, placed.diff_id);
        drop(placed);
        images.remove_layer(&diff_id).unwrap();
        println!(
            "inflated and hashed alone {inflated:.2?}; unpacked {unpacked:.2?}, in its place {in_place:.2?}: {} entries, {} bytes, peak {}",
            facts.entries,
            facts.size_bytes,
            peak()
        );
    }
}
