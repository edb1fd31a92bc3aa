//! How a file opens, and how things are named and called.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::Finding;
use super::source::Source;

/// Most parameters of a function, without `self`.
const PARAMETERS_MAX: usize = 5;

/// Names that say nothing of what a module or type is.
const EMPTY_WORDS: [&str; 9] = ["util", "utils", "common", "helper", "helpers", "misc", "Manager", "Helper", "Util"];

/// Opening words, names and parameters of one file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut rules = Rules { path: &source.path, findings: Vec::new() };
    if !source.text.trim_start().starts_with("//!") {
        rules.find(1, "a file opens with what it is, what it must never know, and where to start reading (`//!`)");
    }
    let stem = source.path.rsplit('/').next().and_then(|name| name.strip_suffix(".rs")).unwrap_or_default();
    rules.check_name(0, stem);
    rules.visit_file(&source.syntax);
    rules.findings
}

struct Rules<'a> {
    path: &'a str,
    findings: Vec<Finding>,
}

impl Rules<'_> {
    fn find(&mut self, line: usize, message: impl Into<String>) {
        self.findings.push(Finding::new(self.path, line, message));
    }

    fn check_name(&mut self, line: usize, name: &str) {
        if EMPTY_WORDS.iter().any(|word| name == *word || (word.starts_with(char::is_uppercase) && name.ends_with(word))) {
            self.find(line, format!("{name:?} says nothing of what it is"));
        }
    }

    fn check_signature(&mut self, signature: &syn::Signature) {
        let line = signature.ident.span().start().line;
        let name = signature.ident.to_string();
        if name.starts_with("get_") {
            self.find(line, format!("{name}: a function is a verb that says more than get, or the noun alone"));
        }
        let parameters =
            || signature.inputs.iter().filter_map(|input| if let syn::FnArg::Typed(typed) = input { Some(typed) } else { None });
        if parameters().count() > PARAMETERS_MAX {
            self.find(line, format!("{name} has {} parameters; at most {PARAMETERS_MAX}", parameters().count()));
        }
        for parameter in parameters() {
            if matches!(&*parameter.ty, syn::Type::Path(path) if path.path.is_ident("bool")) {
                let line = parameter.span().start().line;
                self.find(line, format!("{name} has a bool parameter: an enum of two says at the call which is meant"));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Rules<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.check_signature(&item.sig);
        visit::visit_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        // A trait's implementation has the signatures that the trait demands.
        if item.trait_.is_none() {
            let methods = item.items.iter().filter_map(|item| if let syn::ImplItem::Fn(method) = item { Some(method) } else { None });
            methods.for_each(|method| self.check_signature(&method.sig));
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.check_name(item.ident.span().start().line, &item.ident.to_string());
        visit::visit_item_mod(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.check_name(item.ident.span().start().line, &item.ident.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let source = Source::parse(path, text).expect("it parses");
        check(&source).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_file_without_opening_words_is_found() {
        assert_eq!(lines("a/src/lib.rs", "fn f() {}\n"), [1]);
        assert!(lines("a/src/lib.rs", "//! What it is.\nfn f() {}\n").is_empty());
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        assert_eq!(lines("a/src/util.rs", "//! .\nmod helpers {}\nstruct TaskManager;\nfn get_it() {}\n"), [0, 2, 3, 4]);
    }

    #[test]
    fn too_many_parameters_and_bools_are_found_except_where_a_trait_demands_them() {
        let own = "//! .\nfn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {}\nimpl T { fn g(&self, on: bool) {} }\n";
        assert_eq!(lines("a/src/lib.rs", own), [2, 3]);
        assert!(lines("a/src/lib.rs", "//! .\nimpl Visit for T { fn set(&mut self, on: bool) {} }\n").is_empty());
    }
}
