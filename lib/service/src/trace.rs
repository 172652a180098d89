//! W3C trace context, version 00 (<https://www.w3.org/TR/trace-context/#traceparent-header>).

use std::fmt;

/// `00-<trace id>-<parent id>-<flags>`: one trace id from the first request to the last delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceParent {
    /// Parses a `traceparent` header; `None` for what the specification says to ignore.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower_hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let shaped = lower_hex(version, 2) && lower_hex(trace, 32) && lower_hex(span, 16) && lower_hex(flags, 2);
        if !shaped || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        Some(Self { trace_id, span_id, flags: u8::from_str_radix(flags, 16).ok()? })
    }

    /// A new trace, sampled.
    #[must_use]
    pub fn new_root() -> Self {
        Self { trace_id: uuid::Uuid::new_v4().as_u128(), span_id: random_span(), flags: 1 }
    }

    /// The same trace, another span.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: random_span(), ..*self }
    }

    /// The span of the one who hands `parent` on together with what makes this step differ from others: the same again
    /// when the same work is done again.
    #[must_use]
    pub fn child_of_work(&self, work: impl fmt::Display) -> Self {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        hash.take(&self.span_id.to_be_bytes());
        // It takes everything; what does not print itself is no work of ours.
        let _printed = fmt::Write::write_fmt(&mut hash, format_args!("{work}"));
        Self { span_id: hash.0.max(1), ..*self }
    }

    /// Whether whoever began the trace wants it to be kept.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// Random, and the same in all of a trace.
    pub(crate) fn low_bits(&self) -> u64 {
        u64::try_from(self.trace_id & u128::from(u64::MAX)).unwrap_or_default()
    }

    /// The trace id as protobuf has it.
    pub(crate) fn trace_bytes(&self) -> [u8; 16] {
        self.trace_id.to_be_bytes()
    }

    /// The span's own id as protobuf has it.
    pub(crate) fn span_bytes(&self) -> [u8; 8] {
        self.span_id.to_be_bytes()
    }

    /// The span's own id as 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span_id)
    }

    /// The trace id as 32 hexadecimal digits, for logs.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

/// FNV-1a, 64 bits: ids need no secrecy, and equal work must have equal ids in every release.
struct Fnv(u64);

impl Fnv {
    fn take(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.take(text.as_bytes());
        Ok(())
    }
}

fn random_span() -> u64 {
    // The low half of a version 4 UUID has 62 random bits; the variant bits keep it from being zero.
    uuid::Uuid::new_v4().as_u64_pair().1
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example_round_trips_and_a_child_keeps_the_trace() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = TraceParent::parse(text).unwrap();
        assert_eq!(parent.to_string(), text);
        assert_eq!(parent.child().trace_id(), parent.trace_id());
        assert_ne!(parent.child(), parent);
        let work = parent.child_of_work("topic/3/77");
        assert_eq!(work, parent.child_of_work(format_args!("{}/{}/{}", "topic", 3, 77)), "done again, it is the same");
        assert_eq!(work.span_id(), "85171c4297152fe7", "in every release");
        assert_ne!(work, parent.child_of_work("topic/3/78"));
        assert_eq!((work.trace_id(), work.is_sampled()), (parent.trace_id(), true));
    }

    #[test]
    fn what_the_specification_ignores_is_none() {
        for text in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(TraceParent::parse(text).is_none(), "{text}");
        }
    }
}
