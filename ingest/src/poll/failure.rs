//! What can go wrong with a request, by what must be done about it.

use std::time::Duration;

use super::journal::NotCommitted;
use crate::metrics::Answer;

/// A request that gave no page. Holds no part of a body but the vendor's own code, no token, no parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer: {0}")]
    Transport(&'static str),
    /// 408, 425, 5xx.
    #[error("the vendor answered {status}")]
    Busy { status: u16, wait: Option<Duration> },
    /// 429.
    #[error("the vendor's rate limit is reached")]
    Limited { wait: Option<Duration> },
    #[error("the answer is unusable: {0}")]
    Broken(&'static str),
    /// 401 twice, the second time with a new token; or no token at all.
    #[error("the credentials do not work: {0}; check those of `poll`, and the credential at the vendor")]
    Credentials(String),
    /// 403: this list only.
    #[error("the vendor forbids this list (403); give the credential the scope of the list")]
    Forbidden,
    /// Another 4xx or a redirect: asking again the same way gives the same.
    #[error("the vendor refuses the request ({0})")]
    Refused(u16),
    /// The vendor does not know the page any more.
    #[error("the vendor does not know the page ({0}); the window is read again from its first")]
    PageGone(u16),
    /// The vendor does not know the token that narrows the list.
    #[error("the vendor does not know the list's sync token any more; the list is read whole")]
    SyncGone,
    /// A good status, and an error in the body.
    #[error("the vendor answered 200 with the error {0}")]
    Told(String),
    /// A fault of SOAP, whatever its status.
    #[error("the vendor answered with the SOAP fault {code}")]
    Fault { code: String, remedy: Remedy },
    #[error("the list's pages go round in a circle; nothing was skipped, the cursor stays")]
    Circle,
    /// A sweep finds more missing than may be gone at once: they may be hidden.
    #[error(
        "{gone} of {known} rows are not listed any more, more than `gone_most` allows; nothing was deleted. Look whether \
         the credential still sees them"
    )]
    Vanished { gone: usize, known: usize },
    /// The broker did not take the page: nothing of it is visible, or nobody knows.
    #[error("the page was not kept: {0}")]
    NotKept(String),
    /// The broker will never take a record of the page.
    #[error("Kafka refuses the page: {0}; raise the topic's max.message.bytes or mend its permissions")]
    Unkeepable(String),
    /// Another poller owns this connection now.
    #[error("another poller took over")]
    TakenOver,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Ask again, after a pause that grows.
    Again,
    /// Ask again when the limit allows; does not count as an attempt.
    AgainLater,
    /// Read the window again from its first page.
    Restart,
    /// Leave this list until the next round.
    NextList,
    /// Leave this connection until the next round.
    NextRound,
    /// Stop polling this connection.
    Stop,
}

impl From<NotCommitted> for Failure {
    fn from(problem: NotCommitted) -> Self {
        match problem {
            NotCommitted::Fenced => Self::TakenOver,
            NotCommitted::Again(why) => Self::NotKept(why),
            NotCommitted::Refused(why) => Self::Unkeepable(why),
        }
    }
}

impl Failure {
    pub(super) fn transport(error: &reqwest::Error) -> Self {
        Self::Transport(if error.is_timeout() {
            "timed out"
        } else if error.is_connect() {
            "no connection"
        } else if error.is_body() || error.is_decode() {
            "the connection broke"
        } else {
            "the request could not be sent"
        })
    }

    pub(super) fn remedy(&self) -> Remedy {
        match self {
            Self::Transport(_) | Self::Busy { .. } | Self::Broken(_) | Self::Told(_) | Self::NotKept(_) => {
                Remedy::Again
            }
            Self::Limited { .. } => Remedy::AgainLater,
            Self::PageGone(_) | Self::SyncGone => Remedy::Restart,
            Self::Forbidden | Self::Refused(_) | Self::Circle | Self::Vanished { .. } | Self::Unkeepable(_) => {
                Remedy::NextList
            }
            Self::Fault { remedy, .. } => *remedy,
            Self::Credentials(_) => Remedy::NextRound,
            Self::TakenOver => Remedy::Stop,
        }
    }

    /// What the vendor wants us to wait at least.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Busy { wait, .. } | Self::Limited { wait } => *wait,
            Self::Transport(_)
            | Self::Broken(_)
            | Self::Credentials(_)
            | Self::Forbidden
            | Self::Refused(_)
            | Self::PageGone(_)
            | Self::SyncGone
            | Self::Told(_)
            | Self::Fault { .. }
            | Self::Circle
            | Self::Vanished { .. }
            | Self::NotKept(_)
            | Self::Unkeepable(_)
            | Self::TakenOver => None,
        }
    }

    pub(super) fn answer(&self) -> Answer {
        match self {
            Self::Limited { .. } => Answer::Limited,
            Self::Transport(_)
            | Self::Busy { .. }
            | Self::Broken(_)
            | Self::Credentials(_)
            | Self::Forbidden
            | Self::Refused(_)
            | Self::PageGone(_)
            | Self::SyncGone
            | Self::Told(_)
            | Self::Fault { .. }
            | Self::Circle
            | Self::Vanished { .. }
            | Self::NotKept(_)
            | Self::Unkeepable(_)
            | Self::TakenOver => Answer::Failed,
        }
    }

    /// For metrics, and the code in logs.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Transport(_) => "poll-no-answer",
            Self::Busy { .. } => "poll-vendor-busy",
            Self::Limited { .. } => "poll-limited",
            Self::Broken(_) => "poll-broken-answer",
            Self::Credentials(_) => "poll-credentials",
            Self::Forbidden => "poll-forbidden",
            Self::Refused(_) => "poll-refused",
            Self::PageGone(_) => "poll-page-gone",
            Self::SyncGone => "poll-sync-gone",
            Self::Told(_) => "poll-told-error",
            Self::Fault { .. } => "poll-soap-fault",
            Self::Circle => "poll-circle",
            Self::Vanished { .. } => "poll-vanished",
            Self::NotKept(_) => "poll-not-kept",
            Self::Unkeepable(_) => "poll-refused-by-kafka",
            Self::TakenOver => "poll-taken-over",
        }
    }
}
