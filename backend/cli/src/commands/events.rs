//! `events`: what happened, oldest first as in a diary, and what happens from now on.

use belljar_api::{Event, query, time};
use belljar_model::EventKind;

use super::{DONE, Outcome, Session};
use crate::arguments::EventsArguments;
use crate::failure::Failure;
use crate::output::{Paint, Tone, harmless};

/// `events`.
pub(crate) async fn events(session: &mut Session, arguments: EventsArguments) -> Outcome {
    let limit = arguments.tail.clamp(1, query::EVENTS_MAX);
    let past = query::Events { container: arguments.container.clone(), limit: Some(limit), ..query::Events::default() };
    let mut events: Vec<Event> = session.client.fetch(&format!("/events?{}", query::write(&past))).await?;
    let newest = events.first().map(|event| event.id);
    events.reverse();
    if arguments.format.json && !arguments.follow {
        session.paper.json(&events)?;
        return Ok(DONE);
    }
    for event in &events {
        print(session, event, &arguments)?;
    }
    if !arguments.follow {
        return Ok(DONE);
    }
    session.paper.flush()?;
    // From where the list ended, so that nothing falls between the two requests.
    let future =
        query::Events { follow: query::Switch::On, container: arguments.container.clone(), after: newest, ..query::Events::default() };
    let mut stream = session.client.stream(&format!("/events?{}", query::write(&future))).await?;
    while let Some(event) = stream.next_document::<Event>().await? {
        print(session, &event, &arguments)?;
        session.paper.flush()?;
    }
    Ok(DONE)
}

fn print(session: &mut Session, event: &Event, arguments: &EventsArguments) -> Result<(), Failure> {
    if arguments.format.json {
        let text = serde_json::to_string(event).map_err(|source| Failure::Output { source: source.into() })?;
        return session.paper.line(&text);
    }
    let text = line(event, session.paper.paint());
    session.paper.line(&text)
}

fn line(event: &Event, paint: Paint) -> String {
    let at = Tone::Quiet.on(&time::from_millis(event.at_ms), paint);
    let kind = tone(event.kind).on(event.kind.as_str(), paint);
    format!("{at}  {}  {kind}  {}", harmless(&event.subject), harmless(&event.message))
}

fn tone(kind: EventKind) -> Tone {
    match kind {
        EventKind::Started | EventKind::Resumed | EventKind::Restarted | EventKind::Found | EventKind::Healthy => Tone::Good,
        EventKind::StartFailed | EventKind::OutOfMemory | EventKind::Lost | EventKind::Unhealthy | EventKind::ImagePullFailed => Tone::Bad,
        EventKind::Killed
        | EventKind::Paused
        | EventKind::Deleted
        | EventKind::ImageDeleted
        | EventKind::ImageUntagged
        | EventKind::VolumeDeleted
        | EventKind::VolumeFound
        | EventKind::SpaceLow
        | EventKind::LimitHit
        | EventKind::Pressure
        | EventKind::Loosened => Tone::Careful,
        EventKind::Created
        | EventKind::Exited
        | EventKind::Stopped
        | EventKind::ImageImported
        | EventKind::ImagePulled
        | EventKind::ImageTagged
        | EventKind::ImageCommitted
        | EventKind::RegistryLogin
        | EventKind::RegistryLogout
        | EventKind::VolumeCreated
        | EventKind::VolumeFilled
        | EventKind::Exec
        | EventKind::FilesChanged
        | EventKind::LimitsChanged => Tone::Normal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_its_message_holds() {
        let event = Event {
            id: 1,
            at_ms: 0,
            kind: EventKind::Exited,
            container_id: None,
            subject: "web".into(),
            message: "exited\nwith code 0".into(),
        };
        assert_eq!(line(&event, Paint::Plain), "1970-01-01T00:00:00.000Z  web  exited  exited\u{fffd}with code 0");
    }
}
