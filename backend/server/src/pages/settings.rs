//! The page of settings, and its forms.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use belljar_api::query::Nothing;
use belljar_api::token::CreateToken;
use belljar_frontend::settings::{FreshToken, Registry, Settings};
use belljar_model::Invalid;
use belljar_supervisor::{KnownRegistry, Login};
use serde::Deserialize;

use crate::app::App;
use crate::extract::{Form, Query};
use crate::fault::{Answer, Fault};
use crate::listen::Peer;
use crate::pages::entry::address_of;
use crate::pages::surroundings::{Deed, Surroundings, done};

/// What the page says beside what is.
#[derive(Default)]
struct Reply<'a> {
    status: StatusCode,
    fresh: Option<FreshToken<'a>>,
    invalid: Option<&'a Invalid>,
}

async fn answer(app: &App, around: &Surroundings, reply: Reply<'_>) -> Answer<Response> {
    let tokens = app.access.tokens().await?;
    let registries: Vec<Registry> = app.supervisor.registries().await?.into_iter().map(shown).collect();
    let (frame, fresh, invalid) = (around.frame(), reply.fresh, reply.invalid);
    around.page_with(reply.status, &Settings { frame, tokens: &tokens, registries: &registries, fresh, invalid })
}

/// The page again, with the message at its field; a fault without a field stays a fault.
async fn refuse(app: &App, around: &Surroundings, fault: Fault) -> Answer<Response> {
    match fault.invalid() {
        Some(invalid) => answer(app, around, Reply { status: fault.status(), invalid: Some(&invalid), ..Reply::default() }).await,
        None => Err(fault),
    }
}

pub(super) async fn show(State(app): State<Arc<App>>, around: Surroundings, Query(Nothing {}): Query<Nothing>) -> Answer<Response> {
    answer(&app, &around, Reply::default()).await
}

pub(super) async fn create_token(
    State(app): State<Arc<App>>,
    around: Surroundings,
    Form(CreateToken { name }): Form<CreateToken>,
) -> Answer<Response> {
    match app.access.create_token(&name).await {
        Ok(secret) => {
            let fresh = Some(FreshToken { name: &name, secret: &secret });
            answer(&app, &around, Reply { fresh, ..Reply::default() }).await
        }
        Err(fault) => refuse(&app, &around, fault).await,
    }
}

pub(super) async fn delete_token(State(app): State<Arc<App>>, Form(CreateToken { name }): Form<CreateToken>) -> Answer<Response> {
    app.access.delete_token(&name).await?;
    Ok(done(Deed::TokenDeleted, &name, "/settings"))
}

fn shown(registry: KnownRegistry) -> Registry {
    let who = registry.username.or(registry.docker_config).unwrap_or_default();
    Registry { host: registry.host, who, saved_at_ms: registry.saved_at_ms }
}

/// The form of a login at a registry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLogin {
    host: String,
    username: String,
    secret: String,
}

pub(super) async fn log_in(State(app): State<Arc<App>>, around: Surroundings, Form(form): Form<NewLogin>) -> Answer<Response> {
    let login = Login::Password { username: form.username, password: form.secret };
    match app.supervisor.log_in(form.host.trim(), login).await.map_err(Fault::from) {
        Ok(registry) => Ok(done(Deed::LoggedIn, &registry.host, "/settings")),
        Err(fault) => {
            let named = fault.invalid();
            let field = named.as_ref().map_or("host", |invalid| match invalid.field.as_str() {
                "username" => "username",
                "password" => "secret",
                _ => "host",
            });
            let problem = named.as_ref().map_or_else(|| fault.problem.detail.clone(), |invalid| invalid.problem.clone());
            let invalid = Invalid::new(field, problem);
            answer(&app, &around, Reply { status: fault.status(), invalid: Some(&invalid), ..Reply::default() }).await
        }
    }
}

/// The form that forgets one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfRegistry {
    host: String,
}

pub(super) async fn log_out(State(app): State<Arc<App>>, Form(OfRegistry { host }): Form<OfRegistry>) -> Answer<Response> {
    app.supervisor.log_out(&host).await?;
    Ok(done(Deed::LoggedOut, &host, "/settings"))
}

/// The form of a new password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    current: String,
    password: String,
    again: String,
}

pub(super) async fn change_password(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    around: Surroundings,
    Form(form): Form<NewPassword>,
) -> Answer<Response> {
    if form.password != form.again {
        return refuse(&app, &around, Invalid::new("again", "is not the same").into()).await;
    }
    match app.access.change_password(address_of(peer), &form.current, &form.password).await {
        Ok(cookie) => {
            let mut response = done(Deed::PasswordChanged, "The password", "/settings");
            response.headers_mut().append(header::SET_COOKIE, cookie);
            Ok(response)
        }
        Err(fault) => refuse(&app, &around, fault).await,
    }
}
