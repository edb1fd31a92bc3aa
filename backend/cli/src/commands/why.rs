//! `why`: why a container died, or is slow: sentences, each with what could be done and where it was seen.

use belljar_api::diagnosis::Finding;
use belljar_model::diagnosis::Gravity;

use super::{DONE, Outcome, Session, of};
use crate::arguments::OneContainer;
use crate::output::{Paint, Tone, harmless};

/// What is said where there is nothing to say.
const NOTHING: &str = "nothing stands out: no limit holds it up, and it waits for nothing";

/// `why`.
pub(crate) async fn why(session: &mut Session, one: OneContainer) -> Outcome {
    let findings: Vec<Finding> = session.client.fetch(&of(&one.container, "diagnosis")).await?;
    if one.format.json {
        session.paper.json(&findings)?;
        return Ok(DONE);
    }
    if findings.is_empty() {
        session.paper.line(NOTHING)?;
    }
    for finding in &findings {
        for line in lines(finding, session.paper.paint()) {
            session.paper.line(&line)?;
        }
    }
    Ok(DONE)
}

fn lines(finding: &Finding, paint: Paint) -> Vec<String> {
    let (word, tone) = match finding.gravity {
        Gravity::Error => ("error  ", Tone::Bad),
        Gravity::Warning => ("warning", Tone::Careful),
        Gravity::Note => ("note   ", Tone::Quiet),
    };
    let mut lines = vec![format!("{}  {}", tone.on(word, paint), harmless(&finding.text))];
    let below = |text: &str| format!("{:9}{}", "", Tone::Quiet.on(&harmless(text), paint));
    if !finding.advice.is_empty() {
        lines.push(below(&finding.advice));
    }
    lines.extend(finding.sources.iter().map(|source| below(source)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use belljar_model::diagnosis::FindingKind;

    #[test]
    fn a_finding_is_a_sentence_with_advice_and_sources_below() {
        let finding = Finding {
            kind: FindingKind::CpuThrottled,
            gravity: Gravity::Warning,
            text: "held back\nby its cpu limit".into(),
            advice: "raise limits.cpus above 0.5".into(),
            sources: vec!["/c/cpu.stat#nr_throttled".into()],
        };
        let expected =
            ["warning  held back\u{fffd}by its cpu limit", "         raise limits.cpus above 0.5", "         /c/cpu.stat#nr_throttled"];
        assert_eq!(lines(&finding, Paint::Plain), expected);
    }
}
