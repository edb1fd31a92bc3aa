//! Docker's `config.json`, as far as it says who somebody is at a registry: `auths`. Programs that keep secrets (`credsStore`,
//! `credHelpers`) are refused by name: a server does not run a person's helpers.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use belljar_images::registry::Credentials;
use belljar_model::Invalid;
use belljar_model::reference::DEFAULT_REGISTRY;
use serde::Deserialize;

/// Longest such file, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
}

/// Who the file says that somebody is at `host`.
pub(super) fn credentials(path: &Path, host: &str) -> Result<Credentials, Invalid> {
    let wrong = |problem: String| Invalid::new("docker_config", format!("{}: {problem}", path.display()));
    if !path.is_absolute() {
        return Err(wrong("must be an absolute path".to_owned()));
    }
    let mut bytes = Vec::new();
    let opened = std::fs::OpenOptions::new().read(true).open(path);
    let read = opened.and_then(|file| {
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("is no regular file"));
        }
        file.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes)
    });
    read.map_err(|error| wrong(format!("could not be read: {error}")))?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(wrong(format!("has more than {CONFIG_BYTES_MAX} bytes")));
    }
    // Its own words may hold a secret, and are not repeated.
    let file: File = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("is no config.json, line {}", error.line())))?;
    of(file, host).map_err(wrong)
}

fn of(file: File, host: &str) -> Result<Credentials, String> {
    let is_host = |key: &str| {
        let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let named = key.split('/').next().unwrap_or(key);
        named == host || (host == DEFAULT_REGISTRY && matches!(named, "index.docker.io" | "registry-1.docker.io"))
    };
    if let Some((_, helper)) = file.cred_helpers.iter().find(|(key, _)| is_host(key)) {
        return Err(format!("credHelpers leaves {host} to the program docker-credential-{helper}, which is not run; log in here instead"));
    }
    let entry = file.auths.into_iter().find(|(key, _)| is_host(key)).map(|(_, entry)| entry);
    if let Some(credentials) = entry.and_then(read) {
        return Ok(credentials);
    }
    match file.creds_store {
        Some(store) => {
            Err(format!("credsStore leaves logins to the program docker-credential-{store}, which is not run; log in here instead"))
        }
        None => Err(format!("auths says nothing of {host}")),
    }
}

fn read(entry: Entry) -> Option<Credentials> {
    if let Some(token) = entry.identitytoken.filter(|token| !token.is_empty()) {
        return Some(Credentials::IdentityToken(token));
    }
    if let (Some(user), Some(password)) = (entry.username.clone(), entry.password.clone()) {
        return Some(Credentials::Password { user, password });
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(entry.auth?.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    // Docker pads with NUL bytes.
    let password = password.trim_end_matches('\0');
    (!user.is_empty() && !password.is_empty()).then(|| Credentials::Password { user: user.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str, host: &str) -> Result<Credentials, String> {
        of(serde_json::from_str(json).expect("a config"), host)
    }

    #[test]
    fn auths_is_read_in_each_of_its_forms() {
        let password = |user: &str, password: &str| Ok(Credentials::Password { user: user.into(), password: password.into() });
        let ann = BASE64_STANDARD.encode("ann:pa:ss");
        for (json, host, credentials) in [
            (format!(r#"{{"auths":{{"registry.example:5000":{{"auth":"{ann}"}}}}}}"#), "registry.example:5000", password("ann", "pa:ss")),
            (format!(r#"{{"auths":{{"https://registry.example/v2/":{{"auth":"{ann}"}}}}}}"#), "registry.example", password("ann", "pa:ss")),
            (format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{ann}"}}}}}}"#), "docker.io", password("ann", "pa:ss")),
            (r#"{"auths":{"r.example":{"username":"bob","password":"x"}}}"#.into(), "r.example", password("bob", "x")),
            (
                r#"{"auths":{"r.example":{"identitytoken":"t"}},"credsStore":"x"}"#.into(),
                "r.example",
                Ok(Credentials::IdentityToken("t".into())),
            ),
        ] {
            assert_eq!(found(&json, host), credentials, "{host}");
        }
    }

    #[test]
    fn what_a_program_keeps_is_refused_by_its_name() {
        let store = found(r#"{"auths":{"r.example":{}},"credsStore":"pass"}"#, "r.example").expect_err("a program");
        assert!(store.contains("docker-credential-pass"), "{store}");
        let helper = found(r#"{"credHelpers":{"r.example":"ecr-login"}}"#, "r.example").expect_err("a program");
        assert!(helper.contains("docker-credential-ecr-login"), "{helper}");
        let nothing = found(r#"{"auths":{"other.example":{"auth":"eDp5"}}}"#, "r.example").expect_err("nothing");
        assert!(nothing.contains("says nothing of r.example"), "{nothing}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_and_not_quoted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        std::fs::write(&path, r#"{"auths":{"r.example":{"auth":"c2VjcmV0"#).expect("written");
        let refused = credentials(&path, "r.example").expect_err("half a document").to_string();
        assert!(refused.contains("config.json") && !refused.contains("c2VjcmV0"), "{refused}");
        for path in [folder.path(), Path::new("relative.json"), &folder.path().join("missing")] {
            assert_eq!(credentials(path, "r.example").map_err(|invalid| invalid.field), Err("docker_config".to_owned()), "{path:?}");
        }
    }
}
