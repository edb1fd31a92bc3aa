//! Logins of registries: list, look, log in, log out. A secret comes in and is never told again.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use belljar_api::image::{LoginRequest, Registry};
use belljar_api::query::Nothing;
use belljar_model::Invalid;
use belljar_supervisor::{KnownRegistry, Login};

use crate::app::App;
use crate::extract::{Document, Query};
use crate::fault::Answer;

pub(super) async fn list(State(app): State<Arc<App>>, Query(Nothing {}): Query<Nothing>) -> Answer<Json<Vec<Registry>>> {
    Ok(Json(app.supervisor.registries().await?.into_iter().map(shown).collect()))
}

pub(super) async fn inspect(
    State(app): State<Arc<App>>,
    Path(host): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<Registry>> {
    Ok(Json(shown(app.supervisor.registry(&host).await?)))
}

pub(super) async fn log_in(
    State(app): State<Arc<App>>,
    Path(host): Path<String>,
    Query(Nothing {}): Query<Nothing>,
    Document(request): Document<LoginRequest>,
) -> Answer<Json<Registry>> {
    let login = match request {
        LoginRequest { username: Some(username), password: Some(password), docker_config: None } => Login::Password { username, password },
        LoginRequest { username: None, password: None, docker_config: Some(path) } => Login::DockerConfig { path },
        LoginRequest { docker_config: Some(_), .. } => {
            return Err(Invalid::new("docker_config", "stands for itself: without username and password").into());
        }
        LoginRequest { username: None, .. } => return Err(Invalid::new("username", "is required, or docker_config").into()),
        LoginRequest { .. } => return Err(Invalid::new("password", "is required").into()),
    };
    Ok(Json(shown(app.supervisor.log_in(&host, login).await?)))
}

pub(super) async fn log_out(
    State(app): State<Arc<App>>,
    Path(host): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<StatusCode> {
    app.supervisor.log_out(&host).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(registry: KnownRegistry) -> Registry {
    let KnownRegistry { host, username, docker_config, saved_at_ms } = registry;
    Registry { host, username, docker_config, saved_at_ms }
}
