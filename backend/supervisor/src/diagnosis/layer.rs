//! How full a container's own layer is, in words: by its bytes, or by its files, whichever is nearer to the limit.
//!
//! Pure, as [`super::findings`]. It must never ask the kernel: what is counted comes in.

use belljar_model::diagnosis::{Finding, FindingKind, Gravity};
use belljar_model::overlay::LayerQuota;
use belljar_model::size;
use belljar_model::usage::Usage;

use super::findings::Facts;
use crate::quota::FIELDS;

/// From this share of its limit on, a layer is told to be almost full, in percent: as a disk is.
const NEAR_PERCENT_MIN: f64 = 95.0;
/// Below this share there is room again, in percent. What lies between is told no second time.
const ROOM_PERCENT_MAX: f64 = 90.0;
/// From this share on there is no room for anything but crumbs, in percent.
const FULL_PERCENT_MIN: f64 = 99.0;

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fill {
    /// Enough.
    Room,
    /// Not so much that what was told before would be over.
    Between,
    /// Almost none.
    Near,
    /// None.
    Full,
}

/// One figure of a layer beside its limit.
struct Figure {
    used: u64,
    most: u64,
    unit: fn(u64) -> String,
    field: &'static str,
}

impl Figure {
    fn percent(&self) -> f64 {
        if self.most == 0 { 100.0 } else { self.used as f64 / self.most as f64 * 100.0 }
    }
}

/// What a usage says of the layer, where it has a limit.
pub(super) fn of_usage(usage: &Usage) -> Option<LayerQuota> {
    let (bytes_max, inodes_max) = (usage.disk_bytes_max, usage.disk_inodes_max);
    bytes_max.or(inodes_max)?;
    Some(LayerQuota { project: 0, bytes: usage.disk_bytes?, inodes: usage.disk_inodes?, bytes_max, inodes_max })
}

/// How much room a layer has.
pub(super) fn fill(layer: &LayerQuota) -> Fill {
    match fullest(layer).map(|figure| figure.percent()) {
        Some(percent) if percent >= FULL_PERCENT_MIN => Fill::Full,
        Some(percent) if percent >= NEAR_PERCENT_MIN => Fill::Near,
        Some(percent) if percent >= ROOM_PERCENT_MAX => Fill::Between,
        _ => Fill::Room,
    }
}

/// `its layer is full: 100 MiB of 100 MiB`; `None` where it is not even almost.
pub(super) fn sentence(layer: &LayerQuota) -> Option<String> {
    let word = match fill(layer) {
        Fill::Full => "full",
        Fill::Near => "almost full",
        Fill::Room | Fill::Between => return None,
    };
    let Figure { used, most, unit, .. } = fullest(layer)?;
    Some(format!("its layer is {word}: {} of {}", unit(used), unit(most)))
}

/// The same for whoever asks why, with what to do.
pub(super) fn finding(facts: &Facts<'_>) -> Option<Finding> {
    let layer = facts.layer.as_ref()?;
    let text = sentence(layer)?;
    let Figure { most, unit, field, .. } = fullest(layer)?;
    let name = &facts.container.config.name;
    Some(Finding {
        kind: FindingKind::LayerFull,
        gravity: if fill(layer) == Fill::Full { Gravity::Error } else { Gravity::Warning },
        text,
        advice: format!("raise limits.{field} above {}, or remove something of what belljar diff {name} lists", unit(most)),
        sources: facts.of(&FIELDS),
    })
}

fn fullest(layer: &LayerQuota) -> Option<Figure> {
    let files = |inodes: u64| format!("{inodes} files");
    let bytes = layer.bytes_max.map(|most| Figure { used: layer.bytes, most, unit: size::display, field: "disk_bytes" });
    let inodes = layer.inodes_max.map(|most| Figure { used: layer.inodes, most, unit: files, field: "disk_inodes" });
    bytes.into_iter().chain(inodes).max_by(|left, right| left.percent().total_cmp(&right.percent()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn layer(used: (u64, u64), most: (Option<u64>, Option<u64>)) -> LayerQuota {
        LayerQuota { project: 1, bytes: used.0, inodes: used.1, bytes_max: most.0, inodes_max: most.1 }
    }

    #[test]
    fn a_layer_is_as_full_as_the_fuller_of_its_two_figures() {
        let both = (Some(100 * MIB), Some(500));
        let cases = [
            ((MIB, 5), both, Fill::Room, None),
            ((91 * MIB, 5), both, Fill::Between, None),
            ((96 * MIB, 5), both, Fill::Near, Some("its layer is almost full: 96 MiB of 100 MiB")),
            ((100 * MIB - 4096, 490), both, Fill::Full, Some("its layer is full: 100 MiB of 100 MiB")),
            ((MIB, 500), both, Fill::Full, Some("its layer is full: 500 files of 500 files")),
            ((200 * MIB, 1), (Some(100 * MIB), None), Fill::Full, Some("its layer is full: 200 MiB of 100 MiB")),
            ((200 * MIB, 9999), (None, None), Fill::Room, None),
        ];
        for (used, most, how_full, words) in cases {
            let layer = layer(used, most);
            assert_eq!((fill(&layer), sentence(&layer).as_deref()), (how_full, words), "{layer:?}");
        }
    }

    #[test]
    fn what_has_no_limit_is_no_layer_to_be_told_of() {
        let usage = Usage { disk_bytes: Some(5), disk_inodes: Some(5), ..Usage::default() };
        assert_eq!(of_usage(&usage), None);
        let limited = Usage { disk_inodes_max: Some(9), ..usage };
        assert_eq!(of_usage(&limited).map(|layer| (layer.bytes, layer.inodes_max)), Some((5, Some(9))));
    }
}
