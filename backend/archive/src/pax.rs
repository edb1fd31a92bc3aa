//! PAX extended headers ([POSIX `pax`]): records of `length key=value\n` that overrule fields of the header after them.
//!
//! Records are read by their length, never by line: a value may hold newlines (a name, a binary attribute). Where two
//! readers of an archive could disagree about a record, it is an error (CVE-2025-62518 began with such a disagreement).
//!
//! [POSIX `pax`]: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_03

use crate::limits::XATTRS_MAX;
use crate::sparse::SparseRecords;

/// What is kept of a block of records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link_path: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<i128>,
    pub(crate) gid: Option<i128>,
    /// Seconds and nanoseconds.
    pub(crate) mtime: Option<(i64, u32)>,
    /// Full name and value, in order.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// That it is a sparse file.
    pub(crate) sparse: Option<SparseRecords>,
}

/// Prefix under which GNU tar, bsdtar, Docker and Podman store extended attributes, raw.
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// Reads a block of records; on failure says what is wrong with it.
pub(crate) fn parse(mut block: &[u8]) -> Result<Records, &'static str> {
    let mut records = Records::default();
    while !block.is_empty() {
        let (record, rest) = next(block)?;
        records.take(record.key, record.value)?;
        block = rest;
    }
    Ok(records)
}

impl Records {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.get_or_insert_default().take(key, value);
        }
        if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
            return self.take_xattr(name, value);
        }
        // An empty value takes an earlier record back.
        let given = Some(value).filter(|value| !value.is_empty());
        match key {
            b"path" => self.path = given.map(<[u8]>::to_vec),
            b"linkpath" => self.link_path = given.map(<[u8]>::to_vec),
            b"size" => self.size = given.map(unsigned).transpose()?,
            b"uid" => self.uid = given.map(signed).transpose()?,
            b"gid" => self.gid = given.map(signed).transpose()?,
            b"mtime" => self.mtime = given.map(time).transpose()?,
            // Times of access, names of owners, comments, and what vendors add: nothing that we keep.
            _ => {}
        }
        Ok(())
    }

    fn take_xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if !keeps_xattr(name) {
            return Ok(());
        }
        if name.contains(&0) {
            return Err("the name of an extended attribute holds a NUL byte");
        }
        self.xattrs.retain(|(other, _)| other != name);
        if self.xattrs.len() >= XATTRS_MAX {
            return Err("it has too many extended attributes");
        }
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

/// Whether an extended attribute is kept: what a program may set on its own files, and file capabilities. Never `trusted.*`
/// (overlayfs's own marks: a forged one would hide or redirect files), nor overlayfs's marks in the user's space, nor a label
/// of the host that the archive came from (`security.selinux`).
pub fn keeps_xattr(name: &[u8]) -> bool {
    name == b"security.capability" || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

struct Record<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

/// The first record, and what follows it.
fn next(block: &[u8]) -> Result<(Record<'_>, &[u8]), &'static str> {
    const MALFORMED: &str = "a PAX record is malformed";
    /// Digits of the largest length that an extension header can hold, and some.
    const DIGITS_MAX: usize = 10;
    let space = block.iter().take(DIGITS_MAX + 1).position(|byte| *byte == b' ').ok_or(MALFORMED)?;
    let length = usize::try_from(unsigned(&block[..space])?).map_err(|_| MALFORMED)?;
    if length <= space + 1 || length > block.len() || block[length - 1] != b'\n' {
        return Err(MALFORMED);
    }
    let body = &block[space + 1..length - 1];
    let equals = body.iter().position(|byte| *byte == b'=').filter(|at| *at > 0).ok_or(MALFORMED)?;
    Ok((Record { key: &body[..equals], value: &body[equals + 1..] }, &block[length..]))
}

/// Digits, and nothing else.
fn unsigned(text: &[u8]) -> Result<u64, &'static str> {
    const MALFORMED: &str = "a number in a PAX record is malformed";
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(MALFORMED);
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(MALFORMED)
}

/// Digits, perhaps after a minus sign.
fn signed(text: &[u8]) -> Result<i128, &'static str> {
    match text.strip_prefix(b"-") {
        Some(digits) => unsigned(digits).map(|number| -i128::from(number)),
        None => unsigned(text).map(i128::from),
    }
}

/// Seconds since 1970 with a fraction of any length; before 1970 with a minus sign.
fn time(text: &[u8]) -> Result<(i64, u32), &'static str> {
    let point = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let seconds = signed(&text[..point])?;
    let fraction = text.get(point + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err("a time in a PAX record is malformed");
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    let seconds = i64::try_from(seconds).unwrap_or(if seconds < 0 { i64::MIN } else { i64::MAX });
    // -1.25 is 0.75 seconds after -2.
    Ok(if text.starts_with(b"-") && nanoseconds > 0 {
        (seconds.saturating_sub(1), 1_000_000_000 - nanoseconds)
    } else {
        (seconds, nanoseconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_newlines_and_equal_signs_are_read_by_their_length() {
        let records = parse(b"14 path=a\nb=c\n12 uid=1000\n27 SCHILY.xattr.user.k=\n\0v\n").unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"a\nb=c"[..]));
        assert_eq!(records.uid, Some(1000));
        assert_eq!(records.xattrs, [(b"user.k".to_vec(), b"\n\0v".to_vec())]);
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for block in [
            &b"13 path=a\nb=c\n"[..],
            b"15 path=a\nb=c\n",
            b"5\n",
            b"0 path=a\n",
            b"99999999999999999999 path=a\n",
            b"-9 path=a\n",
            b"8 =aaaa\n",
            b"9 path a\n",
            b"\n",
            b"\0\0\0",
        ] {
            assert!(parse(block).is_err(), "{}", String::from_utf8_lossy(block));
        }
    }

    #[test]
    fn the_last_record_wins_and_an_empty_one_takes_back() {
        assert_eq!(parse(b"8 uid=1\n8 uid=2\n").unwrap().uid, Some(2));
        assert_eq!(parse(b"8 uid=1\n7 uid=\n").unwrap().uid, None);
    }

    #[test]
    fn marks_of_overlayfs_and_labels_of_the_host_are_dropped() {
        for name in [
            "trusted.overlay.opaque",
            "trusted.overlay.redirect",
            "trusted.x",
            "user.overlay.opaque",
            "security.selinux",
            "system.posix_acl_access",
        ] {
            let body = format!(" SCHILY.xattr.{name}=y\n");
            let length = body.len() + 2;
            assert_eq!(parse(format!("{length}{body}").as_bytes()), Ok(Records::default()), "{name}");
        }
    }

    #[test]
    fn times_have_fractions_and_may_lie_before_1970() {
        for (text, expected) in [
            ("1", (1, 0)),
            ("1.5", (1, 500_000_000)),
            ("-1.25", (-2, 750_000_000)),
            ("0.1234567891", (0, 123_456_789)),
            ("9999999999999999999", (i64::MAX, 0)),
        ] {
            assert_eq!(time(text.as_bytes()), Ok(expected), "{text}");
        }
        for text in ["", ".", "1.x", "--1", "1e3", "99999999999999999999"] {
            assert!(time(text.as_bytes()).is_err(), "{text}");
        }
    }
}
