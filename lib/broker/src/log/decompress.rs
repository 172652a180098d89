//! The five codecs of Kafka's batches, one way only: to look at keys and times.
//!
//! In: the records part of a batch and its codec; out: the plain records. What would grow beyond [`LIMIT_BYTES`] is refused.

use std::io::{self, Read};

use bytes::Bytes;

/// Batches are limited to a request; this is what one may unfold to.
const LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// Three bytes of snappy stand for 64 at most.
const SNAPPY_GROWTH: usize = 64 / 3 + 1;

const XERIAL_MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;

pub(crate) fn decompress(codec: i16, bytes: &Bytes) -> io::Result<Bytes> {
    match codec {
        0 => Ok(bytes.clone()),
        1 => read_all(flate2::read::MultiGzDecoder::new(bytes.as_ref())),
        2 => snappy(bytes),
        3 => read_all(lz4_flex::frame::FrameDecoder::new(bytes.as_ref())),
        4 => read_all(zstd::stream::read::Decoder::new(bytes.as_ref())?),
        _ => Err(invalid("unknown codec")),
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn read_all(reader: impl Read) -> io::Result<Bytes> {
    let mut plain = Vec::new();
    reader.take(LIMIT_BYTES + 1).read_to_end(&mut plain)?;
    if plain.len() as u64 > LIMIT_BYTES {
        return Err(invalid("too large when decompressed"));
    }
    Ok(plain.into())
}

/// Java's clients write blocks with a header of their own around snappy's format, librdkafka one plain block.
fn snappy(bytes: &[u8]) -> io::Result<Bytes> {
    if !bytes.starts_with(XERIAL_MAGIC) {
        return snappy_block(bytes).map(Bytes::from);
    }
    let mut rest = bytes.get(XERIAL_HEADER_BYTES..).unwrap_or_default();
    let mut plain = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let block = behind.get(..length).ok_or_else(|| invalid("a snappy block is cut short"))?;
        plain.extend_from_slice(&snappy_block(block)?);
        if plain.len() as u64 > LIMIT_BYTES {
            return Err(invalid("too large when decompressed"));
        }
        rest = behind.get(length..).unwrap_or_default();
    }
    Ok(plain.into())
}

fn snappy_block(block: &[u8]) -> io::Result<Vec<u8>> {
    let length = snap::raw::decompress_len(block).map_err(|_| invalid("a snappy block is damaged"))?;
    if length as u64 > LIMIT_BYTES {
        return Err(invalid("too large when decompressed"));
    }
    // The decoder takes memory for the length that a block announces.
    if length > block.len().saturating_mul(SNAPPY_GROWTH) {
        return Err(invalid("a snappy block is damaged"));
    }
    snap::raw::Decoder::new().decompress_vec(block).map_err(|_| invalid("a snappy block is damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framed_and_plain_snappy_are_read() {
        let text = b"abcabcabcabc".repeat(10);
        let block = snap::raw::Encoder::new().compress_vec(&text).unwrap();
        assert_eq!(decompress(2, &Bytes::from(block.clone())).unwrap(), text);
        let mut framed = XERIAL_MAGIC.to_vec();
        framed.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        for _ in 0..2 {
            framed.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
            framed.extend_from_slice(&block);
        }
        assert_eq!(decompress(2, &Bytes::from(framed)).unwrap(), [text.clone(), text].concat());
    }

    #[test]
    fn a_snappy_block_is_read_up_to_its_best_growth_and_not_by_what_it_announces() {
        let zeros = vec![0; 1 << 20];
        let block = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
        assert_eq!(decompress(2, &Bytes::from(block)).unwrap(), zeros);
        // 256 MiB, in five bytes.
        assert!(decompress(2, &Bytes::from_static(&[0x80, 0x80, 0x80, 0x80, 0x01])).is_err());
    }

    #[test]
    fn what_unfolds_without_end_is_refused() {
        let zeros = io::Read::take(io::repeat(0), LIMIT_BYTES + 10);
        assert!(read_all(zeros).is_err());
    }
}
