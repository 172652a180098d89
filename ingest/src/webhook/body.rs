//! Reading a body with bounds: size after decompression, time, and the memory of all bodies together.
//!
//! An HTTP body in, [`ReadBody`] out. The bound on memory is a budget that every body draws from as it grows, so that
//! many large or cleverly compressed bodies cannot take more than the budget, whoever sends them.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget is counted in these, for a semaphore counts in `u32`.
const UNIT_BYTES: usize = 1024;

/// Bounds of one body and of all together.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) max_bytes: usize,
    pub(crate) timeout: Duration,
    pub(crate) budget: Arc<Semaphore>,
}

impl Limits {
    pub(crate) fn new(max_bytes: usize, timeout: Duration, budget_bytes: usize) -> Self {
        let units = (budget_bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self { max_bytes, timeout, budget: Arc::new(Semaphore::new(units)) }
    }
}

/// A body, and its share of the budget: keep it until the request is answered.
#[derive(Debug)]
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    TooLarge,
    /// All bodies together hold as much as they may.
    BudgetSpent,
    TooSlow,
    /// The connection broke, or the compressed data is not what it says.
    Broken,
    UnknownEncoding,
}

/// Reads `body` to its end, decompressed.
///
/// # Errors
/// When a bound is reached, or the body cannot be read.
pub(crate) async fn read(body: Body, headers: &HeaderMap, limits: &Limits) -> Result<ReadBody, Unread> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limits.max_bytes) {
        return Err(Unread::TooLarge);
    }
    let pot = Pot { bytes: Vec::new(), limits, share: None, refused: None };
    let mut decoder = match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => Decoder::Plain(pot),
        Some(b"gzip" | b"x-gzip") => Decoder::Gzip(Box::new(MultiGzDecoder::new(pot))),
        Some(b"deflate") => Decoder::Deflate(Box::new(ZlibDecoder::new(pot))),
        Some(_) => return Err(Unread::UnknownEncoding),
    };
    let pot = match tokio::time::timeout(limits.timeout, fill(body, &mut decoder)).await {
        Err(_) => return Err(Unread::TooSlow),
        Ok(Err(unread)) => return Err(unread),
        Ok(Ok(())) => decoder.finish()?,
    };
    Ok(ReadBody { bytes: pot.bytes.into(), _share: pot.share })
}

async fn fill(mut body: Body, decoder: &mut Decoder<'_>) -> Result<(), Unread> {
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if decoder.write_all(&data).is_err() {
            return Err(decoder.pot().refused.unwrap_or(Unread::Broken));
        }
    }
    Ok(())
}

/// Where decompressed bytes gather, up to the bounds.
struct Pot<'a> {
    bytes: Vec<u8>,
    limits: &'a Limits,
    share: Option<OwnedSemaphorePermit>,
    refused: Option<Unread>,
}

impl Pot<'_> {
    fn grow(&mut self, by: usize) -> Result<(), Unread> {
        let length = self.bytes.len() + by;
        if length > self.limits.max_bytes {
            return Err(Unread::TooLarge);
        }
        let held = self.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = length.div_ceil(UNIT_BYTES).saturating_sub(held);
        if missing > 0 {
            let missing = u32::try_from(missing).map_err(|_| Unread::TooLarge)?;
            let more = self.limits.budget.clone().try_acquire_many_owned(missing).map_err(|_| Unread::BudgetSpent)?;
            match &mut self.share {
                Some(share) => share.merge(more),
                None => self.share = Some(more),
            }
        }
        Ok(())
    }
}

impl Write for Pot<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if let Err(unread) = self.grow(data.len()) {
            self.refused = Some(unread);
            return Err(io::Error::other("a bound is reached"));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Decoder<'a> {
    Plain(Pot<'a>),
    Gzip(Box<MultiGzDecoder<Pot<'a>>>),
    Deflate(Box<ZlibDecoder<Pot<'a>>>),
}

impl<'a> Decoder<'a> {
    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(pot) => pot.write_all(data),
            Self::Gzip(decoder) => decoder.write_all(data),
            Self::Deflate(decoder) => decoder.write_all(data),
        }
    }

    fn pot(&self) -> &Pot<'a> {
        match self {
            Self::Plain(pot) => pot,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Deflate(decoder) => decoder.get_ref(),
        }
    }

    /// The pot, when the compressed data came to its own end.
    fn finish(mut self) -> Result<Pot<'a>, Unread> {
        let ended = match &mut self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Deflate(decoder) => decoder.try_finish(),
        };
        if ended.is_err() {
            return Err(self.pot().refused.unwrap_or(Unread::Broken));
        }
        let pot = match self {
            Self::Plain(pot) => Ok(pot),
            Self::Gzip(decoder) => decoder.finish(),
            Self::Deflate(decoder) => decoder.finish(),
        };
        pot.map_err(|_| Unread::Broken)
    }
}
