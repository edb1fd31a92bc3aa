//! Why it died and why it is slow, in words: what was found about a container, the worst first.

use askama::Template;
use belljar_model::Container;
use belljar_model::diagnosis::{Finding, FindingKind, Gravity};

use crate::{Error, Tone};

/// What was found about it, as the part that is sent again with every measurement.
pub fn findings(container: &Container, findings: &[Finding]) -> Result<String, Error> {
    Findings { container, findings }.render()
}

#[derive(Template)]
#[template(path = "container/findings.html")]
pub(super) struct Findings<'a> {
    pub(super) container: &'a Container,
    pub(super) findings: &'a [Finding],
}

impl<'a> Findings<'a> {
    /// Those that say more than the head: how it ended stands there already.
    fn shown(&self) -> impl Iterator<Item = &'a Finding> {
        self.findings.iter().filter(|finding| finding.kind != FindingKind::Ended || !finding.advice.is_empty())
    }
}

/// How to take a finding.
pub(crate) fn tone(gravity: &Gravity) -> Tone {
    match gravity {
        Gravity::Note => Tone::Plain,
        Gravity::Warning => Tone::Warn,
        Gravity::Error => Tone::Bad,
    }
}

/// Whether a change of limits is what is advised.
fn is_about_limits(finding: &Finding) -> bool {
    finding.kind == FindingKind::Suggestion || finding.advice.contains("limits.")
}
