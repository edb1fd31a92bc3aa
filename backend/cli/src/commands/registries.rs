//! `login` and `logout`.

use std::io::Read as _;

use belljar_api::image::{LoginRequest, Registry};
use belljar_model::Invalid;
use hyper::Method;

use super::{DONE, Outcome, Session};
use crate::arguments::images::LoginArguments;
use crate::client::escape;
use crate::failure::Failure;
use crate::output::harmless;

/// Longest password that is read, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// `login`.
pub(super) async fn login(session: &mut Session, arguments: LoginArguments) -> Outcome {
    let LoginArguments { username, password_stdin, docker_config, registry } = arguments;
    let password = if password_stdin { Some(secret()?) } else { None };
    let docker_config =
        docker_config.map(std::path::absolute).transpose().map_err(|source| Invalid::new("--docker-config", source.to_string()))?;
    let docker_config = docker_config.map(|path| path.to_string_lossy().into_owned());
    let request = LoginRequest { username, password, docker_config };
    let kept: Registry = session.client.replace(&format!("/registries/{}", escape(&registry)), &request).await?;
    let who = kept.username.or(kept.docker_config).unwrap_or_default();
    session.paper.line(&harmless(&format!("logged in at {} as {who}", kept.host)))?;
    Ok(DONE)
}

/// One line of standard input, without its end.
fn secret() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(SECRET_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|source| Invalid::new("--password-stdin", source.to_string()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// `logout`.
pub(super) async fn logout(session: &mut Session, registry: &str) -> Outcome {
    session.client.act(Method::DELETE, &format!("/registries/{}", escape(registry))).await?;
    session.paper.line(&harmless(&format!("logged out of {registry}")))?;
    Ok(DONE)
}
