//! Tokens: list, create, delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use belljar_api::query::Nothing;
use belljar_api::token::{CreateToken, CreatedToken, Token};

use crate::app::App;
use crate::extract::{Document, Query};
use crate::fault::Answer;

pub(super) async fn list(State(app): State<Arc<App>>, Query(Nothing {}): Query<Nothing>) -> Answer<Json<Vec<Token>>> {
    Ok(Json(app.access.tokens().await?.into_iter().map(Token::from).collect()))
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Query(Nothing {}): Query<Nothing>,
    Document(request): Document<CreateToken>,
) -> Answer<Response> {
    let token = app.access.create_token(&request.name).await?;
    Ok((StatusCode::CREATED, Json(CreatedToken { name: request.name, token })).into_response())
}

pub(super) async fn delete(State(app): State<Arc<App>>, Path(name): Path<String>, Query(Nothing {}): Query<Nothing>) -> Answer<StatusCode> {
    app.access.delete_token(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
