//! Normalize's own compact binary form for what it keeps in state and fragments: Avro's variable-length integers and
//! length-prefixed bytes, without a schema. Reading never panics: damaged input is a [`Damaged`].

/// The bytes are not what this version wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored bytes are damaged or of another version")]
pub struct Damaged;

/// Appends an integer, zigzag and variable length.
pub fn put_int(out: &mut Vec<u8>, value: i64) {
    #[allow(clippy::cast_sign_loss)]
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        #[allow(clippy::cast_possible_truncation)]
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    #[allow(clippy::cast_possible_truncation)]
    out.push(rest as u8);
}

/// Appends a length.
pub fn put_len(out: &mut Vec<u8>, len: usize) {
    put_int(out, i64::try_from(len).unwrap_or(i64::MAX));
}

pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub fn put_option(out: &mut Vec<u8>, value: Option<i64>) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put_int(out, value);
        }
    }
}

/// Reads what the `put_` functions wrote.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// # Errors
    /// [`Damaged`] at the end of input.
    pub fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.rest.split_first().ok_or(Damaged)?;
        self.rest = rest;
        Ok(*first)
    }

    /// # Errors
    /// [`Damaged`] at the end of input or for more than 64 bits.
    pub fn int(&mut self) -> Result<i64, Damaged> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                #[allow(clippy::cast_possible_wrap)]
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(Damaged)
    }

    /// A count of things of which each takes at least one byte.
    ///
    /// # Errors
    /// [`Damaged`] if it cannot be.
    pub fn len(&mut self) -> Result<usize, Damaged> {
        let len = usize::try_from(self.int()?).map_err(|_| Damaged)?;
        if len > self.rest.len() { Err(Damaged) } else { Ok(len) }
    }

    /// # Errors
    /// [`Damaged`] if there are fewer.
    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let len = self.len()?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    /// # Errors
    /// [`Damaged`] if it is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    /// # Errors
    /// [`Damaged`] for another tag than 0 and 1.
    pub fn option(&mut self) -> Result<Option<i64>, Damaged> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.int().map(Some),
            _ => Err(Damaged),
        }
    }

    /// Eight bytes, big end first.
    ///
    /// # Errors
    /// [`Damaged`] at the end of input.
    pub fn fixed(&mut self) -> Result<u64, Damaged> {
        let (head, rest) = self.rest.split_first_chunk::<8>().ok_or(Damaged)?;
        self.rest = rest;
        Ok(u64::from_be_bytes(*head))
    }

    /// # Errors
    /// [`Damaged`] for another byte than 0 and 1.
    pub fn flag(&mut self) -> Result<bool, Damaged> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged),
        }
    }
}
