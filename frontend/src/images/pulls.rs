//! Images on their way: how far each layer is.

use askama::Template;
use belljar_model::pull::{PullLayer, PullLayerState, PullState};
use belljar_model::{Pull, size};

use crate::{Error, Tone, figure};

/// Most layers of a pull that have a bar of their own; the rest is counted.
const LAYERS_SHOWN_MAX: usize = 100;

/// All pulls as one element, which is sent again as they come along; empty where there is none.
pub fn pulls(pulls: &[Pull]) -> Result<String, Error> {
    Pulls { pulls }.render()
}

#[derive(Template)]
#[template(path = "images/pulls.html")]
pub(super) struct Pulls<'a> {
    pub(super) pulls: &'a [Pull],
}

/// Where it is, in words.
fn state(pull: &Pull) -> String {
    match &pull.state {
        PullState::Resolving => "asking the registry what it consists of".to_owned(),
        PullState::Waiting { because, .. } => format!("waits: {because}"),
        PullState::Fetching => {
            let (received, total) = pull.bytes();
            format!("{} of {}", size::display(received), size::display(total))
        }
        PullState::Done { .. } => "is here".to_owned(),
        PullState::Failed { problem } => problem.clone(),
    }
}

/// Why it failed; `None` where it did not.
fn failure(pull: &Pull) -> Option<&str> {
    match &pull.state {
        PullState::Failed { problem } => Some(problem),
        PullState::Resolving | PullState::Waiting { .. } | PullState::Fetching | PullState::Done { .. } => None,
    }
}

fn tone(pull: &Pull) -> Tone {
    match pull.state {
        PullState::Done { .. } => Tone::Good,
        PullState::Failed { .. } => Tone::Bad,
        PullState::Waiting { .. } => Tone::Warn,
        PullState::Resolving | PullState::Fetching => Tone::Plain,
    }
}

/// How much of all that is new has arrived, in hundredths.
fn percent(pull: &Pull) -> u64 {
    if matches!(pull.state, PullState::Done { .. }) {
        return 100;
    }
    let (received, total) = pull.bytes();
    share(received, total)
}

/// How much of a layer has arrived.
fn layer_percent(layer: &PullLayer) -> u64 {
    match layer.state {
        PullLayerState::Done | PullLayerState::Present => 100,
        PullLayerState::Waiting | PullLayerState::Fetching => share(layer.received_bytes, layer.total_bytes),
    }
}

fn share(part: u64, whole: u64) -> u64 {
    // A registry may lie about a size.
    if whole == 0 { 0 } else { (u128::from(part) * 100 / u128::from(whole)).min(100) as u64 }
}

/// The first twelve digits of a digest.
fn short(digest: &str) -> &str {
    let digits = digest.split_once(':').map_or(digest, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_more_than_the_whole() {
        assert_eq!((share(0, 0), share(1, 3), share(9, 3), share(u64::MAX, u64::MAX)), (0, 33, 100, 100));
    }

    #[test]
    fn a_digest_is_told_by_its_first_digits() {
        assert_eq!((short("sha256:0123456789abcdef"), short("odd"), short("")), ("0123456789ab", "odd", ""));
    }
}
