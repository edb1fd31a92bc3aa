//! One container, live: its head, and below it what the tab shows.

use belljar_frontend::{container as view, events};
use belljar_model::usage::Usage;
use belljar_model::{Container, ContainerId};
use belljar_supervisor::{LogFollow, LogQuery, Notice, Supervisor};

use super::{Part, Parts, events_table, unrendered};
use crate::fault::Answer;
use crate::now_ms;

/// What lies below the head.
pub(super) enum Body {
    /// What it uses.
    Usage,
    /// What it uses of each limit.
    Limits,
    /// Its log.
    Logs {
        /// What the page shows of it.
        filter: view::Filter,
        /// Followed while it is alive: what rests writes nothing.
        follow: Option<Box<LogFollow>>,
    },
    /// Its events.
    Events,
    /// What is mounted in it.
    Mounts,
}

impl Body {
    /// A log that is not followed yet.
    pub(super) fn logs(filter: view::Filter) -> Self {
        Body::Logs { filter, follow: None }
    }
}

/// The parts of one container's page.
pub(super) struct Live {
    id: ContainerId,
    body: Body,
    /// What was found about it, as it was sent last: what has not moved is not sent again.
    findings: String,
    /// When the newest line that was sent had been written, in Unix microseconds.
    line_usec: Option<i64>,
}

impl Live {
    pub(super) fn new(container: Container, body: Body) -> Self {
        Self { id: container.id, body, findings: String::new(), line_usec: None }
    }

    pub(super) async fn first(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        let Ok(container) = supervisor.find(self.id.as_str()) else {
            parts.push_back(Part::Gone(view::HEADER_ID.to_owned()));
            return Ok(());
        };
        parts.push_back(head(&container)?);
        self.findings.clear();
        self.find(supervisor, &container, parts).await?;
        match &mut self.body {
            Body::Usage | Body::Limits => {
                parts.push_back(usage(supervisor, &container, &self.body).await?);
                self.check(supervisor, &container, parts)?;
            }
            Body::Mounts => parts.push_back(mounts(supervisor, &self.id).await?),
            Body::Events => parts.push_back(Part::Html(events_table(supervisor, Some(self.id.clone())).await?)),
            Body::Logs { filter, follow } => {
                let query = LogQuery { since_usec: None, tail: Some(filter.tail), stream: filter.stream };
                let lines = supervisor.logs(&self.id, query).await?;
                self.line_usec = lines.last().map(|line| line.at_usec);
                parts.push_back(Part::Html(view::log(&lines).map_err(unrendered)?));
                *follow = follow_on(supervisor, &container, (*filter, self.line_usec)).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn follow(&mut self, supervisor: &Supervisor, notice: Notice, parts: &mut Parts) -> Answer<()> {
        match notice {
            Notice::Removed(id) if id == self.id => parts.push_back(Part::Gone(view::HEADER_ID.to_owned())),
            Notice::Container(id) if id == self.id => {
                let Ok(container) = supervisor.find(id.as_str()) else { return Ok(()) };
                parts.push_back(head(&container)?);
                self.find(supervisor, &container, parts).await?;
                self.check(supervisor, &container, parts)?;
                match &mut self.body {
                    Body::Usage | Body::Limits => parts.push_back(usage(supervisor, &container, &self.body).await?),
                    Body::Logs { filter, follow: follow @ None } => {
                        *follow = follow_on(supervisor, &container, (*filter, self.line_usec)).await?;
                    }
                    Body::Mounts => parts.push_back(mounts(supervisor, &self.id).await?),
                    Body::Logs { .. } | Body::Events => {}
                }
            }
            Notice::Checked(id) if id == self.id => {
                let Ok(container) = supervisor.find(id.as_str()) else { return Ok(()) };
                self.find(supervisor, &container, parts).await?;
                self.check(supervisor, &container, parts)?;
            }
            Notice::Sampled if matches!(self.body, Body::Usage | Body::Limits) => {
                let Ok(container) = supervisor.find(self.id.as_str()) else { return Ok(()) };
                if container.state.is_alive() {
                    let usages = supervisor.usages();
                    parts.push_back(figures(&container, usages.get(&self.id), &self.body)?);
                    self.find(supervisor, &container, parts).await?;
                }
            }
            Notice::Event(event) if matches!(self.body, Body::Events) && event.container.as_ref() == Some(&self.id) => {
                parts.push_back(Part::Html(events::row(&event, now_ms()).map_err(unrendered)?));
            }
            Notice::Removed(_) | Notice::Container(_) | Notice::Checked(_) | Notice::Sampled | Notice::Event(_) => {}
        }
        Ok(())
    }

    /// What is found about it, where the page shows that and it has changed.
    async fn find(&mut self, supervisor: &Supervisor, container: &Container, parts: &mut Parts) -> Answer<()> {
        if matches!(self.body, Body::Usage) {
            let findings = supervisor.diagnosis(&self.id).await?;
            let html = view::findings(container, &findings).map_err(unrendered)?;
            if html != self.findings {
                parts.push_back(Part::Html(html.clone()));
                self.findings = html;
            }
        }
        Ok(())
    }

    /// What its checks found, where the page shows that and it has any.
    fn check(&self, supervisor: &Supervisor, container: &Container, parts: &mut Parts) -> Answer<()> {
        if matches!(self.body, Body::Usage) && container.config.health_check().is_some() {
            let health = supervisor.health(&self.id);
            parts.push_back(Part::Html(view::health(container, &health, now_ms()).map_err(unrendered)?));
        }
        Ok(())
    }

    /// The next lines of the log. Never ready while it is not followed. Cancel safe, as [`LogFollow::next`] is.
    pub(super) async fn lines(&mut self) -> Answer<Part> {
        loop {
            let Body::Logs { follow: follow @ Some(_), .. } = &mut self.body else { return std::future::pending().await };
            let next = match follow {
                Some(follow) => follow.next().await?,
                None => None,
            };
            let Some(lines) = next else {
                *follow = None;
                continue;
            };
            self.line_usec = lines.last().map(|line| line.at_usec).or(self.line_usec);
            let html = lines.iter().map(view::log_line).collect::<Result<String, _>>().map_err(unrendered)?;
            return Ok(Part::Html(html));
        }
    }
}

fn head(container: &Container) -> Answer<Part> {
    view::header(container, now_ms()).map(Part::Html).map_err(unrendered)
}

async fn usage(supervisor: &Supervisor, container: &Container, body: &Body) -> Answer<Part> {
    let usage = match container.state.is_alive() {
        true => Some(supervisor.usage(&container.id).await?),
        false => None,
    };
    figures(container, usage.as_ref(), body)
}

async fn mounts(supervisor: &Supervisor, id: &ContainerId) -> Answer<Part> {
    view::mounts(&supervisor.mounts(id).await?).map(Part::Html).map_err(unrendered)
}

fn figures(container: &Container, usage: Option<&Usage>, body: &Body) -> Answer<Part> {
    let html = match body {
        Body::Limits => view::limits_now(container, usage),
        Body::Usage | Body::Logs { .. } | Body::Events | Body::Mounts => view::usage(container, usage),
    };
    html.map(Part::Html).map_err(unrendered)
}

/// The log from the line after the newest that was sent.
async fn follow_on(
    supervisor: &Supervisor,
    container: &Container,
    (filter, line_usec): (view::Filter, Option<i64>),
) -> Answer<Option<Box<LogFollow>>> {
    if !container.state.is_alive() {
        return Ok(None);
    }
    let query = LogQuery { since_usec: line_usec.map(|at_usec| at_usec + 1), tail: None, stream: filter.stream };
    Ok(Some(Box::new(supervisor.follow_logs(&container.id, query).await?)))
}
