//! Names of images as people write them: `nginx`, `ghcr.example/a/b:tag`, `name@sha256:…`; taken apart once.
//!
//! ```text
//! [registry[:port]/]repository[:tag][@digest]
//! ```
//!
//! The grammar is that of the field's [reference package], and so are its two habits: what has no registry is Docker's, and
//! what has neither tag nor digest has the tag `latest`. An image's *familiar* name is the shortest that says all but these:
//! `nginx:latest`. This module must never know how a registry is reached.
//!
//! [reference package]: https://pkg.go.dev/github.com/distribution/reference

use std::fmt;
use std::str::FromStr;

use crate::Invalid;

/// Most characters of a registry and a repository together, with the slash between them (the reference package's own).
pub const REPOSITORY_CHARS_MAX: usize = 255;
/// Most characters of a tag.
pub const TAG_CHARS_MAX: usize = 128;
/// The registry of what names none.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// Where the default registry keeps what has no folder of its own.
const DEFAULT_FOLDER: &str = "library";
/// The tag of what has neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";
/// Other names of the default registry.
const DEFAULT_REGISTRY_ALIASES: [&str; 1] = ["index.docker.io"];

/// A reference to an image in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// Host of the registry, with its port where one is named: `docker.io`, `127.0.0.1:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path of the repository in the registry: `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; none only where there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest, `sha256:` and 64 hexadecimal digits, where it is named by one.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// What a registry is asked for: the digest where there is one, else the tag.
    pub fn wanted(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or(DEFAULT_TAG)
    }

    /// The same repository with a digest and without a tag.
    pub fn with_digest(&self, digest: &str) -> Self {
        Self { tag: None, digest: Some(digest.to_owned()), ..self.clone() }
    }

    /// Registry and repository in the familiar form: `nginx`, `127.0.0.1:5000/web`.
    pub fn familiar_repository(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}", self.registry, self.repository);
        }
        let short = self.repository.strip_prefix(DEFAULT_FOLDER).and_then(|rest| rest.strip_prefix('/'));
        // `library/a/b` is not `a/b`.
        short.filter(|short| !short.contains('/')).unwrap_or(&self.repository).to_owned()
    }

    /// The familiar form, with tag and digest as they are.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_repository())
    }

    fn with_suffix(&self, mut text: String) -> String {
        for (sign, part) in [(':', &self.tag), ('@', &self.digest)] {
            if let Some(part) = part {
                text.push(sign);
                text.push_str(part);
            }
        }
        text
    }
}

/// The whole form, with the registry.
impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.with_suffix(format!("{}/{}", self.registry, self.repository)))
    }
}

impl FromStr for Reference {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text).map_err(|problem| Invalid::new("image", problem))
    }
}

fn parse(text: &str) -> Result<Reference, String> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(checked_digest(digest)?)),
        None => (text, None),
    };
    let (registry, path) = match rest.split_once('/') {
        Some((first, path)) if is_registry(first) => {
            let registry = checked_registry(first)?;
            // Names of hosts have no capitals, so its written form would be a folder of the default registry.
            if !is_registry(&registry) {
                return Err(format!(
                    "names a registry that only capitals tell from a folder: write {registry}:443, or {registry} in lower case"
                ));
            }
            (registry, path)
        }
        _ => (DEFAULT_REGISTRY.to_owned(), rest),
    };
    let (path, tag) = match path.rsplit_once(':') {
        Some((path, tag)) => (path, Some(checked_tag(tag)?)),
        None => (path, None),
    };
    check_repository(path)?;
    let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') { format!("{DEFAULT_FOLDER}/{path}") } else { path.to_owned() };
    if registry.len() + 1 + repository.len() > REPOSITORY_CHARS_MAX {
        return Err(format!("must have at most {REPOSITORY_CHARS_MAX} characters before its tag"));
    }
    let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
    Ok(Reference { registry, repository, tag, digest })
}

/// Whether the first part is a registry and not a folder of the default one: the field's rule.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn checked_registry(text: &str) -> Result<String, String> {
    let wrong = || format!("names a registry that cannot be one: {text:?}");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            (format!("[{address}]"), port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or_else(wrong)?)
        }
        None => {
            let (host, port) = text.split_once(':').map_or((text, ""), |(host, port)| (host, port));
            let allowed = |part: &str| {
                let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                !part.is_empty() && part.bytes().all(inside) && !part.starts_with('-') && !part.ends_with('-')
            };
            if !host.split('.').all(allowed) || (text.contains(':') && port.is_empty()) {
                return Err(wrong());
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    if port.is_empty() {
        return Ok(if DEFAULT_REGISTRY_ALIASES.contains(&host.as_str()) { DEFAULT_REGISTRY.to_owned() } else { host });
    }
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(format!("{host}:{number}")),
        _ => Err(wrong()),
    }
}

fn check_repository(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(format!("must be in lower case: {:?}", path.to_ascii_lowercase()));
    }
    match path.split('/').find(|part| !is_component(part)) {
        Some(_) if path.len() > REPOSITORY_CHARS_MAX => Err(format!("must have at most {REPOSITORY_CHARS_MAX} characters before its tag")),
        Some(part) => Err(format!(
            "has a part {part:?} that cannot be one: letters and digits, between them one '.', one or two '_', or any number of '-'"
        )),
        None => Ok(()),
    }
}

/// `[a-z0-9]+ ((\. | _ | __ | -+) [a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    let bytes = part.as_bytes();
    let ends_well = bytes.first().is_some_and(|byte| alphanumeric(*byte)) && bytes.last().is_some_and(|byte| alphanumeric(*byte));
    let mut separators = part.split(|character: char| character.is_ascii() && alphanumeric(character as u8)).filter(|run| !run.is_empty());
    ends_well && separators.all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
}

fn checked_tag(tag: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let begins = tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if begins && tag.len() <= TAG_CHARS_MAX && tag.bytes().all(allowed) {
        return Ok(tag.to_owned());
    }
    Err(format!("has a tag that cannot be one: 1 to {TAG_CHARS_MAX} of letters, digits, '_', '.' and '-', not beginning with '.' or '-'"))
}

fn checked_digest(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(text.to_owned());
    }
    Err("has a digest that cannot be one: sha256: and 64 lower-case hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> String {
        text.parse::<Reference>().expect(text).to_string()
    }

    #[test]
    fn short_names_mean_what_they_mean_to_docker() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (short, long) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.27", "docker.io/library/nginx:1.27".into()),
            ("a/b", "docker.io/a/b:latest".into()),
            ("docker.io/nginx", "docker.io/library/nginx:latest".into()),
            ("index.docker.io/a/b:c", "docker.io/a/b:c".into()),
            ("registry.example/a/b/c:d", "registry.example/a/b/c:d".into()),
            ("localhost/a", "localhost/a:latest".into()),
            ("localhost:5000/a", "localhost:5000/a:latest".into()),
            ("127.0.0.1:5000/a:b", "127.0.0.1:5000/a:b".into()),
            ("[::1]:5000/a:b", "[::1]:5000/a:b".into()),
            ("Registry.Example/a", "registry.example/a:latest".into()),
            (&format!("nginx@{digest}"), format!("docker.io/library/nginx@{digest}")),
            (&format!("nginx:1@{digest}"), format!("docker.io/library/nginx:1@{digest}")),
        ] {
            assert_eq!(whole(short), long, "{short}");
        }
    }

    #[test]
    fn a_familiar_name_is_the_shortest_that_says_the_same() {
        for (long, short) in [
            ("docker.io/library/nginx:latest", "nginx:latest"),
            ("docker.io/a/b:c", "a/b:c"),
            ("docker.io/library/a/b", "library/a/b:latest"),
            ("registry.example/library/a:1", "registry.example/library/a:1"),
        ] {
            let reference: Reference = long.parse().expect(long);
            assert_eq!(reference.familiar(), short);
            assert_eq!(reference.familiar().parse(), Ok(reference), "{short}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused_with_the_part_that_is_wrong() {
        let long = format!("{}/a", "a".repeat(256));
        for (text, problem) in [
            ("", "empty"),
            ("Nginx", "lower case: \"nginx\""),
            ("Registry/nginx", "capitals"),
            ("a//b", "part \"\""),
            ("a/../b", "part \"..\""),
            ("-a", "part \"-a\""),
            ("a..b", "part"),
            ("a___b", "part"),
            ("a:", "tag"),
            ("a:-b", "tag"),
            ("a:b c", "tag"),
            ("a@sha256:1", "digest"),
            ("a@md5:0", "digest"),
            ("registry.example:0/a", "registry"),
            ("registry.example:99999/a", "registry"),
            ("registry.example:+80/a", "registry"),
            ("-x.example/a", "registry"),
            ("[::1/a", "registry"),
            ("[::1]x/a", "registry"),
            ("a\nb", "part"),
            ("ä", "part"),
            (&long, "characters"),
        ] {
            let invalid = text.parse::<Reference>().expect_err(text);
            assert!(invalid.problem.contains(problem), "{text:?}: {invalid}");
        }
    }
}
