//! Record batches of format 2, as they travel and as they are stored: the header read in place, the records untouched.
//!
//! In: the bytes of one batch; out: its [`Header`], a copy placed at its offset, or a transaction marker.
//! The CRC covers everything behind it, so base offset and leader epoch may be written without a new one.

use bytes::Bytes;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 61;
const CRC_FROM: usize = 21;
const TIMESTAMP_TYPE: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// The bits of the attributes that name the codec.
pub(crate) const CODEC: i16 = 7;
pub(crate) const NO_PRODUCER: i64 = -1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    #[error("the batch is cut short or its lengths disagree")]
    Truncated,
    #[error("the batch is of an old message format")]
    OldFormat,
    #[error("the batch fails its checksum")]
    Checksum,
    #[error("the batch contradicts itself")]
    Invalid,
}

/// The fixed fields of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    /// Bytes of the whole batch, header included.
    pub(crate) size: usize,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: i32,
}

impl Header {
    /// Reads the header at the front of `bytes`, which may go on behind the batch or stop inside its records.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() >= 17 && bytes[16] != 2 {
            return Err(BatchError::OldFormat);
        }
        if bytes.len() < HEADER_BYTES {
            return Err(BatchError::Truncated);
        }
        let length = i32_at(bytes, 8);
        let size = usize::try_from(length).map_err(|_| BatchError::Truncated)? + 12;
        if size < HEADER_BYTES {
            return Err(BatchError::Truncated);
        }
        Ok(Self {
            base_offset: i64_at(bytes, 0),
            size,
            attributes: i16_at(bytes, 21),
            last_offset_delta: i32_at(bytes, 23),
            base_timestamp: i64_at(bytes, 27),
            max_timestamp: i64_at(bytes, 35),
            producer_id: i64_at(bytes, 43),
            producer_epoch: i16_at(bytes, 51),
            base_sequence: i32_at(bytes, 53),
            record_count: i32_at(bytes, 57),
        })
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    pub(crate) fn last_sequence(&self) -> i32 {
        // Sequences wrap from i32::MAX to 0.
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        i32::try_from(last % (i64::from(i32::MAX) + 1)).unwrap_or(0)
    }

    pub(crate) fn codec(&self) -> i16 {
        self.attributes & CODEC
    }

    /// The records carry the time at which the broker appended them.
    pub(crate) fn has_append_time(&self) -> bool {
        self.attributes & TIMESTAMP_TYPE != 0
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub(crate) fn has_producer(&self) -> bool {
        self.producer_id != NO_PRODUCER
    }
}

/// Checks a batch that a client sent: one whole batch, right checksum, nothing that only a broker may write.
pub(crate) fn check(bytes: &[u8]) -> Result<Header, BatchError> {
    let header = Header::parse(bytes)?;
    if header.size != bytes.len() {
        return Err(BatchError::Truncated);
    }
    if !is_sound(&header, bytes) {
        return Err(BatchError::Checksum);
    }
    let producer_ok = if header.has_producer() {
        header.producer_id >= 0 && header.producer_epoch >= 0 && header.base_sequence >= 0
    } else {
        !header.is_transactional()
    };
    let count_ok = header.record_count >= 1 && header.last_offset_delta == header.record_count - 1;
    if header.is_control() || !producer_ok || !count_ok || header.codec() > 4 {
        return Err(BatchError::Invalid);
    }
    Ok(header)
}

/// Whether a batch of this header is whole and has the right checksum.
pub(crate) fn is_sound(header: &Header, bytes: &[u8]) -> bool {
    let crc = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let crc = u32::from_be_bytes([crc(17), crc(18), crc(19), crc(20)]);
    header.size == bytes.len() && crc32c::crc32c(bytes.get(CRC_FROM..).unwrap_or_default()) == crc
}

/// A copy of the batch at its place in the log; with `append_time_ms` its records carry that time.
pub(crate) fn place(bytes: &[u8], base_offset: i64, append_time_ms: Option<i64>) -> Bytes {
    let mut placed = bytes.to_vec();
    placed[0..8].copy_from_slice(&base_offset.to_be_bytes());
    placed[12..16].copy_from_slice(&0i32.to_be_bytes());
    if let Some(time) = append_time_ms {
        let attributes = i16_at(&placed, 21) | TIMESTAMP_TYPE;
        placed[21..23].copy_from_slice(&attributes.to_be_bytes());
        placed[35..43].copy_from_slice(&time.to_be_bytes());
        seal(&mut placed);
    }
    Bytes::from(placed)
}

/// The control batch that ends a transaction in one partition.
pub(crate) fn marker(
    base_offset: i64,
    producer_id: i64,
    producer_epoch: i16,
    commit: bool,
    timestamp_ms: i64,
) -> Bytes {
    let mut record = vec![0u8, 0, 0]; // attributes, timestamp delta, offset delta
    record.push(4 << 1); // key length as a zigzag varint
    record.extend_from_slice(&0i16.to_be_bytes());
    record.extend_from_slice(&i16::from(commit).to_be_bytes());
    record.push(6 << 1);
    record.extend_from_slice(&0i16.to_be_bytes());
    record.extend_from_slice(&0i32.to_be_bytes());
    record.push(0); // no headers
    let fields = Header {
        base_offset,
        size: HEADER_BYTES + 1 + record.len(),
        attributes: TRANSACTIONAL | CONTROL,
        last_offset_delta: 0,
        base_timestamp: timestamp_ms,
        max_timestamp: timestamp_ms,
        producer_id,
        producer_epoch,
        base_sequence: -1,
        record_count: 1,
    };
    let mut records = vec![u8::try_from(record.len() << 1).unwrap_or(0)];
    records.extend_from_slice(&record);
    assemble(&fields, &records)
}

/// Whether a marker commits; `None` if the batch is no such marker.
pub(crate) fn marker_commits(bytes: &[u8]) -> Option<bool> {
    let record = bytes.get(HEADER_BYTES..)?;
    // length, attributes, two deltas, key length, key version, key type: all of fixed width in what `marker` writes.
    let kind = record.get(7..9)?;
    Some(i16::from_be_bytes([kind[0], kind[1]]) == 1)
}

/// A batch from its header and its records, with length and checksum set.
pub(crate) fn assemble(header: &Header, records: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + records.len());
    let length = i32::try_from(HEADER_BYTES - 12 + records.len()).unwrap_or(i32::MAX);
    bytes.extend_from_slice(&header.base_offset.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&0i32.to_be_bytes());
    bytes.push(2);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&header.attributes.to_be_bytes());
    bytes.extend_from_slice(&header.last_offset_delta.to_be_bytes());
    bytes.extend_from_slice(&header.base_timestamp.to_be_bytes());
    bytes.extend_from_slice(&header.max_timestamp.to_be_bytes());
    bytes.extend_from_slice(&header.producer_id.to_be_bytes());
    bytes.extend_from_slice(&header.producer_epoch.to_be_bytes());
    bytes.extend_from_slice(&header.base_sequence.to_be_bytes());
    bytes.extend_from_slice(&header.record_count.to_be_bytes());
    bytes.extend_from_slice(records);
    seal(&mut bytes);
    Bytes::from(bytes)
}

fn seal(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    (i64::from(i32_at(bytes, at)) << 32) | i64::from(i32_at(bytes, at + 4) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_reads_back_as_what_it_ends() {
        for commit in [true, false] {
            let bytes = marker(7, 1000, 3, commit, 42);
            let header = Header::parse(&bytes).unwrap();
            assert_eq!((header.base_offset, header.size, header.producer_id), (7, bytes.len(), 1000));
            assert!(header.is_control() && header.is_transactional());
            assert_eq!(marker_commits(&bytes), Some(commit));
        }
    }

    #[test]
    fn a_flipped_bit_fails_the_check() {
        let header = Header {
            base_offset: 0,
            size: 0,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp: 1,
            max_timestamp: 1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 1,
        };
        let good = assemble(&header, &[2, 0]);
        assert!(check(&good).is_ok());
        for at in CRC_FROM..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            assert_eq!(check(&bad), Err(BatchError::Checksum));
        }
        assert_eq!(check(&good[..good.len() - 1]), Err(BatchError::Truncated));
    }

    #[test]
    fn sequences_wrap() {
        let header = Header {
            base_offset: 0,
            size: 0,
            attributes: 0,
            last_offset_delta: 2,
            base_timestamp: 1,
            max_timestamp: 1,
            producer_id: 1,
            producer_epoch: 0,
            base_sequence: i32::MAX - 1,
            record_count: 3,
        };
        assert_eq!(header.last_sequence(), 0);
    }
}
