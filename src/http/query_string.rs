//! The query of a URL as pairs, decoded (PS3.18 8.3).

use percent_encoding::percent_decode_str;

/// Parameters in the order of the URL.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct QueryString(Vec<(String, String)>);

/// A parameter is not UTF-8 after decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query is not UTF-8")]
pub(crate) struct NotUtf8;

impl QueryString {
    /// Parameters without a name (`?&a=b`) are dropped.
    pub(crate) fn parse(query: &str) -> Result<Self, NotUtf8> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with('='));
        pairs.map(pair).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

impl From<Vec<(String, String)>> for QueryString {
    fn from(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }
}

fn pair(text: &str) -> Result<(String, String), NotUtf8> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((decode(name)?, decode(value)?))
}

/// `+` is a space, as HTML forms send it.
fn decode(text: &str) -> Result<String, NotUtf8> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(|text| text.into_owned()).map_err(|_| NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_g2() {
        let query = QueryString::parse("&PatientName=Held%2A%5EA&x=a+b%2B&=z&flag").unwrap();
        let pairs: Vec<_> = query.iter().collect();
        assert_eq!(pairs, [("PatientName", "Held*^A"), ("x", "a b+"), ("flag", "")]);
    }

    #[test]
    fn other_encodings_than_utf8_are_refused() {
        assert_eq!(QueryString::parse("a=%E4"), Err(NotUtf8));
    }
}
