//! Whole answers that were made of many rows, kept for the next who asks for the same.
//!
//! The key is the entity tag, which names the content and its form: what changes gets another tag,
//! so that nothing kept is ever wrong. Who is not asked for goes first.

use std::collections::HashMap;
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
    /// Counts the requests; the lower the mark of an answer, the longer ago it was asked for.
    requests: u64,
}

struct Answer {
    body: Bytes,
    asked_for: u64,
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
        kept.requests += 1;
        let now = kept.requests;
        let answer = kept.answers.get_mut(tag)?;
        answer.asked_for = now;
        Some(answer.body.clone())
    }

    pub(crate) fn keep(&self, tag: &str, body: Bytes) {
        if body.len() > self.size_max() {
            return;
        }
        let mut kept = self.kept();
        kept.bytes += body.len();
        let answer = Answer { body, asked_for: kept.requests };
        if let Some(same) = kept.answers.insert(tag.to_owned(), answer) {
            kept.bytes -= same.body.len();
        }
        while kept.bytes > self.bytes_max {
            kept.forget_one();
        }
    }

    /// What a panicking thread left behind is at worst counted wrongly.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget_one(&mut self) {
        let oldest = self.answers.iter().min_by_key(|(_, answer)| answer.asked_for);
        let forgotten = oldest.map(|(tag, _)| tag.clone()).and_then(|tag| self.answers.remove(&tag));
        self.bytes = forgotten.map_or(0, |answer| self.bytes.saturating_sub(answer.body.len()));
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
