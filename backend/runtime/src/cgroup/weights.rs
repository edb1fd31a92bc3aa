//! Weights against others in the words of each file that takes one: the same curve through the least, the usual and the largest.
//! Pure.

/// Least and largest shares of v1 (`sched-design-CFS`), and the usual ones.
pub const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// The usual weight, of v2 and of BFQ.
const USUAL: u32 = 100;
/// Largest weight that BFQ knows (`bfq-iosched.rst`).
const BFQ_LARGEST: u32 = 1_000;
/// Largest weight of v2.
const LARGEST: u32 = belljar_model::limits::WEIGHT_MAX;

/// Weight on v2 (1 to 10000) of shares on v1 (2 to 262144): a curve through the ends and through the usual weights of
/// both, 1024 and 100.
pub fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let log = (shares as f64).log2();
            10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil() as u64
        }
    }
}

/// The most shares whose weight is this one: the way back of [`weight_of_shares`].
pub fn shares_of_weight(weight: u32) -> u64 {
    let weight = u64::from(weight.clamp(1, LARGEST));
    let (mut least, mut most) = (*SHARES.start(), *SHARES.end());
    while least < most {
        let middle = (least + most).div_ceil(2);
        if weight_of_shares(middle) <= weight {
            least = middle;
        } else {
            most = middle - 1;
        }
    }
    if weight == u64::from(USUAL) { 1024 } else { least }
}

/// Weight of `io.weight` (1 to 10000) of a weight of disks in the specification's words (10 to 1000).
pub fn io_weight_of_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

/// BFQ's weight (1 to 1000) of v2's: the same up to the usual one, then as much of what is above it.
pub fn bfq_of_weight(weight: u32) -> u32 {
    match weight.min(LARGEST) {
        weight @ 0..=USUAL => weight.max(1),
        weight => USUAL + (weight - USUAL) * (BFQ_LARGEST - USUAL) / (LARGEST - USUAL),
    }
}

/// The way back: what [`bfq_of_weight`] makes this of.
pub fn weight_of_bfq(weight: u32) -> u32 {
    match weight.min(BFQ_LARGEST) {
        weight @ 0..=USUAL => weight.max(1),
        weight => USUAL + (weight - USUAL) * (LARGEST - USUAL) / (BFQ_LARGEST - USUAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_a_weight_whose_usual_value_is_the_usual_one() {
        let table = [
            (0, 1),
            (2, 1),
            (3, 2),
            (10, 4),
            (256, 35),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (8192, 532),
            (262_143, 10_000),
            (262_144, 10_000),
        ];
        for (shares, weight) in table {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        let mut before = 0;
        for shares in 2..262_144 {
            let weight = weight_of_shares(shares);
            assert!(weight >= before && (1..=10_000).contains(&weight), "{shares} becomes {weight}");
            before = weight;
        }
    }

    #[test]
    fn every_weight_comes_back_from_shares_as_it_was() {
        for weight in 1..=LARGEST {
            let shares = shares_of_weight(weight);
            assert!(SHARES.contains(&shares));
            assert_eq!(weight_of_shares(shares), u64::from(weight), "{shares} shares");
        }
        assert_eq!([1, 100, 10_000].map(shares_of_weight), [2, 1024, 262_144]);
    }

    #[test]
    fn every_weight_of_bfq_comes_back_as_it_was() {
        for weight in 1..=BFQ_LARGEST {
            assert_eq!(bfq_of_weight(weight_of_bfq(weight)), weight);
        }
        assert_eq!([1, 100, 10_000].map(bfq_of_weight), [1, 100, 1000]);
    }
}
