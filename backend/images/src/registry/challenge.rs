//! `WWW-Authenticate`, taken apart (RFC 9110, 11.6.1): `Bearer realm="https://…",service="…",scope="…"`, or `Basic realm="…"`.
//!
//! One header may hold several challenges, and several headers may be there. What is malformed ends the reading of its header, and what
//! was read before counts.

use super::limits::CHALLENGE_BYTES_MAX;

/// What a server wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token that is given out at `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// The login itself.
    Basic,
}

/// The challenge that is answered: a token before the login itself, since it is worth less to whoever sees it.
pub(super) fn best<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut all: Vec<Challenge> = headers.flat_map(parse).collect();
    all.sort_by_key(|challenge| *challenge == Challenge::Basic);
    all.into_iter().next()
}

fn parse(header: &str) -> Vec<Challenge> {
    let mut text = Text { rest: header.get(..CHALLENGE_BYTES_MAX).unwrap_or(header) };
    let mut found = Vec::new();
    let mut scheme = text.token();
    while let Some(name) = scheme.take() {
        let mut parameters = Vec::new();
        loop {
            text.pass(|byte| matches!(byte, b' ' | b'\t' | b','));
            let Some(word) = text.token() else { break };
            if !text.take(b'=') {
                // A word without a value is the next challenge's scheme.
                scheme = Some(word);
                break;
            }
            let Some(value) = text.value() else { break };
            parameters.push((word.to_ascii_lowercase(), value));
        }
        found.extend(challenge(&name, parameters));
    }
    found
}

fn challenge(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    let of = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer { realm: of("realm")?, service: of("service"), scope: of("scope") }),
        _ => None,
    }
}

struct Text<'a> {
    rest: &'a str,
}

impl Text<'_> {
    fn pass(&mut self, passed: impl Fn(u8) -> bool) {
        let end = self.rest.bytes().position(|byte| !passed(byte)).unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }

    fn take(&mut self, byte: u8) -> bool {
        self.pass(|byte| byte == b' ');
        let taken = self.rest.as_bytes().first() == Some(&byte);
        if taken {
            self.rest = &self.rest[1..];
        }
        taken
    }

    fn token(&mut self) -> Option<String> {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/:".contains(&byte);
        let end = self.rest.bytes().position(|byte| !inside(byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then(|| token.to_owned())
    }

    /// A token, or a quoted string.
    fn value(&mut self) -> Option<String> {
        self.pass(|byte| byte == b' ');
        let Some(quoted) = self.rest.strip_prefix('"') else { return self.token() };
        let mut value = String::new();
        let mut escaped = false;
        for (at, character) in quoted.char_indices() {
            match character {
                '\\' if !escaped => escaped = true,
                '"' if !escaped => {
                    self.rest = &quoted[at + 1..];
                    return Some(value);
                }
                other => {
                    value.push(other);
                    escaped = false;
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into), scope: scope.map(Into::into) })
    }

    #[test]
    fn challenges_are_found_among_others_in_any_order() {
        for (headers, expected) in [
            (
                vec![r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull""#],
                bearer("https://auth.example/token", Some("registry.example"), Some("repository:a/b:pull")),
            ),
            (vec![r#"bearer  Realm = "https://x/" , other=1"#], bearer("https://x/", None, None)),
            (vec![r#"Basic realm="a \"quoted\" name""#], Some(Challenge::Basic)),
            (vec![r#"Basic realm="x", Bearer realm="https://y/""#], bearer("https://y/", None, None)),
            (vec![r#"Negotiate"#, r#"Basic realm="x""#], Some(Challenge::Basic)),
            (vec![r#"Digest realm="x", nonce="y""#], None),
            (vec![r#"Bearer service="x""#], None),
            (vec![r#"Bearer realm="never ends"#], None),
            (vec!["", ",,,", "===", "\"", "Bearer"], None),
        ] {
            assert_eq!(best(headers.iter().copied()), expected, "{headers:?}");
        }
    }

    #[test]
    fn any_text_is_answered() {
        proptest::proptest!(|(text in "\\PC{0,200}", tail in "[Bearl =\",\\\\]{0,60}")| {
            let _either = parse(&text);
            let _either = parse(&format!("Bearer {tail}{text}"));
        });
    }
}
