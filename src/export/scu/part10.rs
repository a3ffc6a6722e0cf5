//! The head of a PS3.10 file: what a C-STORE needs to know, and where the data set begins.

use std::io;
use std::path::Path;

use dicom_object::meta::FileMetaTable;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::association::ProposedContext;
use crate::dicom::uid::UidError;
use crate::ingest::StoreCommand;

/// Preamble, prefix and the group length element, PS3.10 7.1.
const HEAD_BYTES: usize = 128 + 4 + 12;
const PREAMBLE_BYTES: usize = 128;
const META_BYTES_MAX: u32 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum Part10Error {
    #[error("the file cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the file has no DICOM prefix")]
    NoPrefix,
    #[error("the file meta information does not begin with its length")]
    NoGroupLength,
    #[error("the file meta information says it is {0} bytes long")]
    MetaTooLong(u32),
    #[error("the file meta information cannot be parsed: {0}")]
    Meta(String),
    #[error("the file meta information names something that is not a UID: {0}")]
    Uid(#[from] UidError),
}

/// An open file, positioned at its data set.
#[derive(Debug)]
pub struct Part10 {
    pub command: StoreCommand,
    pub data_set: File,
    pub data_set_bytes: u64,
}

impl Part10 {
    pub async fn open(path: &Path) -> Result<Self, Part10Error> {
        let mut file = File::open(path).await?;
        let mut head = vec![0; HEAD_BYTES];
        file.read_exact(&mut head).await?;
        let meta_bytes = meta_bytes(&head)?;
        head.resize(HEAD_BYTES + meta_bytes as usize, 0);
        file.read_exact(&mut head[HEAD_BYTES..]).await?;
        let data_set_bytes = file.metadata().await?.len().saturating_sub(head.len() as u64);
        Ok(Self { command: command(&head[PREAMBLE_BYTES..])?, data_set: file, data_set_bytes })
    }

    pub fn context(&self) -> ProposedContext {
        ProposedContext::single(self.command.sop_class.clone(), self.command.transfer_syntax.clone())
    }
}

/// File Meta Information Group Length (0002,0000), always explicit little endian.
fn meta_bytes(head: &[u8]) -> Result<u32, Part10Error> {
    let (_, head) = head.split_at(PREAMBLE_BYTES);
    let element = head.strip_prefix(b"DICM").ok_or(Part10Error::NoPrefix)?;
    let length = element.strip_prefix(b"\x02\0\0\0UL\x04\0").ok_or(Part10Error::NoGroupLength)?;
    let length =
        <[u8; 4]>::try_from(length).map(u32::from_le_bytes).map_err(|_| Part10Error::NoGroupLength)?;
    if length > META_BYTES_MAX { Err(Part10Error::MetaTooLong(length)) } else { Ok(length) }
}

fn command(meta: &[u8]) -> Result<StoreCommand, Part10Error> {
    let meta = FileMetaTable::from_reader(meta).map_err(|error| Part10Error::Meta(error.to_string()))?;
    Ok(StoreCommand {
        sop_class: meta.media_storage_sop_class_uid().parse()?,
        sop_instance: meta.media_storage_sop_instance_uid().parse()?,
        transfer_syntax: meta.transfer_syntax().parse()?,
    })
}
