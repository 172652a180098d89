//! The letters of JSON: spaces, texts, numbers, escapes; checked, and given as spans.

use super::{Fault, JsonError, Kind};

/// Where the reading stands.
pub(super) struct Scan<'t> {
    pub(super) bytes: &'t [u8],
    pub(super) at: usize,
}

impl Scan<'_> {
    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[cold]
    pub(super) fn fault(&self, what: &'static str) -> JsonError {
        JsonError { fault: Fault::Syntax(what), at: self.at }
    }

    #[inline(always)]
    pub(super) fn space(&mut self) {
        while let Some(byte) = self.peek() {
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return;
            }
            self.at += 1;
        }
    }

    /// From the opening quote to behind the closing one: (from, to, has escapes) of what is between.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Result<(usize, usize, bool), JsonError> {
        let from = self.at + 1;
        let to = plain_run(self.bytes, from);
        if self.bytes.get(to) == Some(&b'"') {
            self.at = to + 1;
            return Ok((from, to, false));
        }
        let to = Scan { bytes: self.bytes, at: to }.escaped()?;
        self.at = to + 1;
        Ok((from, to, true))
    }

    /// From the first escape of a text to its closing quote: where that stands.
    #[inline(never)]
    fn escaped(mut self) -> Result<usize, JsonError> {
        loop {
            match self.peek() {
                Some(b'"') => return Ok(self.at),
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.fault("a control character inside a text")),
                None => return Err(self.fault("a text that does not end")),
            }
            self.at = plain_run(self.bytes, self.at);
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                match self.hex4()? {
                    0xD800..=0xDBFF => {
                        if self.bytes.get(self.at..self.at + 2) != Some(b"\\u") {
                            return Err(self.fault("a surrogate without its pair"));
                        }
                        self.at += 2;
                        match self.hex4()? {
                            0xDC00..=0xDFFF => Ok(()),
                            _ => Err(self.fault("a surrogate without its pair")),
                        }
                    }
                    0xDC00..=0xDFFF => Err(self.fault("a surrogate without its pair")),
                    _ => Ok(()),
                }
            }
            _ => Err(self.fault("an escape that JSON does not have")),
        }
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.bytes.get(self.at..self.at + 4).unwrap_or_default();
        let mut value = 0;
        for digit in digits {
            let Some(digit) = char::from(*digit).to_digit(16) else {
                return Err(self.fault("\\u needs four hexadecimal digits"));
            };
            value = value * 16 + digit;
        }
        if digits.len() < 4 {
            return Err(self.fault("\\u needs four hexadecimal digits"));
        }
        self.at += 4;
        Ok(value)
    }

    #[inline(always)]
    pub(super) fn word(&mut self, word: &'static [u8], kind: Kind) -> Result<Kind, JsonError> {
        if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(kind);
        }
        Err(self.fault("expected a value"))
    }

    #[inline(always)]
    pub(super) fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => {
                self.digits();
            }
            _ => return Err(self.fault("a number without digits")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !self.digits() {
                return Err(self.fault("a number without digits after the point"));
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if !self.digits() {
                return Err(self.fault("a number without digits in the exponent"));
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn digits(&mut self) -> bool {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at > from
    }
}

/// Where the first byte stands that needs a look: a quote, a backslash, a control character, or the end.
#[inline(always)]
fn plain_run(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*block);
        // A quote is 0x22. With this bit turned it and the control characters are all that is below 0x21.
        let quotes_and_controls = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
        let backslashes = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        let stops = (quotes_and_controls | backslashes) & !word & TOPS;
        if stops != 0 {
            // The lowest flag is exact; those above it may be echoes of a borrow.
            return at + stops.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(byte) = bytes.get(at) {
        if *byte == b'"' || *byte == b'\\' || *byte < 0x20 {
            break;
        }
        at += 1;
    }
    at
}

/// Appends the meaning of a span that `parse` has accepted.
pub(crate) fn unescape(raw: &str, out: &mut String) {
    out.reserve(raw.len());
    pieces(raw, |piece| out.push_str(piece));
}

/// The meaning of a span that `parse` has accepted, piece by piece.
pub(super) fn pieces(raw: &str, mut give: impl FnMut(&str)) {
    let mut rest = raw;
    loop {
        let (plain, escape) = rest.split_at(plain_run(rest.as_bytes(), 0).min(rest.len()));
        give(plain);
        let mut letters = escape.chars();
        if letters.next().is_none() {
            return;
        }
        let meant = match letters.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let high = take_hex4(&mut letters);
                let code = if (0xD800..0xDC00).contains(&high) {
                    letters.next();
                    letters.next();
                    0x10000 + ((high - 0xD800) << 10) + (take_hex4(&mut letters).wrapping_sub(0xDC00) & 0x3FF)
                } else {
                    high
                };
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            Some(other) => other,
            None => return,
        };
        give(meant.encode_utf8(&mut [0; 4]));
        rest = letters.as_str();
    }
}

fn take_hex4(letters: &mut std::str::Chars<'_>) -> u32 {
    let Some((digits, rest)) = letters.as_str().split_at_checked(4) else { return 0 };
    *letters = rest.chars();
    digits.bytes().fold(0, |value, digit| value * 16 + char::from(digit).to_digit(16).unwrap_or(0))
}
