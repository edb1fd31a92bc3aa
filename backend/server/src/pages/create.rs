//! The form that makes a container: text in, a create request out, or the form again with the message at its field.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use belljar_api::container::Limits;
use belljar_api::query::Nothing;
use belljar_api::{CreateRequest, Mount, notation};
use belljar_frontend::create::{Form as View, Values};
use belljar_model::container::Restart;
use belljar_model::limits::HostCapacity;
use belljar_model::{Invalid, size};

use crate::app::App;
use crate::extract::{Form, Query};
use crate::fault::{Answer, Fault};
use crate::pages::surroundings::{Deed, Surroundings, done};
use crate::rest::create_container;

pub(super) async fn form(State(app): State<Arc<App>>, around: Surroundings, Query(Nothing {}): Query<Nothing>) -> Answer<Response> {
    show(&app, &around, StatusCode::OK, (&Values::fresh(), None))
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
    let host = HostCapacity { memory_bytes: host.memory_bytes, cpus: host.cpus, pids: host.pids };
    around.page_with(status, &View { frame: around.frame(), values, images: &app.supervisor.images(), host, invalid })
}

/// What the fields ask for. An empty field asks for nothing.
fn request(values: &Values) -> Result<CreateRequest, Fault> {
    let mut request = CreateRequest::new(values.image.trim(), notation::command("command", &values.command)?);
    request.name = given(&values.name);
    request.env = notation::env("env", values.env.lines())?;
    request.hostname = given(&values.hostname);
    request.user = given(&values.user);
    request.workdir = given(&values.workdir);
    request.limits = limits(values)?;
    request.mounts = mounts(&values.mounts)?;
    request.restart = restart(&values.restart)?;
    request.start = !values.start.is_empty();
    Ok(request)
}

fn given(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn limits(values: &Values) -> Result<Limits, Invalid> {
    let bytes = |field: &str, text: &str| given(text).map(|text| size::parse(field, &text)).transpose();
    Ok(Limits {
        memory_bytes: bytes("limits.memory_bytes", &values.memory)?,
        memory_swap_bytes: bytes("limits.memory_swap_bytes", &values.swap)?,
        cpus: number("limits.cpus", &values.cpus, "a number such as 0.5")?,
        pids: number("limits.pids", &values.pids, "a whole number such as 128")?,
    })
}

fn number<T: FromStr>(field: &str, text: &str, expected: &str) -> Result<Option<T>, Invalid> {
    let read = |text: String| text.parse().map_err(|_| Invalid::new(field, format!("{text:?} is not {expected}")));
    given(text).map(read).transpose()
}

fn mounts(text: &str) -> Result<Vec<Mount>, Invalid> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.enumerate().map(|(index, line)| notation::mount(&format!("mounts[{index}]"), line)).collect()
}

fn restart(word: &str) -> Result<Restart, Invalid> {
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
            ..Values::fresh()
        };
        let request = request(&values).expect("valid");
        assert_eq!((request.name.as_deref(), request.command.len(), request.env.len()), (Some("db"), 3, 2));
        let limits = Limits { memory_bytes: Some(64 << 20), memory_swap_bytes: Some(0), cpus: Some(0.5), pids: Some(128) };
        assert_eq!((request.limits, request.mounts.len(), request.restart), (limits, 2, Restart::Always));
        assert!(request.start);
    }

    #[test]
    fn an_empty_field_asks_for_nothing() {
        let values = Values { command: "true".into(), start: String::new(), ..Values::fresh() };
        let mut least = CreateRequest::new("host", vec!["true".into()]);
        least.start = false;
        assert_eq!(request(&values).map_err(|fault| fault.problem), Ok(least));
    }

    #[test]
    fn what_cannot_be_read_is_told_at_its_field() {
        type Breaks = fn(&mut Values);
        let broken: [(&str, Breaks); 7] = [
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
