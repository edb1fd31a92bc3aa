//! `-e` and `--env-file`, by Docker's rules: `KEY=VALUE` sets, `KEY` alone passes the caller's own variable on and is
//! nothing where the caller has none; a later one wins, and `-e` wins over every file.

use std::collections::BTreeMap;
use std::path::Path;

use belljar_model::Invalid;

/// Most bytes of an environment file: more would not fit the request.
const ENV_FILE_BYTES_MAX: u64 = 1 << 20;

/// What was asked for, and the variables that the caller has.
pub(crate) struct Environment<'a> {
    /// Paths given with `--env-file`, in order.
    pub(crate) files: &'a [std::path::PathBuf],
    /// Values given with `-e`, in order.
    pub(crate) entries: &'a [String],
    /// The caller's own environment.
    pub(crate) inherited: &'a BTreeMap<String, String>,
}

impl Environment<'_> {
    /// The container's variables. Files are read here; a wrong line is named by file and number.
    pub(crate) fn variables(&self) -> Result<BTreeMap<String, String>, Invalid> {
        let mut variables = BTreeMap::new();
        for path in self.files {
            for (number, line) in read(path)?.lines().enumerate() {
                let line = line.trim_start();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let named =
                    |invalid: Invalid| Invalid::new("--env-file", format!("{} line {}: {}", path.display(), number + 1, invalid.problem));
                self.add(&mut variables, line).map_err(named)?;
            }
        }
        for entry in self.entries {
            self.add(&mut variables, entry)?;
        }
        Ok(variables)
    }

    fn add(&self, variables: &mut BTreeMap<String, String>, entry: &str) -> Result<(), Invalid> {
        let (key, value) = match entry.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (entry, self.inherited.get(entry).cloned()),
        };
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(Invalid::new("--env", format!("{entry:?} is not KEY=VALUE")));
        }
        if let Some(value) = value {
            variables.insert(key.to_owned(), value);
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, Invalid> {
    use std::io::Read as _;
    let refuse = |source: std::io::Error| Invalid::new("--env-file", format!("cannot read {}: {source}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(refuse)?;
    file.take(ENV_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(refuse)?;
    if text.len() as u64 > ENV_FILE_BYTES_MAX {
        return Err(Invalid::new("--env-file", format!("{} has more than {ENV_FILE_BYTES_MAX} bytes", path.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(file: &str, entries: &[&str]) -> Result<BTreeMap<String, String>, Invalid> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("env");
        std::fs::write(&path, file).expect("a file in it");
        let entries: Vec<String> = entries.iter().map(|&entry| entry.to_owned()).collect();
        let inherited = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
        Environment { files: &[path], entries: &entries, inherited: &inherited }.variables()
    }

    #[test]
    fn a_later_value_wins_and_a_flag_wins_over_a_file() {
        let all = variables("# comment\n\nA=1\nA=2\nB=x=y z\n", &["B=flag", "C="]).expect("valid");
        let expected = [("A", "2"), ("B", "flag"), ("C", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(all, BTreeMap::from(expected));
    }

    #[test]
    fn a_bare_name_passes_the_callers_own_on() {
        assert_eq!(variables("", &["HOME", "NOT_SET_ANYWHERE"]), Ok(BTreeMap::from([("HOME".to_owned(), "/root".to_owned())])));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let problem = variables("A=1\nB C=2\n", &[]).map_err(|invalid| invalid.problem);
        assert!(problem.as_ref().is_err_and(|problem| problem.contains("line 2")), "{problem:?}");
        assert!(variables("", &["=x"]).is_err());
    }
}
