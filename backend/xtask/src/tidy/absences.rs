//! What must not stand somewhere, found in the tokens of a file rather than in its letters, so that comments and
//! strings may speak of it.

use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::Finding;
use super::source::Source;
use crate::repository::{self, ReadError};

/// A word, the only crates whose code may hold it (or those that may not), and why.
struct Absence {
    word: &'static str,
    place: Place,
    why: &'static str,
}

enum Place {
    Only(&'static [&'static str]),
    NotIn(&'static [&'static str]),
}

const SYNCHRONOUS: &[&str] = &["backend/model", "backend/linux", "backend/runtime", "backend/monitor", "backend/api", "frontend"];

const ABSENCES: [Absence; 6] = [
    Absence { word: "unsafe", place: Place::Only(&["backend/linux"]), why: "what the compiler cannot check is made safe in one crate" },
    Absence { word: "unsafe_code", place: Place::Only(&["backend/linux"]), why: "only one crate may lift the lint" },
    Absence { word: "tokio", place: Place::NotIn(SYNCHRONOUS), why: "this crate runs without an asynchronous runtime" },
    Absence { word: "axum", place: Place::Only(&["backend/server"]), why: "one crate knows HTTP" },
    Absence { word: "sqlx", place: Place::Only(&["backend/store"]), why: "one crate knows SQL" },
    Absence { word: "askama", place: Place::Only(&["frontend"]), why: "one crate knows HTML" },
];

/// How a statement of SQL begins, and what else it then holds.
const SQL: [(&str, &str); 8] = [
    ("select", " from "),
    ("insert into", ""),
    ("update", " set "),
    ("delete from", ""),
    ("create table", ""),
    ("create index", ""),
    ("drop table", ""),
    ("pragma", ""),
];

/// The only crate with SQL.
const SQL_CRATE: &str = "backend/store";
/// Where tests speak to databases that run in containers, which are not Belljar's.
const OTHERS_SQL: &str = "backend/cli/tests/real/";

/// Words, SQL, and failures that are both logged and returned, of one file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut tokens = Tokens { source, findings: Vec::new() };
    match source.text.parse::<TokenStream>() {
        Ok(stream) => tokens.walk(stream),
        Err(error) => tokens.find(error.span().start().line, "cannot be read as tokens"),
    }
    let mut twice = Twice { path: &source.path, findings: tokens.findings };
    twice.visit_file(&source.syntax);
    twice.findings
}

struct Tokens<'a> {
    source: &'a Source,
    findings: Vec<Finding>,
}

impl Tokens<'_> {
    fn find(&mut self, line: usize, message: impl Into<String>) {
        self.findings.push(Finding::new(&self.source.path, line, message));
    }

    fn walk(&mut self, stream: TokenStream) {
        for token in stream {
            match token {
                TokenTree::Group(group) => self.walk(group.stream()),
                TokenTree::Ident(word) => self.check_word(&word.to_string(), word.span().start().line),
                TokenTree::Literal(literal) => self.check_literal(&literal.to_string(), literal.span().start().line),
                TokenTree::Punct(_) => {}
            }
        }
    }

    fn check_word(&mut self, word: &str, line: usize) {
        let own = self.source.crate_folder();
        for absence in ABSENCES.iter().filter(|absence| absence.word == word) {
            let allowed = match absence.place {
                Place::Only(crates) => crates.contains(&own),
                Place::NotIn(crates) => !crates.contains(&own),
            };
            if !allowed {
                self.find(line, format!("`{word}` in {own}: {}", absence.why));
            }
        }
    }

    fn check_literal(&mut self, literal: &str, line: usize) {
        let text = literal.trim_start_matches(['r', 'b', 'c', '#']).trim_start_matches('"').trim_start().to_ascii_lowercase();
        let is_sql = SQL
            .iter()
            .any(|(start, then)| text.strip_prefix(start).is_some_and(|rest| rest.starts_with([' ', '\n']) && text.contains(then)));
        if is_sql && self.source.crate_folder() != SQL_CRATE && !self.source.path.starts_with(OTHERS_SQL) {
            self.find(line, format!("SQL in {}: only {SQL_CRATE} speaks to the database", self.source.crate_folder()));
        }
    }
}

/// Finds a log line that is followed at once by the return of an error: the same failure would be told twice.
struct Twice<'a> {
    path: &'a str,
    findings: Vec<Finding>,
}

impl<'ast> Visit<'ast> for Twice<'_> {
    fn visit_block(&mut self, block: &'ast syn::Block) {
        for pair in block.stmts.windows(2) {
            if let (Some(line), true) = (logged(&pair[0]), returns_error(&pair[1])) {
                self.findings.push(Finding::new(self.path, line, "logged and returned: a failure is logged once, where it is handled"));
            }
        }
        visit::visit_block(self, block);
    }
}

/// The line of a statement that logs a failure.
fn logged(statement: &syn::Stmt) -> Option<usize> {
    let call = match statement {
        syn::Stmt::Macro(statement) => &statement.mac,
        syn::Stmt::Expr(syn::Expr::Macro(expression), _) => &expression.mac,
        _ => return None,
    };
    let word = &call.path.segments.last()?.ident;
    (word == "error" || word == "warn").then(|| word.span().start().line)
}

fn returns_error(statement: &syn::Stmt) -> bool {
    let syn::Stmt::Expr(expression, _) = statement else { return false };
    let value = match expression {
        syn::Expr::Return(returned) => returned.expr.as_deref(),
        other => Some(other),
    };
    matches!(value, Some(syn::Expr::Call(call)) if matches!(&*call.func, syn::Expr::Path(path) if path.path.is_ident("Err")))
}

/// Words of unfinished work, in any written text of the repository at `root`.
pub(crate) fn unfinished_work(root: &Path) -> Result<Vec<Finding>, ReadError> {
    let mut findings = Vec::new();
    for path in repository::files(root)? {
        let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let is_text = TEXT.iter().any(|extension| path.extension().is_some_and(|own| own == *extension));
        if is_text {
            findings.extend(unfinished_lines(&relative, &repository::read(&path)?));
        }
    }
    Ok(findings)
}

const TEXT: [&str; 9] = ["rs", "toml", "html", "css", "js", "mjs", "sql", "md", "yml"];

/// In two halves, so that this file does not find itself.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

fn unfinished_lines(path: &str, text: &str) -> Vec<Finding> {
    let is_word = |line: &str| line.split(|letter: char| !letter.is_alphanumeric()).any(|word| UNFINISHED.contains(&word));
    let lines = text.lines().enumerate().filter(|(_, line)| is_word(line));
    lines.map(|(index, _)| Finding::new(path, index + 1, "unfinished work is an issue, not a comment")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let source = Source::parse(path, text).expect("it parses");
        check(&source).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn unsafe_stands_in_one_crate_only() {
        let text = "fn f() {\n    unsafe { g() }\n}\n";
        assert_eq!(lines("backend/runtime/src/lib.rs", text), [2]);
        assert!(lines("backend/linux/src/lib.rs", text).is_empty());
        assert_eq!(lines("backend/runtime/src/lib.rs", "#![allow(unsafe_code)]\n"), [1]);
    }

    #[test]
    fn tokio_axum_and_sqlx_stand_where_they_belong() {
        for (path, text) in [
            ("backend/monitor/src/lib.rs", "use tokio::net;\n"),
            ("backend/supervisor/src/lib.rs", "use axum::Router;\n"),
            ("backend/server/src/lib.rs", "use sqlx::query;\n"),
            ("backend/server/src/lib.rs", "use askama::Template;\n"),
        ] {
            assert_eq!(lines(path, text), [1], "{text}");
        }
        assert!(lines("backend/server/src/lib.rs", "// no sqlx here\nuse {axum::Router, tokio::net};\n").is_empty());
    }

    #[test]
    fn sql_stands_in_the_store_only() {
        let text = "const A: &str = \"SELECT id\n FROM containers\";\nconst B: &str = r#\"delete from events\"#;\n";
        assert_eq!(lines("backend/supervisor/src/lib.rs", text), [1, 3]);
        assert!(lines("backend/store/src/lib.rs", text).is_empty());
        assert!(lines("backend/cli/tests/real/programs.rs", text).is_empty(), "a PostgreSQL in a container is another database");
        assert_eq!(lines("backend/cli/tests/whole/past.rs", text), [1, 3]);
        assert!(lines("backend/server/src/lib.rs", "const A: &str = \"select a container\";\n").is_empty());
    }

    #[test]
    fn a_failure_that_is_logged_and_returned_is_found() {
        let twice =
            "fn f() -> Result<(), E> {\n    if x {\n        tracing::warn!(\"no\");\n        return Err(E);\n    }\n    Ok(())\n}\n";
        assert_eq!(lines("backend/server/src/lib.rs", twice), [3]);
        assert!(lines("backend/server/src/lib.rs", "fn f() -> Result<(), E> {\n    warn!(\"no\");\n    Ok(())\n}\n").is_empty());
    }

    #[test]
    fn unfinished_work_is_found_as_a_word() {
        let text = format!("fine\n// {}: later\n{}S\n", UNFINISHED[0], UNFINISHED[0]);
        let found: Vec<usize> = unfinished_lines("a.rs", &text).into_iter().map(|finding| finding.line).collect();
        assert_eq!(found, [2]);
    }
}
