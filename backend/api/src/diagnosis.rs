//! Why a container died, or is slow, on the wire.

use belljar_model::diagnosis as model;
use belljar_model::diagnosis::{FindingKind, Gravity};
use serde::{Deserialize, Serialize};

/// One thing that a person would want to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// How bad it is.
    pub gravity: Gravity,
    /// One sentence.
    pub text: String,
    /// What could be done; empty where nothing has to be.
    pub advice: String,
    /// What it was found in: files of the kernel, or `history`.
    pub sources: Vec<String>,
}

impl From<model::Finding> for Finding {
    fn from(finding: model::Finding) -> Self {
        let model::Finding { kind, gravity, text, advice, sources } = finding;
        Self { kind, gravity, text, advice, sources }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_on_the_wire_is_words_and_reads_back() {
        let finding = Finding::from(model::Finding {
            kind: FindingKind::CpuThrottled,
            gravity: Gravity::Warning,
            text: "held back".into(),
            advice: String::new(),
            sources: vec!["/c/cpu.stat#nr_throttled".into()],
        });
        let json = serde_json::to_string(&finding).expect("JSON");
        let written =
            r#"{"kind":"cpu_throttled","gravity":"warning","text":"held back","advice":"","sources":["/c/cpu.stat#nr_throttled"]}"#;
        assert_eq!(json, written);
        assert_eq!(serde_json::from_str::<Finding>(&json).expect("readable"), finding);
    }
}
