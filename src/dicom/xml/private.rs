//! Blocks of private attributes (PS3.5 7.8.1), which the model replaces by their creator's name.

use std::collections::BTreeMap;

use dicom_core::Tag;
use serde_json::{Map, Value, json};

use super::XmlError;
use crate::dicom::attributes::AttributeId;
use crate::dicom::header::hex;

const BLOCKS: std::ops::RangeInclusive<u16> = 0x10..=0xFF;

/// Which creator reserved which block of which group in one data set.
#[derive(Default)]
pub(super) struct Creators(BTreeMap<(u16, u16), String>);

impl Creators {
    pub(super) fn of(set: &Map<String, Value>) -> Self {
        let reserved = set.iter().filter_map(|(key, element)| {
            let AttributeId(tag) = key.parse().ok()?;
            let name = element["Value"][0].as_str()?;
            is_creator(tag).then(|| ((tag.0, tag.1), name.to_owned()))
        });
        Self(reserved.collect())
    }

    pub(super) fn owner(&self, tag: Tag) -> Option<&str> {
        let block = tag.1 >> 8;
        let owner = || self.0.get(&(tag.0, block)).map(String::as_str);
        if is_private(tag) { owner() } else { None }
    }

    /// The tag without its block, where the creator's name leads back to it.
    pub(super) fn without_block(&self, tag: Tag) -> Option<Tag> {
        let owner = self.owner(tag)?;
        let leads_back = !owner.contains(char::is_control) && self.block(tag.0, owner) == Some(tag.1 >> 8);
        leads_back.then_some(Tag(tag.0, tag.1 & 0xFF))
    }

    /// The first block of a creator.
    fn block(&self, group: u16, creator: &str) -> Option<u16> {
        let mut blocks = self.0.range((group, 0)..=(group, u16::MAX));
        blocks.find(|(_, name)| *name == creator).map(|((_, block), _)| *block)
    }

    /// Takes the first free block of a group.
    fn reserve(&mut self, group: u16, creator: &str) -> Result<u16, XmlError> {
        let mut blocks = BLOCKS;
        let free = blocks.find(|block| !self.0.contains_key(&(group, *block)));
        let block = free.ok_or(XmlError::NoBlock { group })?;
        self.0.insert((group, block), creator.to_owned());
        Ok(block)
    }
}

fn is_private(tag: Tag) -> bool {
    tag.0 % 2 == 1
}

fn is_creator(tag: Tag) -> bool {
    is_private(tag) && BLOCKS.contains(&tag.1)
}

/// An attribute as the document has it.
pub(super) struct Named {
    pub(super) tag: Tag,
    pub(super) creator: Option<String>,
    pub(super) element: Value,
}

/// A data set in ascending order, each private attribute in the block of its creator.
pub(super) fn placed(attributes: Vec<Named>) -> Result<Map<String, Value>, XmlError> {
    let (private, plain): (Vec<_>, Vec<_>) = attributes
        .into_iter()
        .partition(|named| named.creator.is_some() && is_private(named.tag) && named.tag.1 <= 0xFF);
    let mut set = BTreeMap::new();
    for Named { tag, element, .. } in plain {
        put(&mut set, tag, element)?;
    }
    let reserving = set.iter().filter(|(tag, _)| is_creator(**tag));
    let mut creators = Creators::of(&reserving.map(|(tag, e)| (hex(*tag), e.clone())).collect());
    for Named { tag, creator, element } in private {
        let block = block(&mut set, &mut creators, tag.0, creator.as_deref().unwrap_or_default())?;
        put(&mut set, Tag(tag.0, block << 8 | tag.1), element)?;
    }
    Ok(set.into_iter().map(|(tag, element)| (hex(tag), element)).collect())
}

fn block(
    set: &mut BTreeMap<Tag, Value>,
    creators: &mut Creators,
    group: u16,
    creator: &str,
) -> Result<u16, XmlError> {
    if let Some(block) = creators.block(group, creator) {
        return Ok(block);
    }
    let block = creators.reserve(group, creator)?;
    set.insert(Tag(group, block), json!({ "vr": "LO", "Value": [creator] }));
    Ok(block)
}

fn put(set: &mut BTreeMap<Tag, Value>, tag: Tag, element: Value) -> Result<(), XmlError> {
    match set.insert(tag, element) {
        Some(_) => Err(XmlError::Twice { tag }),
        None => Ok(()),
    }
}
