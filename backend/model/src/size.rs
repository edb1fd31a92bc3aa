//! Sizes as people write them (`64m`, Docker's binary units) and as they read them (`64 MiB`).

use crate::Invalid;

/// Reads `512`, `512b`, `64k`, `64m`, `64mb`, `64MiB`, `1.5g`, `2t`: binary units as in `docker run --memory`, any case.
/// Returns bytes. `field` is named in the error.
pub fn parse(field: &str, text: &str) -> Result<u64, Invalid> {
    let refuse = || Invalid::new(field, format!("{text:?} is not a size: write a number with b, k, m, g or t, such as 64m"));
    let lower = text.trim().to_ascii_lowercase();
    let digits_end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits_end);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(refuse()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(refuse);
    }
    let fraction: f64 = number.parse().map_err(|_| refuse())?;
    let bytes = fraction * (1u64 << shift) as f64;
    if bytes.is_finite() && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(refuse()) }
}

/// `4 MiB`, `1.5 GiB`, `512 B`: at most one digit after the point, and none where it would be zero.
pub fn display(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let rounded = (value * 10.0).round() / 10.0;
    if rounded.fract() == 0.0 { format!("{rounded:.0} {}", UNITS[unit]) } else { format!("{rounded:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_as_in_docker() {
        for (text, bytes) in [("512", 512), ("4m", 4 << 20), ("4MB", 4 << 20), ("1.5g", 3 << 29), ("64MiB", 64 << 20), ("2t", 2 << 40)] {
            assert_eq!(parse("memory", text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1e3", "99999999999t", "1..2", "NaN"] {
            assert!(parse("memory", text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_naturally() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (4 << 20, "4 MiB"), (3 << 29, "1.5 GiB"), (1_048_575, "1024 KiB")] {
            assert_eq!(display(bytes), text);
        }
    }
}
