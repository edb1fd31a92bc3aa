//! Volumes: list, make, look, delete, prune; and what is in one.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use belljar_api::query::{InVolume, Nothing};
use belljar_api::volume::{CreateVolume, PruneVolumes, PrunedVolumes, VolumeFile};
use belljar_api::{Kind, Volume};
use belljar_model::{Invalid, VolumeName};
use belljar_supervisor::VolumeScope;
use tokio_util::io::ReaderStream;

use crate::app::App;
use crate::extract::{Document, Query};
use crate::fault::{Answer, Fault};

/// The volume that a path names. What cannot be a name is no volume's.
pub(crate) fn existing(name: &str) -> Answer<VolumeName> {
    name.parse().map_err(|_: Invalid| Fault::new(Kind::NotFound, format!("there is no volume {name}")))
}

pub(super) async fn list(State(app): State<Arc<App>>, Query(Nothing {}): Query<Nothing>) -> Json<Vec<Volume>> {
    Json(app.supervisor.volumes().into_iter().map(Volume::from).collect())
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Query(Nothing {}): Query<Nothing>,
    Document(request): Document<CreateVolume>,
) -> Answer<Response> {
    let name = request.name.map(|name| name.parse()).transpose()?;
    let volume = Volume::from(app.supervisor.create_volume(name, request.labels).await?);
    let location = format!("{}/volumes/{}", belljar_api::ROOT, volume.name);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(volume)).into_response())
}

pub(super) async fn inspect(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<Volume>> {
    Ok(Json(Volume::from(app.supervisor.volume(&existing(&name)?).await?)))
}

pub(super) async fn delete(State(app): State<Arc<App>>, Path(name): Path<String>, Query(Nothing {}): Query<Nothing>) -> Answer<StatusCode> {
    app.supervisor.delete_volume(&existing(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn prune(
    State(app): State<Arc<App>>,
    Query(Nothing {}): Query<Nothing>,
    Document(request): Document<PruneVolumes>,
) -> Answer<Json<PrunedVolumes>> {
    let which = if request.all { VolumeScope::All } else { VolumeScope::Anonymous };
    let kept = if request.preview { app.supervisor.prunable_volumes(which).await? } else { app.supervisor.prune_volumes(which).await? };
    Ok(Json(PrunedVolumes::of(kept, request)))
}

pub(super) async fn files(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(query): Query<InVolume>,
) -> Answer<Json<Vec<VolumeFile>>> {
    let files = app.supervisor.volume_files(&existing(&name)?, &query.path).await?;
    Ok(Json(files.into_iter().map(VolumeFile::from).collect()))
}

pub(super) async fn file(State(app): State<Arc<App>>, Path(name): Path<String>, Query(query): Query<InVolume>) -> Answer<Response> {
    download(&app, &existing(&name)?, &query.path).await
}

/// A file of a volume, as it is. A browser keeps it, and never shows it as a page of ours: a container wrote it.
pub(crate) async fn download(app: &App, name: &VolumeName, path: &str) -> Answer<Response> {
    use tokio::io::AsyncReadExt as _;
    let (file, size) = app.supervisor.volume_file(name, path).await?;
    // Not one byte more than was promised, should it grow meanwhile; one that shrinks breaks the answer off, which shows.
    let stream = ReaderStream::new(tokio::fs::File::from_std(file).take(size));
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, HeaderValue::from(size)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_DISPOSITION, attachment(path)),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// What the browser calls the file (RFC 6266): letters, digits and the like; all else is percent and two digits (RFC 8187).
pub(crate) fn attachment(path: &str) -> HeaderValue {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    HeaderValue::try_from(format!("attachment; filename*=UTF-8''{encoded}")).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_by_its_last_name_whatever_that_is() {
        assert_eq!(attachment("a/b/pg_hba.conf"), "attachment; filename*=UTF-8''pg_hba.conf");
        assert_eq!(attachment("x/\"; filename=evil\r\nX: y/größe "), "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%20");
        assert_eq!(attachment(""), "attachment; filename*=UTF-8''");
    }
}
