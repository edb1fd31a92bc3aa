//! An image's configuration: what it says, bounded, and in the words of the model.

use std::collections::{BTreeMap, BTreeSet};

use belljar_model::container::{ARGUMENT_BYTES_MAX, ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX};
use belljar_model::health::{self, HealthCheck};
use belljar_model::image::{Contents, HistoryEntry, ImageConfig, LayerInfo, Platform};
use belljar_model::mount::PATH_BYTES_MAX;
use serde::Deserialize;

use super::{DocumentError, HISTORY_MAX, LAYERS_MAX, Manifest, SETTINGS_MAX, bounded, read};
use crate::digest::Digest;

const CONFIGURATION: &str = "configuration";

/// An image's configuration, and of which layers it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Digests of the layers without compression, the lowest first.
    pub diff_ids: Vec<Digest>,
    /// Everything else; its `layers` are empty.
    contents: Contents,
}

#[derive(Deserialize)]
struct WireImage {
    architecture: Option<String>,
    os: Option<String>,
    variant: Option<String>,
    created: Option<String>,
    author: Option<String>,
    config: Option<WireConfig>,
    rootfs: WireRootfs,
    history: Option<Vec<WireHistory>>,
}

#[derive(Deserialize)]
struct WireRootfs {
    #[serde(rename = "type")]
    kind: Option<String>,
    diff_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct WireHistory {
    created: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    author: Option<String>,
    empty_layer: Option<bool>,
}

type Set = BTreeMap<String, serde::de::IgnoredAny>;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireConfig {
    user: Option<String>,
    exposed_ports: Option<Set>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    volumes: Option<Set>,
    working_dir: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
    healthcheck: Option<WireHealth>,
    shell: Option<Vec<String>>,
}

/// Times are in nanoseconds; 0 is "not said".
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireHealth {
    test: Option<Vec<String>>,
    interval: Option<i64>,
    timeout: Option<i64>,
    start_period: Option<i64>,
    start_interval: Option<i64>,
    retries: Option<i64>,
}

fn refused(problem: impl Into<String>) -> DocumentError {
    DocumentError::refused(CONFIGURATION, problem)
}

impl Configuration {
    /// Reads a configuration.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let wire: WireImage = read(CONFIGURATION, bytes)?;
        if wire.rootfs.kind.as_deref().is_some_and(|kind| kind != "layers") {
            return Err(refused("its rootfs is not of the type \"layers\""));
        }
        let diff_ids = wire.rootfs.diff_ids.unwrap_or_default();
        bounded(CONFIGURATION, "layers", &diff_ids, LAYERS_MAX)?;
        let digest = |text: &String| text.parse().map_err(|_| refused("one of its diff_ids is no digest of SHA-256"));
        let diff_ids = diff_ids.iter().map(digest).collect::<Result<_, _>>()?;
        let history = wire.history.unwrap_or_default();
        bounded(CONFIGURATION, "lines of history", &history, HISTORY_MAX)?;
        let platform = wire.os.zip(wire.architecture).filter(|(os, architecture)| !os.is_empty() && !architecture.is_empty());
        let variant = wire.variant.filter(|variant| !variant.is_empty());
        let contents = Contents {
            platform: platform.map(|(os, architecture)| Platform { os, architecture, variant }),
            made_at_ms: time(wire.created),
            author: wire.author.filter(|author| !author.is_empty()),
            config: config(wire.config.unwrap_or_default())?,
            layers: Vec::new(),
            history: history.into_iter().map(line).collect(),
        };
        Ok(Self { diff_ids, contents })
    }

    /// Refuses a manifest that speaks of another number of layers.
    pub fn check(&self, manifest: &Manifest) -> Result<(), DocumentError> {
        self.check_layers(manifest.layers.len())
    }

    /// Refuses another number of layers.
    pub(crate) fn check_layers(&self, there: usize) -> Result<(), DocumentError> {
        let said = self.diff_ids.len();
        if said == there { Ok(()) } else { Err(refused(format!("it speaks of {said} layers, and the manifest of {there}"))) }
    }

    /// What the image was made for, where it says so.
    pub fn platform(&self) -> Option<&Platform> {
        self.contents.platform.as_ref()
    }

    /// The image's contents with these `layers`, the lowest first, to which the history gives their commands.
    pub fn contents(self, mut layers: Vec<LayerInfo>) -> Contents {
        let mut made = self.contents.history.iter().filter(|line| !line.empty_layer);
        for layer in &mut layers {
            layer.command = made.next().and_then(|line| line.command.clone());
        }
        Contents { layers, ..self.contents }
    }
}

/// A layer as the model has it; [`Configuration::contents`] gives it its command.
pub fn layer_info(diff_id: &Digest, blob: Option<&Digest>, (size_bytes, entries): (u64, u64)) -> LayerInfo {
    LayerInfo { diff_id: diff_id.to_string(), digest: blob.map(Digest::to_string), size_bytes, entries, command: None }
}

/// A moment; none where it cannot be read, or is Go's zero, the year 1.
fn time(text: Option<String>) -> Option<i64> {
    let time: jiff::Timestamp = text?.parse().ok()?;
    Some(time.as_millisecond()).filter(|ms| *ms >= 0)
}

fn line(wire: WireHistory) -> HistoryEntry {
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    HistoryEntry {
        made_at_ms: time(wire.created),
        command: said(wire.created_by),
        comment: said(wire.comment),
        author: said(wire.author),
        empty_layer: wire.empty_layer.unwrap_or_default(),
    }
}

fn config(wire: WireConfig) -> Result<ImageConfig, DocumentError> {
    let shell = wire.shell.filter(|shell| !shell.is_empty());
    let health = wire.healthcheck.map(|wire| health(wire, shell)).transpose()?.flatten();
    let ports = wire.exposed_ports.unwrap_or_default();
    let volumes = wire.volumes.unwrap_or_default();
    let labels = wire.labels.unwrap_or_default();
    for (what, count) in [("exposed ports", ports.len()), ("volumes", volumes.len()), ("labels", labels.len())] {
        if count > SETTINGS_MAX {
            return Err(DocumentError::OverLimit { document: CONFIGURATION, what, max: SETTINGS_MAX as u64 });
        }
    }
    labels.iter().try_for_each(|(key, value)| text("a label", key).and_then(|()| text("a label", value)))?;
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (user, stop_signal) = (said(wire.user), said(wire.stop_signal));
    user.iter().try_for_each(|user| text("its user", user))?;
    stop_signal.iter().try_for_each(|signal| text("its stop signal", signal))?;
    Ok(ImageConfig {
        entrypoint: arguments("its entrypoint", wire.entrypoint)?,
        command: arguments("its command", wire.cmd)?,
        env: env(wire.env.unwrap_or_default())?,
        user,
        workdir: said(wire.working_dir).map(|path| absolute("its working folder", &path)).transpose()?,
        volumes: volumes.keys().map(|path| volume(path)).collect::<Result<_, _>>()?,
        exposed_ports: ports.into_keys().filter(|port| is_port(port)).collect::<BTreeSet<_>>(),
        stop_signal,
        labels,
        health,
    })
}

/// Refuses what no program can be given.
fn text(what: &str, text: &str) -> Result<(), DocumentError> {
    if text.contains('\0') {
        return Err(refused(format!("{what} holds a NUL byte")));
    }
    if text.len() > ARGUMENT_BYTES_MAX { Err(refused(format!("{what} is longer than {ARGUMENT_BYTES_MAX} bytes"))) } else { Ok(()) }
}

fn arguments(what: &'static str, list: Option<Vec<String>>) -> Result<Vec<String>, DocumentError> {
    let list = list.unwrap_or_default();
    bounded(CONFIGURATION, "arguments", &list, ARGUMENTS_MAX)?;
    list.iter().try_for_each(|argument| text(what, argument))?;
    whole(list.iter().map(String::len).sum())?;
    Ok(list)
}

fn whole(bytes: usize) -> Result<(), DocumentError> {
    let max = ARGUMENTS_BYTES_MAX as u64;
    let over = DocumentError::OverLimit { document: CONFIGURATION, what: "bytes of arguments or variables", max };
    if bytes > ARGUMENTS_BYTES_MAX { Err(over) } else { Ok(()) }
}

/// Variables; the last of two wins. One without a value is empty, one without a name is none.
fn env(list: Vec<String>) -> Result<BTreeMap<String, String>, DocumentError> {
    bounded(CONFIGURATION, "variables", &list, ARGUMENTS_MAX)?;
    list.iter().try_for_each(|variable| text("a variable", variable))?;
    whole(list.iter().map(String::len).sum())?;
    let pair =
        |variable: &String| variable.split_once('=').map_or((variable.clone(), String::new()), |(key, value)| (key.into(), value.into()));
    Ok(list.iter().map(pair).filter(|(key, _)| !key.is_empty()).collect())
}

/// An absolute path, whatever its dots mean: whoever goes there resolves it inside the container.
fn absolute(what: &str, path: &str) -> Result<String, DocumentError> {
    text(what, path)?;
    if path.len() >= PATH_BYTES_MAX {
        return Err(refused(format!("{what} is longer than {PATH_BYTES_MAX} bytes")));
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

/// A folder that is to be a volume. One with `..` would be somewhere else to whoever takes it for a path (CVE-2022-23648).
fn volume(path: &str) -> Result<String, DocumentError> {
    if path.split('/').any(|part| part == "..") {
        return Err(refused(format!("a volume's path holds `..`: {:?}", belljar_archive::shown(path.as_bytes()))));
    }
    absolute("a volume's path", path)
}

/// `80`, `80/tcp`, `8000-8010/udp`. Anything else says nothing that could be published.
fn is_port(text: &str) -> bool {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().is_ok_and(|number| number > 0) && text.bytes().all(|digit| digit.is_ascii_digit());
    number(first) && number(last) && matches!(protocol, "tcp" | "udp" | "sctp")
}

/// A check; none where the image inherits one that it does not have. `NONE` is a check without a command.
fn health(wire: WireHealth, shell: Option<Vec<String>>) -> Result<Option<HealthCheck>, DocumentError> {
    let mut test = wire.test.unwrap_or_default();
    if test.is_empty() {
        return Ok(None);
    }
    let first = test.remove(0);
    let command = match (first.as_str(), test.is_empty()) {
        ("NONE", _) => Vec::new(),
        ("CMD", false) => test,
        ("CMD-SHELL", false) => {
            let shell = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            shell.into_iter().chain([test.remove(0)]).collect()
        }
        _ => return Err(refused("its health check is none of NONE, CMD and CMD-SHELL with a command")),
    };
    let said = |time: Option<i64>| time.filter(|time| *time > 0).map(milliseconds);
    let retries = wire.retries.filter(|retries| *retries > 0).and_then(|retries| u32::try_from(retries).ok());
    Ok(Some(HealthCheck {
        command: arguments("its health check", Some(command))?,
        interval_ms: said(wire.interval).unwrap_or(health::INTERVAL_MS_DEFAULT),
        timeout_ms: said(wire.timeout).unwrap_or(health::TIMEOUT_MS_DEFAULT),
        start_period_ms: said(wire.start_period).unwrap_or(0),
        start_interval_ms: said(wire.start_interval),
        retries: retries.unwrap_or(health::RETRIES_DEFAULT).min(health::RETRIES_MAX),
    }))
}

/// Whole milliseconds of a time in nanoseconds, within what a check allows.
fn milliseconds(nanoseconds: i64) -> u64 {
    nanoseconds.unsigned_abs().div_ceil(1_000_000).clamp(health::TIME_MS_MIN, health::TIME_MS_MAX)
}
