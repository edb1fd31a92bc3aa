//! Logs: as one list, or line by line for as long as the container is alive.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use belljar_api::LogLine;
use belljar_api::query::{LINES_MAX, Logs};
use belljar_model::{Invalid, log};
use belljar_supervisor::{LogFollow, LogQuery};
use futures_util::stream::{StreamExt, unfold};

use crate::app::{App, Found, NDJSON};
use crate::extract::Query;
use crate::fault::Answer;

pub(super) async fn read(State(app): State<Arc<App>>, Found(container): Found, Query(query): Query<Logs>) -> Answer<Response> {
    let lines = asked(&query)?;
    if query.follow.is_on() {
        let follow = app.supervisor.follow_logs(&container.id, lines).await?;
        return Ok(stream(&app, follow));
    }
    let lines = app.supervisor.logs(&container.id, lines).await?;
    Ok(Json(lines.into_iter().map(LogLine::from).collect::<Vec<_>>()).into_response())
}

/// The lines that are asked for: the last [`LINES_MAX`] where no number is given.
fn asked(query: &Logs) -> Result<LogQuery, Invalid> {
    let tail = query.tail.unwrap_or(LINES_MAX);
    if tail > LINES_MAX {
        return Err(Invalid::new("tail", format!("must be at most {LINES_MAX}")));
    }
    Ok(LogQuery { since_usec: query.since_usec()?, tail: usize::try_from(tail).ok(), stream: query.stream })
}

fn stream(app: &App, follow: LogFollow) -> Response {
    let chunks = unfold(Some(follow), |follow| async move {
        let mut follow = follow?;
        match follow.next().await {
            Ok(Some(lines)) => Some((Ok(ndjson(lines)), Some(follow))),
            Ok(None) => None,
            // The head of the answer is long sent: all that is left to say is that this was not the end.
            Err(error) => {
                tracing::error!(error = %crate::fault::chain(&error), "a log could not be read on");
                Some((Err(io::Error::other(error)), None))
            }
        }
    });
    let body = Body::from_stream(chunks.take_until(app.ending.clone().cancelled_owned()));
    ([(header::CONTENT_TYPE, NDJSON)], body).into_response()
}

fn ndjson(lines: Vec<log::LogLine>) -> Bytes {
    let mut text = Vec::new();
    for line in lines {
        // Texts and numbers, into memory: nothing here can fail.
        let _ = serde_json::to_writer(&mut text, &LogLine::from(line));
        text.push(b'\n');
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_one_document_each_whatever_they_hold() {
        let line = |text: &str| log::LogLine { at_usec: 0, stream: log::Stream::Stdout, text: text.into(), partial: false };
        let text = String::from_utf8(ndjson(vec![line("a\nb"), line("\u{0}\r")]).to_vec()).expect("UTF-8");
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| serde_json::from_str::<LogLine>(line).is_ok()));
    }

    #[test]
    fn more_lines_than_an_answer_holds_are_refused() {
        let query = Logs { tail: Some(LINES_MAX + 1), ..Logs::default() };
        assert_eq!(asked(&query).map_err(|invalid| invalid.field), Err("tail".into()));
    }
}
