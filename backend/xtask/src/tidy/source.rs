//! The Rust files of the repository, parsed.

use std::path::{Path, PathBuf};

use crate::repository;

/// A Rust file could not be read or parsed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Read(#[from] repository::ReadError),
    #[error("cannot parse {path}")]
    Parse {
        path: PathBuf,
        #[source]
        source: syn::Error,
    },
}

/// One Rust file.
pub(crate) struct Source {
    /// Relative to the repository, with slashes.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// Its syntax.
    pub(crate) syntax: syn::File,
}

impl Source {
    /// Parses `text`, which lies at `path`.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, Error> {
        let syntax = syn::parse_file(text).map_err(|source| Error::Parse { path: path.into(), source })?;
        Ok(Self { path: path.to_owned(), text: text.to_owned(), syntax })
    }

    /// Folder of the crate that the file belongs to: `backend/model`, `frontend`.
    pub(crate) fn crate_folder(&self) -> &str {
        let end = ["/src/", "/tests/", "/examples/"].iter().find_map(|folder| self.path.find(folder));
        &self.path[..end.unwrap_or(self.path.len())]
    }

    /// The line where the tests at the end of the file begin; the number of lines where there are none; 0 where the
    /// whole file is a test.
    pub(crate) fn lines_before_tests(&self) -> usize {
        if self.path.contains("/tests/") {
            return 0;
        }
        let is_tests = |item: &&syn::ItemMod| item.attrs.iter().any(is_cfg_test);
        let modules = self.syntax.items.iter().filter_map(|item| if let syn::Item::Mod(module) = item { Some(module) } else { None });
        let tests = modules.filter(is_tests).find(|module| module.content.is_some());
        tests.map_or(self.text.lines().count(), |module| module.mod_token.span.start().line.saturating_sub(2))
    }
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
}

/// Every Rust file of the repository at `root`, in the order of their paths.
pub(crate) fn parse_all(root: &Path) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for path in repository::files(root)? {
        if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            sources.push(Source::parse(&relative, &repository::read(&path)?)?);
        }
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_knows_its_crate_and_where_its_tests_begin() {
        let text = "fn f() {}\n\n#[cfg(test)]\nmod tests {\n}\n";
        let source = Source::parse("backend/model/src/id.rs", text).expect("it parses");
        assert_eq!((source.crate_folder(), source.lines_before_tests()), ("backend/model", 2));
        let test = Source::parse("backend/cli/tests/whole/main.rs", text).expect("it parses");
        assert_eq!((test.crate_folder(), test.lines_before_tests()), ("backend/cli", 0));
        assert_eq!(Source::parse("backend/linux/examples/bare.rs", text).expect("it parses").crate_folder(), "backend/linux");
    }

    #[test]
    fn a_file_that_is_not_rust_is_named() {
        let error = Source::parse("backend/model/src/id.rs", "fn f( {").err().expect("it does not parse");
        assert_eq!(error.to_string(), "cannot parse backend/model/src/id.rs");
    }
}
