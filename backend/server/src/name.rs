//! Names for containers that were given none.

use belljar_model::ContainerName;

const ADJECTIVES: [&str; 32] = [
    "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy", "crisp", "eager", "early", "fair", "gentle", "glad",
    "golden", "happy", "humble", "jolly", "keen", "kind", "lively", "lucky", "mellow", "merry", "nimble", "proud", "quiet", "silver",
    "steady", "swift", "warm",
];

/// What has stood under a bell jar, or might.
const NOUNS: [&str; 32] = [
    "acorn", "anemone", "beetle", "bluebell", "clock", "clover", "comet", "compass", "coral", "crocus", "dahlia", "daisy", "feather",
    "fern", "finch", "fossil", "harebell", "heron", "iris", "lantern", "lichen", "lily", "moss", "moth", "orchid", "owl", "pebble",
    "poppy", "quartz", "robin", "shell", "wren",
];

/// A name such as `calm-fern`; with four more digits where that one is taken.
pub(crate) fn make_up(is_taken: impl Fn(&str) -> bool) -> Result<ContainerName, getrandom::Error> {
    let random = getrandom::u32()?;
    let [adjective, noun, ..] = random.to_le_bytes();
    let short = format!("{}-{}", ADJECTIVES[usize::from(adjective) % 32], NOUNS[usize::from(noun) % 32]);
    let name = if is_taken(&short) { format!("{short}-{:04x}", random >> 16) } else { short };
    // Both lists hold letters only, which a test reads back.
    name.parse().map_err(|_| getrandom::Error::UNEXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_can_be_made_up_is_a_name() {
        for adjective in ADJECTIVES {
            for noun in NOUNS {
                assert!(format!("{adjective}-{noun}-0af1").parse::<ContainerName>().is_ok());
            }
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_digits() {
        let free = make_up(|_| false).expect("random bytes");
        let taken = make_up(|_| true).expect("random bytes");
        assert_eq!((free.as_str().split('-').count(), taken.as_str().split('-').count()), (2, 3));
    }
}
