//! The data set of a message as a byte stream, pulled from the connection as it is read.
//!
//! Nothing is read ahead: a slow reader slows the peer down through TCP, and memory holds one
//! PDU however large the object is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::timeout;

use super::connection::{Connection, Transport};
use super::{Fragment, Incoming, MessagePart, UlError};

/// Reads to the last fragment; errors as soon as anything else arrives.
#[derive(Debug)]
pub struct DataSet<'a, S> {
    connection: &'a mut Connection<S>,
    context_id: u8,
    chunk: Bytes,
    bytes: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Open,
    Complete,
    Failed(UlError),
}

impl<'a, S: Transport> DataSet<'a, S> {
    pub fn new(connection: &'a mut Connection<S>, context_id: u8) -> Self {
        Self { connection, context_id, chunk: Bytes::new(), bytes: 0, state: State::Open }
    }

    /// Reads past what is left, so that the next message can follow; its size in bytes.
    ///
    /// A peer that was refused has `patience` to finish.
    pub async fn finish(mut self, patience: Duration) -> Result<u64, UlError> {
        let drained = timeout(patience, std::future::poll_fn(|cx| self.poll_drain(cx))).await;
        match (self.state, drained) {
            (State::Failed(error), _) => Err(error),
            (State::Complete, _) => Ok(self.bytes),
            (State::Open, _) => Err(UlError::TimedOut(patience)),
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while matches!(self.state, State::Open) {
            ready!(self.poll_fragment(cx));
        }
        Poll::Ready(())
    }

    fn poll_fragment(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let incoming = ready!(self.connection.poll_next(cx));
        match incoming.and_then(|incoming| self.expected(incoming)) {
            Err(error) => self.state = State::Failed(error),
            Ok(fragment) => self.take(fragment),
        }
        Poll::Ready(())
    }

    fn take(&mut self, fragment: Fragment) {
        self.bytes += fragment.bytes.len() as u64;
        self.chunk = fragment.bytes;
        if fragment.last {
            self.state = State::Complete;
        }
    }

    fn expected(&self, incoming: Incoming) -> Result<Fragment, UlError> {
        match incoming {
            Incoming::Fragment(fragment) if fragment.context_id != self.context_id => {
                Err(UlError::Unexpected("a second presentation context within a message"))
            }
            Incoming::Fragment(fragment) if fragment.part == MessagePart::DataSet => Ok(fragment),
            Incoming::Fragment(_) => Err(UlError::Unexpected("a command within a data set")),
            Incoming::Pdu(dicom_ul::pdu::Pdu::AbortRQ { .. }) => Err(UlError::Aborted),
            Incoming::Pdu(_) => Err(UlError::Unexpected("a PDU other than P-DATA-TF within a data set")),
        }
    }
}

impl<S: Transport> AsyncRead for DataSet<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() {
            match &self.state {
                State::Complete => return Poll::Ready(Ok(())),
                State::Failed(error) => return Poll::Ready(Err(interrupted(error))),
                State::Open => ready!(self.poll_fragment(cx)),
            }
        }
        let length = self.chunk.len().min(buf.remaining());
        buf.put_slice(&self.chunk[..length]);
        self.chunk.advance(length);
        Poll::Ready(Ok(()))
    }
}

fn interrupted(error: &UlError) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string())
}
