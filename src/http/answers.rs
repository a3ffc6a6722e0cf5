//! Whole answers that took work, kept for the next who asks for the same: what is made of many rows,
//! and pictures.
//!
//! The key is the entity tag, which names the content and its form: what changes gets another tag,
//! so that nothing kept is ever wrong. Who is not asked for goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// One answer may take this part of the room.
const SHARE: usize = 4;

pub struct Answers {
    kept: Mutex<Kept>,
    bytes_max: usize,
}

#[derive(Default)]
struct Kept {
    answers: HashMap<String, Answer>,
    bytes: usize,
    /// Counts what is asked for and kept; the lower the mark of an answer, the longer ago that was.
    marks: u64,
    /// Whose mark it is: there are many pictures, and one of them goes whenever another comes.
    by_mark: BTreeMap<u64, String>,
}

struct Answer {
    body: Bytes,
    mark: u64,
}

impl Answers {
    pub fn new(bytes_max: usize) -> Self {
        Self { kept: Mutex::default(), bytes_max }
    }

    /// The size that an answer may have to be kept.
    pub(crate) fn size_max(&self) -> usize {
        self.bytes_max / SHARE
    }

    pub(crate) fn get(&self, tag: &str) -> Option<Bytes> {
        let mut kept = self.kept();
        let body = kept.take_out(tag)?.body;
        kept.put_in(tag, body.clone());
        Some(body)
    }

    pub(crate) fn keep(&self, tag: &str, body: Bytes) {
        if body.len() > self.size_max() {
            return;
        }
        let mut kept = self.kept();
        kept.take_out(tag);
        kept.put_in(tag, body);
        while kept.bytes > self.bytes_max && kept.forget_one() {}
    }

    /// What a panicking thread left behind is at worst counted wrongly.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take_out(&mut self, tag: &str) -> Option<Answer> {
        let answer = self.answers.remove(tag)?;
        self.by_mark.remove(&answer.mark);
        self.bytes -= answer.body.len();
        Some(answer)
    }

    fn put_in(&mut self, tag: &str, body: Bytes) {
        self.marks += 1;
        self.bytes += body.len();
        self.by_mark.insert(self.marks, tag.to_owned());
        self.answers.insert(tag.to_owned(), Answer { body, mark: self.marks });
    }

    fn forget_one(&mut self) -> bool {
        let oldest = self.by_mark.first_key_value().map(|(_, tag)| tag.clone());
        oldest.and_then(|tag| self.take_out(&tag)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: usize) -> Bytes {
        vec![0; bytes].into()
    }

    #[test]
    fn what_was_not_asked_for_goes_first() {
        let answers = Answers::new(40);
        for tag in ["a", "b", "c", "d"] {
            answers.keep(tag, body(10));
        }
        let all_but_b = ["a", "c", "d"].map(|tag| answers.get(tag).is_some());
        answers.keep("e", body(10));
        assert_eq!((all_but_b, answers.get("b")), ([true; 3], None));
        assert_eq!((answers.get("a"), answers.get("e")), (Some(body(10)), Some(body(10))));
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let answers = Answers::new(40);
        answers.keep("a", body(11));
        assert_eq!(answers.get("a"), None);
    }

    #[test]
    fn the_same_answer_counts_once() {
        let answers = Answers::new(40);
        (0..9).for_each(|_| answers.keep("a", body(10)));
        answers.keep("b", body(10));
        assert!(answers.get("a").is_some());
    }
}
