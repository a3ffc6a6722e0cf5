//! Cuts the byte stream into PDUs and P-DATA fragments, PS3.8 9.3.

use bytes::{Buf, Bytes, BytesMut};
use dicom_ul::pdu::{AbortRQSource, MAXIMUM_PDU_SIZE, Pdu, read_pdu};
use tokio_util::codec::Decoder;

use super::oddities::{Oddities, Oddity};
use super::{PDU_HEADER_BYTES, PDV_HEADER_BYTES, UlError, associate};

/// Room for 128 presentation contexts with about a hundred transfer syntaxes each; the
/// negotiated length bounds P-DATA only (PS3.8 D.1).
const NEGOTIATION_PDU_BYTES_MAX: u32 = 1 << 20;
/// Until a peer is known it gets a small buffer: silent connections are cheap that way.
const NEGOTIATION_READ_BYTES: usize = 4 << 10;
const A_ASSOCIATE_RQ: u8 = 0x01;
const A_ASSOCIATE_AC: u8 = 0x02;
const P_DATA_TF: u8 = 0x04;
const A_ABORT: u8 = 0x07;
/// The first byte of a TLS connection: the content type of a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// The next thing that a peer said.
#[derive(Debug)]
pub enum Incoming {
    /// Anything but P-DATA-TF.
    Pdu(Pdu),
    Fragment(Fragment),
}

/// One presentation data value, PS3.8 9.3.5.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    pub context_id: u8,
    pub part: MessagePart,
    /// Ends its command set or data set.
    pub last: bool,
    pub bytes: Bytes,
}

/// The message control header's bit 0, PS3.8 E.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessagePart {
    Command,
    DataSet,
}

#[derive(Debug)]
pub(super) struct PduDecoder {
    p_data_bytes_max: u32,
    read_bytes: usize,
    /// What is left of a P-DATA-TF that arrived with several values.
    values: Bytes,
    pub(super) oddities: Oddities,
}

impl PduDecoder {
    pub(super) fn new(p_data_bytes_max: u32) -> Self {
        Self {
            p_data_bytes_max,
            read_bytes: NEGOTIATION_READ_BYTES,
            values: Bytes::new(),
            oddities: Oddities::new(),
        }
    }

    /// From now on data is expected: one read may bring this much.
    pub(super) fn set_read_bytes(&mut self, read_bytes: usize) {
        self.read_bytes = read_bytes;
    }

    fn limit(&self, kind: u8) -> Result<u32, UlError> {
        match kind {
            P_DATA_TF => Ok(self.p_data_bytes_max),
            0x01..=A_ABORT => Ok(NEGOTIATION_PDU_BYTES_MAX),
            TLS_HANDSHAKE => Err(UlError::UnexpectedTls),
            unknown => Err(UlError::UnrecognizedPdu(unknown)),
        }
    }

    /// Refuses by the header alone, so that a false length costs no memory.
    fn announced(&self, header: &[u8; PDU_HEADER_BYTES]) -> Result<usize, UlError> {
        let [kind, _, length @ ..] = *header;
        let (length, limit) = (u32::from_be_bytes(length), self.limit(kind)?);
        if length > limit {
            return Err(UlError::PduTooLong { length, limit });
        }
        Ok(PDU_HEADER_BYTES + length as usize)
    }

    fn whole_pdu(&self, src: &mut BytesMut) -> Result<Option<Bytes>, UlError> {
        let missing = match src.first_chunk::<PDU_HEADER_BYTES>() {
            None => PDU_HEADER_BYTES,
            Some(header) => self.announced(header)?.saturating_sub(src.len()),
        };
        if missing > 0 {
            src.reserve(missing.min(self.read_bytes).max(self.read_bytes / 2));
            return Ok(None);
        }
        let length = src.first_chunk::<PDU_HEADER_BYTES>().map_or(Ok(0), |header| self.announced(header))?;
        Ok(Some(src.split_to(length).freeze()))
    }

    fn incoming(&mut self, mut pdu: Bytes) -> Result<Incoming, UlError> {
        let kind = pdu.first().copied();
        if kind == Some(P_DATA_TF) {
            pdu.advance(PDU_HEADER_BYTES);
            self.values = pdu;
            return self.next_value().map(Incoming::Fragment);
        }
        let variable = pdu.slice(PDU_HEADER_BYTES..);
        let read = match kind {
            Some(A_ASSOCIATE_RQ) => associate::request(variable, &mut self.oddities)?.into(),
            Some(A_ASSOCIATE_AC) => associate::acceptance(variable, &mut self.oddities)?.into(),
            // Whatever reason it gives, and however long it is.
            Some(A_ABORT) => short_pdu(pdu).unwrap_or(Pdu::AbortRQ { source: AbortRQSource::Reserved }),
            _ => short_pdu(pdu)?,
        };
        Ok(Incoming::Pdu(read))
    }

    fn next_value(&mut self) -> Result<Fragment, UlError> {
        if self.values.len() < PDV_HEADER_BYTES {
            return Err(UlError::Malformed("a presentation data value is cut off".into()));
        }
        // The length counts the context and the control byte, which make up 2.
        let length = (self.values.get_u32() as usize).checked_sub(2);
        let (context_id, control) = (self.values.get_u8(), self.values.get_u8());
        match length {
            Some(length) if length <= self.values.len() => {
                if length % 2 == 1 {
                    self.oddities.insert(Oddity::OddFragment);
                }
                Ok(Fragment::new(context_id, control, self.values.split_to(length)))
            }
            _ => Err(UlError::Malformed("a presentation data value is longer than its PDU".into())),
        }
    }
}

impl Fragment {
    fn new(context_id: u8, control: u8, bytes: Bytes) -> Self {
        let part = if control & 1 == 1 { MessagePart::Command } else { MessagePart::DataSet };
        Self { context_id, part, last: control & 2 == 2, bytes }
    }
}

/// A-ASSOCIATE-RJ, A-RELEASE-RQ, A-RELEASE-RP and A-ABORT, PS3.8 9.3.4 and 9.3.6 to 9.3.8.
fn short_pdu(pdu: Bytes) -> Result<Pdu, UlError> {
    match read_pdu(pdu, MAXIMUM_PDU_SIZE, false) {
        Ok(Some(pdu)) => Ok(pdu),
        Ok(None) => Err(UlError::Malformed("an item is longer than its PDU".into())),
        Err(error) => Err(UlError::Malformed(error.to_string())),
    }
}

impl Decoder for PduDecoder {
    type Item = Incoming;
    type Error = UlError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Incoming>, UlError> {
        if !self.values.is_empty() {
            return self.next_value().map(|fragment| Some(Incoming::Fragment(fragment)));
        }
        match self.whole_pdu(src)? {
            None => Ok(None),
            Some(pdu) => self.incoming(pdu).map(Some),
        }
    }

    /// A cut PDU and a clean end are the same to us: the peer is gone.
    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Incoming>, UlError> {
        match self.decode(src)? {
            None => Err(UlError::Closed),
            some => Ok(some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Option<Incoming>, UlError> {
        PduDecoder::new(1000).decode(&mut BytesMut::from(bytes))
    }

    fn fragment(context_id: u8, part: MessagePart, last: bool, bytes: &'static [u8]) -> Fragment {
        Fragment { context_id, part, last, bytes: Bytes::from_static(bytes) }
    }

    #[test]
    fn cuts_several_values_out_of_one_pdu() {
        let pdu = [4, 0, 0, 0, 0, 15, 0, 0, 0, 5, 1, 3, b'a', b'b', b'c', 0, 0, 0, 2, 3, 0];
        let (mut decoder, mut src) = (PduDecoder::new(1000), BytesMut::from(&pdu[..]));
        let mut next = || match decoder.decode(&mut src) {
            Ok(Some(Incoming::Fragment(fragment))) => Some(fragment),
            _ => None,
        };
        assert_eq!(next(), Some(fragment(1, MessagePart::Command, true, b"abc")));
        assert_eq!(next(), Some(fragment(3, MessagePart::DataSet, false, b"")));
        assert_eq!(next(), None);
    }

    #[test]
    fn refuses_a_length_before_the_bytes_are_there() {
        let error = decode(&[4, 0, 0xFF, 0xFF, 0xFF, 0xFF]).unwrap_err();
        assert!(matches!(error, UlError::PduTooLong { length: u32::MAX, limit: 1000 }), "{error}");
    }

    #[test]
    fn refuses_what_is_not_a_pdu() {
        assert!(matches!(decode(b"GET / HTTP/1.1\r\n"), Err(UlError::UnrecognizedPdu(b'G'))));
        assert!(matches!(decode(b"\x16\x03\x01\x02\0\x01"), Err(UlError::UnexpectedTls)));
        assert!(matches!(decode(&[0, 0, 0, 0, 0, 0]), Err(UlError::UnrecognizedPdu(0))));
    }

    #[test]
    fn refuses_values_that_do_not_fit_their_pdu() {
        for pdu in [
            &[4, 0, 0, 0, 0, 0][..],
            &[4, 0, 0, 0, 0, 6, 0, 0, 0, 1, 1, 2],
            &[4, 0, 0, 0, 0, 7, 0, 0, 0, 4, 1, 2, 9],
        ] {
            assert!(matches!(decode(pdu), Err(UlError::Malformed(_))), "{pdu:?}");
        }
    }

    #[test]
    fn an_abort_is_one_for_whatever_reason() {
        for pdu in [&[7, 0, 0, 0, 0, 4, 0, 0, 9, 9][..], &[7, 0, 0, 0, 0, 0]] {
            assert!(matches!(decode(pdu), Ok(Some(Incoming::Pdu(Pdu::AbortRQ { .. })))), "{pdu:?}");
        }
    }

    #[test]
    fn an_odd_fragment_is_taken_and_told() {
        let mut decoder = PduDecoder::new(1000);
        let mut src = BytesMut::from(&[4, 0, 0, 0, 0, 7, 0, 0, 0, 3, 1, 2, b'a'][..]);
        assert!(matches!(decoder.decode(&mut src), Ok(Some(Incoming::Fragment(_)))));
        assert!(decoder.oddities.contains(&Oddity::OddFragment));
    }

    #[test]
    fn waits_for_the_rest() {
        assert!(matches!(decode(&[5, 0, 0, 0, 0, 4, 0, 0]), Ok(None)));
        assert!(matches!(decode(&[5, 0, 0, 0, 0, 4, 0, 0, 0, 0]), Ok(Some(Incoming::Pdu(Pdu::ReleaseRQ)))));
    }
}
