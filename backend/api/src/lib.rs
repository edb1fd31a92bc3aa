//! What travels over the REST API: request and response documents, query strings, problem documents, and how each is
//! made from the model and turned back into it. The server and the client commands share it.
//!
//! This crate must never know how a document travels or what is done with it: no HTTP library, no tokio, no clock (the
//! moment is passed in), no I/O. What comes from outside becomes a model type here or a [`Problem`] that names the
//! field. Wire types stay apart from model types so that a renamed field of the model cannot break a script.
//!
//! Start reading at [`create`], then [`container`]; [`document`] is how bytes become any of them.

pub mod container;
pub mod create;
pub mod diagnosis;
pub mod document;
pub mod exec;
pub mod history;
pub mod host;
pub mod inspect;
pub mod mount;
pub mod notation;
pub mod problem;
pub mod query;
pub mod record;
pub mod time;
pub mod token;
pub mod usage;

pub use container::{Container, Exit, Limits, OutOfMemory};
pub use create::CreateRequest;
pub use exec::{ExecAnswer, ExecRequest};
pub use history::History;
pub use host::Host;
pub use mount::Mount;
pub use problem::{Kind, Problem};
pub use record::{Event, Image, LogLine};
pub use usage::Usage;

/// Under this path lies everything that this crate describes.
pub const ROOT: &str = "/api/v1";

/// The API as an OpenAPI 3.1 document, served at `/api/v1/openapi.json`.
pub const OPENAPI: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Serialize;
    use serde_json::Value;

    use super::*;
    use belljar_model::history as model_history;
    use belljar_model::usage;

    fn names(object: &Value) -> BTreeSet<String> {
        object.as_object().expect("an object").keys().cloned().collect()
    }

    fn properties(schema: &str) -> BTreeSet<String> {
        let document: Value = serde_json::from_str(OPENAPI).expect("JSON");
        names(&document["components"]["schemas"][schema]["properties"])
    }

    #[track_caller]
    fn described(schema: &str, document: &impl Serialize) {
        assert_eq!(names(&serde_json::to_value(document).expect("JSON")), properties(schema), "{schema}");
    }

    #[test]
    fn the_openapi_document_names_every_field_of_a_container() {
        let mut container = Container::at(&container::tests::full(), 0);
        container.usage = Some(usage::Usage::default().into());
        container.finding = Some("held back".to_owned());
        described("Usage", &container.usage);
        described("DeviceUsage", &usage::DeviceUsage::default());
        described("InterfaceUsage", &usage::InterfaceUsage::default());
        described("Pressure", &usage::Pressure::default());
        described("Stall", &usage::Stall::default());
        described("StallLine", &usage::StallLine::default());
        let history = model_history::History { step_ms: 1, points: vec![model_history::Point::default()] };
        described("History", &History::new(history, None));
        described("HistoryPoint", &history::Point::from(model_history::Point::default()));
        described("Limits", &container.limits);
        described("Exit", &container.exit);
        described("OutOfMemory", &container.exit.as_ref().expect("an exit").out_of_memory);
        described("Container", &container);
    }

    #[test]
    fn the_openapi_document_names_every_field_of_a_create_request() {
        let body = r#"{"image":"host","name":"db","command":["a"],"env":{"a":"b"},"user":"1","workdir":"/","hostname":"db","limits":{},
            "mounts":[{"type":"tmpfs","target":"/t"}],"restart":"no","init":true,"stop_signal":"INT","stop_grace_ms":1,"labels":{"a":"b"},
            "start":true}"#;
        let mut request = document::parse::<CreateRequest>(body.as_bytes()).expect("readable");
        let full = Container::at(&container::tests::full(), 0);
        (request.namespaces, request.time_offsets, request.security) = (full.namespaces, full.time_offsets, full.security);
        (request.domainname, request.ulimits, request.sysctls) = (full.domainname, full.ulimits, [("a".into(), "b".into())].into());
        (request.oom_score_adj, request.nice, request.groups, request.umask) = (full.oom_score_adj, full.nice, full.groups, full.umask);
        (request.read_only, request.shm_bytes, request.devices, request.hidepid) = (true, full.shm_bytes, full.devices, full.hidepid);
        // Every field of the type has a value here, or it would be missing when written again.
        described("CreateRequest", &request);
        described("Namespaces", &request.namespaces);
        described("TimeOffsets", &request.time_offsets);
        described("Security", &request.security);
        described("Capabilities", &request.security.capabilities);
        described("LandlockRule", &request.security.landlock[0]);
        described("Device", &request.devices[0]);
        described("Ulimit", &request.ulimits["nofile"]);
    }

    #[test]
    fn the_openapi_document_names_every_field_of_an_exec() {
        let body = r#"{"command":["id"],"env":{"a":"b"},"user":"1","workdir":"/","time_limit_ms":1}"#;
        described("ExecRequest", &document::parse::<ExecRequest>(body.as_bytes()).expect("readable"));
        described("ExecAnswer", &ExecAnswer::from(belljar_model::exec::Ran::default()));
    }
}
