//! The pages of volumes: all of them, with the form that makes one, and what is in one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use belljar_api::query::{InVolume, Nothing};
use belljar_frontend::volumes::{PruneVolumes, VolumePage, VolumesPage};
use belljar_model::{Invalid, VolumeName, size};
use belljar_supervisor::{Error, VolumeScope};
use serde::Deserialize;

use crate::app::App;
use crate::extract::{Form, Query};
use crate::fault::{Answer, Fault};
use crate::pages::surroundings::{Deed, Surroundings, done};
use crate::rest::volumes::{download, existing};

/// The form that makes a volume.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewVolume {
    name: String,
}

pub(super) async fn list(State(app): State<Arc<App>>, around: Surroundings, Query(Nothing {}): Query<Nothing>) -> Answer<Response> {
    show(&app, &around, StatusCode::OK, ("", None))
}

fn show(app: &App, around: &Surroundings, status: StatusCode, (name, invalid): (&str, Option<&Invalid>)) -> Answer<Response> {
    let (volumes, space) = (app.supervisor.volumes(), app.supervisor.space());
    around.page_with(status, &VolumesPage { frame: around.frame(), volumes: &volumes, space: space.as_ref(), name, invalid })
}

pub(super) async fn create(State(app): State<Arc<App>>, around: Surroundings, Form(form): Form<NewVolume>) -> Answer<Response> {
    match make(&app, form.name.trim()).await {
        Ok(name) => Ok(done(Deed::VolumeCreated, name.as_str(), "/volumes")),
        Err(fault) if fault.status().is_server_error() => Err(fault),
        Err(fault) => {
            let invalid = fault.invalid().unwrap_or_else(|| Invalid::new("name", fault.problem.detail.clone()));
            show(&app, &around, fault.status(), (&form.name, Some(&invalid)))
        }
    }
}

async fn make(app: &App, name: &str) -> Answer<VolumeName> {
    let name: VolumeName = name.parse::<VolumeName>()?;
    app.supervisor.create_volume(Some(name.clone()), BTreeMap::new()).await?;
    Ok(name)
}

pub(super) async fn delete(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<Response> {
    let name = existing(&name)?;
    app.supervisor.delete_volume(&name).await?;
    Ok(done(Deed::VolumeDeleted, name.as_str(), "/volumes"))
}

/// Which volumes a prune means: the query of its page.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Which {
    all: String,
}

pub(super) async fn prunable(State(app): State<Arc<App>>, around: Surroundings, Query(Which { all }): Query<Which>) -> Answer<Response> {
    let (scope, all) = if all.is_empty() { (VolumeScope::Anonymous, "") } else { (VolumeScope::All, "yes") };
    let volumes = app.supervisor.prunable_volumes(scope).await?;
    around.page(&PruneVolumes { frame: around.frame(), volumes: &volumes, all })
}

/// A prune as it was shown.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    only: String,
}

/// Deletes what was shown, as far as nobody has it yet.
pub(super) async fn prune(State(app): State<Arc<App>>, Form(Shown { only }): Form<Shown>) -> Answer<Response> {
    let mut freed_bytes = 0;
    for kept in app.supervisor.prunable_volumes(VolumeScope::All).await? {
        let name = &kept.volume.name;
        if !only.split_ascii_whitespace().any(|shown| shown == name.as_str()) {
            continue;
        }
        match app.supervisor.delete_volume(name).await {
            Ok(()) => freed_bytes += kept.measure.map_or(0, |measure| measure.size_bytes),
            Err(Error::VolumeInUse { .. } | Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done(Deed::VolumesPruned, &size::display(freed_bytes), "/volumes"))
}

pub(super) async fn browse(
    State(app): State<Arc<App>>,
    around: Surroundings,
    Path(name): Path<String>,
    Query(query): Query<InVolume>,
) -> Answer<Response> {
    let name = existing(&name)?;
    let volume = app.supervisor.volume(&name).await?;
    let path = query.path.trim_matches('/');
    let files = app.supervisor.volume_files(&name, path).await;
    let files = files.map_err(Fault::from)?;
    around.page(&VolumePage { frame: around.frame(), volume: &volume, path, files: &files })
}

pub(super) async fn file(State(app): State<Arc<App>>, Path(name): Path<String>, Query(query): Query<InVolume>) -> Answer<Response> {
    download(&app, &existing(&name)?, &query.path).await
}
