//! Server-sent events, as far as answers of models need them: the data of each event. Pure.

/// Takes bytes as they come and gives the data of whole events.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    /// A line ended with CR: LF that follows belongs to it.
    after_cr: bool,
}

impl Events {
    /// The data of the events that these bytes complete. What is kept for the next is no longer than
    /// what has come so far: who reads bounds that.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        for &byte in bytes {
            let is_rest_of_crlf = self.after_cr && byte == b'\n';
            self.after_cr = byte == b'\r';
            match byte {
                b'\n' if is_rest_of_crlf => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                byte => self.line.push(byte),
            }
        }
        events
    }

    fn end_line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return (!self.data.is_empty()).then(|| std::mem::take(&mut self.data));
        }
        // Comments, and fields that say nothing of the answer, are passed over.
        let value = line.strip_prefix(b"data:")?;
        if !self.data.is_empty() {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        None
    }

    /// What stands at the end of a stream that does not close its last event.
    pub(super) fn rest(mut self) -> Option<Vec<u8>> {
        self.end_line();
        (!self.data.is_empty()).then_some(self.data)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &[u8] =
        b": ping\r\ndata: {\"a\":1}\r\n\r\nevent: x\nid: 7\ndata:one\ndata: two\n\n\n\ndata: [DONE]\n\n";

    fn all(stream: &[u8], sizes: &[usize]) -> Vec<String> {
        let (mut events, mut at, mut found) = (Events::default(), 0, Vec::new());
        for size in sizes.iter().copied().chain([stream.len()]) {
            let end = (at + size).min(stream.len());
            found.extend(events.take(&stream[at..end]));
            at = end;
        }
        found.into_iter().map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn events_are_their_data() {
        assert_eq!(all(STREAM, &[]), ["{\"a\":1}", "one\ntwo", "[DONE]"]);
        let mut events = Events::default();
        assert!(events.take(b"data: open").is_empty());
        assert_eq!(events.rest(), Some(b"open".to_vec()));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_come(sizes in prop::collection::vec(0usize..9, 0..60)) {
            prop_assert_eq!(all(STREAM, &sizes), all(STREAM, &[]));
        }

        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut events = Events::default();
            let taken: usize = events.take(&bytes).iter().map(Vec::len).sum();
            prop_assert!(taken + events.rest().map_or(0, |rest| rest.len()) <= bytes.len());
        }
    }
}
