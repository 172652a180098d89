//! Avro's binary encoding of the types that our records are made of: value in, bytes appended.

/// Appends its own Avro encoding. Cannot fail: the type is the schema.
pub trait Put {
    fn put(&self, out: &mut Vec<u8>);
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

impl Put for i32 {
    fn put(&self, out: &mut Vec<u8>) {
        i64::from(*self).put(out);
    }
}

impl Put for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Put for str {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }
}

impl Put for String {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_str().put(out);
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

/// An array, in one block.
impl<T: Put> Put for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_len(self.len(), out);
            self.iter().for_each(|item| item.put(out));
        }
        out.push(0);
    }
}

pub(crate) fn put_len(len: usize, out: &mut Vec<u8>) {
    // No buffer is longer than i64::MAX.
    (len as i64).put(out);
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
    };
}
pub(crate) use record;
