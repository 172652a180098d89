//! Avro's binary encoding of the types that our records are made of, without a value tree between.
//!
//! [`Put`] appends a value's bytes; [`Get`] takes them from the front of a slice and is right only for bytes that were
//! written under the present schema (compare the schema id first; `decode` reads any version). Nothing is allocated that
//! the input does not hold.

/// Appends its own Avro encoding. Cannot fail: the type is the schema.
pub trait Put {
    fn put(&self, out: &mut Vec<u8>);
}

/// Takes its own Avro encoding from the front of `from`; `None` if that is something else.
pub trait Get: Sized {
    fn get(from: &mut &[u8]) -> Option<Self>;
}

impl Put for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        let mut rest = ((*self << 1) ^ (*self >> 63)).cast_unsigned();
        while rest > 0x7f {
            out.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
}

impl Get for i64 {
    fn get(from: &mut &[u8]) -> Option<Self> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *from.split_off_first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        None
    }
}

impl Put for i32 {
    fn put(&self, out: &mut Vec<u8>) {
        i64::from(*self).put(out);
    }
}

impl Get for i32 {
    fn get(from: &mut &[u8]) -> Option<Self> {
        i64::get(from)?.try_into().ok()
    }
}

impl Put for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Get for bool {
    fn get(from: &mut &[u8]) -> Option<Self> {
        match from.split_off_first()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Put for str {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }
}

impl Put for String {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_str().put(out);
    }
}

impl Get for String {
    fn get(from: &mut &[u8]) -> Option<Self> {
        str::from_utf8(get_bytes(from)?).ok().map(str::to_owned)
    }
}

/// A union of null and `T`, null first.
impl<T: Put> Put for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                value.put(out);
            }
        }
    }
}

impl<T: Get> Get for Option<T> {
    fn get(from: &mut &[u8]) -> Option<Self> {
        match i64::get(from)? {
            0 => Some(None),
            1 => T::get(from).map(Some),
            _ => None,
        }
    }
}

/// An array, in one block.
impl<T: Put> Put for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            // No vector is longer than i64::MAX.
            (self.len() as i64).put(out);
            self.iter().for_each(|item| item.put(out));
        }
        out.push(0);
    }
}

/// An array, in any number of blocks.
impl<T: Get> Get for Vec<T> {
    fn get(from: &mut &[u8]) -> Option<Self> {
        let mut items = Self::new();
        loop {
            let count = i64::get(from)?;
            if count < 0 {
                // A negative count is followed by the block's length in bytes.
                i64::get(from)?;
            }
            if count == 0 {
                return Some(items);
            }
            for _ in 0..count.unsigned_abs() {
                items.push(T::get(from)?);
            }
        }
    }
}

pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    // No slice is longer than i64::MAX.
    (bytes.len() as i64).put(out);
    out.extend_from_slice(bytes);
}

pub(crate) fn get_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(i64::get(from)?).ok()?;
    from.split_off(..len)
}

/// A struct whose fields are the fields of an Avro record, all of them and in its order.
macro_rules! record {
    ($(#[$about:meta])* $name:ident { $($(#[$field_about:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $($(#[$field_about])* pub $field: $type,)*
        }

        impl crate::records::Put for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)*
            }
        }

        impl crate::records::Get for $name {
            fn get(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: crate::records::Get::get(from)?,)* })
            }
        }
    };
}
pub(crate) use record;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_as_in_avros_specification() {
        for (value, bytes) in [
            (0_i64, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ] {
            let mut out = Vec::new();
            value.put(&mut out);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(i64::get(&mut out.as_slice()), Some(value));
        }
        assert_eq!(i64::get(&mut &[0x80; 11][..]), None, "longer than 64 bits");
    }

    #[test]
    fn what_is_cut_off_or_lies_about_its_length_is_refused() {
        let mut out = Vec::new();
        vec!["ab".to_owned(), "c".to_owned()].put(&mut out);
        for len in 0..out.len() {
            assert_eq!(Vec::<String>::get(&mut &out[..len]), None, "{len}");
        }
        assert_eq!(Vec::<String>::get(&mut &[0xfe, 0xff, 0xff, 0xff, 0xf, 2, b'a'][..]), None);
        assert_eq!(String::get(&mut &[3, b'a'][..]), None, "negative length");
        assert_eq!(String::get(&mut &[2, 0xff][..]), None, "no UTF-8");
        // Two blocks, one of them with its length in bytes.
        assert_eq!(Vec::<i64>::get(&mut &[1, 2, 2, 2, 4, 0][..]), Some(vec![1, 2]));
    }
}
