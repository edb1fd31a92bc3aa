//! From bytes to a document, or to a problem that names the field: the edge where what is hostile gets a type.

use belljar_model::objects::Objects;
use serde::de::DeserializeOwned;

use crate::problem::{Kind, Problem};

/// Most bytes of a JSON body. A command and an environment have at most 1 MiB each (`belljar_model::container`), labels
/// 2 MiB at their largest; what is longer than the three is not a request that a person wrote.
pub const JSON_BYTES_MAX: usize = 4 << 20;

/// Reads a JSON document: malformed JSON, unknown fields and wrong types are refused by name.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(Kind::Malformed, "the body is empty: a JSON object is expected"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let document = serde_path_to_error::deserialize(Objects(&mut deserializer)).map_err(|error| {
        let path = error.path().to_string();
        let detail = plain(error.inner());
        refuse(&path, &detail)
    })?;
    deserializer.end().map_err(|error| refuse(".", &plain(&error)))?;
    Ok(document)
}

/// A problem at `path`, where serde's own `.` means the document as a whole.
pub(crate) fn refuse(path: &str, detail: &str) -> Problem {
    // A missing field is told by serde at the object that lacks it; the field is what the reader looks for.
    if let Some(name) = detail.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        let field = if path == "." { name.to_owned() } else { format!("{path}.{name}") };
        return Problem::new(Kind::Malformed, format!("{field}: is required")).at_field(field);
    }
    if path == "." || path == "?" {
        return Problem::new(Kind::Malformed, detail);
    }
    Problem::new(Kind::Malformed, format!("{path}: {detail}")).at_field(path)
}

/// serde's words in people's: Rust's type names mean nothing to somebody with `curl`.
fn plain(error: &serde_json::Error) -> String {
    // ", expected u64 at line 1 column 9": the place stays, the type's name goes.
    let words = [
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected u32", "expected a whole number, 0 to 4294967295"),
        ("expected f64", "expected a number"),
        ("expected i64", "expected a whole number"),
        ("expected i32", "expected a whole number"),
        ("expected u16", "expected a whole number, 0 to 65535"),
        ("expected u8", "expected a whole number, 0 to 255"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected an object"),
    ];
    let text = words.into_iter().fold(error.to_string(), |text, (rust, plain)| text.replace(rust, plain));
    match text.split_once("expected struct ") {
        Some((before, rest)) => {
            let after = rest.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
            format!("{before}expected an object{after}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CreateRequest;

    fn problem(body: &str) -> Problem {
        parse::<CreateRequest>(body.as_bytes()).expect_err(body)
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_path() {
        let cases = [
            (r#"{"image":"host","command":["a"],"limits":{"cpus":"one"}}"#, Some("limits.cpus")),
            (r#"{"image":"host","command":["a"],"limits":{"memory_bytes":-1}}"#, Some("limits.memory_bytes")),
            (r#"{"image":"host","command":["a"],"limits":{"memory":1}}"#, Some("limits.memory")),
            (r#"{"image":"host","command":["a"],"colour":"red"}"#, Some("colour")),
            (r#"{"image":"host","command":"sleep 1d"}"#, Some("command")),
            (r#"{"image":"host","command":["a",1]}"#, Some("command[1]")),
            (r#"{"image":"host","command":["a"],"mounts":[{"type":"tmpfs","target":"/t","mode":1}]}"#, Some("mounts[0].mode")),
            (r#"{"image":"host","command":["a"],"restart":"sometimes"}"#, Some("restart")),
            (r#"{"command":["a"]}"#, Some("image")),
            ("[]", None),
            (r#"{"image":"host","command":["a"],"limits":[]}"#, Some("limits")),
            (r#"{"image":"host","command":["a"],"limits":[1048576]}"#, Some("limits")),
            ("{", None),
            ("", None),
            (r#"{"image":"host","command":["a"]} x"#, None),
        ];
        for (body, field) in cases {
            let problem = problem(body);
            assert_eq!((problem.field.as_deref(), problem.status), (field, 400), "{body}: {problem:?}");
        }
    }

    #[test]
    fn a_negative_limit_is_told_without_the_names_of_rust() {
        let detail = problem(r#"{"image":"host","command":["a"],"limits":{"memory_bytes":-1}}"#).detail;
        assert!(detail.starts_with("limits.memory_bytes: invalid value: integer `-1`, expected a whole number, 0 or more"), "{detail}");
        for (limits, words) in
            [("5", "expected an object at line 1"), (r#"{"io":5}"#, "expected a list"), (r#"{"memory_swappiness":300}"#, "0 to 255")]
        {
            let detail = problem(&format!(r#"{{"image":"host","command":["a"],"limits":{limits}}}"#)).detail;
            assert!(detail.contains(words), "{detail}");
        }
    }

    #[test]
    fn a_field_given_twice_is_refused() {
        assert!(problem(r#"{"image":"host","image":"host","command":["a"]}"#).detail.contains("duplicate field `image`"));
    }

    #[test]
    fn a_document_nested_without_end_is_refused() {
        let deep = format!(r#"{{"image":{}"#, "[".repeat(100_000));
        assert_eq!(problem(&deep).status, 400);
    }
}
