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
pub mod files;
pub mod health;
pub mod history;
pub mod host;
pub mod image;
pub mod inspect;
pub mod mount;
pub mod notation;
pub mod problem;
pub mod query;
pub mod record;
pub mod time;
pub mod token;
pub mod usage;
pub mod volume;

pub use belljar_model::Change;
pub use container::{Container, EnforcedLimits, Exit, Limits, OutOfMemory};
pub use create::CreateRequest;
pub use exec::{ExecAnswer, ExecRequest};
pub use health::Health;
pub use history::History;
pub use host::Host;
pub use image::{HistoryStep, Image, ImageDetails};
pub use mount::Mount;
pub use problem::{Kind, Problem};
pub use record::{Event, LogLine};
pub use usage::Usage;
pub use volume::Volume;

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
    use belljar_model::usage;
    use belljar_model::{health, history as model_history};

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
        container.upper_bytes = Some(1);
        described("Usage", &container.usage);
        described("DeviceUsage", &usage::DeviceUsage::default());
        described("InterfaceUsage", &usage::InterfaceUsage::default());
        described("Pressure", &usage::Pressure::default());
        described("Stall", &usage::Stall::default());
        described("StallLine", &usage::StallLine::default());
        let history = model_history::History { step_ms: 1, points: vec![model_history::Point::default()] };
        described("History", &History::new(history, None));
        described("HistoryPoint", &history::Point::from(model_history::Point::default()));
        let every = r#"{"memory_high_bytes":1,"memory_reservation_bytes":1,"memory_swappiness":1,"oom_group":true,"cpu_weight":1,
            "cpu_burst_usec":1,"cpu_idle":true,"cpuset":"0","cpuset_mems":"0","io_weight":1,"io":[{"device":"/dev/sda"}],"hugetlb":{"2MB":1},
            "disk_bytes":1,"disk_inodes":1}"#;
        described("Limits", &serde_json::from_str::<Limits>(every).expect("readable"));
        described("Exit", &container.exit);
        described("OutOfMemory", &container.exit.as_ref().expect("an exit").out_of_memory);
        let checked = health::Checked { began_at_ms: 0, took_ms: 0, verdict: health::CheckVerdict::Exited(0), output: String::new() };
        container.health = (&health::Health { log: vec![checked], ..health::Health::starting() }).into();
        described("ContainerHealth", &container.health);
        described("HealthResult", &container.health.log.as_ref().expect("a log")[0]);
        described("HealthCheck", &container.health_check);
        described("HealthAsked", &health::HealthAsked::from(container.health_check.clone().expect("a check")));
        described("Container", &container);
    }

    #[test]
    fn the_openapi_document_names_every_field_of_a_volume() {
        use belljar_model::volume as model;
        let user = model::User { container: "db".into(), target: "/data".into(), readonly: true };
        let kept = model::Kept {
            volume: model::Volume { name: "pg".parse().expect("a name"), anonymous: false, labels: Default::default(), created_at_ms: 0 },
            path: "/v".into(),
            measure: None,
            users: vec![user],
        };
        let volume = Volume::from(kept.clone());
        described("VolumeUser", &volume.used_by[0]);
        described("Volume", &volume);
        described("CreateVolume", &volume::CreateVolume { name: Some("pg".into()), labels: [("a".into(), "b".into())].into() });
        let request = volume::PruneVolumes { all: true, preview: true };
        described("PruneVolumes", &request);
        let pruned = volume::PrunedVolumes::of(vec![kept], request);
        assert_eq!(pruned.size_bytes, None, "one was not measured");
        described("PrunedVolumes", &pruned);
        let mut mount = Mount::bare(mount::MountType::Volume);
        (mount.source, mount.target, mount.readonly, mount.size_bytes) = (Some("pg".into()), Some("/d".into()), Some(true), Some(1));
        (mount.subpath, mount.nocopy, mount.idmap, mount.anonymous) = (Some("a".into()), Some(true), Some("1:1".into()), Some(true));
        (mount.image, mount.digest) = (Some("conf:1".into()), Some("sha256:0".into()));
        described("Mount", &mount);
        let file = model::VolumeFile {
            name: "a".into(),
            kind: belljar_model::overlay::FileKind::File,
            size_bytes: 1,
            mode: 0o644,
            uid: 0,
            gid: 0,
            modified_at_ms: 0,
            link_target: None,
        };
        described("VolumeFile", &volume::VolumeFile::from(file));
    }

    #[test]
    fn the_openapi_document_names_every_field_of_a_create_request() {
        let body = r#"{"image":"host","name":"db","command":["a"],"env":{"a":"b"},"user":"1","workdir":"/","hostname":"db","limits":{},
            "mounts":[{"type":"tmpfs","target":"/t"}],"restart":"no","init":true,"stop_signal":"INT","stop_grace_ms":1,"labels":{"a":"b"},
            "pull":"missing","entrypoint":["b"],"start":true,"health":{"command":["a"],"start_interval_ms":1}}"#;
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
    fn the_openapi_document_names_every_field_of_an_image() {
        use belljar_model::image::{Contents, ImageConfig, ImageKind, LayerInfo, Step, Summary};
        let digest = format!("sha256:{}", "a".repeat(64));
        let layer = LayerInfo { diff_id: digest.clone(), digest: None, size_bytes: 1, entries: 1, command: None };
        let summary = Summary {
            image: belljar_model::Image {
                name: "a".parse().expect("a name"),
                kind: ImageKind::Oci,
                digest,
                manifest_digest: None,
                size_bytes: 1,
                entries: 1,
                created_at_ms: 0,
                contents: Contents { layers: vec![layer.clone()], ..Contents::default() }.into(),
            },
            names: Vec::new(),
            containers: Vec::new(),
            own_bytes: 1,
            shared_bytes: 0,
        };
        let details = ImageDetails::from(summary.clone());
        described("Image", &Image::from(summary.clone()));
        described("ImageDetails", &details);
        described("ImageLayer", &details.layers[0]);
        described("ImageConfig", &ImageConfig::default());
        described("HistoryStep", &HistoryStep::from(Step { entry: Default::default(), layer: Some(layer) }));
        described("TagRequest", &image::TagRequest { name: "a".into() });
        let pruned = belljar_model::image::Pruned { images: vec![summary.image], ..Default::default() };
        let answer = image::PruneAnswer::from(pruned);
        described("PruneAnswer", &answer);
        described("PrunedImage", &answer.images[0]);
        described("PruneRequest", &image::PruneRequest { only: Some(Vec::new()), ..Default::default() });
        described("PullRequest", &image::PullRequest { image: "a".into(), platform: Some("linux/amd64".into()) });
        let word = || Some("a".to_owned());
        described("VerifyRequest", &image::VerifyRequest { images: vec!["a".into()], repair: false });
        let damage = image::Damage { images: Vec::new(), layer: None, path: String::new(), problem: String::new() };
        described("Damage", &damage);
        let mended = image::Mended { image: String::new(), layers: Vec::new(), problem: None };
        described("Mended", &mended);
        described("VerifyAnswer", &image::VerifyAnswer { images: 0, layers: 0, damages: vec![damage], mended: vec![mended] });
        described("LoginRequest", &image::LoginRequest { username: word(), password: word(), docker_config: word() });
        described("Registry", &image::Registry { host: "a".into(), username: None, docker_config: None, saved_at_ms: 0 });
        let layer = belljar_model::pull::PullLayer {
            digest: String::new(),
            total_bytes: 0,
            received_bytes: 0,
            state: belljar_model::pull::PullLayerState::Done,
        };
        described("PullLayer", &layer);
        let state = belljar_model::pull::PullState::Resolving;
        described("Pull", &belljar_model::Pull { name: "a".parse().expect("a name"), state, layers: vec![layer], began_at_ms: 0 });
        let commit = image::CommitRequest { name: word(), author: word(), message: word(), changes: vec!["CMD a".into()], no_pause: true };
        described("CommitRequest", &commit);
    }

    #[test]
    fn the_openapi_document_names_every_limit_and_every_change() {
        let none = r#"{"limits": null, "restart": null, "ulimits": {"nofile": null}, "oom_score_adj": null, "devices": null}"#;
        let change = document::parse::<Change>(none.as_bytes()).expect("readable");
        described("ContainerChange", &change);
        described("LimitsPatch", &change.limits);
        assert_eq!(properties("Limits"), properties("LimitsPatch"));
        described("EnforcedLimits", &EnforcedLimits { asked: Limits::default(), enforced: None });
        let io = container::IoLimit {
            device: "/dev/sda".into(),
            read_bytes_per_second: Some(1),
            write_bytes_per_second: Some(1),
            read_operations_per_second: Some(1),
            write_operations_per_second: Some(1),
            weight: Some(1),
        };
        described("IoLimit", &io);
    }

    #[test]
    fn the_openapi_document_names_every_field_of_files_and_their_differences() {
        use belljar_model::overlay::{self, FileKind, Role, RowKind, Status};
        let layer = overlay::Layer {
            role: Role::Upper,
            path: String::new(),
            at: String::new(),
            label: String::new(),
            digest: None,
            size_bytes: None,
            command: None,
        };
        let quota = overlay::LayerQuota { project: 1, bytes: 0, inodes: 0, bytes_max: None, inodes_max: None };
        let stack = inspect::Overlay::from(overlay::Stack { layers: vec![layer], work: String::new(), merged: None, quota: Some(quota) });
        described("LayerQuota", &quota);
        described("Layer", &stack.layers[0]);
        described("Overlay", &stack);
        let entry = overlay::Entry {
            name: String::new(),
            path: String::new(),
            kind: FileKind::File,
            size_bytes: 0,
            mode: 0,
            uid: 0,
            gid: 0,
            modified_at_ms: 0,
            link_target: None,
            layer: 0,
            status: Status::Unchanged,
            hides: Vec::new(),
            copied_up: false,
            opaque: false,
        };
        described("Entry", &inspect::Entry::from(entry));
        let change = overlay::Change { path: String::new(), status: Status::Added, kind: FileKind::File, size_bytes: 0, below: None };
        described("Change", &inspect::Change::from(change));
        let row = overlay::Row { kind: RowKind::Same, before_line: None, after_line: None, text: String::new(), no_newline: false };
        let difference =
            overlay::Difference { path: String::new(), status: Status::Added, below: None, notes: Vec::new(), rows: vec![row] };
        let difference = files::Difference::from(difference);
        described("Row", &difference.rows[0]);
        described("Difference", &difference);
        described("Moved", &files::Moved::from(belljar_model::files::Moved::default()));
        described("UndoRequest", &files::UndoRequest { path: String::new() });
        let stat = belljar_model::files::PathStat {
            name: String::new(),
            kind: FileKind::File,
            size_bytes: 0,
            mode: 0,
            modified_at_ms: 0,
            link_target: None,
        };
        described("PathStat", &files::PathStat::from(stat));
    }

    #[test]
    fn a_change_that_cannot_be_read_is_named_by_its_path() {
        for (body, field) in [
            (r#"{"limits":{"memory":1}}"#, "limits.memory"),
            (r#"{"limits":{"pids":"many"}}"#, "limits.pids"),
            (r#"{"image":"x"}"#, "image"),
            (r#"{"limits":{"io":[{"device":"/dev/sda","rate":1}]}}"#, "limits.io[0].rate"),
            (r#"{"ulimits":{"nofile":{"soft":"x","hard":1}}}"#, "ulimits.nofile.soft"),
        ] {
            let problem = document::parse::<Change>(body.as_bytes()).expect_err(body);
            assert_eq!((problem.field.as_deref(), problem.status), (Some(field), 400), "{body}: {problem:?}");
        }
    }

    #[test]
    fn the_openapi_document_names_every_field_of_an_exec() {
        let body = r#"{"command":["id"],"env":{"a":"b"},"user":"1","workdir":"/","time_limit_ms":1}"#;
        described("ExecRequest", &document::parse::<ExecRequest>(body.as_bytes()).expect("readable"));
        described("ExecAnswer", &ExecAnswer::from(belljar_model::exec::Ran::default()));
    }
}
