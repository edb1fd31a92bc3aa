//! The REST API: documents in, documents out. `backend/api/src/openapi.json` describes it, and a test here compares the two.
//!
//! A handler reads what came, asks the supervisor, and writes what it said; nothing is decided here.

mod containers;
mod events;
mod exec;
mod files;
mod image_path;
mod images;
mod inspect;
mod logs;
mod pulls;
mod registries;
mod tokens;
pub(crate) mod volumes;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, head, patch, post, put};
use axum::{Json, Router};
use belljar_api::host::{Health, Host};
use belljar_api::problem::Kind;
use belljar_api::query::Nothing;
use tower::Layer;
use tower::util::{MapRequest, MapRequestLayer};

pub(crate) use containers::create_container;
pub(crate) use files::archive;
pub(crate) use images::{delete_image, export_image, new_name};

use crate::VERSION;
use crate::app::App;
use crate::extract::Query;
use crate::fault::Fault;

/// One route: the method and path as in the OpenAPI document, and who answers.
struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "the handler knows it too; it stands here for the comparison with the document"))]
    method: &'static str,
    path: &'static str,
    handler: MethodRouter<Arc<App>>,
}

fn route(method: &'static str, path: &'static str, handler: MethodRouter<Arc<App>>) -> Route {
    Route { method, path, handler }
}

fn routes() -> Vec<Route> {
    vec![
        route("post", "/containers", post(containers::create)),
        route("get", "/containers", get(containers::list)),
        route("get", "/containers/{container}", get(containers::inspect)),
        route("patch", "/containers/{container}", patch(containers::change)),
        route("delete", "/containers/{container}", delete(containers::delete)),
        route("get", "/containers/{container}/limits", get(inspect::limits)),
        route("post", "/containers/{container}/start", post(containers::start)),
        route("post", "/containers/{container}/stop", post(containers::stop)),
        route("post", "/containers/{container}/kill", post(containers::kill)),
        route("post", "/containers/{container}/pause", post(containers::pause)),
        route("post", "/containers/{container}/resume", post(containers::resume)),
        route("post", "/containers/{container}/restart", post(containers::restart)),
        route("post", "/containers/{container}/exec", post(exec::exec)),
        route("get", "/containers/{container}/wait", get(containers::wait)),
        route("get", "/containers/{container}/logs", get(logs::read)),
        route("get", "/containers/{container}/usage", get(inspect::usage)),
        route("get", "/containers/{container}/usage/history", get(inspect::history)),
        route("get", "/containers/{container}/diagnosis", get(inspect::diagnosis)),
        route("get", "/containers/{container}/processes", get(inspect::processes)),
        route("get", "/containers/{container}/events", get(events::of_container)),
        route("get", "/containers/{container}/namespaces", get(inspect::namespaces)),
        route("get", "/containers/{container}/mounts", get(inspect::mounts)),
        route("get", "/containers/{container}/cgroup", get(inspect::cgroup)),
        route("get", "/containers/{container}/overlay", get(inspect::overlay)),
        route("get", "/containers/{container}/overlay/files", get(inspect::files)),
        route("get", "/containers/{container}/overlay/changes", get(inspect::changes)),
        route("get", "/containers/{container}/overlay/difference", get(files::difference)),
        route("post", "/containers/{container}/overlay/undo", post(files::undo)),
        route("post", "/containers/{container}/reset", post(files::reset)),
        route("head", "/containers/{container}/archive", head(files::look)),
        route("get", "/containers/{container}/archive", get(files::pack)),
        route("put", "/containers/{container}/archive", put(files::unpack).layer(DefaultBodyLimit::disable())),
        route("get", "/containers/{container}/plan", get(inspect::plan)),
        route("get", "/containers/{container}/denied", get(inspect::denied)),
        route("get", "/images", get(images::list)),
        route("post", "/images/import", post(images::import)),
        route("post", "/images/pull", post(pulls::pull)),
        route("post", "/images/prune", post(images::prune)),
        route("post", "/images/verify", post(images::verify)),
        route("get", "/images/{image}/export", get(images::export)),
        route("post", "/containers/{container}/commit", post(images::commit)),
        route("get", "/pulls", get(pulls::list)),
        route("delete", "/pulls/{image}", delete(pulls::cancel)),
        route("get", "/registries", get(registries::list)),
        route("get", "/registries/{host}", get(registries::inspect)),
        route("put", "/registries/{host}", put(registries::log_in)),
        route("delete", "/registries/{host}", delete(registries::log_out)),
        route("get", "/images/{image}", get(images::inspect)),
        route("delete", "/images/{image}", delete(images::delete)),
        route("get", "/volumes", get(volumes::list)),
        route("post", "/volumes", post(volumes::create)),
        route("post", "/volumes/prune", post(volumes::prune)),
        route("get", "/volumes/{volume}", get(volumes::inspect)),
        route("delete", "/volumes/{volume}", delete(volumes::delete)),
        route("get", "/volumes/{volume}/files", get(volumes::files)),
        route("get", "/volumes/{volume}/file", get(volumes::file)),
        route("get", "/images/{image}/history", get(images::history)),
        route("post", "/images/{image}/tag", post(images::tag)),
        route("get", "/events", get(events::of_all)),
        route("get", "/host", get(host)),
        route("get", "/tokens", get(tokens::list)),
        route("post", "/tokens", post(tokens::create)),
        route("delete", "/tokens/{token}", delete(tokens::delete)),
        route("get", "/healthz", get(health)),
        route("get", "/openapi.json", get(openapi)),
    ]
}

/// Every route, below [`belljar_api::ROOT`].
pub(crate) fn service(app: Arc<App>) -> Service {
    let routes = router().fallback(not_found).method_not_allowed_fallback(method_not_allowed).with_state(app);
    MapRequestLayer::new(image_path::escaped as fn(Request) -> Request).layer(routes)
}

async fn not_found(request: Request) -> Fault {
    Fault::new(Kind::NotFound, format!("there is nothing at {}{}", belljar_api::ROOT, request.uri().path()))
}

async fn method_not_allowed(request: Request) -> Fault {
    let (method, path) = (request.method(), request.uri().path());
    Fault::new(Kind::MethodNotAllowed, format!("{method} is not answered at {}{path}", belljar_api::ROOT))
}

/// The routes behind what every path goes through before it is routed.
pub(crate) type Service = MapRequest<Router, fn(Request) -> Request>;

fn router() -> Router<Arc<App>> {
    routes().into_iter().fold(Router::new(), |router, route| router.route(route.path, route.handler))
}

async fn host(State(app): State<Arc<App>>, Query(Nothing {}): Query<Nothing>) -> Json<Host> {
    Json(Host::with_version(app.supervisor.host(), VERSION))
}

pub(crate) async fn health(Query(Nothing {}): Query<Nothing>) -> Json<Health> {
    Json(Health { status: "ok".into(), version: VERSION.into() })
}

async fn openapi(Query(Nothing {}): Query<Nothing>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], belljar_api::OPENAPI).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_describes_exactly_the_routes_that_are_answered() {
        let document: serde_json::Value = serde_json::from_str(belljar_api::OPENAPI).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let methods = |path: &serde_json::Value| path.as_object().expect("methods").keys().cloned().collect::<Vec<_>>();
        let described: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, methods_of)| methods(methods_of).into_iter().map(move |method| (method, path.clone())))
            .filter(|(method, _)| method != "parameters")
            .collect();
        let answered = routes().into_iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
        assert_eq!(described, answered);
    }

    #[test]
    fn every_route_fits_beside_the_others() {
        let _panics_on_conflict = router();
    }
}
