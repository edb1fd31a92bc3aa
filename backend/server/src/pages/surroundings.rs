//! What stands around a page: the machine's name, how the person came in, and what the last request did.
//!
//! The notice travels in a cookie from the 303 to the next page, which takes it away. It carries a word and a name, never
//! a sentence, so that nobody can put words into our mouth.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use belljar_frontend::{Access, Frame, Notice, Template, Tone};

use crate::access::{Who, cookie};
use crate::app::App;
use crate::fault::{Answer, Fault};
use crate::now_ms;

/// The cookie of the notice.
const NOTICE_COOKIE: &str = "belljar_notice";

/// What a form did: what the next page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Created,
    Started,
    Stopped,
    Killed,
    Paused,
    Resumed,
    Restarted,
    /// Other limits, while it is alive.
    Changed,
    /// Other limits, while it rests.
    ChangedForStart,
    /// Nothing had to be done.
    AlreadySo,
    Deleted,
    Undone,
    Reset,
    Uploaded,
    ImageImported,
    ImageDeleted,
    VolumeCreated,
    VolumeDeleted,
    ImageTagged,
    PullBegun,
    PullCancelled,
    PullDismissed,
    ImagesPruned,
    VolumesPruned,
    TokenDeleted,
    LoggedIn,
    LoggedOut,
    PasswordChanged,
}

impl Deed {
    const ALL: [Deed; 28] = [
        Deed::Created,
        Deed::Started,
        Deed::Stopped,
        Deed::Killed,
        Deed::Paused,
        Deed::Resumed,
        Deed::Restarted,
        Deed::Changed,
        Deed::ChangedForStart,
        Deed::AlreadySo,
        Deed::Deleted,
        Deed::Undone,
        Deed::Reset,
        Deed::Uploaded,
        Deed::ImageImported,
        Deed::ImageDeleted,
        Deed::VolumeCreated,
        Deed::VolumeDeleted,
        Deed::ImageTagged,
        Deed::PullBegun,
        Deed::PullCancelled,
        Deed::PullDismissed,
        Deed::ImagesPruned,
        Deed::VolumesPruned,
        Deed::TokenDeleted,
        Deed::LoggedIn,
        Deed::LoggedOut,
        Deed::PasswordChanged,
    ];

    /// The word in the cookie, and the sentence after the name.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Deed::Created => ("created", "was created"),
            Deed::Started => ("started", "was started"),
            Deed::Stopped => ("stopped", "was stopped"),
            Deed::Killed => ("killed", "was killed"),
            Deed::Paused => ("paused", "was paused"),
            Deed::Resumed => ("resumed", "was resumed"),
            Deed::Restarted => ("restarted", "was restarted"),
            Deed::Changed => ("changed", "was changed, and the kernel keeps to it from now on"),
            Deed::ChangedForStart => ("changed-for-start", "was changed: that counts from its next start"),
            Deed::AlreadySo => ("already", "was so already: nothing had to be done"),
            Deed::Deleted => ("deleted", "was deleted, with everything of it"),
            Deed::Undone => ("undone", "has a path back as its image says"),
            Deed::Reset => ("reset", "was reset to its image: its own layer is empty"),
            Deed::Uploaded => ("uploaded", "has a new file"),
            Deed::ImageImported => ("imported", "was imported"),
            Deed::ImageDeleted => ("image-deleted", "was deleted"),
            Deed::VolumeCreated => ("volume-created", "was made"),
            Deed::VolumeDeleted => ("volume-deleted", "was deleted, with everything in it"),
            Deed::ImageTagged => ("tagged", "is a name of the image now"),
            Deed::PullBegun => ("pull-begun", "is on its way"),
            Deed::PullCancelled => ("pull-cancelled", "is not pulled any more, and nothing of it is left"),
            Deed::PullDismissed => ("pull-dismissed", "was not pulled: the events keep why"),
            Deed::ImagesPruned => ("pruned", "of images were freed"),
            Deed::VolumesPruned => ("volumes-pruned", "of volumes were freed"),
            Deed::TokenDeleted => ("token-deleted", "was deleted; what used it is locked out"),
            Deed::LoggedIn => ("logged-in", "takes this login"),
            Deed::LoggedOut => ("logged-out", "is pulled from without a login now"),
            Deed::PasswordChanged => ("password", "was changed; every other browser is signed out"),
        }
    }
}

/// What every page is told about the moment and the person.
pub(crate) struct Surroundings {
    hostname: String,
    access: Access,
    notice: Option<String>,
    now_ms: i64,
}

impl FromRequestParts<Arc<App>> for Surroundings {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Self::Rejection> {
        let who = parts.extensions.get::<Who>().unwrap_or(&Who::Nobody);
        Ok(Self { notice: notice_of(&parts.headers), ..Self::of(app, who) })
    }
}

impl Surroundings {
    /// For this person, with nothing to say.
    pub(super) fn of(app: &App, who: &Who) -> Self {
        let access = match who {
            Who::Session(_) => Access::Session,
            Who::Socket | Who::Token(_) => Access::Trusted,
            Who::Nobody => Access::Nobody,
        };
        // A stranger at the login is not told the machine's name.
        let hostname = if access == Access::Nobody { String::new() } else { app.supervisor.hostname().to_owned() };
        Self { hostname, access, notice: None, now_ms: now_ms() }
    }

    /// For a view.
    pub(super) fn frame(&self) -> Frame<'_> {
        let notice = self.notice.as_deref().map(|text| Notice { tone: Tone::Good, text });
        Frame { hostname: &self.hostname, access: self.access, notice, now_ms: self.now_ms }
    }

    /// The view as an answer.
    pub(super) fn page(&self, view: &impl Template) -> Answer<Response> {
        self.page_with(StatusCode::OK, view)
    }

    /// The view as an answer with this status.
    pub(super) fn page_with(&self, status: StatusCode, view: &impl Template) -> Answer<Response> {
        let html = view.render().map_err(|error| Fault::internal(&error))?;
        let mut response = (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response();
        if self.notice.is_some() {
            let said = HeaderValue::from_static("belljar_notice=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
            response.headers_mut().append(header::SET_COOKIE, said);
        }
        Ok(response)
    }
}

fn notice_of(headers: &HeaderMap) -> Option<String> {
    let (word, subject) = cookie(headers, NOTICE_COOKIE)?.split_once(':')?;
    let deed = Deed::ALL.into_iter().find(|deed| deed.words().0 == word)?;
    Some(format!("{subject} {}", deed.words().1))
}

/// To the page at `location`, which says that `deed` was done to `subject`.
pub(super) fn done(deed: Deed, subject: &str, location: &str) -> Response {
    let mut response = Redirect::to(location).into_response();
    let cookie = format!("{NOTICE_COOKIE}={}:{subject}; Path=/; HttpOnly; SameSite=Lax; Max-Age=60", deed.words().0);
    // Names of containers, images (`registry.example:5000/me/web:1@sha256:…`) and volumes always fit; a token's name may not, and is
    // then not said. What ends a value of a cookie (RFC 6265: `;`, `,`, quotes) never passes.
    let is_plain = subject.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-:/@+[] ".contains(&byte));
    if let Some(cookie) = HeaderValue::try_from(cookie).ok().filter(|_| is_plain) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, cookie.parse().expect("a header"))])
    }

    #[test]
    fn what_was_done_is_said_on_the_next_page() {
        for deed in Deed::ALL {
            let response = done(deed, "web", "/containers");
            let cookie = response.headers()[header::SET_COOKIE].to_str().expect("text").to_owned();
            let notice = notice_of(&headers(cookie.split(';').next().expect("a pair")));
            assert_eq!(notice, Some(format!("web {}", deed.words().1)));
        }
        for name in ["web:1.27", "[::1]:5000/me/a-b_c:x", "registry.example/web@sha256:abc"] {
            let response = done(Deed::PullBegun, name, "/images");
            let cookie = response.headers()[header::SET_COOKIE].to_str().expect("text").to_owned();
            let notice = notice_of(&headers(cookie.split(';').next().expect("a pair")));
            assert_eq!(notice, Some(format!("{name} is on its way")));
        }
    }

    #[test]
    fn nobody_can_put_a_sentence_of_his_own_on_a_page() {
        assert_eq!(notice_of(&headers("belljar_notice=call this number:now")), None);
        assert!(!done(Deed::TokenDeleted, "a;b", "/settings").headers().contains_key(header::SET_COOKIE));
    }
}
