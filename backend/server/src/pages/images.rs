//! The pages of images, and their forms.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::multipart::{Field, Multipart};
use axum::http::StatusCode;
use axum::response::Response;
use belljar_api::problem::Kind;
use belljar_api::query::Nothing;
use belljar_frontend::images::{ImagePage, Images, PrunePage, Typed};
use belljar_model::{Image, ImageName, Invalid, size};
use belljar_supervisor::{Prune, PruneScope};
use serde::Deserialize;

use crate::app::App;
use crate::extract::{Form, Query};
use crate::fault::{Answer, Fault};
use crate::pages::surroundings::{Deed, Surroundings, done};
use crate::rest::{delete_image, new_name};
use crate::upload;

/// Most bytes of a field of a form beside the file.
const FIELD_BYTES_MAX: usize = 512;

pub(super) async fn list(State(app): State<Arc<App>>, around: Surroundings, Query(Nothing {}): Query<Nothing>) -> Answer<Response> {
    show(&app, &around, Reply::default())
}

/// What a form was sent with, and what is wrong with that.
#[derive(Default, Clone, Copy)]
struct Reply<'a> {
    status: StatusCode,
    typed: Typed<'a>,
    invalid: Option<&'a Invalid>,
}

fn show(app: &App, around: &Surroundings, reply: Reply<'_>) -> Answer<Response> {
    let (images, pulls) = (app.supervisor.image_summaries(), Vec::new());
    let view = Images { frame: around.frame(), images: &images, pulls: &pulls, typed: reply.typed, invalid: reply.invalid };
    around.page_with(reply.status, &view)
}

pub(super) async fn import(State(app): State<Arc<App>>, around: Surroundings, form: Multipart) -> Answer<Response> {
    let mut name = String::new();
    match receive(&app, form, &mut name).await {
        Ok(image) => Ok(done(Deed::ImageImported, image.name.as_str(), "/images")),
        Err(fault) if fault.status().is_server_error() => Err(fault),
        Err(fault) => {
            let invalid = fault.invalid().unwrap_or_else(|| Invalid::new("file", fault.problem.detail.clone()));
            let typed = Typed { name: &name, ..Typed::default() };
            show(&app, &around, Reply { status: fault.status(), typed, invalid: Some(&invalid) })
        }
    }
}

/// The query of an image's page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// Name or id.
    name: String,
}

pub(super) async fn one(State(app): State<Arc<App>>, around: Surroundings, Query(Named { name }): Query<Named>) -> Answer<Response> {
    let summary = app.supervisor.find_image(&name)?;
    around.page(&ImagePage { frame: around.frame(), summary: &summary, verified: None, name: "", invalid: None })
}

/// A form that gives an image one more name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tag {
    image: String,
    name: String,
}

pub(super) async fn tag(State(app): State<Arc<App>>, around: Surroundings, Form(Tag { image, name }): Form<Tag>) -> Answer<Response> {
    let summary = app.supervisor.find_image(&image)?;
    let tagged = match new_name(name.trim()) {
        Ok(new) => app.supervisor.tag_image(&image, new).await.map_err(Fault::from),
        Err(invalid) => Err(invalid.into()),
    };
    match tagged {
        Ok(tagged) => Ok(done(Deed::ImageTagged, tagged.name.as_str(), &address(&tagged.name))),
        Err(fault) => match fault.invalid() {
            Some(invalid) => {
                let view = ImagePage { frame: around.frame(), summary: &summary, verified: None, name: &name, invalid: Some(&invalid) };
                around.page_with(fault.status(), &view)
            }
            None => Err(fault),
        },
    }
}

/// Where the page of an image is. Every letter of a name may stand in a query.
fn address(name: &ImageName) -> String {
    format!("/image?name={name}")
}

/// Which images a prune means: the query of its page.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Which {
    all: String,
}

fn scope(all: &str) -> PruneScope {
    if all.is_empty() { PruneScope::Nameless } else { PruneScope::All }
}

pub(super) async fn prunable(State(app): State<Arc<App>>, around: Surroundings, Query(Which { all }): Query<Which>) -> Answer<Response> {
    let pruned = app.supervisor.prunable_images(&Prune { scope: scope(&all), only: None });
    let all = if all.is_empty() { "" } else { "yes" };
    around.page(&PrunePage { frame: around.frame(), pruned: &pruned, all })
}

/// A prune as it was shown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Shown {
    all: String,
    only: String,
}

pub(super) async fn prune(State(app): State<Arc<App>>, Form(Shown { all, only }): Form<Shown>) -> Answer<Response> {
    let only = only.split_ascii_whitespace().map(str::to_owned).collect();
    let pruned = app.supervisor.prune_images(Prune { scope: scope(&all), only: Some(only) }).await?;
    Ok(done(Deed::ImagesPruned, &size::display(pruned.freed_bytes), "/images"))
}

/// Reads the form: the field `name`, then the field `file`, which flows into the importer as it comes.
async fn receive(app: &App, mut form: Multipart, name: &mut String) -> Answer<Image> {
    while let Some(field) = form.next_field().await.map_err(|error| broken(&error))? {
        match field.name() {
            Some("name") => *name = short_text(field).await?,
            Some("file") => {
                let name = (!name.is_empty()).then(|| new_name(name)).transpose()?;
                return upload::import(&app.supervisor, name, field).await;
            }
            other => return Err(Fault::new(Kind::Malformed, format!("the form has no field {other:?}"))),
        }
    }
    Err(Invalid::new("file", "is required: a tar archive, which may be compressed with gzip or zstd").into())
}

async fn short_text(mut field: Field<'_>) -> Answer<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > FIELD_BYTES_MAX {
            return Err(Invalid::new("name", format!("must have at most {FIELD_BYTES_MAX} characters")).into());
        }
    }
    String::from_utf8(bytes).map_err(|_| Invalid::new("name", "is not text").into())
}

fn broken(error: &axum::extract::multipart::MultipartError) -> Fault {
    Fault::new(Kind::Malformed, format!("the form cannot be read: {}", error.body_text()))
}

/// A form about one image.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfImage {
    image: String,
}

pub(super) async fn delete(State(app): State<Arc<App>>, Form(OfImage { image }): Form<OfImage>) -> Answer<Response> {
    delete_image(&app, &image).await?;
    Ok(done(Deed::ImageDeleted, &image, "/images"))
}
