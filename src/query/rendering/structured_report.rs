//! Structured reports and key object selections as text for people (PS3.18 Table 8.7.4-1).
//!
//! DICOM JSON in, a page out: [`Document::read`] turns the content tree of PS3.3 C.17.3 into plain
//! values, and one writer for each media type puts them down. What stands at the top of every form
//! is whether somebody vouches for the content, and whether software made it.

mod attributes;
mod content;
mod heading;
mod html;
mod moments;
mod plain;
#[cfg(test)]
mod tests;
mod xml;

use serde_json::{Map, Value};

use attributes::Attributes;
use content::Item;
use heading::{Fact, Standing};

/// A document ready to be written.
#[derive(Debug)]
pub struct Document {
    title: String,
    /// Of the Content Item Language of the title, RFC 5646.
    language: Option<String>,
    standing: Standing,
    facts: Vec<Fact>,
    root: Item,
}

/// Media types of PS3.18 Table 8.7.4-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Html,
    Plain,
    Xml,
}

/// Where an object lies that a document refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub study: String,
    pub series: String,
    pub instance: String,
}

/// The URL of an instance; none for a place whose UIDs are none.
pub type Locate<'a> = &'a dyn Fn(&Place) -> Option<String>;

#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("the document has more than {limit} content items")]
    TooManyItems { limit: usize },
    #[error("content items are nested deeper than {limit}")]
    TooDeep { limit: usize },
    #[error("the text cannot be put together")]
    Write(#[from] std::io::Error),
}

/// More content items than this are nothing that somebody reads.
const ITEMS_MAX: usize = 20_000;
const DEPTH_MAX: usize = 64;

impl Document {
    pub fn read(data_set: &Map<String, Value>) -> Result<Self, DocumentError> {
        let attributes = Attributes(data_set);
        let root = content::tree(attributes)?;
        let title = root.name.as_ref().map(ToString::to_string);
        Ok(Self {
            title: title.unwrap_or_else(|| heading::kind(attributes)),
            language: heading::language(&root),
            standing: heading::standing(attributes, &root),
            facts: heading::facts(attributes),
            root,
        })
    }

    pub fn write(&self, form: Form, locate: Locate) -> Result<Vec<u8>, DocumentError> {
        match form {
            Form::Html => Ok(html::write(self, locate).into_bytes()),
            Form::Plain => Ok(plain::write(self).into_bytes()),
            Form::Xml => Ok(xml::write(self, locate)?),
        }
    }
}
