//! The page of images, and its forms.

use std::sync::Arc;

use axum::extract::multipart::{Field, Multipart};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use belljar_api::problem::Kind;
use belljar_api::query::Nothing;
use belljar_frontend::images::Images;
use belljar_model::id::NAME_CHARS_MAX;
use belljar_model::{Image, Invalid};

use crate::app::App;
use crate::extract::Query;
use crate::fault::{Answer, Fault};
use crate::pages::surroundings::{Deed, Surroundings, done};
use crate::rest::{delete_image, new_name};
use crate::upload;

pub(super) async fn list(State(app): State<Arc<App>>, around: Surroundings, Query(Nothing {}): Query<Nothing>) -> Answer<Response> {
    show(&app, &around, StatusCode::OK, ("", None))
}

fn show(app: &App, around: &Surroundings, status: StatusCode, (name, invalid): (&str, Option<&Invalid>)) -> Answer<Response> {
    let (images, containers) = (app.supervisor.images(), app.supervisor.containers());
    around.page_with(status, &Images { frame: around.frame(), images: &images, containers: &containers, name, invalid })
}

pub(super) async fn import(State(app): State<Arc<App>>, around: Surroundings, form: Multipart) -> Answer<Response> {
    let mut name = String::new();
    match receive(&app, form, &mut name).await {
        Ok(image) => Ok(done(Deed::ImageImported, image.name.as_str(), "/images")),
        Err(fault) if fault.status().is_server_error() => Err(fault),
        Err(fault) => {
            let invalid = fault.invalid().unwrap_or_else(|| Invalid::new("file", fault.problem.detail.clone()));
            show(&app, &around, fault.status(), (&name, Some(&invalid)))
        }
    }
}

/// Reads the form: the field `name`, then the field `file`, which flows into the importer as it comes.
async fn receive(app: &App, mut form: Multipart, name: &mut String) -> Answer<Image> {
    while let Some(field) = form.next_field().await.map_err(|error| broken(&error))? {
        match field.name() {
            Some("name") => *name = short_text(field).await?,
            Some("file") => return upload::import(&app.supervisor, new_name(name)?, field).await,
            other => return Err(Fault::new(Kind::Malformed, format!("the form has no field {other:?}"))),
        }
    }
    Err(Invalid::new("file", "is required: a tar archive, which may be compressed with gzip or zstd").into())
}

async fn short_text(mut field: Field<'_>) -> Answer<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > NAME_CHARS_MAX {
            return Err(Invalid::new("name", format!("must have at most {NAME_CHARS_MAX} characters")).into());
        }
    }
    String::from_utf8(bytes).map_err(|_| Invalid::new("name", "is not text").into())
}

fn broken(error: &axum::extract::multipart::MultipartError) -> Fault {
    Fault::new(Kind::Malformed, format!("the form cannot be read: {}", error.body_text()))
}

pub(super) async fn delete(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<Response> {
    delete_image(&app, &name).await?;
    Ok(done(Deed::ImageDeleted, &name, "/images"))
}
