//! JSON objects, and nothing in their place: what is derived of serde takes the values of an array
//! for the fields of a struct as well, and an array that fits by chance would be believed.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A `T` that was written as an object.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// For `deserialize_with`.
pub fn one<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(one)| one)
}

/// For `deserialize_with`: one, or null.
pub fn optional<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<Object<T>>::deserialize(deserializer).map(|found| found.map(|Object(one)| one))
}

/// For `deserialize_with`: an array of them.
pub fn many<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let found = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(found.into_iter().map(|Object(one)| one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(deserialize_with = "one")]
        inner: Inner,
        #[serde(default, deserialize_with = "optional")]
        other: Option<Inner>,
        #[serde(default, deserialize_with = "many")]
        more: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        a: Option<u8>,
    }

    fn read(text: &str) -> Result<Outer, serde_json::Error> {
        serde_json::from_str(text).map(|Object(outer)| outer)
    }

    #[test]
    fn objects_are_read() {
        let outer = read(r#"{"inner": {"a": 1}, "other": {"a": 2}, "more": [{}, {"a": 3}]}"#).unwrap();
        let more: Vec<_> = outer.more.iter().map(|inner| inner.a).collect();
        assert_eq!((outer.inner.a, outer.other.unwrap().a, more), (Some(1), Some(2), vec![None, Some(3)]));
        assert!(read(r#"{"inner": {}, "other": null}"#).unwrap().other.is_none());
    }

    #[test]
    fn arrays_are_no_objects() {
        let arrays = [r#"[{"a": 1}]"#, r#"{"inner": [1]}"#, r#"{"inner": {}, "other": [1]}"#];
        for text in arrays.into_iter().chain([r#"{"inner": {}, "more": [[1]]}"#]) {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fields_that_are_given_twice_or_unknown_are_refused() {
        for text in [r#"{"inner": {"a": 1, "a": 2}}"#, r#"{"inner": {"b": 1}}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
