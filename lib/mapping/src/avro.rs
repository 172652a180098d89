//! Avro binary encoding of single values, appended to a buffer; and how to step over an encoded value.
//!
//! Byte-equal with apache-avro: arrays are one block without a byte size.

/// Appends a zigzag varint: Avro's `int`, `long`, enum index, union index and lengths.
#[inline]
pub fn put_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

/// Appends `bytes` with their length: Avro's `bytes` and `string`.
#[inline]
pub fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(bytes.len()) {
        Ok(few @ 0..64) => out.push(few * 2),
        _ => put_long(i64::try_from(bytes.len()).unwrap_or(i64::MAX), out),
    }
    out.extend_from_slice(bytes);
}

/// Appends what is most often a single byte or nothing, as a union's index is.
#[inline]
pub(crate) fn put_short(bytes: &[u8], out: &mut Vec<u8>) {
    match bytes {
        [] => {}
        [byte] => out.push(*byte),
        more => out.extend_from_slice(more),
    }
}

/// Appends a decimal's unscaled value: the shortest two's complement, big end first.
pub fn put_decimal(unscaled: i128, out: &mut Vec<u8>) {
    let bytes = unscaled.to_be_bytes();
    let sign = if unscaled < 0 { 0xff } else { 0 };
    let mut start = 0;
    while start < 15 && bytes[start] == sign && (bytes[start + 1] ^ sign) & 0x80 == 0 {
        start += 1;
    }
    put_bytes(&bytes[start..], out);
}

/// Keeps a byte free for the count of an array; its items follow. Gives where it stands.
pub(crate) fn begin_array(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len() - 1
}

/// Ends the array that began at `from`.
pub(crate) fn end_array(count: usize, from: usize, out: &mut Vec<u8>) {
    match u8::try_from(count) {
        // The free byte is the end of an array without items.
        Ok(0) => return,
        Ok(few @ 1..64) => out[from] = few * 2,
        _ => {
            let end = out.len();
            put_long(i64::try_from(count).unwrap_or(i64::MAX), out);
            let width = out.len() - end;
            out[from + 1..].rotate_right(width);
            out.remove(from);
        }
    }
    out.push(0);
}

/// Frames `count` items that stand in `out` from `from` on as an array.
pub fn put_array(count: usize, from: usize, out: &mut Vec<u8>) {
    if count > 0 {
        let end = out.len();
        put_long(i64::try_from(count).unwrap_or(i64::MAX), out);
        // The count is written behind the items and turned to the front.
        let width = out.len() - end;
        out[from..].rotate_right(width);
    }
    out.push(0);
}

/// Reads a zigzag varint from the front of `bytes`; none has more than 64 bits.
#[must_use]
pub fn read_long(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            if index == 9 && *byte > 1 {
                return None;
            }
            *bytes = &bytes[index + 1..];
            return Some((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg());
        }
    }
    None
}

/// Reads a length and that many bytes.
#[must_use]
pub fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(read_long(bytes)?).ok()?;
    let (head, tail) = bytes.split_at_checked(length)?;
    *bytes = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_read_back_at_every_width() {
        for shift in 0..64 {
            for value in
                [1_i64 << shift, (1_i64 << shift).wrapping_neg(), (1_i64 << shift).wrapping_sub(1), i64::MIN, i64::MAX]
            {
                let mut out = Vec::new();
                put_long(value, &mut out);
                let mut rest = out.as_slice();
                assert_eq!(read_long(&mut rest), Some(value));
                assert!(rest.is_empty());
            }
        }
    }

    #[test]
    fn a_long_of_more_than_64_bits_is_none() {
        let of = |last: u8| read_long(&mut [[0x80; 9].as_slice(), &[last]].concat().as_slice());
        assert_eq!((of(1), of(2), of(0x81)), (Some(1 << 62), None, None));
    }

    #[test]
    fn decimals_are_the_shortest_form() {
        for (value, bytes) in [
            (0_i128, vec![0]),
            (127, vec![0x7f]),
            (128, vec![0, 0x80]),
            (-128, vec![0x80]),
            (-129, vec![0xff, 0x7f]),
            (8_000_000, vec![0x7a, 0x12, 0]),
        ] {
            let mut out = Vec::new();
            put_decimal(value, &mut out);
            assert_eq!(&out[1..], bytes, "{value}");
        }
    }

    #[test]
    fn both_ways_of_framing_an_array_agree() {
        for count in [0, 1, 63, 64, 65, 10_000] {
            let (mut one, mut other) = (vec![7], vec![7]);
            let from = begin_array(&mut other);
            for item in 0..count {
                put_long(item, &mut one);
                put_long(item, &mut other);
            }
            put_array(count as usize, 1, &mut one);
            end_array(count as usize, from, &mut other);
            assert_eq!(one, other, "{count}");
        }
    }

    #[test]
    fn an_array_of_many_items_has_its_count_in_front() {
        let mut out = vec![9];
        for _ in 0..100 {
            put_long(1, &mut out);
        }
        put_array(100, 1, &mut out);
        assert_eq!(out[..4], [9, 0xc8, 0x01, 2]);
        assert_eq!(out.len(), 1 + 2 + 100 + 1);
        assert_eq!(out.last(), Some(&0));
    }
}
