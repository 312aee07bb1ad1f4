//! From a [`Document`] to typed values, with every mistake found and not only the first.
//!
//! serde stops at the first error. So the value is decoded, the error's place noted, what was wrong there
//! mended (a misspelt key renamed, else taken out), and it is decoded again, until nothing is wrong. What only
//! went wrong because something was taken out is not told.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};

use super::document::{Entry, Node, Value};
use super::exact::Exact;
use super::{Document, Mistake, Path, Step};

/// What decoding a document gave.
pub(crate) struct Decoded<T> {
    /// The value, of the mended document where there were mistakes; absent if even that was impossible.
    pub value: Option<T>,
    pub mistakes: Vec<Mistake>,
    /// Where something was taken out.
    pub taken_out: Vec<Path>,
}

/// Mending ends after this many mistakes; nobody reads more.
const ENOUGH: usize = 50;

/// Decodes a document and mends its tree where it was wrong, so that paths into the value are paths into the
/// tree.
pub(crate) fn decode<T: DeserializeOwned>(document: &mut Document) -> Decoded<T> {
    until_mended(document, |root| T::deserialize(root))
}

/// As [`decode`], where a text is no number and a number no text: of what others read more strictly than scenarios are.
pub(crate) fn decode_exactly<T: DeserializeOwned>(document: &mut Document) -> Decoded<T> {
    until_mended(document, |root| T::deserialize(Exact(root)))
}

fn until_mended<T>(document: &mut Document, read: impl Fn(&Node) -> Result<T, Error>) -> Decoded<T> {
    let mut decoded = Decoded { value: None, mistakes: vec![], taken_out: vec![] };
    while decoded.mistakes.len() < ENOUGH {
        match read(&document.root) {
            Ok(value) => {
                decoded.value = Some(value);
                break;
            }
            Err(error) => {
                if !mend(document, &error, &mut decoded) {
                    break;
                }
            }
        }
    }
    decoded
}

/// Notes the error and mends what was wrong; `false` if it can't be mended.
fn mend<T>(document: &mut Document, error: &Error, decoded: &mut Decoded<T>) -> bool {
    let path = Path(error.path.iter().rev().cloned().collect());
    let follows = match error.kind {
        Kind::Missing(_) => {
            decoded.taken_out.iter().any(|taken| taken.is_within(&path) && taken.0.len() == path.0.len() + 1)
        }
        _ => false,
    };
    if !follows {
        decoded.mistakes.push(error.tell(document, &path));
    }
    if let Kind::UnknownKey { found, known } = &error.kind
        && let Some(near) = nearest(found, known.iter().copied())
        && rename_key(&mut document.root, &path, near)
    {
        return true;
    }
    decoded.taken_out.push(path.clone());
    take_out(&mut document.root, &path.0)
}

/// Renames the key at the end of `path`, unless the right one stands beside it.
fn rename_key(root: &mut Node, path: &Path, to: &str) -> bool {
    let Some((Step::Key(from), above)) = path.0.split_last() else { return false };
    let Some(Value::Map(entries)) = walk(root, above).map(|node| &mut node.value) else { return false };
    if entries.iter().any(|entry| entry.key == to) {
        return false;
    }
    entries.iter_mut().filter(|entry| entry.key == *from).for_each(|entry| to.clone_into(&mut entry.key));
    true
}

fn take_out(root: &mut Node, path: &[Step]) -> bool {
    let Some((last, above)) = path.split_last() else { return false };
    match (last, walk(root, above).map(|node| &mut node.value)) {
        (Step::Key(key), Some(Value::Map(entries))) => {
            let before = entries.len();
            entries.retain(|entry| entry.key != *key);
            entries.len() < before
        }
        (Step::Index(index), Some(Value::Seq(items))) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}

fn walk<'n>(node: &'n mut Node, path: &[Step]) -> Option<&'n mut Node> {
    path.iter().try_fold(node, |node, step| match (step, &mut node.value) {
        (Step::Key(key), Value::Map(entries)) => {
            entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
        }
        (Step::Index(index), Value::Seq(items)) => items.get_mut(*index),
        _ => None,
    })
}

/// The known word that `found` most likely means, if one is near enough.
pub(crate) fn nearest<'k>(found: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let folded = found.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&folded, &word.to_lowercase().replace('_', "-")), word))
        .filter(|(distance, word)| *distance <= (word.len().max(found.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// An error of decoding with the way to its place, innermost step first.
#[derive(Debug)]
pub(crate) struct Error {
    kind: Kind,
    path: Vec<Step>,
}

#[derive(Debug)]
pub(super) enum Kind {
    UnknownKey {
        found: String,
        known: &'static [&'static str],
    },
    UnknownWord {
        found: String,
        known: &'static [&'static str],
    },
    Missing(&'static str),
    /// What is wrong, and after a line feed what would be right.
    Other(String),
}

impl Error {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, path: vec![] }
    }

    fn below(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    fn tell(&self, document: &Document, path: &Path) -> Mistake {
        let span = match self.kind {
            Kind::UnknownKey { .. } => document.key_span(path),
            _ => document.span(path),
        };
        let (message, help) = match &self.kind {
            Kind::UnknownKey { found, known } => {
                (format!("there is no key `{found}` here"), Some(did_you_mean(found, known)))
            }
            Kind::UnknownWord { found, known } => {
                (format!("`{found}` is not known here"), Some(did_you_mean(found, known)))
            }
            Kind::Missing(key) => (format!("the key `{key}` is missing"), Some(format!("Add `{key}: …`."))),
            Kind::Other(text) => match text.split_once('\n') {
                Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
                None => (text.clone(), None),
            },
        };
        document.mistake_at(span, message, help)
    }
}

fn did_you_mean(found: &str, known: &[&str]) -> String {
    let all = known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    match nearest(found, known.iter().copied()) {
        Some(near) => format!("Did you mean `{near}`? Known here: {all}."),
        None if known.is_empty() => "No keys belong here.".to_owned(),
        None => format!("Known here: {all}."),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Kind::Other(message.to_string()))
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Kind::Other(format!("{} stands where {} belongs", plain(found), wanted(expected))))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Kind::Other(format!("{} stands where {expected} belongs", plain(found))))
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Self::new(Kind::Other(format!("a list of {length} stands where {} belongs", wanted(expected))))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownKey { found: field.to_owned(), known: expected })
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownWord { found: variant.to_owned(), known: expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::Missing(field))
    }
}

/// serde calls a map by the name of the type that it becomes.
fn wanted(expected: &dyn de::Expected) -> String {
    let expected = expected.to_string();
    if expected.starts_with("struct ") { "a map".to_owned() } else { expected }
}

pub(super) fn plain(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Unit | de::Unexpected::Option => "nothing".to_owned(),
        de::Unexpected::Map => "a map".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Str(text) => format!("`{text}`"),
        other => other.to_string(),
    }
}

const NULLS: [&str; 5] = ["", "~", "null", "Null", "NULL"];

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if NULLS.contains(&text.as_str()))
    }

    pub(super) fn unexpected(&self) -> de::Unexpected<'_> {
        match &self.value {
            Value::Seq(_) => de::Unexpected::Seq,
            Value::Map(_) => de::Unexpected::Map,
            Value::Scalar { .. } if self.is_null() => de::Unexpected::Unit,
            Value::Scalar { text, .. } => de::Unexpected::Str(text),
        }
    }

    /// The text of a scalar that is not null.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }
}

macro_rules! number {
    ($what:literal: $($method:ident => $type:ty, $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.text().and_then(|text| text.replace('_', "").parse::<$type>().ok()) {
                Some(number) => visitor.$visit(number),
                None => Err(de::Error::invalid_type(self.unexpected(), &$what)),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Seq(items) => visitor.visit_seq(Items { items: items.iter().enumerate(), exact: false }),
            Value::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None, exact: false }),
            Value::Scalar { .. } if self.is_null() => visitor.visit_unit(),
            Value::Scalar { text, plain: true } => scalar(text, visitor),
            Value::Scalar { text, .. } => visitor.visit_borrowed_str(text),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.text() {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            _ => Err(de::Error::invalid_type(self.unexpected(), &"`true` or `false`")),
        }
    }

    number! { "a whole number":
        deserialize_u8 => u8, visit_u8;
        deserialize_u16 => u16, visit_u16;
        deserialize_u32 => u32, visit_u32;
        deserialize_u64 => u64, visit_u64;
        deserialize_i8 => i8, visit_i8;
        deserialize_i16 => i16, visit_i16;
        deserialize_i32 => i32, visit_i32;
        deserialize_i64 => i64, visit_i64;
    }

    number! { "a number":
        deserialize_f32 => f32, visit_f32;
        deserialize_f64 => f64, visit_f64;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (&self.value, self.text()) {
            (_, Some(text)) => visitor.visit_borrowed_str(text),
            _ => Err(de::Error::invalid_type(self.unexpected(), &"a text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match (&self.value, self.text()) {
            (_, Some(text)) => visitor.visit_enum(text.into_deserializer()),
            (Value::Map(entries), _) if entries.len() == 1 => {
                let entries = Entries { entries: entries.iter(), value: None, exact: false };
                visitor.visit_enum(de::value::MapAccessDeserializer::new(entries))
            }
            _ => Err(de::Error::invalid_type(self.unexpected(), &"one of the known words")),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A plain scalar by YAML 1.2's core schema.
fn scalar<'de, V: Visitor<'de>>(text: &'de str, visitor: V) -> Result<V::Value, Error> {
    match text {
        "true" | "True" | "TRUE" => return visitor.visit_bool(true),
        "false" | "False" | "FALSE" => return visitor.visit_bool(false),
        _ => {}
    }
    let looks_like_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    if looks_like_number {
        if let Ok(number) = text.parse::<u64>() {
            return visitor.visit_u64(number);
        }
        if let Ok(number) = text.parse::<i64>() {
            return visitor.visit_i64(number);
        }
        if let Ok(number) = text.parse::<f64>() {
            return visitor.visit_f64(number);
        }
    }
    visitor.visit_borrowed_str(text)
}

pub(super) struct Items<'de> {
    pub(super) items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
    /// By [`Exact`].
    pub(super) exact: bool,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((index, item)) = self.items.next() else { return Ok(None) };
        let value = if self.exact { seed.deserialize(Exact(item)) } else { seed.deserialize(item) };
        value.map(Some).map_err(|error| error.below(Step::Index(index)))
    }
}

pub(super) struct Entries<'de> {
    pub(super) entries: std::slice::Iter<'de, Entry>,
    pub(super) value: Option<&'de Entry>,
    /// By [`Exact`].
    pub(super) exact: bool,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(entry);
        let key: de::value::StrDeserializer<'_, Error> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.below(Step::Key(entry.key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some(entry) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let value = if self.exact { seed.deserialize(Exact(&entry.value)) } else { seed.deserialize(&entry.value) };
        value.map_err(|error| error.below(Step::Key(entry.key.clone())))
    }
}
