//! Where our own words on a command line end: behind the image of `run` and `create`, and the container of `exec`, everything is
//! the program's, also what looks like a flag of ours (`run redis --version`), as in Docker.
//!
//! The parser of flags takes a flag for ours wherever it stands. So a `--` is put behind that word, where nobody put one. Which
//! words are flags and which are their values is asked of the parser's own tables.

use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory as _};

use super::CommandLine;

/// The commands that end with a program's words.
const WITH_PROGRAM: [&str; 3] = ["run", "create", "exec"];
/// After it, nothing is a flag.
const END: &str = "--";

/// The words, with the end of ours marked.
pub(crate) fn with_end_of_ours(mut words: Vec<OsString>) -> Vec<OsString> {
    let mut root = CommandLine::command();
    let Some(verb) = first_plain(&root, &words, 1) else { return words };
    let Some(name) = WITH_PROGRAM.into_iter().find(|name| words[verb] == *name) else { return words };
    // Only now: it hands the flags of all commands down to each.
    root.build();
    let plain = root.find_subcommand(name).and_then(|command| first_plain(command, &words, verb + 1));
    if let Some(behind) = plain.map(|at| at + 1)
        && words.get(behind).is_some_and(|next| next != END)
    {
        words.insert(behind, END.into());
    }
    words
}

/// The first word from `from` on that is neither a flag nor a flag's value; none where a `--` comes before.
fn first_plain(command: &Command, words: &[OsString], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let word = words.get(at)?.to_string_lossy();
        at += match (word.strip_prefix(END), word.strip_prefix('-')) {
            (Some(""), _) => return None,
            (Some(long), _) => 1 + usize::from(takes_next(command, long)),
            (None, Some(short)) if !short.is_empty() => 1 + usize::from(ends_with_value(command, short)),
            _ => return Some(at),
        };
    }
}

/// Whether the value of a long flag is the next word.
fn takes_next(command: &Command, long: &str) -> bool {
    let is_it = |arg: &&Arg| arg.get_long() == Some(long) || arg.get_all_aliases().unwrap_or_default().contains(&long);
    command.get_arguments().find(is_it).is_some_and(has_value)
}

/// Whether the value of the last of these short flags is the next word: the first that has one takes the rest of its own.
fn ends_with_value(command: &Command, cluster: &str) -> bool {
    let flag = |short: char| {
        let is_it = move |arg: &&Arg| arg.get_short() == Some(short) || arg.get_all_short_aliases().unwrap_or_default().contains(&short);
        command.get_arguments().find(is_it)
    };
    let mut rest = cluster.chars();
    let valued = rest.find(|short| flag(*short).is_some_and(has_value));
    valued.is_some() && rest.as_str().is_empty()
}

/// Whether it has a value in a word of its own.
fn has_value(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(line: &str) -> String {
        let words = with_end_of_ours(line.split(' ').map(OsString::from).collect());
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn behind_the_image_everything_is_the_programs() {
        for (line, expected) in [
            ("belljar run redis --version", "belljar run redis -- --version"),
            ("belljar run -d --name web -e A=1 redis -p 80 -e x", "belljar run -d --name web -e A=1 redis -- -p 80 -e x"),
            ("belljar --socket /s run -de A=1 redis -c x", "belljar --socket /s run -de A=1 redis -- -c x"),
            ("belljar run -eA=1 -v/a:/b --memory=4m redis sh -c x", "belljar run -eA=1 -v/a:/b --memory=4m redis -- sh -c x"),
            ("belljar run --socket /s redis ls", "belljar run --socket /s redis -- ls"),
            ("belljar create --init redis -it", "belljar create --init redis -- -it"),
            ("belljar exec -u 1 web env -i", "belljar exec -u 1 web -- env -i"),
            // Nothing to mark.
            ("belljar run redis", "belljar run redis"),
            ("belljar run redis -- --version", "belljar run redis -- --version"),
            ("belljar run -- redis --version", "belljar run -- redis --version"),
            ("belljar run --name web", "belljar run --name web"),
            ("belljar list --all", "belljar list --all"),
            ("belljar delete run create", "belljar delete run create"),
        ] {
            assert_eq!(ended(line), expected);
        }
    }
}
