//! What files a program can reach at all, whoever it is and whatever the files' modes say: Landlock's rules, put in force right
//! before the program begins. What is not named is out of reach.

use std::collections::BTreeSet;

use belljar_model::Invalid;
use serde::{Deserialize, Serialize};

/// Most rules of one container; each is a descriptor for a moment.
pub const RULES_MAX: usize = 1024;

/// All that a program can reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Landlock {
    /// Files and folders.
    pub paths: Vec<PathRule>,
    /// TCP ports that it may listen at; `None` is any.
    pub bind_tcp: Option<BTreeSet<u16>>,
    /// TCP ports that it may connect to; `None` is any.
    pub connect_tcp: Option<BTreeSet<u16>>,
    /// What it cannot reach outside of what it starts itself.
    pub confined: BTreeSet<Confined>,
}

/// What may be done with a file, or with all that is below a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathRule {
    /// An absolute path of the container.
    pub path: String,
    /// What.
    pub access: BTreeSet<FileAccess>,
}

/// One thing that is done with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileAccess {
    /// Reading files, listing folders.
    Read,
    /// Changing, making, renaming and removing them, controlling devices.
    Write,
    /// Running them.
    Execute,
}

/// What is reached by other ways than files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confined {
    /// Unix sockets without a path.
    AbstractSockets,
    /// Signals.
    Signals,
}

impl Landlock {
    /// Refuses, by its field, what cannot be a rule.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.paths.len() > RULES_MAX {
            return Err(Invalid::new("landlock.paths", format!("has more than {RULES_MAX} rules")));
        }
        for (index, rule) in self.paths.iter().enumerate() {
            let field = |name: &str| format!("landlock.paths[{index}].{name}");
            if !rule.path.starts_with('/') || rule.path.contains('\0') {
                return Err(Invalid::new(field("path"), "must be an absolute path of the container"));
            }
            if rule.access.is_empty() {
                return Err(Invalid::new(field("access"), "must name read, write or execute: what is not named is out of reach anyway"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_can_mean_nothing_are_refused_by_their_field() {
        let rules = |text: &str| serde_json::from_str::<Landlock>(text).unwrap().check().map_err(|invalid| invalid.field);
        assert_eq!(rules(r#"{"paths":[{"path":"/","access":["read","execute"]}],"confined":["signals"]}"#), Ok(()));
        assert_eq!(rules(r#"{"paths":[{"path":"etc","access":["read"]}]}"#), Err("landlock.paths[0].path".into()));
        assert_eq!(rules(r#"{"paths":[{"path":"/etc","access":[]}]}"#), Err("landlock.paths[0].access".into()));
    }
}
