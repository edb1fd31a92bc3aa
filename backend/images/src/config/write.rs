//! Documents that are made here: of an image that has none, and of one that was changed. What is written is the same bytes for the same
//! image, whenever and wherever.

use belljar_model::health::HealthCheck;
use belljar_model::image::{ImageConfig, Platform};
use serde_json::{Map, Value, json};

use super::{CONFIG_TYPE, Configuration, DocumentError, HISTORY_MAX, LAYER_TYPE, LAYERS_MAX, MANIFEST_TYPE, read};
use crate::digest::Digest;

const CONFIGURATION: &str = "configuration";

/// The manifest of an image with this configuration, whose layers (digest without compression, bytes of the archive) are not
/// compressed: what an export of it has.
pub fn manifest_of(config: &[u8], layers: &[(Digest, u64)]) -> Vec<u8> {
    let layer = |(digest, size): &(Digest, u64)| json!({"mediaType": LAYER_TYPE, "digest": digest.to_string(), "size": size});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": Digest::of(config).to_string(), "size": config.len()},
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    manifest.to_string().into_bytes()
}

/// The configuration of an image that has none: a root file system, whose one layer is `diff_id`.
pub fn configuration_of(platform: &Platform, diff_id: &Digest, made_at_ms: i64) -> Vec<u8> {
    let created = moment(made_at_ms);
    let mut configuration = json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "created": created,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id.to_string()]},
        "history": [{"created": created, "comment": "imported from an archive"}],
    });
    if let Some(variant) = &platform.variant {
        configuration["variant"] = json!(variant);
    }
    configuration.to_string().into_bytes()
}

/// What becomes of an image when a layer is put on it.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// When, in Unix milliseconds.
    pub made_at_ms: i64,
    /// Who did it.
    pub author: Option<String>,
    /// What somebody wrote about it.
    pub comment: Option<String>,
    /// What was done: the command of the container.
    pub command: Option<String>,
    /// What its containers begin with from now on; `None` as before.
    pub config: Option<ImageConfig>,
}

/// A configuration with one more layer and `changes`. What is not known of it stays as it is.
pub(crate) fn changed(config: &[u8], diff_id: &Digest, changes: &Changes) -> Result<Vec<u8>, DocumentError> {
    // Once as what it is to us, which says whether it is one at all.
    let parsed = Configuration::parse(config)?;
    let over = |what, max: usize| DocumentError::OverLimit { document: CONFIGURATION, what, max: max as u64 };
    if parsed.diff_ids.len() >= LAYERS_MAX {
        return Err(over("layers", LAYERS_MAX));
    }
    let mut document: Map<String, Value> = read(CONFIGURATION, config)?;
    let made_at = moment(changes.made_at_ms);
    document.insert("created".to_owned(), json!(made_at));
    // Docker's note of the container in which the last step ran; it was another one.
    for stale in ["container", "container_config", "id", "parent"] {
        document.remove(stale);
    }
    if let Some(author) = &changes.author {
        document.insert("author".to_owned(), json!(author));
    }
    let ids: Vec<String> = parsed.diff_ids.iter().chain([diff_id]).map(Digest::to_string).collect();
    document.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": ids}));
    let mut history = document.remove("history").and_then(|history| history.as_array().cloned()).unwrap_or_default();
    if history.len() >= HISTORY_MAX {
        return Err(over("lines of history", HISTORY_MAX));
    }
    // A history that says nothing of its layers would give ours to another one.
    let told = history.iter().filter(|line| line["empty_layer"] != json!(true)).count();
    history.extend((told..parsed.diff_ids.len()).map(|_| json!({"created": made_at})));
    let said = [("created_by", &changes.command), ("author", &changes.author), ("comment", &changes.comment)];
    let said = said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value.as_ref()?))));
    history.push(Value::Object(said.chain([("created".to_owned(), json!(made_at))]).collect()));
    document.insert("history".to_owned(), Value::Array(history));
    if let Some(config) = &changes.config {
        let before = document.remove("config").and_then(|config| config.as_object().cloned()).unwrap_or_default();
        document.insert("config".to_owned(), Value::Object(settings(before, config)));
    }
    let bytes = Value::Object(document).to_string().into_bytes();
    // What is made here is held to what comes from elsewhere.
    Configuration::parse(&bytes).map(|_| bytes)
}

/// The settings of an image in OCI's words, over what was there before.
fn settings(mut before: Map<String, Value>, config: &ImageConfig) -> Map<String, Value> {
    let set =
        |names: &mut dyn Iterator<Item = &String>| -> Value { names.map(|name| (name.clone(), json!({}))).collect::<Map<_, _>>().into() };
    let env: Vec<String> = config.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let said = [
        ("User", json!(config.user)),
        ("Env", json!(env)),
        ("Entrypoint", json!(config.entrypoint)),
        ("Cmd", json!(config.command)),
        ("WorkingDir", json!(config.workdir)),
        ("Volumes", set(&mut config.volumes.iter())),
        ("ExposedPorts", set(&mut config.exposed_ports.iter())),
        ("StopSignal", json!(config.stop_signal)),
        ("Labels", json!(config.labels)),
        ("Healthcheck", config.health.as_ref().map_or(Value::Null, health)),
    ];
    for (key, value) in said {
        let is_nothing = match &value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if is_nothing {
            before.remove(key);
        } else {
            before.insert(key.to_owned(), value);
        }
    }
    before
}

/// A health check in Docker's words, whose times are nanoseconds.
fn health(check: &HealthCheck) -> Value {
    const NANOSECONDS: u64 = 1_000_000;
    let test: Vec<&str> = match check.command.as_slice() {
        [] => vec!["NONE"],
        command => ["CMD"].into_iter().chain(command.iter().map(String::as_str)).collect(),
    };
    let mut health = json!({
        "Test": test,
        "Interval": check.interval_ms * NANOSECONDS,
        "Timeout": check.timeout_ms * NANOSECONDS,
        "StartPeriod": check.start_period_ms * NANOSECONDS,
        "Retries": check.retries,
    });
    if let Some(interval) = check.start_interval_ms {
        health["StartInterval"] = json!(interval * NANOSECONDS);
    }
    health
}

/// RFC 3339; the epoch where there is no such moment.
fn moment(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default().to_string()
}
