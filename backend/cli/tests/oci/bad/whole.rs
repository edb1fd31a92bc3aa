//! That the descriptions leave nothing out: they are read by the document's own types through a reader that writes down, for
//! each struct, which fields the type knows and which of them are said. A field that is added later and not said fails here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use belljar_oci::document::Document;
use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::{Error, Value};

use super::rich::{self, Place};
use crate::bed::{Kind, bundle};

/// What the types know and no description can ask for.
const OUT_OF_REACH: &[(&str, &str)] =
    &[("linux.resources.beyond", "it is the manager's own, in the same type; in a document it is a name like any unknown one")];

/// The fields of one struct, wherever it stands.
#[derive(Default)]
struct Fields {
    known: BTreeSet<&'static str>,
    said: BTreeSet<String>,
}

/// What was read, by place: elements of lists and values by free names are `*`.
type Record = RefCell<BTreeMap<String, Fields>>;

/// A value, and where it stands.
struct Reader<'de> {
    value: &'de Value,
    path: String,
    record: &'de Record,
}

impl<'de> Reader<'de> {
    fn below(&self, name: &str, value: &'de Value) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { value, path, record: self.record }
    }
}

/// Whether a value says anything: an empty list would hide what its elements have.
fn says(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(array) => !array.is_empty(),
        Value::Object(object) => !object.is_empty(),
        _ => true,
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(is) => visitor.visit_bool(*is),
            Value::Number(number) if number.is_u64() => visitor.visit_u64(number.as_u64().unwrap_or_default()),
            Value::Number(number) if number.is_i64() => visitor.visit_i64(number.as_i64().unwrap_or_default()),
            Value::Number(number) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(array) => visitor.visit_seq(Elements { all: array.iter(), reader: self }),
            Value::Object(object) => visitor.visit_map(Members { all: object.iter(), free: true, next: None, reader: self }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        let Value::Object(object) = self.value else { return Err(Error::invalid_type(Unexpected::Other("no object"), &"a struct")) };
        let mut record = self.record.borrow_mut();
        let own = record.entry(self.path.clone()).or_default();
        own.known.extend(fields);
        own.said.extend(object.iter().filter(|(_, value)| says(value)).map(|(name, _)| name.clone()));
        drop(record);
        visitor.visit_map(Members { all: object.iter(), free: false, next: None, reader: self })
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        let word = self.value.as_str().ok_or_else(|| Error::custom("no word"))?;
        visitor.visit_enum(Word(word))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

/// The elements of a list.
struct Elements<'de> {
    all: std::slice::Iter<'de, Value>,
    reader: Reader<'de>,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.all.next().map(|value| seed.deserialize(self.reader.below("*", value))).transpose()
    }
}

/// The members of an object.
struct Members<'de> {
    all: serde_json::map::Iter<'de>,
    /// Whether the names are anybody's, and not a struct's.
    free: bool,
    next: Option<(&'de str, &'de Value)>,
    reader: Reader<'de>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.next = self.all.next().map(|(name, value)| (name.as_str(), value));
        self.next.map(|(name, _)| seed.deserialize(BorrowedStrDeserializer::new(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (name, value) = self.next.take().expect("a name comes before its value");
        seed.deserialize(self.reader.below(if self.free { "*" } else { name }, value))
    }
}

/// A word of a closed list.
struct Word<'de>(&'de str);

impl<'de> EnumAccess<'de> for Word<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        Ok((seed.deserialize(StrDeserializer::<Error>::new(self.0))?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Error> {
        Err(Error::custom("a word has nothing in it"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a word has nothing in it"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a word has nothing in it"))
    }
}

/// Fields that the types know and no description says.
fn unsaid(descriptions: &[(&str, Value)]) -> Vec<String> {
    let record = Record::default();
    for (name, config) in descriptions {
        let reader = Reader { value: config, path: String::new(), record: &record };
        Document::deserialize(reader).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let record = record.into_inner();
    let missing = record.iter().flat_map(|(path, fields)| {
        let missing = fields.known.iter().filter(|name| !fields.said.contains(**name));
        missing.map(move |name| if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") })
    });
    missing.filter(|field| OUT_OF_REACH.iter().all(|(out, _)| field != out)).collect()
}

fn descriptions() -> Vec<(&'static str, Value)> {
    let place = Place { listener: std::path::Path::new("/nowhere"), disk: (8, 0) };
    rich::all(&rich::filled(bundle::config("/whole"), Kind::Ours), &place)
}

#[test]
fn every_field_that_the_types_know_is_said_in_a_description() {
    let unsaid = unsaid(&descriptions());
    assert!(unsaid.is_empty(), "{unsaid:#?}");
}

#[test]
fn a_field_that_no_description_says_is_found() {
    let mut few = descriptions();
    few.retain(|(name, _)| !matches!(*name, "rates of disks" | "weights of disks" | "weights of leaves" | "memory and swap"));
    for (_, config) in &mut few {
        let mounts = config["mounts"].as_array_mut().expect("mounts are a list");
        mounts.iter_mut().for_each(|mount| drop(mount.as_object_mut().expect("a mount is an object").remove("source")));
    }
    assert_eq!(unsaid(&few), ["linux.resources.blockIO", "linux.resources.memory.swap", "mounts.*.source"]);
}
