//! The pages of images, and their forms.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::multipart::{Field, Multipart};
use axum::http::StatusCode;
use axum::response::Response;
use belljar_api::problem::Kind;
use belljar_api::query::Nothing;
use belljar_frontend::images::{Damaged, ImagePage, Images, PrunePage, Typed, Verification};
use belljar_model::pull::PullState;
use belljar_model::{Image, ImageName, Invalid, size};
use belljar_supervisor::{Damage, Prune, PruneScope, Repair};
use serde::Deserialize;

use crate::app::App;
use crate::extract::{Form, Query};
use crate::fault::{Answer, Fault};
use crate::pages::surroundings::{Deed, Surroundings, done};
use crate::rest::{delete_image, export_image, new_name};
use crate::upload;

/// How long the answer to a pull waits for a registry's first word: most that say no say it at once.
const FIRST_WORD_LIMIT: Duration = Duration::from_secs(3);
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
    let (images, pulls) = (app.supervisor.image_summaries(), app.supervisor.pulls());
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

/// What is to be pulled, or not any more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    reference: String,
}

/// Begins a pull, and waits a moment for a registry that says no at once; then it goes on by itself.
pub(super) async fn pull(State(app): State<Arc<App>>, around: Surroundings, Form(Wanted { reference }): Form<Wanted>) -> Answer<Response> {
    match begin_pull(&app, reference.trim()).await {
        Ok(name) => Ok(done(Deed::PullBegun, name.as_str(), "/images")),
        Err(fault) if fault.status().is_server_error() && fault.invalid().is_none() => {
            let invalid = Invalid::new("reference", fault.problem.detail.clone());
            refuse_pull(&app, &around, fault.status(), (&reference, &invalid))
        }
        Err(fault) => {
            let problem = fault.invalid().map_or_else(|| fault.problem.detail.clone(), |invalid| invalid.problem);
            refuse_pull(&app, &around, fault.status(), (&reference, &Invalid::new("reference", problem)))
        }
    }
}

fn refuse_pull(app: &App, around: &Surroundings, status: StatusCode, (reference, invalid): (&str, &Invalid)) -> Answer<Response> {
    let typed = Typed { reference, ..Typed::default() };
    show(app, around, Reply { status, typed, invalid: Some(invalid) })
}

async fn begin_pull(app: &App, reference: &str) -> Answer<ImageName> {
    let name: ImageName = reference.parse()?;
    let mut pulling = app.supervisor.pull_image(&name, None)?;
    let first = tokio::time::timeout(FIRST_WORD_LIMIT, async {
        let mut pull = pulling.now();
        while matches!(pull.state, PullState::Resolving) {
            pull = pulling.next().await;
        }
        pull.is_over()
    });
    match first.await {
        Ok(true) => {
            let ended = pulling.finish().await;
            // What went wrong is told at the field, and need not be told twice.
            app.supervisor.dismiss_pull(&name);
            ended.map(|image| image.name).map_err(Fault::from)
        }
        Ok(false) | Err(_) => {
            pulling.keep();
            Ok(name)
        }
    }
}

pub(super) async fn cancel_pull(State(app): State<Arc<App>>, Form(Wanted { reference }): Form<Wanted>) -> Answer<Response> {
    let name: ImageName = reference.parse()?;
    app.supervisor.cancel_pull(&name)?;
    Ok(done(Deed::PullCancelled, name.as_str(), "/images"))
}

pub(super) async fn dismiss_pull(State(app): State<Arc<App>>, Form(Wanted { reference }): Form<Wanted>) -> Answer<Response> {
    let name: ImageName = reference.parse()?;
    app.supervisor.dismiss_pull(&name);
    Ok(done(Deed::PullDismissed, name.as_str(), "/images"))
}

pub(super) async fn export(State(app): State<Arc<App>>, Query(Named { name }): Query<Named>) -> Answer<Response> {
    export_image(&app, &name).await
}

pub(super) async fn verify(State(app): State<Arc<App>>, around: Surroundings, Form(OfImage { image }): Form<OfImage>) -> Answer<Response> {
    let summary = app.supervisor.find_image(&image)?;
    let found = app.supervisor.verify_images(&[image], Repair::No).await?;
    let damaged = |damage: Damage| {
        let what = damage.layer.map_or_else(|| "its documents".to_owned(), |layer| format!("layer {layer} {}", damage.path));
        Damaged { what, problem: damage.problem }
    };
    let damages: Vec<Damaged> = found.damages.into_iter().map(damaged).collect();
    let verified = Some(Verification { layers: found.layers, damages: &damages });
    around.page(&ImagePage { frame: around.frame(), summary: &summary, verified, name: "", invalid: None })
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
