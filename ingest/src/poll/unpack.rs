//! Answers that were packed on their way (RFC 9110 section 8.4), because the manifest's headers ask for it.

use std::io::Read;

use axum::http::{HeaderMap, header};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::failure::Failure;

/// The body as it was before it was packed, up to `most` bytes.
///
/// # Errors
/// When it is longer, damaged, or packed in a way that nobody asked for.
pub(super) fn unpacked(headers: &HeaderMap, body: Vec<u8>, most: usize) -> Result<Vec<u8>, Failure> {
    match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => Ok(body),
        Some(b"gzip" | b"x-gzip") => read(MultiGzDecoder::new(body.as_slice()), most),
        Some(b"deflate") => read(ZlibDecoder::new(body.as_slice()), most),
        Some(_) => Err(Failure::Broken("the body is packed in a way that was not asked for")),
    }
}

fn read(packed: impl Read, most: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    packed.take(bound).read_to_end(&mut out).map_err(|_| Failure::Broken("the packed body is damaged"))?;
    if out.len() > most { Err(Failure::Broken("a page that is too large once it is unpacked")) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn headers(encoding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, encoding.parse().unwrap())])
    }

    #[test]
    fn a_body_is_unpacked_up_to_its_bound() {
        let text = "a".repeat(1000);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(text.as_bytes()).unwrap();
        let zlib = zlib.finish().unwrap();
        assert_eq!(unpacked(&headers("gzip"), gzip.clone(), 1000).unwrap(), text.as_bytes());
        assert_eq!(unpacked(&headers("deflate"), zlib, 1000).unwrap(), text.as_bytes());
        assert_eq!(unpacked(&HeaderMap::new(), b"x".to_vec(), 1000).unwrap(), b"x");
        for (encoding, body) in [("gzip", gzip.clone()), ("gzip", b"x".to_vec()), ("br", b"x".to_vec())] {
            assert!(matches!(unpacked(&headers(encoding), body, 999), Err(Failure::Broken(_))), "{encoding}");
        }
        assert!(unpacked(&headers("gzip"), gzip.get(..gzip.len() - 9).unwrap().to_vec(), 1000).is_err());
    }
}
