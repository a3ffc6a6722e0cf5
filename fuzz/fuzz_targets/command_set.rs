//! Command sets (PS3.7 6.3.1): what is read from them, and that the answer to one is readable.
#![no_main]

use bytes::Bytes;
use dicom_dictionary_std::tags;
use libfuzzer_sys::fuzz_target;
use radiant::ul::command::{CommandAssembler, CommandSet};
use radiant::ul::{Fragment, MessagePart};

fuzz_target!(|input: &[u8]| {
    let Some((&size, bytes)) = input.split_first() else { return };
    let whole = CommandSet::decode(Bytes::copy_from_slice(bytes));
    let pieces = assembled(bytes, usize::from(size).max(1));
    assert_eq!(whole.as_ref().ok(), pieces.as_ref(), "fragments make a difference");
    if let Ok(request) = whole {
        look_at(&request);
    }
});

/// The same command set in fragments of this size.
fn assembled(bytes: &[u8], size: usize) -> Option<CommandSet> {
    let (mut assembler, count) = (CommandAssembler::default(), bytes.len().div_ceil(size).max(1));
    for number in 0..count {
        let chunk = &bytes[number * size..bytes.len().min((number + 1) * size)];
        let (part, last) = (MessagePart::Command, number + 1 == count);
        let fragment = Fragment { context_id: 1, part, last, bytes: Bytes::copy_from_slice(chunk) };
        if let Some(done) = assembler.push(&fragment).ok()? {
            return Some(done.message);
        }
    }
    None
}

fn look_at(request: &CommandSet) {
    assert_eq!(CommandSet::decode(request.encode()).as_ref(), Ok(request), "it is not read back");
    let _ = (request.has_data_set(), request.status(), request.text(tags::MOVE_DESTINATION));
    if let Ok(response) = request.response(0xC000) {
        let response = response.with_error_comment(&request.text(tags::ERROR_COMMENT).unwrap_or_default());
        assert_eq!(CommandSet::decode(response.encode()).as_ref(), Ok(&response), "our answer is not read back");
    }
}
