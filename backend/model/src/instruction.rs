//! Lines of a Dockerfile that change what an image says: what `commit --change` takes. The first word says which; case does not
//! matter. This module must never know how an image is built.

use std::collections::BTreeMap;

use crate::health::{HealthCheck, INTERVAL_MS_DEFAULT, RETRIES_DEFAULT, TIMEOUT_MS_DEFAULT};
use crate::image::ImageConfig;
use crate::{Invalid, Signal, UserSpec};

/// The instructions that are known.
const KNOWN: &str = "CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR";

/// Changes `config` as `line` says.
pub fn apply(config: &mut ImageConfig, line: &str) -> Result<(), Invalid> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).map_or((line, ""), |(word, rest)| (word, rest.trim()));
    let word = word.to_ascii_uppercase();
    if rest.is_empty() && word != "CMD" && word != "ENTRYPOINT" {
        return Err(refused(format!("{word} needs something after it, and {KNOWN} are known")));
    }
    if rest.contains('\0') {
        return Err(refused("must not contain NUL bytes"));
    }
    match word.as_str() {
        "CMD" => config.command = command(rest)?,
        "ENTRYPOINT" => {
            config.entrypoint = command(rest)?;
            // Docker's rule: a command that was there before was for another one.
            config.command.clear();
        }
        "ENV" => config.env.extend(pairs(rest)?),
        "LABEL" => config.labels.extend(pairs(rest)?),
        "EXPOSE" => config.exposed_ports.extend(rest.split_whitespace().map(port).collect::<Result<Vec<_>, _>>()?),
        "VOLUME" => {
            let folders = if rest.starts_with('[') { command(rest)? } else { rest.split_whitespace().map(str::to_owned).collect() };
            for folder in folders {
                crate::mount::absolute_path("VOLUME", &folder).map_err(|invalid| refused(format!("VOLUME {}", invalid.problem)))?;
                config.volumes.insert(folder);
            }
        }
        "STOPSIGNAL" => config.stop_signal = Some(rest.parse::<Signal>().map_err(|invalid| refused(invalid.problem))?.to_string()),
        "USER" => config.user = Some(rest.parse::<UserSpec>().map_err(|invalid| refused(format!("USER {}", invalid.problem)))?.to_string()),
        "WORKDIR" => {
            crate::mount::absolute_path("WORKDIR", rest).map_err(|invalid| refused(format!("WORKDIR {}", invalid.problem)))?;
            config.workdir = Some(rest.to_owned());
        }
        "HEALTHCHECK" => config.health = Some(health(rest)?),
        _ => return Err(refused(format!("{word} is not known: {KNOWN} are"))),
    }
    Ok(())
}

fn refused(problem: impl Into<String>) -> Invalid {
    Invalid::new("changes", problem)
}

/// A JSON list as it is; anything else is for a shell.
fn command(text: &str) -> Result<Vec<String>, Invalid> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if !text.starts_with('[') {
        return Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()]);
    }
    serde_json::from_str(text).map_err(|_| refused(format!("{text} is no list of words as JSON has it: [\"sleep\", \"1d\"]")))
}

/// `a=b c="d e"`, or `a the rest`.
fn pairs(text: &str) -> Result<BTreeMap<String, String>, Invalid> {
    let words = words(text)?;
    let first = words.first().map(String::as_str).unwrap_or_default();
    if !first.contains('=') {
        let (key, value) = text.split_once(char::is_whitespace).ok_or_else(|| refused(format!("{text} says no value: KEY=VALUE")))?;
        return Ok([(key.to_owned(), value.trim().to_owned())].into());
    }
    let pair = |word: &String| {
        let (key, value) =
            word.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| refused(format!("{word} is no KEY=VALUE")))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    words.iter().map(pair).collect()
}

/// Words with spaces between them; quotes and backslashes as a shell has them.
fn words(text: &str) -> Result<Vec<String>, Invalid> {
    let (mut words, mut word, mut quote): (Vec<String>, Option<String>, Option<char>) = (Vec::new(), None, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(characters.next()),
            (character, Some(open)) if character == open => quote = None,
            (character, Some(_)) => word.get_or_insert_default().push(character),
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (character, None) if character.is_whitespace() => words.extend(word.take()),
            (character, None) => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err(refused(format!("{text} has a quote that does not end")));
    }
    words.extend(word);
    Ok(words)
}

/// `80`, `80/udp`: with its protocol.
fn port(text: &str) -> Result<String, Invalid> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    match number.parse::<u16>() {
        Ok(number) if number > 0 && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") => Ok(format!("{number}/{protocol}")),
        _ => Err(refused(format!("{text} is no port: 80, or 53/udp"))),
    }
}

/// `NONE`, or `[--interval=30s …] CMD …`.
fn health(text: &str) -> Result<HealthCheck, Invalid> {
    let none = HealthCheck {
        command: Vec::new(),
        interval_ms: INTERVAL_MS_DEFAULT,
        timeout_ms: TIMEOUT_MS_DEFAULT,
        start_period_ms: 0,
        start_interval_ms: None,
        retries: RETRIES_DEFAULT,
    };
    if text.eq_ignore_ascii_case("NONE") {
        return Ok(none);
    }
    let (mut check, mut rest) = (none, text);
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).ok_or_else(|| refused("HEALTHCHECK says no CMD"))?;
        let (name, value) = option.split_once('=').ok_or_else(|| refused(format!("--{option} says no value")))?;
        let wrong = || refused(format!("--{option} is no time such as 30s, or no number"));
        match name {
            "interval" => check.interval_ms = milliseconds(value).ok_or_else(wrong)?,
            "timeout" => check.timeout_ms = milliseconds(value).ok_or_else(wrong)?,
            "start-period" => check.start_period_ms = milliseconds(value).ok_or_else(wrong)?,
            "start-interval" => check.start_interval_ms = Some(milliseconds(value).ok_or_else(wrong)?),
            "retries" => check.retries = value.parse().map_err(|_| wrong())?,
            _ => return Err(refused(format!("--{name} is not known to HEALTHCHECK"))),
        }
        rest = after.trim_start();
    }
    let (word, words) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if !word.eq_ignore_ascii_case("CMD") {
        return Err(refused("HEALTHCHECK is NONE, or ends with CMD and a command"));
    }
    check.command = command(words.trim())?;
    check.check("HEALTHCHECK").map_err(|invalid| refused(format!("{} {}", invalid.field, invalid.problem)))?;
    Ok(check)
}

/// `90s`, `1m30s`, `500ms`, `1h`.
fn milliseconds(text: &str) -> Option<u64> {
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|character: char| character.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        let factor = match &rest[digits..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> Result<ImageConfig, Invalid> {
        let mut config = ImageConfig { command: vec!["old".into()], ..ImageConfig::default() };
        lines.iter().try_for_each(|line| apply(&mut config, line)).map(|()| config)
    }

    #[test]
    fn every_instruction_changes_what_it_names() {
        let config = changed(&[
            r#"ENTRYPOINT ["/start"]"#,
            "cmd nginx -g 'daemon off;'",
            r#"ENV A=1 B="two words" C=th\ ree"#,
            "ENV D the rest of it",
            "EXPOSE 80 53/udp",
            "VOLUME /data /var/lib/x",
            r#"VOLUME ["/more"]"#,
            "USER www-data:www",
            "WORKDIR /srv",
            "STOPSIGNAL RTMIN+3",
            "LABEL org.example.a=b",
            "HEALTHCHECK --interval=1m30s --retries=2 CMD curl localhost",
        ])
        .expect("known");
        assert_eq!(config.entrypoint, ["/start"]);
        assert_eq!(config.command, ["/bin/sh", "-c", "nginx -g 'daemon off;'"]);
        let env: Vec<_> = config.env.into_iter().collect();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(env, [pair("A", "1"), pair("B", "two words"), pair("C", "th ree"), pair("D", "the rest of it")]);
        assert_eq!(config.exposed_ports.into_iter().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
        assert_eq!(config.volumes.len(), 3);
        assert_eq!((config.user.as_deref(), config.workdir.as_deref()), (Some("www-data:www"), Some("/srv")));
        assert_eq!((config.stop_signal.as_deref(), config.labels.len()), (Some("SIG37"), 1));
        let health = config.health.expect("a check");
        assert_eq!((health.interval_ms, health.retries, health.command[2].as_str()), (90_000, 2, "curl localhost"));
    }

    #[test]
    fn an_entrypoint_takes_the_old_command_away_and_a_check_may_be_none() {
        let config = changed(&[r#"ENTRYPOINT ["a"]"#, "HEALTHCHECK NONE"]).expect("known");
        assert!(config.command.is_empty() && config.health.is_some_and(|check| check.command.is_empty()));
    }

    #[test]
    fn what_is_not_known_or_cannot_be_is_refused() {
        for line in [
            "",
            "RUN rm -rf /",
            "FROM x",
            "ENV",
            "ENV A",
            "ENV =b c=d",
            "ENV A=\"b",
            "EXPOSE http",
            "EXPOSE 0",
            "EXPOSE 70000",
            "VOLUME relative",
            "USER 70000",
            "WORKDIR relative",
            "STOPSIGNAL NOPE",
            "CMD [not json",
            "HEALTHCHECK curl",
            "HEALTHCHECK --interval=soon CMD a",
            "HEALTHCHECK --retries=0 CMD a",
            "CMD a\0b",
        ] {
            assert_eq!(changed(&[line]).map_err(|invalid| invalid.field), Err("changes".to_owned()), "{line:?}");
        }
    }
}
