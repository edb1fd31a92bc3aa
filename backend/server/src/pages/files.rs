//! A container's files on its overlay pages: what changed in one, undo and reset, download and upload.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::multipart::{Field, Multipart};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use belljar_api::files::{ARCHIVE_MEDIA_TYPE, check_path};
use belljar_api::problem::Kind;
use belljar_api::query::At;
use belljar_frontend::container::DifferencePage;
use belljar_model::mount::{PATH_BYTES_MAX, absolute_path};
use belljar_model::overlay::FileKind;
use belljar_model::{Container, Invalid};
use belljar_supervisor::files::Packing;
use futures_util::StreamExt as _;
use serde::Deserialize;

use crate::app::{App, Found};
use crate::extract::{Form, Query};
use crate::fault::{Answer, Fault};
use crate::pages::single::Single;
use crate::pages::surroundings::{Deed, Surroundings, done};
use crate::rest::archive;
use crate::rest::volumes::attachment;
use crate::upload;

pub(super) async fn difference(
    State(app): State<Arc<App>>,
    Found(container): Found,
    around: Surroundings,
    Query(At { path }): Query<At>,
) -> Answer<Response> {
    absolute_path("path", &path)?;
    let stack = app.supervisor.stack(&container.id).await?;
    let difference = app.supervisor.difference(&container.id, &path).await.map_err(|error| Fault::of(&container, error))?;
    around.page(&DifferencePage { frame: around.frame(), container: &container, stack: &stack, difference: &difference })
}

/// What the button *Undo* sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Undo {
    /// What is put back.
    path: String,
    /// The folder that was shown.
    back: String,
}

pub(super) async fn undo(State(app): State<Arc<App>>, Found(container): Found, Form(Undo { path, back }): Form<Undo>) -> Answer<Response> {
    absolute_path("path", &path)?;
    app.supervisor.undo(&container.id, &path).await.map_err(|error| Fault::of(&container, error))?;
    // The folder may be what was put back, and be none any more.
    let is_there = absolute_path("back", &back).is_ok() && app.supervisor.entries(&container.id, &back).await.is_ok();
    Ok(back_to(&container, Deed::Undone, if is_there { &back } else { "/" }))
}

pub(super) async fn reset(State(app): State<Arc<App>>, Found(container): Found) -> Answer<Response> {
    app.supervisor.reset(&container.id).await.map_err(|error| Fault::of(&container, error))?;
    Ok(back_to(&container, Deed::Reset, "/"))
}

fn back_to(container: &Container, deed: Deed, folder: &str) -> Response {
    let name = container.config.name.as_str();
    let query = belljar_api::query::write(&At { path: folder.to_owned() });
    done(deed, name, &format!("/containers/{name}/overlay?{query}"))
}

pub(super) async fn download(State(app): State<Arc<App>>, Found(container): Found, Query(At { path }): Query<At>) -> Answer<Response> {
    check_path("path", &path)?;
    let packing = app.supervisor.pack(&container.id, &path).await.map_err(|error| Fault::of(&container, error))?;
    if packing.stat().kind == FileKind::File {
        return Ok(single(&app, packing));
    }
    let name = container.config.name.as_str();
    // Whatever the file is called: a header takes a container's name as it is, and nothing else may choose what is saved where.
    let disposition = format!("attachment; filename=\"{name}.tar\"");
    let headers = [(header::CONTENT_TYPE, ARCHIVE_MEDIA_TYPE.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, archive(&app, packing)).into_response())
}

/// A file as it is. A browser keeps it, and never shows it as a page of ours: a container wrote it. Where it breaks off, so does the
/// answer.
fn single(app: &App, packing: Packing) -> Response {
    let (name, size_bytes) = (packing.stat().name.clone(), packing.stat().size_bytes);
    let mut single = Single::new(size_bytes);
    let content = archive(app, packing).into_data_stream();
    let content = content.map(move |piece| piece.map(|piece| Bytes::from(single.content(&piece))));
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, HeaderValue::from(size_bytes)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_DISPOSITION, attachment(&name)),
    ];
    (headers, Body::from_stream(content)).into_response()
}

/// The form: the field `path`, then the field `file`, which flows on as it comes.
pub(super) async fn upload(State(app): State<Arc<App>>, Found(container): Found, mut form: Multipart) -> Answer<Response> {
    let mut path = String::new();
    while let Some(field) = form.next_field().await.map_err(|error| broken(&error))? {
        match field.name() {
            Some("path") => path = short_text(field).await?,
            Some("file") => {
                absolute_path("path", &path)?;
                let sent = field.file_name().unwrap_or_default().to_owned();
                // Some browsers send the whole path.
                let name = sent.rsplit(['/', '\\']).next().unwrap_or_default();
                let put = |content| app.supervisor.put(&container.id, &path, name, content);
                upload::feed(field, put).await.map_err(|fault| fault.about(&container))?;
                return Ok(back_to(&container, Deed::Uploaded, &path));
            }
            other => return Err(Fault::new(Kind::Malformed, format!("the form has no field {other:?}"))),
        }
    }
    Err(Invalid::new("file", "is required").into())
}

async fn short_text(mut field: Field<'_>) -> Answer<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > PATH_BYTES_MAX {
            return Err(Invalid::new("path", format!("must have at most {PATH_BYTES_MAX} bytes")).into());
        }
    }
    String::from_utf8(bytes).map_err(|_| Invalid::new("path", "is not text").into())
}

fn broken(error: &axum::extract::multipart::MultipartError) -> Fault {
    Fault::new(Kind::Malformed, format!("the form cannot be read: {}", error.body_text()))
}
