//! Images: list, import, delete.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use belljar_api::Image;
use belljar_api::query::{Import, Nothing};
use belljar_model::{ImageName, Invalid};

use crate::app::App;
use crate::extract::{Query, drain};
use crate::fault::Answer;
use crate::upload;

/// A name that a new image is to have: the field is called `name` where one is given, `image` where one is used.
pub(crate) fn new_name(text: &str) -> Result<ImageName, Invalid> {
    text.parse().map_err(|invalid: Invalid| Invalid::new("name", invalid.problem))
}

pub(super) async fn list(State(app): State<Arc<App>>, Query(Nothing {}): Query<Nothing>) -> Json<Vec<Image>> {
    Json(app.supervisor.images().into_iter().map(Image::from).collect())
}

pub(super) async fn import(State(app): State<Arc<App>>, Query(query): Query<Import>, mut body: Body) -> Answer<Response> {
    let name = match new_name(&query.name) {
        Ok(name) => name,
        Err(invalid) => {
            drain(&mut body).await;
            return Err(invalid.into());
        }
    };
    let location = format!("{}/images/{name}", belljar_api::ROOT);
    let image = upload::import(&app.supervisor, name, body.into_data_stream()).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(Image::from(image))).into_response())
}

pub(super) async fn delete(State(app): State<Arc<App>>, Path(name): Path<String>, Query(Nothing {}): Query<Nothing>) -> Answer<StatusCode> {
    delete_image(&app, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes the image of that name.
pub(crate) async fn delete_image(app: &App, name: &str) -> Answer<()> {
    app.supervisor.delete_image(name).await?;
    Ok(())
}
