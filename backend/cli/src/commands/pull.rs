//! `pull`: how far it is, on a terminal a bar for each layer, else a line for each change.
//!
//! The pull belongs to whoever watches it: Ctrl-C ends this program, and with it the pull, unless somebody else watches too.

use std::collections::BTreeMap;

use belljar_api::Image;
use belljar_api::image::PullRequest;
use belljar_model::pull::{PullLayer, PullLayerState, PullState};
use belljar_model::{Pull, PullPolicy, size};

use super::{DONE, Outcome, Session};
use crate::arguments::images::PullArguments;
use crate::client::escape;
use crate::failure::Failure;
use crate::output::{complain, harmless};

/// Columns of a bar.
const BAR_COLUMNS: u64 = 30;
/// Digits of a layer's digest that are shown, as Docker does.
const DIGEST_CHARS: usize = 12;

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// To standard output: the command is about it.
    Out,
    /// To standard error: something else is.
    Aside,
    /// Nowhere.
    Nowhere,
}

/// `pull`: prints the name under which the image is here.
pub(super) async fn pull(session: &mut Session, arguments: PullArguments) -> Outcome {
    let PullArguments { platform, quiet, image } = arguments;
    let shown = if quiet { Shown::Nowhere } else { Shown::Out };
    let name = fetch(session, PullRequest { image, platform }, shown).await?;
    session.paper.line(&harmless(&name))?;
    Ok(DONE)
}

/// Pulls what a container is to be made of, where `policy` says so and it is not here.
pub(super) async fn for_container(session: &mut Session, image: &str, policy: PullPolicy) -> Result<(), Failure> {
    let is_host = image == belljar_model::ImageName::HOST;
    let is_here = match session.client.fetch::<serde_json::Value>(&format!("/images/{}", escape(image))).await {
        Ok(_) => true,
        Err(Failure::Refused(problem)) if problem.status == 404 => false,
        Err(failure) => return Err(failure),
    };
    if is_host || policy == PullPolicy::Never || (is_here && policy == PullPolicy::Missing) {
        return Ok(());
    }
    if !is_here {
        complain(&harmless(&format!("{image} is not here: pulling it")));
    }
    fetch(session, PullRequest { image: image.to_owned(), platform: None }, Shown::Aside).await.map(drop)
}

/// Pulls, and shows how far it is; the name of the image.
async fn fetch(session: &mut Session, request: PullRequest, shown: Shown) -> Result<String, Failure> {
    let mut pictures = session.client.send_for_lines("/images/pull", &request).await?;
    let mut view = View::new(match shown {
        Shown::Nowhere => Style::Silent,
        _ if std::io::IsTerminal::is_terminal(&std::io::stderr()) => Style::Bars,
        _ => Style::Lines,
    });
    let mut last = None;
    while let Some(pull) = pictures.next_document::<Pull>().await? {
        match (&view.style, shown) {
            (Style::Lines, Shown::Out) => {
                for line in view.lines(&pull) {
                    session.paper.line(&line)?;
                }
                session.paper.flush()?;
            }
            _ => view.show(&pull),
        }
        last = Some(pull);
    }
    match last.map(|pull| (pull.name, pull.state)) {
        Some((name, PullState::Done { .. })) => Ok(name.into()),
        Some((_, PullState::Failed { problem })) => Err(Failure::Pull { problem }),
        _ => Err(Failure::Pull { problem: "the server ended before the pull did".to_owned() }),
    }
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Bars,
    Lines,
    Silent,
}

/// What was shown until now.
struct View {
    style: Style,
    /// Lines of bars on the terminal, which the next picture takes the place of.
    drawn: usize,
    /// What was said last of each layer, by its place.
    said: BTreeMap<usize, PullLayerState>,
    state: Option<String>,
}

impl View {
    fn new(style: Style) -> Self {
        Self { style, drawn: 0, said: BTreeMap::new(), state: None }
    }

    fn show(&mut self, pull: &Pull) {
        use std::io::Write as _;
        let text = match self.style {
            Style::Silent => return,
            Style::Lines => self.lines(pull).into_iter().map(|line| line + "\n").collect(),
            Style::Bars => self.bars(pull),
        };
        // Progress is no answer: where it cannot be shown, the pull goes on.
        drop(std::io::stderr().write_all(text.as_bytes()));
    }

    /// A line for each thing that is otherwise than it was.
    fn lines(&mut self, pull: &Pull) -> Vec<String> {
        let mut lines = Vec::new();
        let state = harmless(&words(&pull.state));
        if self.state.as_ref() != Some(&state) {
            lines.push(format!("{}: {state}", harmless(pull.name.as_str())));
            self.state = Some(state);
        }
        for (index, layer) in pull.layers.iter().enumerate() {
            let before = self.said.insert(index, layer.state);
            if before != Some(layer.state) && layer.state != PullLayerState::Waiting {
                lines.push(format!("{}: {} ({})", short(layer), layer.state.as_str(), size::display(layer.total_bytes)));
            }
        }
        lines
    }

    /// The whole picture, over the one before (ECMA-48: cursor up, erase below).
    fn bars(&mut self, pull: &Pull) -> String {
        let mut text = if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
        let lines: Vec<String> = std::iter::once(format!("{}: {}", harmless(pull.name.as_str()), harmless(&words(&pull.state))))
            .chain(pull.layers.iter().map(bar))
            .collect();
        self.drawn = lines.len();
        for line in lines {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

fn words(state: &PullState) -> String {
    match state {
        PullState::Resolving => "asking the registry".to_owned(),
        PullState::Waiting { because, .. } => format!("waiting: {because}"),
        PullState::Fetching => "pulling".to_owned(),
        PullState::Done { manifest_digest } => format!("done, {manifest_digest}"),
        PullState::Failed { .. } => "failed".to_owned(),
    }
}

fn short(layer: &PullLayer) -> String {
    let digits = layer.digest.strip_prefix("sha256:").unwrap_or(&layer.digest);
    harmless(&digits.chars().take(DIGEST_CHARS).collect::<String>())
}

fn bar(layer: &PullLayer) -> String {
    let done = match layer.state {
        PullLayerState::Done | PullLayerState::Present => BAR_COLUMNS,
        _ => BAR_COLUMNS.saturating_mul(layer.received_bytes.min(layer.total_bytes)).checked_div(layer.total_bytes).unwrap_or(0),
    };
    let filled = "=".repeat(usize::try_from(done).unwrap_or(0));
    let what = match layer.state {
        PullLayerState::Fetching => format!("{} of {}", size::display(layer.received_bytes), size::display(layer.total_bytes)),
        state => format!("{} ({})", state.as_str(), size::display(layer.total_bytes)),
    };
    format!("  {} [{filled:<30}] {what}", short(layer))
}

/// A name to show for an image.
pub(super) fn called(image: &Image) -> String {
    harmless(&image.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(received_bytes: u64, state: PullLayerState) -> PullLayer {
        PullLayer { digest: format!("sha256:{}", "ab".repeat(32)), total_bytes: 300, received_bytes, state }
    }

    fn pull(layers: Vec<PullLayer>) -> Pull {
        Pull { name: "nginx".parse().expect("a name"), state: PullState::Fetching, layers, began_at_ms: 0 }
    }

    #[test]
    fn a_pipe_gets_one_line_for_each_change_and_none_for_numbers() {
        let mut view = View::new(Style::Lines);
        let first = view.lines(&pull(vec![layer(0, PullLayerState::Fetching), layer(0, PullLayerState::Waiting)]));
        assert_eq!(first, ["nginx:latest: pulling", "abababababab: fetching (300 B)"]);
        assert!(view.lines(&pull(vec![layer(200, PullLayerState::Fetching), layer(0, PullLayerState::Waiting)])).is_empty());
        let done = view.lines(&pull(vec![layer(300, PullLayerState::Done), layer(0, PullLayerState::Present)]));
        assert_eq!(done, ["abababababab: done (300 B)", "abababababab: present (300 B)"]);
    }

    #[test]
    fn a_terminal_gets_bars_that_take_the_place_of_those_before() {
        let mut view = View::new(Style::Bars);
        let first = view.bars(&pull(vec![layer(150, PullLayerState::Fetching)]));
        assert!(!first.contains('\x1b') && first.contains(&format!("[{}{}]", "=".repeat(15), " ".repeat(15))), "{first}");
        let second = view.bars(&pull(vec![layer(300, PullLayerState::Done)]));
        assert!(second.starts_with("\x1b[2A\x1b[J") && second.contains(&"=".repeat(30)), "{second:?}");
    }

    #[test]
    fn a_registry_that_lies_about_its_size_breaks_no_bar() {
        for layer in [layer(u64::MAX, PullLayerState::Fetching), PullLayer { total_bytes: 0, ..layer(5, PullLayerState::Fetching) }] {
            assert!(bar(&layer).len() < 200);
        }
    }
}
