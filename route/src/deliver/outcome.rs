//! What an attempt came to, and what follows from it: one exhaustive table.
//!
//! In: [`Attempt`]. Out: [`Verdict`]. Sources: Standard Webhooks (2xx success, 3xx failure, 410 disable, 429
//! throttle, `Retry-After`), RFC 9110; RFC 4918 (207: a status for each item of a batch, judged as if it had come alone).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::request::answer::Meaning;

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The receiver answered.
    Answered { status: u16, retry_after: Option<Duration> },
    /// It answered, and what it said decides beside the status.
    Understood(Understood),
    /// It answered for each item of a batch (207), and said nothing of this one; what it says of one is [`Self::Answered`] or
    /// [`Self::Understood`], as if it had come alone.
    Unsaid,
    /// A mail server replied with this code (RFC 5321).
    Mail(u16),
    /// No complete answer within the timeout.
    TimedOut,
    /// No connection, or one that broke: whether it arrived is unknown.
    Unreachable(Fault),
    /// Our own guard refused the address; nothing was sent.
    AddressRefused,
    /// The secret that signs or authenticates cannot be read now; nothing was sent.
    SecretMissing,
    /// The endpoint of its tokens refuses us; nothing was sent.
    TokenRefused,
    /// A store (a database, a topic) took it.
    Stored,
    /// A store had it already, from before a crash or from its former owner: nothing was written.
    Known,
    /// The store cannot take this record, whatever is tried.
    Unstorable,
    /// The store refuses us: password, rights, a table that is not there.
    StoreRefused,
}

/// An answer that was read by the rules of the sink's system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Understood {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) meaning: Meaning,
    /// In the words of the rule, not the receiver's.
    pub(crate) says: Arc<str>,
    /// The id of what it has created.
    pub(crate) created: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The host's name leads to no address.
    Name,
    Connect,
    /// No TLS with it: its certificate has ended, is another's or of an authority that is not trusted.
    Tls,
    /// A reset, or an answer that is no HTTP.
    Protocol,
    Store,
}

/// What to do next with the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// In place, after a back-off; at least `after` if the receiver asked for it.
    Retry {
        after: Option<Duration>,
    },
    /// No record of the sink goes out until what is wrong with the sink was mended.
    Hold(HoldReason),
    DeadLetter(Code),
}

/// Why a sink is held. Each has a page in `docs/errors.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldReason {
    Unauthorized,
    Forbidden,
    Gone,
    AddressRefused,
    SecretMissing,
    StoreRefused,
    /// More dead letters than the sink may have: what goes wrong goes wrong with all.
    Flood,
    /// The circuit breaker: so many deliveries in a row failed that trying them all only does harm. Time mends it.
    Failing,
}

impl HoldReason {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Unauthorized => "SINK_UNAUTHORIZED",
            Self::Forbidden => "SINK_FORBIDDEN",
            Self::Gone => "SINK_GONE",
            Self::AddressRefused => "SINK_ADDRESS_REFUSED",
            Self::SecretMissing => "SINK_SECRET_MISSING",
            Self::StoreRefused => "SINK_STORE_REFUSED",
            Self::Flood => "SINK_FLOODS",
            Self::Failing => "SINK_FAILING",
        }
    }

    /// Whether it is the breaker's, which needs nobody: it is told otherwise and counted apart.
    pub(crate) fn is_breaker(self) -> bool {
        self == Self::Failing
    }

    /// Whether another secret could mend it.
    pub(crate) const fn opens_with_secret(self) -> bool {
        match self {
            Self::Unauthorized | Self::Forbidden | Self::AddressRefused | Self::SecretMissing | Self::StoreRefused => {
                true
            }
            Self::Gone | Self::Flood | Self::Failing => false,
        }
    }

    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::Unauthorized => "the receiver does not accept our credentials: write the right secret into its file",
            Self::Forbidden => "the receiver knows us but does not let us: ask its owner for the right to send",
            Self::Gone => "the receiver says that it is gone for good: remove the sink or mend its URL",
            Self::AddressRefused => {
                "its host is not listed or leads to an address that is not public: if that is right, add it to `allow`"
            }
            Self::SecretMissing => "the secret cannot be read: create its file or set its variable",
            Self::StoreRefused => "the store refuses us: mend the password, the rights, the schema or the disk",
            Self::Flood => {
                "nearly every record becomes a dead letter: mend the receiver or the route; one record is tried from time to time"
            }
            Self::Failing => "bring the receiver back; one record is tried from time to time",
        }
    }
}

/// Why a record is a dead letter of route. A closed list; each has a page in `docs/errors.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The receiver refused this record with a 4xx status that a retry cannot change.
    Rejected,
    /// The store cannot hold this record.
    Unstorable,
    /// Retried until the age limit.
    RetriesExhausted,
    /// What the request needs never became known within the limit.
    ContextMissing,
    /// The record's bytes are not what its schema says.
    Undecodable,
    /// The record lacks a value that every record has.
    Malformed,
    /// Work on the record panicked: a bug of ours.
    Panicked,
    /// A dead letter that was to be sent again, and was not.
    NotReplayed,
}

impl Code {
    pub(crate) const ALL: [Self; 8] = [
        Self::Rejected,
        Self::Unstorable,
        Self::RetriesExhausted,
        Self::ContextMissing,
        Self::Undecodable,
        Self::Malformed,
        Self::Panicked,
        Self::NotReplayed,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "ROUTE_REJECTED",
            Self::Unstorable => "ROUTE_UNSTORABLE",
            Self::RetriesExhausted => "ROUTE_RETRIES_EXHAUSTED",
            Self::ContextMissing => "ROUTE_CONTEXT_MISSING",
            Self::Undecodable => "ROUTE_UNDECODABLE",
            Self::Malformed => "ROUTE_MALFORMED",
            Self::Panicked => "ROUTE_PANICKED",
            Self::NotReplayed => "ROUTE_NOT_REPLAYED",
        }
    }

    /// What a person should do.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::Rejected => "mend what the receiver did not accept, here or there, then `hirewire dlq replay`",
            Self::Unstorable => {
                "mend the table, the topic's limit or the mapping for what does not fit, then `hirewire dlq replay`"
            }
            Self::RetriesExhausted => "bring the receiver back, then `hirewire dlq replay`",
            Self::ContextMissing => {
                "bring the missing data into the ATS, wait for it to arrive, then `hirewire dlq replay`"
            }
            Self::Undecodable => "find out who wrote the record, and whether the registry is the right one",
            Self::Malformed => "find out who wrote a record without the envelope that every canonical record has",
            Self::Panicked => {
                "report this bug with the record's position, then `hirewire dlq replay` with a mended release"
            }
            Self::NotReplayed => {
                "usually nothing: what is newer says all; if the receiver needs it still, `hirewire dlq replay --even-if-newer`"
            }
        }
    }
}

/// The table. A retry never changes what a dead letter is for, and a hold loses nothing.
pub(crate) fn judge(attempt: &Attempt) -> Verdict {
    match attempt {
        Attempt::Answered { status, retry_after } => match status {
            200..=299 => Verdict::Delivered,
            401 => Verdict::Hold(HoldReason::Unauthorized),
            403 => Verdict::Hold(HoldReason::Forbidden),
            410 => Verdict::Hold(HoldReason::Gone),
            408 | 425 | 429 | 500.. => Verdict::Retry { after: *retry_after },
            // A redirect is never followed: it may lead anywhere. It fails until the receiver or the URL is mended.
            0..=199 | 300..=399 => Verdict::Retry { after: *retry_after },
            400..=499 => Verdict::DeadLetter(Code::Rejected),
        },
        Attempt::Understood(answer) => match answer.meaning {
            Meaning::Delivered => Verdict::Delivered,
            Meaning::Retry => Verdict::Retry { after: answer.retry_after },
            Meaning::Refused => Verdict::DeadLetter(Code::Rejected),
            Meaning::Unauthorized => Verdict::Hold(HoldReason::Unauthorized),
            Meaning::Forbidden => Verdict::Hold(HoldReason::Forbidden),
            Meaning::Gone => Verdict::Hold(HoldReason::Gone),
        },
        Attempt::Mail(code) => match code {
            0..=399 => Verdict::Delivered,
            // It does not believe that we are who we say (RFC 4954).
            530 | 534 | 535 | 538 => Verdict::Hold(HoldReason::Unauthorized),
            500..=599 => Verdict::DeadLetter(Code::Rejected),
            // Transient, the opposite of HTTP.
            400..=499 | 600.. => Verdict::Retry { after: None },
        },
        // Whether it was taken is unknown.
        Attempt::Unsaid
        | Attempt::TimedOut
        | Attempt::Unreachable(Fault::Name | Fault::Connect | Fault::Tls | Fault::Protocol | Fault::Store) => {
            Verdict::Retry { after: None }
        }
        Attempt::AddressRefused => Verdict::Hold(HoldReason::AddressRefused),
        Attempt::SecretMissing => Verdict::Hold(HoldReason::SecretMissing),
        Attempt::TokenRefused => Verdict::Hold(HoldReason::Unauthorized),
        Attempt::Stored | Attempt::Known => Verdict::Delivered,
        Attempt::Unstorable => Verdict::DeadLetter(Code::Unstorable),
        Attempt::StoreRefused => Verdict::Hold(HoldReason::StoreRefused),
    }
}

/// For logs, metrics and dead letters: a status or a kind, never what the receiver wrote.
impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, .. } => write!(f, "HTTP {status}"),
            Self::Understood(answer) => write!(f, "HTTP {}: {}", answer.status, answer.says),
            Self::Unsaid => f.write_str("an answer for each, and no word of this one"),
            Self::Mail(code) => write!(f, "SMTP {code}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Unreachable(Fault::Name) => f.write_str("the host's name leads nowhere"),
            Self::Unreachable(Fault::Connect) => f.write_str("no connection"),
            Self::Unreachable(Fault::Tls) => f.write_str("no TLS with the host: see its certificate"),
            Self::Unreachable(Fault::Protocol) => f.write_str("the connection broke"),
            Self::Unreachable(Fault::Store) => f.write_str("the store cannot be reached"),
            Self::AddressRefused => f.write_str("address refused by the guard"),
            Self::SecretMissing => f.write_str("secret missing"),
            Self::TokenRefused => f.write_str("no token: its endpoint refuses us"),
            Self::Stored => f.write_str("stored"),
            Self::Known => f.write_str("stored before"),
            Self::Unstorable => f.write_str("the store refused the record"),
            Self::StoreRefused => f.write_str("the store refused us"),
        }
    }
}

impl Attempt {
    /// The id of what the receiver has created.
    pub(crate) fn created(&self) -> Option<&str> {
        match self {
            Self::Understood(answer) => answer.created.as_deref(),
            _ => None,
        }
    }

    /// A label of few values for metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Understood(answer) if answer.meaning != Meaning::Delivered => "answer",
            Self::Answered { status, .. } | Self::Understood(Understood { status, .. }) | Self::Mail(status) => {
                match status {
                    0..=199 => "1xx",
                    200..=299 => "2xx",
                    300..=399 => "3xx",
                    400..=499 => "4xx",
                    500.. => "5xx",
                }
            }
            Self::Unsaid => "unsaid",
            Self::TimedOut => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::AddressRefused => "address_refused",
            Self::SecretMissing => "secret_missing",
            Self::TokenRefused => "token_refused",
            Self::Stored => "stored",
            Self::Known => "known",
            Self::Unstorable => "unstorable",
            Self::StoreRefused => "store_refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Verdict {
        judge(&Attempt::Answered { status, retry_after: None })
    }

    #[test]
    fn every_status_has_its_verdict() {
        for code in 0..=999 {
            let expected = match code {
                200..=299 => Verdict::Delivered,
                401 => Verdict::Hold(HoldReason::Unauthorized),
                403 => Verdict::Hold(HoldReason::Forbidden),
                410 => Verdict::Hold(HoldReason::Gone),
                408 | 425 | 429 => Verdict::Retry { after: None },
                400..=499 => Verdict::DeadLetter(Code::Rejected),
                _ => Verdict::Retry { after: None },
            };
            assert_eq!(status(code), expected, "{code}");
        }
    }

    #[test]
    fn every_other_end_of_an_attempt_has_its_verdict() {
        let again = Verdict::Retry { after: None };
        let table = [
            (Attempt::Unsaid, again),
            (Attempt::Mail(250), Verdict::Delivered),
            (Attempt::Mail(451), again),
            (Attempt::Mail(535), Verdict::Hold(HoldReason::Unauthorized)),
            (Attempt::Mail(550), Verdict::DeadLetter(Code::Rejected)),
            (Attempt::TimedOut, again),
            (Attempt::Unreachable(Fault::Name), again),
            (Attempt::Unreachable(Fault::Connect), again),
            (Attempt::Unreachable(Fault::Tls), again),
            (Attempt::Unreachable(Fault::Protocol), again),
            (Attempt::Unreachable(Fault::Store), again),
            (Attempt::AddressRefused, Verdict::Hold(HoldReason::AddressRefused)),
            (Attempt::SecretMissing, Verdict::Hold(HoldReason::SecretMissing)),
            (Attempt::TokenRefused, Verdict::Hold(HoldReason::Unauthorized)),
            (understood(Meaning::Delivered), Verdict::Delivered),
            (understood(Meaning::Retry), Verdict::Retry { after: Some(Duration::from_secs(7)) }),
            (understood(Meaning::Refused), Verdict::DeadLetter(Code::Rejected)),
            (understood(Meaning::Unauthorized), Verdict::Hold(HoldReason::Unauthorized)),
            (understood(Meaning::Forbidden), Verdict::Hold(HoldReason::Forbidden)),
            (understood(Meaning::Gone), Verdict::Hold(HoldReason::Gone)),
            (Attempt::Stored, Verdict::Delivered),
            (Attempt::Known, Verdict::Delivered),
            (Attempt::Unstorable, Verdict::DeadLetter(Code::Unstorable)),
            (Attempt::StoreRefused, Verdict::Hold(HoldReason::StoreRefused)),
        ];
        for (attempt, verdict) in table {
            assert_eq!(judge(&attempt), verdict, "{attempt}");
        }
    }

    /// As of an answer 200 that says so.
    fn understood(meaning: Meaning) -> Attempt {
        let retry_after = Some(Duration::from_secs(7));
        Attempt::Understood(Understood { status: 200, retry_after, meaning, says: "x".into(), created: None })
    }

    #[test]
    fn retry_after_is_handed_on() {
        let after = Some(Duration::from_secs(7));
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(judge(&Attempt::Answered { status, retry_after: after }), Verdict::Retry { after }, "{status}");
        }
    }
}
