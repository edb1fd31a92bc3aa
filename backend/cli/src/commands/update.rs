//! `update`: what shall be different about containers that are there.

use std::collections::BTreeMap;

use belljar_api::{Change, Container, notation};
use belljar_model::setting::Ulimit;
use belljar_model::{Invalid, Limits, LimitsPatch};

use super::{Outcome, Session, container, lifecycle};
use crate::arguments::{Containers, UpdateArguments};
use crate::client::Client;

/// `update`. Each container by itself: what its limits are now decides what some flags mean.
pub(crate) async fn update(session: &mut Session, mut arguments: UpdateArguments) -> Outcome {
    let containers = Containers { containers: std::mem::take(&mut arguments.containers.containers) };
    if asked(&arguments, &Limits::default()).is_ok_and(|change| change == Change::default()) {
        return Err(Invalid::new("update", "needs what shall be different, such as --memory 256m").into());
    }
    let update = async |client: &Client, name: &str| {
        let path = container(name);
        let now: Container = client.fetch(&path).await?;
        client.change(&path, &asked(&arguments, &now.limits)?).await
    };
    lifecycle::for_each(session, containers, update).await
}

fn asked(arguments: &UpdateArguments, now: &Limits) -> Result<Change, Invalid> {
    let limits = arguments.limits.patch(now)?;
    let score = |text: &String| match text.as_str() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Invalid::new("--oom-score-adj", "must be a number from -1000 to 1000, or empty")),
    };
    Ok(Change {
        limits: (limits != LimitsPatch::default()).then_some(limits),
        restart: arguments.restart,
        ulimits: arguments.ulimit.iter().map(|text| ulimit(text)).collect::<Result<BTreeMap<_, _>, _>>()?,
        oom_score_adj: arguments.oom_score_adj.as_ref().map(score).transpose()?,
        devices: None,
    })
}

/// `nofile=` is none of its own.
fn ulimit(text: &str) -> Result<(String, Option<Ulimit>), Invalid> {
    match text.strip_suffix('=') {
        Some(name) => Ok((name.to_owned(), None)),
        None => notation::ulimit("--ulimit", text).map(|(name, limit)| (name, Some(limit))),
    }
}
