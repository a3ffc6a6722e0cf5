//! One transport connection: PDUs in, PDUs out, and the clock that runs meanwhile.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use dicom_ul::pdu::{Pdu, write_pdu};
use futures::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_util::codec::FramedRead;

use super::command::CommandSet;
use super::decoder::PduDecoder;
use super::oddities::{Oddities, Oddity};
use super::{Incoming, MessagePart, PDU_HEADER_BYTES, PDV_HEADER_BYTES, UlError};

/// One read may bring this much once an association stands.
const READ_BYTES: usize = 256 << 10;
/// The largest P-DATA-TF that we send, whatever the peer would take.
const SEND_PDU_BYTES_MAX: u32 = 128 << 10;
/// A peer may announce any maximum; one that is smaller has no room for a value of even length.
const SEND_PDU_BYTES_MIN: u32 = 8;

/// What [`put_p_data_header`] puts.
const P_DATA_HEADER_BYTES: usize = PDU_HEADER_BYTES + PDV_HEADER_BYTES;

/// What can carry an association: TCP, TLS, or a pipe in tests.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

/// Something and the presentation context that it came on or goes out on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contextual<T> {
    pub context_id: u8,
    pub message: T,
}

#[derive(Debug)]
pub struct Connection<S> {
    framed: FramedRead<S, PduDecoder>,
    patience: Duration,
    /// Runs while `waiting`, and is set anew when a wait begins: a peer that sends a byte now
    /// and then does not put it off, and the time that storing takes does not count.
    deadline: Pin<Box<Sleep>>,
    waiting: bool,
    /// When a read began that has brought nothing yet.
    pending_since: Option<Instant>,
    /// None between messages: a peer may be silent there as long as its patience says.
    pace: Option<Pace>,
    rate_min: u64,
    send_pdu_bytes: u32,
}

/// How fast the fragments of a command set or data set come; the time that we take ourselves
/// does not count.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    bytes: u64,
    waited: Duration,
}

impl<S: Transport> Connection<S> {
    /// A whole PDU has `patience` to arrive, and each write has as long to be taken.
    pub fn new(transport: S, p_data_bytes_max: u32, patience: Duration) -> Self {
        Self {
            framed: FramedRead::with_capacity(transport, PduDecoder::new(p_data_bytes_max), PDU_HEADER_BYTES),
            patience,
            deadline: Box::pin(sleep(patience)),
            waiting: false,
            pending_since: None,
            pace: None,
            rate_min: 0,
            send_pdu_bytes: SEND_PDU_BYTES_MIN,
        }
    }

    /// Negotiation is over. `peer_pdu_bytes_max` is the peer's maximum length, 0 for any
    /// (PS3.8 D.1).
    pub fn establish(&mut self, peer_pdu_bytes_max: u32, patience: Duration) {
        let wanted = if peer_pdu_bytes_max == 0 { SEND_PDU_BYTES_MAX } else { peer_pdu_bytes_max };
        self.send_pdu_bytes = wanted.clamp(SEND_PDU_BYTES_MIN, SEND_PDU_BYTES_MAX);
        self.patience = patience;
        self.waiting = false;
        self.framed.decoder_mut().set_read_bytes(READ_BYTES);
    }

    /// From now on a message that has been waited for longer than the patience must have brought
    /// this many bytes for each second: single bytes in time do not keep a place.
    pub fn require_rate(&mut self, bytes_per_second: u64) {
        self.rate_min = bytes_per_second;
    }

    /// What the peer did beside the standard so far.
    pub fn oddities(&self) -> &Oddities {
        &self.framed.decoder().oddities
    }

    pub fn note(&mut self, oddity: Oddity) {
        self.framed.decoder_mut().oddities.insert(oddity);
    }

    /// How many bytes of a message one P-DATA-TF takes along; even, as data sets are.
    pub fn payload_bytes_max(&self) -> usize {
        (self.send_pdu_bytes as usize - PDV_HEADER_BYTES) & !1
    }

    /// Loses nothing when dropped before it is done.
    pub async fn next(&mut self) -> Result<Incoming, UlError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, UlError>> {
        if let Poll::Ready(incoming) = self.poll_framed(cx) {
            return Poll::Ready(incoming);
        }
        if !self.waiting {
            self.waiting = true;
            self.deadline.as_mut().reset(Instant::now() + self.patience);
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Err(UlError::TimedOut(self.patience)))
    }

    fn poll_framed(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, UlError>> {
        let Poll::Ready(item) = Pin::new(&mut self.framed).poll_next(cx) else {
            self.pending_since.get_or_insert_with(Instant::now);
            return Poll::Pending;
        };
        self.waiting = false;
        let waited = self.pending_since.take().map(|since| since.elapsed()).unwrap_or_default();
        let incoming = item.unwrap_or(Err(UlError::Closed))?;
        self.keep_pace(&incoming, waited)?;
        Poll::Ready(Ok(incoming))
    }

    fn keep_pace(&mut self, incoming: &Incoming, waited: Duration) -> Result<(), UlError> {
        let Incoming::Fragment(fragment) = incoming else { return Ok(()) };
        let mut pace = self.pace.take().map_or_else(Pace::default, |pace| pace.after(waited));
        pace.bytes += fragment.bytes.len() as u64;
        let Pace { bytes, waited } = pace;
        let least = u128::from(self.rate_min) * waited.as_millis() / 1000;
        if waited > self.patience && u128::from(bytes) < least {
            return Err(UlError::TooSlow { bytes, waited, rate_min: self.rate_min });
        }
        self.pace = (!fragment.last).then_some(pace);
        Ok(())
    }

    /// What has arrived already; silence is no fault here.
    pub async fn arrived(&mut self) -> Result<Option<Incoming>, UlError> {
        poll_fn(|cx| match self.poll_framed(cx) {
            Poll::Ready(incoming) => Poll::Ready(incoming.map(Some)),
            Poll::Pending => Poll::Ready(Ok(None)),
        })
        .await
    }

    /// The next thing that the peer says, however long it takes: while the peer waits for us, it
    /// has nothing to say. Loses nothing when dropped before it is done.
    pub async fn wait(&mut self) -> Result<Incoming, UlError> {
        poll_fn(|cx| self.poll_framed(cx)).await
    }

    pub async fn send(&mut self, pdu: &Pdu) -> Result<(), UlError> {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).map_err(|error| UlError::Unwritable(error.to_string()))?;
        self.write(&bytes).await
    }

    /// In one write, however many PDUs a small maximum length makes of it: a second write
    /// would wait for the peer's delayed acknowledgement of the first.
    pub async fn send_command(&mut self, context_id: u8, command: &CommandSet) -> Result<(), UlError> {
        let mut out = BytesMut::new();
        self.put_part(&mut out, context_id, MessagePart::Command, &command.encode());
        self.write(&out).await
    }

    /// A command with a data set that is small enough to be held, such as an identifier; in one
    /// write.
    pub async fn send_message(
        &mut self,
        context_id: u8,
        command: CommandSet,
        data_set: &[u8],
    ) -> Result<(), UlError> {
        let (command, mut out) = (command.announcing_data_set(), BytesMut::new());
        self.put_part(&mut out, context_id, MessagePart::Command, &command.encode());
        self.put_part(&mut out, context_id, MessagePart::DataSet, data_set);
        self.write(&out).await
    }

    /// An empty part is one empty fragment.
    fn put_part(&self, out: &mut BytesMut, context_id: u8, part: MessagePart, bytes: &[u8]) {
        let mut left = bytes;
        loop {
            let (chunk, rest) = left.split_at(left.len().min(self.payload_bytes_max()));
            put_p_data_header(out, context_id, part, rest.is_empty(), chunk.len());
            out.put_slice(chunk);
            left = rest;
            if left.is_empty() {
                return;
            }
        }
    }

    /// The data set of a command that announced it, read to its end and never held whole; one
    /// write per PDU.
    pub async fn send_data_set<R: AsyncRead + Unpin>(
        &mut self,
        context_id: u8,
        data_set: &mut R,
    ) -> Result<(), UlError> {
        let (mut current, mut next) = (BytesMut::new(), BytesMut::new());
        self.fill_pdu(&mut current, data_set).await?;
        loop {
            self.fill_pdu(&mut next, data_set).await?;
            let (length, last) = (current.len() - P_DATA_HEADER_BYTES, next.len() == P_DATA_HEADER_BYTES);
            let mut header = &mut current[..P_DATA_HEADER_BYTES];
            put_p_data_header(&mut header, context_id, MessagePart::DataSet, last, length);
            self.write(&current).await?;
            if last {
                return Ok(());
            }
            std::mem::swap(&mut current, &mut next);
        }
    }

    /// Room for a header and what the data set still has, as much as a PDU takes.
    async fn fill_pdu<R: AsyncRead + Unpin>(
        &self,
        pdu: &mut BytesMut,
        data_set: &mut R,
    ) -> Result<(), UlError> {
        pdu.clear();
        pdu.put_bytes(0, P_DATA_HEADER_BYTES);
        let mut payload = data_set.take(self.payload_bytes_max() as u64);
        while payload.read_buf(pdu).await.map_err(UlError::Source)? > 0 {}
        Ok(())
    }

    /// Writes what [`put_p_data_header`] and its payload made up.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), UlError> {
        let stream = self.framed.get_mut();
        // TLS keeps what the socket did not take; only a flush says that it is gone.
        let written = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        match timeout(self.patience, written).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(UlError::TimedOut(self.patience)),
        }
    }

    /// State 13 of PS3.8 9.2: waits for the peer to close, so that what was sent last is not
    /// lost to a reset, and then closes.
    pub async fn close(mut self, artim: Duration) {
        let stream = self.framed.get_mut();
        // The peer may be gone already, and there is no further step to fail.
        let _ = timeout(artim, discard(stream)).await;
        // Under TLS this writes, and who does not read could hold it up.
        let _ = timeout(artim, stream.shutdown()).await;
    }
}

impl Pace {
    fn after(self, waited: Duration) -> Self {
        Self { waited: self.waited + waited, ..self }
    }
}

async fn discard<S: Transport>(stream: &mut S) -> io::Result<u64> {
    tokio::io::copy(stream, &mut tokio::io::sink()).await
}

/// The headers of a P-DATA-TF with one value of `length` bytes, PS3.8 9.3.5.
pub fn put_p_data_header(
    out: &mut impl BufMut,
    context_id: u8,
    part: MessagePart,
    last: bool,
    length: usize,
) {
    let length = (length + PDV_HEADER_BYTES) as u32;
    out.put_slice(&[4, 0]);
    out.put_u32(length);
    out.put_u32(length - 4);
    out.put_u8(context_id);
    out.put_u8(u8::from(part == MessagePart::Command) | u8::from(last) << 1);
}

/// The Maximum Length that a negotiation PDU announces, 0 when it does not (PS3.8 D.1).
pub fn maximum_length(user_variables: &[dicom_ul::pdu::UserVariableItem]) -> u32 {
    let length = |item: &dicom_ul::pdu::UserVariableItem| match item {
        dicom_ul::pdu::UserVariableItem::MaxLength(length) => Some(*length),
        _ => None,
    };
    user_variables.iter().find_map(length).unwrap_or(0)
}
