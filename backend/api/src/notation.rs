//! Docker's short notations, as a form and a command line take them: `/srv:/data:ro`, `tmpfs:/tmp:64m`, `KEY=value`, and a
//! command line with a shell's quoting.

use std::collections::BTreeMap;

use belljar_model::security::{LandlockAccess, LandlockRule};
use belljar_model::setting::{Device, Ulimit};
use belljar_model::{IdMapping, Invalid, size};

use crate::mount::{Mount, MountType};

/// Reads one mount: `/host:/container[:OPTIONS]`, `volume:/container[:OPTIONS]`, `/container` for a volume of its own, `layer:/host`,
/// `tmpfs:/container[:size]`.
pub fn mount(field: &str, text: &str) -> Result<Mount, Invalid> {
    let text = text.trim();
    match text.split_once(':') {
        Some(("layer", source)) if source.starts_with("image=") => {
            Ok(Mount { image: Some(source["image=".len()..].to_owned()), ..Mount::bare(MountType::Layer) })
        }
        Some(("layer", source)) => Ok(Mount { source: Some(source.to_owned()), ..Mount::bare(MountType::Layer) }),
        Some(("tmpfs", rest)) => {
            let (target, size) = rest.split_once(':').map_or((rest, None), |(target, size)| (target, Some(size)));
            let bytes = |size: &str| size::parse(field, size.strip_prefix("size=").unwrap_or(size));
            Ok(Mount { target: Some(target.to_owned()), size_bytes: size.map(bytes).transpose()?, ..Mount::bare(MountType::Tmpfs) })
        }
        _ => volume(field, text),
    }
}

/// Reads what Docker's `-v` takes: `[SOURCE:]TARGET[:OPTIONS]`. A source that begins with a slash is the host's, any other is a volume's
/// name, and without one it is a volume that goes with the container.
pub fn volume(field: &str, text: &str) -> Result<Mount, Invalid> {
    let refuse = |problem: String| Invalid::new(field, problem);
    let wrong = || {
        refuse(format!("{text:?} is not a mount: write /host:/container, volume:/container or /container, and :ro after it where wanted"))
    };
    let (source, rest) = match text.split_once(':') {
        None => (None, text),
        Some((source, rest)) => (Some(source), rest),
    };
    let (target, options) = rest.split_once(':').unwrap_or((rest, ""));
    if !target.starts_with('/') || source.is_some_and(str::is_empty) {
        return Err(wrong());
    }
    let mount_type = if source.is_some_and(|source| source.starts_with('/')) { MountType::Bind } else { MountType::Volume };
    let (source, target) = (source.map(str::to_owned), Some(target.to_owned()));
    let mut mount = Mount { source, target, readonly: Some(false), ..Mount::bare(mount_type) };
    for option in words(options) {
        match (option.split_once('=').unwrap_or((&option, "")), mount_type) {
            (("ro", ""), _) => mount.readonly = Some(true),
            (("rw", ""), _) => mount.readonly = Some(false),
            (("nocopy", ""), MountType::Volume) => mount.nocopy = Some(true),
            (("idmap", mapping), _) => mount.idmap = Some(mapping.to_owned()),
            _ => {
                return Err(refuse(format!(
                    "{option:?} in {text:?} is not an option: there are ro, rw, nocopy (volumes), idmap=HOST:CONTAINER"
                )));
            }
        }
    }
    Ok(mount)
}

/// The words of a list of options. A mapping of ids has commas of its own: what can only go on with one is of the word before.
pub fn words(options: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in options.split(',').filter(|word| !word.is_empty()) {
        match words.last_mut() {
            Some(last) if last.starts_with("idmap=") && IdMapping::goes_on_with(word) => {
                last.push(',');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// Reads `KEY=value` pairs, one each; empty lines are skipped.
pub fn env<'a>(field: &str, lines: impl IntoIterator<Item = &'a str>) -> Result<BTreeMap<String, String>, Invalid> {
    let pair = |line: &str| match line.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Invalid::new(field, format!("{line:?} is not of the form KEY=value"))),
    };
    lines.into_iter().map(|line| line.trim_end_matches('\r')).filter(|line| !line.trim().is_empty()).map(pair).collect()
}

/// Reads one limit of a process: `nofile=1024:2048`, `core=0`; `-1` and `unlimited` are no limit.
pub fn ulimit(field: &str, text: &str) -> Result<(String, Ulimit), Invalid> {
    let refuse = || Invalid::new(field, format!("{text:?} is not a limit: write NAME=SOFT[:HARD], such as nofile=1024:2048"));
    let (name, values) = text.trim().split_once('=').ok_or_else(refuse)?;
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(None),
        number => number.parse().map(Some).map_err(|_| refuse()),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    Ok((name.to_owned(), Ulimit { soft: number(soft)?, hard: number(hard)? }))
}

/// Reads one device: `/dev/x[:/dev/y][:rwm]`.
pub fn device(field: &str, text: &str) -> Result<Device, Invalid> {
    let parts: Vec<&str> = text.trim().split(':').collect();
    let device = |source: &str, path: Option<&str>, access: &str| {
        Ok(Device { source: source.to_owned(), path: path.map(str::to_owned), access: access.to_owned() })
    };
    match parts.as_slice() {
        [source] => device(source, None, "rwm"),
        [source, path] if path.starts_with('/') => device(source, Some(path), "rwm"),
        [source, access] => device(source, None, access),
        [source, path, access] => device(source, Some(path), access),
        _ => Err(Invalid::new(field, format!("{text:?} is not a device: write /dev/x[:/dev/y][:rwm]"))),
    }
}

/// Reads one Landlock rule: `/srv:r`, `/usr:rx`, `/data:rwx`.
pub fn landlock(field: &str, text: &str) -> Result<LandlockRule, Invalid> {
    let refuse = || Invalid::new(field, format!("{text:?} is not a rule: write PATH:rwx, such as /usr:rx"));
    let (path, letters) = text.trim().rsplit_once(':').ok_or_else(refuse)?;
    let access = |letter: char| match letter {
        'r' => Ok(LandlockAccess::Read),
        'w' => Ok(LandlockAccess::Write),
        'x' => Ok(LandlockAccess::Execute),
        _ => Err(refuse()),
    };
    Ok(LandlockRule { path: path.to_owned(), access: letters.chars().map(access).collect::<Result<_, _>>()? })
}

/// Where the reader of a command line is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// Splits a command line as a shell does: spaces part words; `'…'`, `"…"` and `\` keep them. Nothing is expanded.
pub fn command(field: &str, line: &str) -> Result<Vec<String>, Invalid> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = Quote::None;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Quote::None, '\'') | (Quote::Single, '\'') => {
                quote = if quote == Quote::None { Quote::Single } else { Quote::None };
                word.get_or_insert_default();
            }
            (Quote::None, '"') | (Quote::Double, '"') => {
                quote = if quote == Quote::None { Quote::Double } else { Quote::None };
                word.get_or_insert_default();
            }
            // Within double quotes a backslash only guards what would mean something there (POSIX 2.2.3).
            (Quote::Double, '\\') if !characters.peek().is_some_and(|next| matches!(next, '"' | '\\' | '$' | '`')) => {
                word.get_or_insert_default().push('\\');
            }
            (Quote::None | Quote::Double, '\\') => {
                let guarded = characters.next().ok_or_else(|| Invalid::new(field, "ends with a backslash that guards nothing"))?;
                word.get_or_insert_default().push(guarded);
            }
            (Quote::None, space) if space.is_whitespace() => words.extend(word.take()),
            (_, character) => word.get_or_insert_default().push(character),
        }
    }
    if quote != Quote::None {
        return Err(Invalid::new(field, "has a quote that is not closed"));
    }
    words.extend(word);
    Ok(words)
}

/// Writes a command as one line that [`command`] reads back to the same words.
pub fn command_line(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Milliseconds of a length of time as Docker writes it: `1m30s`, `500ms`, `1.5s`; a number alone is seconds. Less than a
/// millisecond is none.
pub fn span_ms(field: &str, text: &str) -> Result<u64, Invalid> {
    let refuse = || Invalid::new(field, format!("{text:?} is not a length of time such as 30s, 500ms or 1m30s"));
    let (mut rest, mut total_ms) = (text.trim(), 0.0);
    if let Ok(seconds) = rest.parse::<u32>() {
        return Ok(u64::from(seconds) * 1000);
    }
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').ok_or_else(refuse)?;
        let number: f64 = rest[..end].parse().map_err(|_| refuse())?;
        let unit_end = rest[end..].find(|letter: char| letter.is_ascii_digit() || letter == '.').map_or(rest.len(), |length| end + length);
        total_ms += number
            * match &rest[end..unit_end] {
                "ms" => 1.0,
                "s" => 1000.0,
                "m" => 60_000.0,
                "h" => 3_600_000.0,
                "d" => 86_400_000.0,
                _ => return Err(refuse()),
            };
        rest = &rest[unit_end..];
    }
    // Longer ones are refused by what they are meant for; the number is whole and fits.
    Ok(total_ms.min(f64::from(u32::MAX) * 1000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_written_as_with_docker() {
        let cases =
            [("30s", 30_000), ("500ms", 500), ("1m30s", 90_000), ("1.5s", 1500), ("2h", 7_200_000), ("0s", 0), ("0", 0), ("7", 7000)];
        for (text, ms) in cases {
            assert_eq!(span_ms("x", text), Ok(ms), "{text}");
        }
        assert_eq!(span_ms("x", "99999999999999999999h"), Ok(u64::from(u32::MAX) * 1000));
        for text in ["", " ", "s", "soon", "-1s", "1x", "1.2.3s", "1s2", "ms5", "5µs"] {
            assert_eq!(span_ms("x", text).map_err(|invalid| invalid.field), Err("x".to_owned()), "{text}");
        }
    }

    #[test]
    fn mounts_are_written_as_in_docker() {
        let read =
            |text| mount("mounts", text).map(|mount| (mount.mount_type, mount.source, mount.target, mount.readonly, mount.size_bytes));
        let (a, b) = (Some("/a".to_owned()), Some("/b".to_owned()));
        assert_eq!(read("/a:/b"), Ok((MountType::Bind, a.clone(), b.clone(), Some(false), None)));
        assert_eq!(read(" /a:/b:ro"), Ok((MountType::Bind, a.clone(), b.clone(), Some(true), None)));
        assert_eq!(read("layer:/a"), Ok((MountType::Layer, a, None, None, None)));
        assert_eq!(read("tmpfs:/b:64m"), Ok((MountType::Tmpfs, None, b.clone(), None, Some(64 << 20))));
        let named = Some("pg".to_owned());
        assert_eq!(read("pg:/b:ro"), Ok((MountType::Volume, named, b.clone(), Some(true), None)));
        assert_eq!(read("/b"), Ok((MountType::Volume, None, b, Some(false), None)));
        let mapped = mount("mounts", "/a:/b:ro,idmap=1000:1000,u:5:6,g:7:8,nocopy");
        assert!(mapped.is_err(), "a bind is never filled");
        let mapped = mount("mounts", "pg:/b:ro,idmap=1000:1000,u:5:6,g:7:8,nocopy").expect("readable");
        assert_eq!((mapped.idmap.as_deref(), mapped.nocopy), (Some("1000:1000,u:5:6,g:7:8"), Some(true)));
        for text in ["", "a", "a:b", "/a:/b:x", "tmpfs:/b:lots", "/a:/b:ro:ro", ":/b", "/a:/b:rshared"] {
            assert_eq!(mount("mounts", text).map_err(|invalid| invalid.field), Err("mounts".into()), "{text}");
        }
    }

    #[test]
    fn limits_devices_and_rules_are_written_in_one_word() {
        let both = |soft, hard| Ulimit { soft, hard };
        assert_eq!(ulimit("ulimits", "nofile=1024:2048"), Ok(("nofile".into(), both(Some(1024), Some(2048)))));
        assert_eq!(ulimit("ulimits", "core=-1"), Ok(("core".into(), both(None, None))));
        let read = |text| device("devices", text).map(|device| (device.source.clone(), device.path().to_owned(), device.access));
        assert_eq!(read("/dev/a:/dev/b:r"), Ok(("/dev/a".into(), "/dev/b".into(), "r".into())));
        assert_eq!(read("/dev/a:rw"), Ok(("/dev/a".into(), "/dev/a".into(), "rw".into())));
        let rule = landlock("security.landlock", "/usr:rx").expect("a rule");
        assert_eq!((rule.path.as_str(), rule.access.len()), ("/usr", 2));
        for text in ["", "nofile", "nofile=many", "nofile=1:x"] {
            assert!(ulimit("ulimits", text).is_err(), "{text}");
        }
        assert!(
            device("devices", "/dev/a:/dev/b:r:w").is_err() && landlock("landlock", "/usr").is_err() && landlock("x", "/usr:q").is_err()
        );
    }

    #[test]
    fn a_command_line_is_split_as_a_shell_does() {
        let words = |line| command("command", line);
        let owned = |words: &[&str]| Ok(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(words("sleep 1d"), owned(&["sleep", "1d"]));
        assert_eq!(words(r#"sh -c 'echo "a  b"; exit 3'"#), owned(&["sh", "-c", r#"echo "a  b"; exit 3"#]));
        assert_eq!(words(r#"a\ b "c \"d\" \n" '' x"y"'z'"#), owned(&["a b", r#"c "d" \n"#, "", "xyz"]));
        assert_eq!(words("  "), owned(&[]));
        for line in ["'", "\"a", "a\\"] {
            assert!(words(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_command_written_as_a_line_reads_back() {
        let words = ["sh", "-c", "echo 'it''s' \"$HOME\" \\", "", "ä b"].map(String::from).to_vec();
        assert_eq!(command("command", &command_line(&words)), Ok(words));
    }

    #[test]
    fn an_environment_is_one_pair_a_line() {
        let pairs = env("env", "A=1\r\n\nB=x=y\nC=".lines()).expect("valid");
        assert_eq!(pairs.into_iter().collect::<Vec<_>>(), [("A", "1"), ("B", "x=y"), ("C", "")].map(|(k, v)| (k.into(), v.into())));
        assert!(env("env", ["A"]).is_err());
        assert!(env("env", ["=1"]).is_err());
    }
}
