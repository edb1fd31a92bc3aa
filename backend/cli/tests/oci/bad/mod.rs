//! Bad bundles: a description in which everything is said, and everything that can be wrong with one value of it.
//!
//! [`rich`] has the descriptions, of which [`whole`] proves that they leave nothing out; [`Wrong`] is a way of being wrong.
//! [`bundles`] gives each to the executable, and [`silence`] says which of them it may take without a word; [`fuzz`] makes many
//! wrong at once, in this process.

mod bundles;
mod fuzz;
mod rich;
mod silence;
mod whole;

use serde_json::{Value, json};

/// One value made wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Missing,
    Null,
    Empty,
    Type,
    Negative,
    Huge,
    Absurd,
    Unknown,
    /// One more name in an object, that nobody knows.
    Extra,
}

impl Wrong {
    const ALL: [Self; 9] =
        [Self::Missing, Self::Null, Self::Empty, Self::Type, Self::Negative, Self::Huge, Self::Absurd, Self::Unknown, Self::Extra];

    /// What stands there instead; `None` where this cannot be wrong with such a value.
    fn instead_of(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Self::Missing, _) => None,
            (Self::Null, _) => Some(Value::Null),
            (Self::Empty, Value::String(_)) => Some(json!("")),
            (Self::Empty, Value::Array(_)) => Some(json!([])),
            (Self::Empty, Value::Object(_)) => Some(json!({})),
            (Self::Type, Value::String(_) | Value::Array(_)) => Some(json!({"wrong": "type"})),
            (Self::Type, Value::Number(_) | Value::Object(_)) => Some(json!("wrong type")),
            (Self::Type, Value::Bool(_)) => Some(json!(1)),
            (Self::Negative, Value::Number(_)) => Some(json!(-7)),
            (Self::Huge, Value::Number(_)) => Some(json!(u64::MAX)),
            (Self::Huge, Value::String(_)) => Some(json!("x".repeat(70_000))),
            (Self::Absurd, Value::Number(_)) => Some(json!(1e300)),
            (Self::Absurd, Value::String(_)) => Some(json!("a\u{0}b\n../../\u{1f600}")),
            (Self::Unknown, Value::String(_)) => Some(json!("no-such-thing")),
            (Self::Unknown, Value::Number(_)) => Some(json!(123_456_789)),
            (Self::Extra, Value::Object(object)) => {
                let mut object = object.clone();
                object.insert("noSuchName".to_owned(), json!({"any": ["thing", {"at": null}], "thing": 1}));
                Some(Value::Object(object))
            }
            _ => None,
        }
    }

    /// Makes the value at `path` wrong in `document`; `false` where it cannot be.
    fn apply(self, document: &mut Value, path: &str) -> bool {
        let Some(value) = document.pointer_mut(path) else { return false };
        if let Some(instead) = self.instead_of(value) {
            *value = instead;
            return true;
        }
        if self != Self::Missing {
            return false;
        }
        let (parent, name) = path.rsplit_once('/').expect("a pointer has a slash");
        match document.pointer_mut(parent) {
            Some(Value::Object(object)) => object.remove(name).is_some(),
            Some(Value::Array(array)) => name.parse().is_ok_and(|index: usize| index < array.len() && Some(array.remove(index)).is_some()),
            _ => false,
        }
    }
}

/// Every place of a document, as pointers (RFC 6901), the document itself not counted.
fn places(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(document, "", &mut found);
    found
}

fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
    let mut visit = |name: String, value: &Value| {
        let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
        found.push(path.clone());
        walk(value, &path, found);
    };
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| visit(name.clone(), value)),
        Value::Array(array) => array.iter().enumerate().for_each(|(index, value)| visit(index.to_string(), value)),
        _ => {}
    }
}

/// A place with `*` for the number of each element: the same of every element of a list.
fn pattern(place: &str) -> String {
    place.split('/').map(|name| if name.parse::<usize>().is_ok() { "*" } else { name }).collect::<Vec<_>>().join("/")
}

/// Whether `place` is what `pattern` says: `*` is any one name, `**` at the end all that is there and below.
fn is_at(place: &str, pattern: &str) -> bool {
    let mut names = place.split('/');
    for part in pattern.split('/') {
        match (part, names.next()) {
            ("**", _) => return true,
            ("*", Some(_)) => {}
            (part, name) if name == Some(part) => {}
            _ => return false,
        }
    }
    names.next().is_none()
}
