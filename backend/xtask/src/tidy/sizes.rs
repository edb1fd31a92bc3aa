//! How long functions are, and files before their tests. A function fits a screen, a file holds one subject.

use std::collections::BTreeMap;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::source::Source;

/// Most lines of a function, from its signature to its closing brace.
pub(crate) const FUNCTION_LINES_MAX: usize = 70;
/// Most lines of a file before its tests.
pub(crate) const FILE_LINES_MAX: usize = 500;

/// What is larger than it should be, and its lines: `path` for a file, `path::function` for a function. Functions of
/// the same name in one file count as the longest of them.
pub(crate) fn measure(sources: &[Source]) -> BTreeMap<String, usize> {
    let mut large = BTreeMap::new();
    for source in sources {
        let lines = source.lines_before_tests();
        if lines > FILE_LINES_MAX {
            large.insert(source.path.clone(), lines);
        }
        let mut functions = Functions::default();
        functions.visit_file(&source.syntax);
        for (name, lines) in functions.found.into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX) {
            let longest = large.entry(format!("{}::{name}", source.path)).or_insert(lines);
            *longest = lines.max(*longest);
        }
    }
    large
}

#[derive(Default)]
struct Functions {
    found: Vec<(String, usize)>,
}

impl Functions {
    fn note(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let lines = body.span().end().line + 1 - signature.span().start().line;
        self.found.push((signature.ident.to_string(), lines));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.note(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(text: &str) -> BTreeMap<String, usize> {
        measure(&[Source::parse("a/src/lib.rs", text).expect("it parses")])
    }

    #[test]
    fn a_function_of_a_screen_is_fine_and_one_line_more_is_not() {
        let function = |lines: usize| format!("impl T {{\nfn f() {{\n{}}}\n}}\n", "g();\n".repeat(lines - 2));
        assert!(measured(&function(FUNCTION_LINES_MAX)).is_empty());
        let large = measured(&function(FUNCTION_LINES_MAX + 1));
        assert_eq!(large.get("a/src/lib.rs::f"), Some(&(FUNCTION_LINES_MAX + 1)));
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let lines = |count: usize| "const A: u8 = 1;\n".repeat(count);
        assert_eq!(measured(&lines(FILE_LINES_MAX + 1)).get("a/src/lib.rs"), Some(&(FILE_LINES_MAX + 1)));
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(FILE_LINES_MAX), lines(50));
        assert!(measured(&tested).is_empty());
    }
}
