//! The form that makes a container: text in, a create request out, or the form again with the message at its field.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use belljar_api::{CreateRequest, Mount, notation};
use belljar_frontend::create::{Form as View, Values};
use belljar_frontend::limits::Supports;
use belljar_model::container::Restart;
use belljar_model::health::HealthAsked;
use belljar_model::limits::HostCapacity;
use belljar_model::security::{NewPrivileges, Seccomp, SystemPaths};
use belljar_model::{Invalid, Namespaces, PullPolicy, Whose, size};
use serde::Deserialize;

use crate::app::App;
use crate::extract::{Form, Query};
use crate::fault::{Answer, Fault};
use crate::pages::limits;
use crate::pages::surroundings::{Deed, Surroundings, done};
use crate::rest::create_container;

/// The query of the form: the image that it is opened for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Opened {
    image: Option<String>,
}

pub(super) async fn form(State(app): State<Arc<App>>, around: Surroundings, Query(Opened { image }): Query<Opened>) -> Answer<Response> {
    let fresh = Values::fresh();
    let values = Values { image: image.unwrap_or_else(|| fresh.image.clone()), ..fresh };
    show(&app, &around, StatusCode::OK, (&values, None))
}

pub(super) async fn submit(State(app): State<Arc<App>>, around: Surroundings, Form(values): Form<Values>) -> Answer<Response> {
    match create(&app, &values).await {
        Ok(container) => {
            let name = container.config.name.as_str();
            Ok(done(Deed::Created, name, &format!("/containers/{name}")))
        }
        Err(fault) => match fault.invalid() {
            Some(invalid) => show(&app, &around, fault.status(), (&values, Some(&invalid))),
            None => Err(fault),
        },
    }
}

async fn create(app: &App, values: &Values) -> Answer<belljar_model::Container> {
    create_container(&app.supervisor, request(values)?).await
}

fn show(app: &App, around: &Surroundings, status: StatusCode, (values, invalid): (&Values, Option<&Invalid>)) -> Answer<Response> {
    let host = app.supervisor.host();
    let (supports, images) = (Supports(&host.limits), app.supervisor.images());
    let host = HostCapacity { memory_bytes: host.memory_bytes, cpus: host.cpus, pids: host.pids };
    let chosen = app.supervisor.find_image(values.image.trim()).ok().map(|summary| summary.image);
    let view = View { frame: around.frame(), values, images: &images, chosen: chosen.as_ref(), host, supports, invalid };
    around.page_with(status, &view)
}

/// What the fields ask for. An empty field asks for nothing.
fn request(values: &Values) -> Result<CreateRequest, Fault> {
    let command = given(&values.command).map(|line| notation::command("command", &line)).transpose()?;
    let mut request = CreateRequest::new(values.image.trim(), command.unwrap_or_default());
    request.pull = PullPolicy::Missing;
    request.entrypoint = given(&values.entrypoint).map(|line| notation::command("entrypoint", &line)).transpose()?;
    request.name = given(&values.name);
    request.env = notation::env("env", values.env.lines())?;
    request.hostname = given(&values.hostname);
    request.user = given(&values.user);
    request.workdir = given(&values.workdir);
    request.limits = limits::read(&values.limits())?;
    request.mounts = mounts(&values.mounts)?;
    request.restart = restart(&values.restart)?;
    request.start = !values.start.is_empty();
    request.health = health(values)?;
    isolation(values, &mut request)?;
    Ok(request)
}

fn health(values: &Values) -> Result<Option<HealthAsked>, Invalid> {
    if !values.no_healthcheck.is_empty() {
        return Ok(Some(HealthAsked { command: Some(Vec::new()), ..HealthAsked::default() }));
    }
    let span = |field: &str, text: &str| given(text).map(|text| notation::span_ms(field, &text)).transpose();
    let asked = HealthAsked {
        command: given(&values.health_cmd).map(|line| ["/bin/sh".to_owned(), "-c".to_owned(), line].to_vec()),
        interval_ms: span("health.interval_ms", &values.health_interval)?,
        timeout_ms: span("health.timeout_ms", &values.health_timeout)?,
        start_period_ms: span("health.start_period_ms", &values.health_start_period)?,
        start_interval_ms: span("health.start_interval_ms", &values.health_start_interval)?,
        retries: number("health.retries", &values.health_retries, "a whole number")?,
    };
    Ok((asked != HealthAsked::default()).then_some(asked))
}

fn isolation(values: &Values, request: &mut CreateRequest) -> Result<(), Invalid> {
    request.namespaces = Namespaces {
        net: whose("namespaces.net", &values.net)?,
        pid: whose("namespaces.pid", &values.pid)?,
        ipc: whose("namespaces.ipc", &values.ipc)?,
        uts: whose("namespaces.uts", &values.uts)?,
        cgroup: whose("namespaces.cgroup", &values.cgroupns)?,
        time: whose("namespaces.time", &values.timens)?,
        user: whose("namespaces.user", &values.userns)?,
    };
    request.time_offsets.boottime = number("time_offsets.boottime", &values.boottime, "a whole number of seconds")?.unwrap_or_default();
    request.time_offsets.monotonic = number("time_offsets.monotonic", &values.monotonic, "a whole number of seconds")?.unwrap_or_default();
    request.security.capabilities.add = words(&values.cap_add);
    request.security.capabilities.drop = words(&values.cap_drop);
    request.security.seccomp = seccomp(&values.seccomp)?;
    if !values.new_privileges.is_empty() {
        request.security.new_privileges = NewPrivileges::Allowed;
    }
    if !values.system_paths.is_empty() {
        request.security.system_paths = SystemPaths::Unconfined;
    }
    request.security.landlock = each("security.landlock", &values.landlock, notation::landlock)?;
    request.devices = each("devices", &values.devices, notation::device)?;
    request.ulimits = each("ulimits", &values.ulimits, notation::ulimit)?.into_iter().collect();
    request.sysctls = notation::env("sysctls", values.sysctls.lines())?;
    request.shm_bytes = given(&values.shm).map(|text| size::parse("shm_bytes", &text)).transpose()?;
    request.groups = words(&values.groups);
    request.umask = given(&values.umask);
    request.oom_score_adj = number("oom_score_adj", &values.oom_score_adj, "a whole number")?;
    request.nice = number("nice", &values.nice, "a whole number")?;
    request.domainname = given(&values.domainname);
    request.hidepid = number("hidepid", &values.hidepid, "0, 1 or 2")?;
    request.read_only = !values.read_only.is_empty();
    Ok(())
}

fn whose(field: &str, text: &str) -> Result<Option<Whose>, Invalid> {
    given(text).map(|text| text.parse().map_err(|invalid: Invalid| Invalid::new(field, invalid.problem))).transpose()
}

/// One of the words of the list, or a profile that a form came back with.
fn seccomp(text: &str) -> Result<Seccomp, Invalid> {
    match text {
        "" | "default" => Ok(Seccomp::Default),
        "unconfined" => Ok(Seccomp::Unconfined),
        "record" => Ok(Seccomp::Record),
        profile => serde_json::from_str(profile)
            .map(Seccomp::Profile)
            .map_err(|_| Invalid::new("security.seccomp", "must be default, unconfined, record, or a profile as JSON")),
    }
}

/// Words with spaces or commas between them.
fn words(text: &str) -> Vec<String> {
    text.split([' ', ',', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// One entry a line; the field of a wrong one names its place.
fn each<T>(field: &str, text: &str, read: impl Fn(&str, &str) -> Result<T, Invalid>) -> Result<Vec<T>, Invalid> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.enumerate().map(|(index, line)| read(&format!("{field}[{index}]"), line)).collect()
}

pub(super) fn given(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

pub(super) fn number<T: FromStr>(field: &str, text: &str, expected: &str) -> Result<Option<T>, Invalid> {
    let read = |text: String| text.parse().map_err(|_| Invalid::new(field, format!("{text:?} is not {expected}")));
    given(text).map(read).transpose()
}

fn mounts(text: &str) -> Result<Vec<Mount>, Invalid> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.enumerate().map(|(index, line)| notation::mount(&format!("mounts[{index}]"), line)).collect()
}

pub(super) fn restart(word: &str) -> Result<Restart, Invalid> {
    match word {
        "" | "no" => Ok(Restart::No),
        "on-failure" => Ok(Restart::OnFailure),
        "always" => Ok(Restart::Always),
        "unless-stopped" => Ok(Restart::UnlessStopped),
        _ => Err(Invalid::new("restart", "must be no, on-failure, always or unless-stopped")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belljar_api::container::Limits;

    #[test]
    fn a_filled_form_asks_for_what_it_says() {
        let values = Values {
            name: " db ".into(),
            command: "sh -c 'sleep 1d'".into(),
            env: "A=1\r\nB=x=y\r\n".into(),
            memory: "64m".into(),
            swap: "0".into(),
            cpus: "0.5".into(),
            pids: "128".into(),
            mounts: "/srv:/data:ro\r\n\r\ntmpfs:/tmp:1m".into(),
            restart: "always".into(),
            health_cmd: "curl -f http://localhost/ || exit 1".into(),
            health_interval: "1m30s".into(),
            ..Values::fresh()
        };
        let request = request(&values).expect("valid");
        assert_eq!((request.name.as_deref(), request.command.len(), request.env.len()), (Some("db"), 3, 2));
        let limits =
            Limits { memory_bytes: Some(64 << 20), memory_swap_bytes: Some(0), cpus: Some(0.5), pids: Some(128), ..Limits::default() };
        assert_eq!((request.limits, request.mounts.len(), request.restart), (limits, 2, Restart::Always));
        assert!(request.start);
        let check = request.health.expect("a check");
        let command = check.command.expect("a command");
        assert_eq!((command[2].as_str(), check.interval_ms, check.retries), ("curl -f http://localhost/ || exit 1", Some(90_000), None));
        let without = Values { no_healthcheck: "yes".into(), command: "true".into(), ..Values::fresh() };
        assert_eq!(super::request(&without).expect("valid").health.and_then(|asked| asked.command), Some(Vec::new()));
    }

    #[test]
    fn what_loosens_is_asked_for_field_by_field() {
        let values = Values {
            command: "true".into(),
            net: "host".into(),
            userns: " private ".into(),
            cap_add: "NET_ADMIN, bpf".into(),
            seccomp: "record".into(),
            system_paths: "yes".into(),
            read_only: "yes".into(),
            devices: "/dev/fuse:rw\r\n".into(),
            ulimits: "nofile=1:2".into(),
            sysctls: "kernel.shmmax=5".into(),
            groups: "audio 44".into(),
            hidepid: "2".into(),
            boottime: "-5".into(),
            ..Values::fresh()
        };
        let request = request(&values).expect("valid");
        assert_eq!((&request.namespaces.net, &request.namespaces.user), (&Some(Whose::Host), &Some(Whose::Private)));
        assert_eq!(request.security.capabilities.add, ["NET_ADMIN", "bpf"]);
        assert_eq!((&request.security.seccomp, request.security.system_paths), (&Seccomp::Record, SystemPaths::Unconfined));
        assert_eq!((request.devices.len(), request.ulimits.len(), request.sysctls.len(), request.groups.len()), (1, 1, 1, 2));
        assert_eq!((request.hidepid, request.time_offsets.boottime, request.read_only), (Some(2), -5, true));
    }

    #[test]
    fn an_empty_field_asks_for_nothing() {
        let values = Values { command: "true".into(), start: String::new(), ..Values::fresh() };
        let mut least = CreateRequest::new("host", vec!["true".into()]);
        least.start = false;
        least.pull = PullPolicy::Missing;
        assert_eq!(request(&values).map_err(|fault| fault.problem), Ok(least));
    }

    #[test]
    fn what_cannot_be_read_is_told_at_its_field() {
        type Breaks = fn(&mut Values);
        let broken: [(&str, Breaks); 15] = [
            ("health.timeout_ms", |values| (values.health_cmd, values.health_timeout) = ("true".into(), "soon".into())),
            ("health.retries", |values| (values.health_cmd, values.health_retries) = ("true".into(), "-1".into())),
            ("namespaces.net", |values| values.net = "bridge".into()),
            ("security.seccomp", |values| values.seccomp = "some".into()),
            ("security.landlock[0]", |values| values.landlock = "/usr".into()),
            ("ulimits[1]", |values| values.ulimits = "core=0\nnofile".into()),
            ("hidepid", |values| values.hidepid = "all".into()),
            ("shm_bytes", |values| values.shm = "lots".into()),
            ("command", |values| values.command = "sh -c 'oops".into()),
            ("env", |values| values.env = "no pair".into()),
            ("limits.memory_bytes", |values| values.memory = "lots".into()),
            ("limits.cpus", |values| values.cpus = "half".into()),
            ("limits.pids", |values| values.pids = "-1".into()),
            ("mounts[1]", |values| values.mounts = "/a:/b\nnonsense".into()),
            ("restart", |values| values.restart = "sometimes".into()),
        ];
        for (field, breaks) in broken {
            let mut values = Values { command: "true".into(), ..Values::fresh() };
            breaks(&mut values);
            let invalid = request(&values).expect_err(field).invalid().expect("a field is named");
            assert_eq!(invalid.field, field);
        }
    }
}
