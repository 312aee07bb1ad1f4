//! Decoding as strictly as the cluster does, of what others wrote for it.

use serde::de::{self, IntoDeserializer, Visitor};

use super::decode::{Entries, Error, Items, Kind, plain};
use super::document::{Node, Value};

/// A value that is read as strictly as Go's JSON decoder reads it: by what it is, whatever is asked for.
pub(crate) struct Exact<'de>(pub(crate) &'de Node);

/// What a scalar is.
enum Exactly<'de> {
    Nothing,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(&'de str),
}

impl<'de> Exact<'de> {
    fn scalar(&self) -> Option<Exactly<'de>> {
        let Value::Scalar { text, plain } = &self.0.value else { return None };
        Some(match text.as_str() {
            text if !plain => Exactly::Text(text),
            _ if self.0.is_null() => Exactly::Nothing,
            "true" | "True" | "TRUE" => Exactly::Boolean(true),
            "false" | "False" | "FALSE" => Exactly::Boolean(false),
            text => match (integer(text), text.parse::<f64>()) {
                (Some(number), _) => Exactly::Integer(number),
                (None, Ok(number)) if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
                    Exactly::Number(number)
                }
                _ => Exactly::Text(text),
            },
        })
    }

    /// That it is not what was asked for.
    fn refused(&self, expected: &str) -> Error {
        let found = match self.scalar() {
            Some(Exactly::Boolean(value)) => format!("`{value}`"),
            Some(Exactly::Integer(number)) => format!("the number `{number}`"),
            Some(Exactly::Number(number)) => format!("the number `{number}`"),
            Some(Exactly::Text(text)) => format!("the text `{text}`"),
            Some(Exactly::Nothing) | None => plain(self.0.unexpected()),
        };
        let quoted = matches!(&self.0.value, Value::Scalar { text, plain: false } if expected != "a text"
            && (integer(text).is_some() || ["true", "false"].contains(&text.as_str())));
        let help = match (expected, self.scalar()) {
            _ if quoted => "\nWrite it without quotes.",
            ("a text", Some(Exactly::Boolean(_) | Exactly::Integer(_) | Exactly::Number(_))) => "\nPut it into quotes.",
            _ => "",
        };
        Error::new(Kind::Other(format!("{found} stands where {expected} belongs{help}")))
    }
}

/// A whole number; one with a zero in front is octal, unless its digits are none of an octal number (`0493`).
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let octal = digits.len() > 1 && digits.starts_with('0') && !digits.contains(['8', '9']);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number = i64::from_str_radix(digits, if octal { 8 } else { 10 }).ok()?;
    Some(if negative { -number } else { number })
}

macro_rules! exactly {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.scalar() {
                Some(Exactly::Integer(number)) => visitor.visit_i64(number),
                _ => Err(self.refused("a whole number")),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Exact<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (&self.0.value, self.scalar()) {
            (Value::Seq(items), _) => visitor.visit_seq(Items { items: items.iter().enumerate(), exact: true }),
            (Value::Map(entries), _) => {
                visitor.visit_map(Entries { entries: entries.iter(), value: None, exact: true })
            }
            (_, Some(Exactly::Boolean(value))) => visitor.visit_bool(value),
            (_, Some(Exactly::Integer(number))) => visitor.visit_i64(number),
            (_, Some(Exactly::Number(number))) => visitor.visit_f64(number),
            (_, Some(Exactly::Text(text))) => visitor.visit_borrowed_str(text),
            (_, Some(Exactly::Nothing) | None) => visitor.visit_unit(),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.scalar() {
            Some(Exactly::Boolean(value)) => visitor.visit_bool(value),
            _ => Err(self.refused("`true` or `false`")),
        }
    }

    exactly! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.scalar() {
            Some(Exactly::Text(text)) => visitor.visit_borrowed_str(text),
            _ => Err(self.refused("a text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
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
        match self.scalar() {
            Some(Exactly::Text(text)) => visitor.visit_enum(text.into_deserializer()),
            _ => Err(self.refused("one of the known words")),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
