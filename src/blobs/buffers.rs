//! Buffers for bytes on their way in and out, used again and again: a fresh one of this size costs as
//! much in page faults as the bytes cost in copying.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Small enough to stay in the cache of a core between the copy in and the copy out.
pub const BUFFER_BYTES: usize = 256 * 1024;

/// Buffers that are kept while nobody uses them.
const IDLE_MAX: usize = 64;

#[derive(Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Box<[u8]>>>>);

impl Buffers {
    pub(super) fn take(&self) -> Buffer {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = idle.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice());
        Buffer { bytes, filled: 0, home: self.clone() }
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(bytes);
        }
    }
}

/// Goes back to where it came from when the last view of it is dropped.
pub struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
    home: Buffers,
}

impl Buffer {
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub fn is_full(&self) -> bool {
        self.filled == self.bytes.len()
    }

    /// Room for at most so many more bytes.
    pub fn room(&mut self, most: u64) -> &mut [u8] {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let end = self.bytes.len().min(self.filled.saturating_add(most));
        &mut self.bytes[self.filled..end]
    }

    pub fn fill(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    pub fn len(&self) -> u64 {
        self.filled as u64
    }

    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_view_is_gone() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.room(3).copy_from_slice(b"abc");
        buffer.fill(3);
        let view = buffer.freeze();
        let part = view.slice(1..);
        drop(view);
        assert_eq!((&part[..], buffers.0.lock().unwrap().len()), (&b"bc"[..], 0));
        drop(part);
        assert_eq!(buffers.0.lock().unwrap().len(), 1);
    }
}
