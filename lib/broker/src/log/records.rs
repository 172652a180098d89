//! The records inside a batch, as far as the broker must look: for a time, and for keys when it compacts.
//!
//! In: one batch of any codec; out: records that share the memory of the plain batch.

use bytes::Bytes;

use super::batch::{HEADER_BYTES, Header};
use super::decompress::decompress;

/// One record: its offset and time, and where its parts lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    /// The whole record with its length, as it is in the plain batch.
    pub(crate) raw: Bytes,
}

/// The records of a batch; `None` if it cannot be unpacked or does not hold what its header says.
pub(crate) fn records(batch: &Bytes) -> Option<Vec<Record>> {
    let header = Header::parse(batch).ok()?;
    if header.size != batch.len() {
        return None;
    }
    let plain = decompress(header.codec(), &batch.slice(HEADER_BYTES..)).ok()?;
    let mut at = 0;
    let count = usize::try_from(header.record_count).ok()?;
    let mut found = Vec::with_capacity(count.min(plain.len() / 7));
    for _ in 0..count {
        let from = at;
        let length = usize::try_from(varint(&plain, &mut at)?).ok()?;
        let end = at.checked_add(length).filter(|end| *end <= plain.len())?;
        at += 1; // attributes
        let timestamp = header.base_timestamp.checked_add(varint(&plain, &mut at)?)?;
        let offset = header.base_offset.checked_add(varint(&plain, &mut at)?)?;
        let (key, value) = (piece(&plain, &mut at, end)?, piece(&plain, &mut at, end)?);
        let timestamp = if header.has_append_time() { header.max_timestamp } else { timestamp };
        found.push(Record { offset, timestamp, key, value, raw: plain.slice(from..end) });
        at = end;
    }
    Some(found)
}

/// Offset and time of the first record at or after a time; of a batch that cannot be unpacked, its first offset.
pub(crate) fn first_since(batch: &Bytes, time: i64) -> Option<(i64, i64)> {
    match records(batch) {
        Some(records) => {
            records.iter().find(|record| record.timestamp >= time).map(|record| (record.offset, record.timestamp))
        }
        None => Header::parse(batch).ok().map(|header| (header.base_offset, header.max_timestamp)),
    }
}

/// What has its length in front, or `None` inside where that is negative.
fn piece(plain: &Bytes, at: &mut usize, end: usize) -> Option<Option<Bytes>> {
    let Ok(length) = usize::try_from(varint(plain, at)?) else { return Some(None) };
    let piece_end = at.checked_add(length).filter(|piece_end| *piece_end <= end)?;
    let piece = plain.slice(*at..piece_end);
    *at = piece_end;
    Some(Some(piece))
}

/// A zigzag varint of up to 64 bits.
fn varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::marker;

    #[test]
    fn a_marker_has_one_record() {
        let batch = marker(5, 1, 0, true, 99);
        let records = records(&batch).unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].offset, records[0].timestamp), (5, 99));
        assert_eq!(first_since(&batch, 99), Some((5, 99)));
    }

    #[test]
    fn a_batch_that_lies_about_its_records_is_not_read() {
        let mut batch = marker(5, 1, 0, true, 99).to_vec();
        batch[60] = 200;
        assert_eq!(records(&Bytes::from(batch)), None);
    }
}
