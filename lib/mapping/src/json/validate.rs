//! One scan that checks a text and keeps nothing: the floor that mapping is measured against.

use super::scan::Scan;
use super::{Kind, MAX_DEPTH};

/// Whether `bytes` are JSON in UTF-8, by the same decisions as the tape but for keys that stand twice.
pub(crate) fn validate(bytes: &[u8]) -> bool {
    if std::str::from_utf8(bytes).is_err() {
        return false;
    }
    let mut scan = Scan { bytes, at: 0 };
    scan.space();
    let whole = walk(&mut scan).is_some();
    scan.space();
    whole && scan.at == bytes.len()
}

fn walk(scan: &mut Scan<'_>) -> Option<()> {
    // A bit for each open container: set for an object.
    let (mut depth, mut objects) = (0, 0_u128);
    loop {
        // A value begins here.
        match scan.peek()? {
            b'"' => {
                scan.string().ok()?;
            }
            open @ (b'{' | b'[') => {
                if depth == MAX_DEPTH {
                    return None;
                }
                depth += 1;
                objects = objects << 1 | u128::from(open == b'{');
                scan.at += 1;
                scan.space();
                if scan.peek()? != open + 2 {
                    if open == b'{' {
                        key(scan)?;
                    }
                    continue;
                }
            }
            b'-' | b'0'..=b'9' => scan.number().ok()?,
            b't' => scan.word(b"true", Kind::True).ok().map(|_| ())?,
            b'f' => scan.word(b"false", Kind::False).ok().map(|_| ())?,
            b'n' => scan.word(b"null", Kind::Null).ok().map(|_| ())?,
            _ => return None,
        }
        // A value has ended, or an empty container is about to.
        loop {
            if depth == 0 {
                return Some(());
            }
            scan.space();
            let is_object = objects & 1 == 1;
            match scan.peek()? {
                b',' => {
                    scan.at += 1;
                    scan.space();
                    if is_object {
                        key(scan)?;
                    }
                    break;
                }
                b'}' if is_object => {}
                b']' if !is_object => {}
                _ => return None,
            }
            scan.at += 1;
            depth -= 1;
            objects >>= 1;
        }
    }
}

fn key(scan: &mut Scan<'_>) -> Option<()> {
    if scan.peek()? != b'"' {
        return None;
    }
    scan.string().ok()?;
    scan.space();
    if scan.peek()? != b':' {
        return None;
    }
    scan.at += 1;
    scan.space();
    Some(())
}
