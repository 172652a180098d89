//! What an error of a transaction means, what to do after it, and how work ends with it: pure tables, so that each row
//! can be read and tested without a broker. The code in comes from librdkafka; the action out is carried out by
//! `worker.rs`, the end told by it and by `group/transactions.rs`.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::{Stop, TransactionError};

/// Which call told of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// Begin, send offsets, commit: `must_abort` as librdkafka says it.
    Call { must_abort: bool },
    /// Handing over a record.
    Send,
    /// A delivery report: the record is not in the transaction, so nothing was committed.
    Delivery,
    /// An abort: whatever it is, this producer cannot go on.
    Abort,
}

/// Who works in transactions, for what a fresh start is worth to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// A partition's worker: begun again it makes the same records of the same inputs.
    Worker { partition: i32, attempt: u32 },
    /// A group's member: its caller looks anew at what the topic takes before it begins again.
    Member,
}

/// What a worker does next about one piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Abort, then do the same work again with this producer.
    AbortAndRepeat,
    /// A new producer under the same id ends the old transaction one way or the other; the committed offset then tells
    /// whether the work is still to be done.
    ReplaceAndLook,
    /// This worker must do nothing more.
    End,
}

/// What a person can do.
const LARGER: &str = "; raise the broker's message.max.bytes";
const RIGHTS: &str = "; give this principal WRITE on the topic and the transactional id, READ on the group";
/// How often the same work is tried before the partition gives up and says so.
pub(crate) const MAX_ATTEMPTS: u32 = 20;

impl TransactionError {
    /// `fatal`: what librdkafka holds against this producer for good. Once it is there, all calls fail with a mere
    /// "fatal error", and it alone tells a fenced producer from a broken one.
    pub(crate) fn of(from: From, error: &KafkaError, fatal: Option<(RDKafkaErrorCode, String)>) -> Self {
        match fatal {
            Some((code, why)) => class(from, Some(code))(format!("{error}: {why}")),
            None => class(from, error.rdkafka_error_code())(error.to_string()),
        }
    }
}

/// The class of an error, as the constructor that takes its text.
fn class(from: From, code: Option<RDKafkaErrorCode>) -> fn(String) -> TransactionError {
    use RDKafkaErrorCode as Code;
    match (code, from) {
        (Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch), _) => TransactionError::Fenced,
        (_, From::Abort) => TransactionError::Indefinite,
        (Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize), _) => TransactionError::Refused,
        (
            Some(
                Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed,
            ),
            _,
        ) => TransactionError::Forbidden,
        // Aborting is right, and whether librdkafka still can is told by the abort itself.
        (_, From::Delivery | From::Call { must_abort: true }) => TransactionError::Aborted,
        // The transaction failed before this record.
        (Some(Code::State), From::Send) => TransactionError::Aborted,
        (_, From::Send | From::Call { must_abort: false }) => TransactionError::Indefinite,
    }
}

/// What to do after the `attempt`th failure (from 1) of the same work. `outlived`: the transaction was open for longer than
/// the broker keeps one. The broker ends it then and fences its producer, as somebody does who takes over.
pub(crate) fn after(error: &TransactionError, attempt: u32, outlived: bool) -> Action {
    match error {
        TransactionError::Refused(_) | TransactionError::Forbidden(_) => Action::End,
        TransactionError::Fenced(_) if !outlived => Action::End,
        TransactionError::Fenced(_) | TransactionError::Aborted(_) | TransactionError::Indefinite(_)
            if attempt > MAX_ATTEMPTS =>
        {
            Action::End
        }
        TransactionError::Aborted(_) => Action::AbortAndRepeat,
        TransactionError::Fenced(_) | TransactionError::Indefinite(_) => Action::ReplaceAndLook,
    }
}

/// The reason of whoever ends with this error, for the log and for `docs/errors.md`.
pub(crate) fn stop(who: Who, error: &TransactionError) -> Stop {
    let what = |advice: &str| match who {
        Who::Worker { partition, attempt } => format!("partition {partition}, attempt {attempt}: {error}{advice}"),
        Who::Member => format!("{error}{advice}"),
    };
    match (error, who) {
        (TransactionError::Fenced(_), _) => Stop::retryable("fenced", what("")),
        (TransactionError::Refused(_), Who::Worker { .. }) => Stop::permanent("record-refused", what(LARGER)),
        (TransactionError::Refused(_), Who::Member) => Stop::retryable("record-refused", what(LARGER)),
        (TransactionError::Forbidden(_), _) => Stop::retryable("not-authorized", what(RIGHTS)),
        (TransactionError::Aborted(_) | TransactionError::Indefinite(_), _) => {
            Stop::retryable("transaction-failed", what(""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: From = From::Call { must_abort: false };
    const ABORTABLE: From = From::Call { must_abort: true };

    fn name(error: &TransactionError) -> &'static str {
        match error {
            TransactionError::Aborted(_) => "aborted",
            TransactionError::Indefinite(_) => "indefinite",
            TransactionError::Fenced(_) => "fenced",
            TransactionError::Refused(_) => "refused",
            TransactionError::Forbidden(_) => "forbidden",
        }
    }

    #[test]
    fn each_error_has_its_class() {
        use RDKafkaErrorCode as Code;
        for (code, from, wanted) in [
            // A newer producer: whoever tells it.
            (Some(Code::Fenced), CALL, "fenced"),
            (Some(Code::ProducerFenced), ABORTABLE, "fenced"),
            (Some(Code::InvalidProducerEpoch), CALL, "fenced"),
            (Some(Code::Fenced), From::Send, "fenced"),
            (Some(Code::InvalidProducerEpoch), From::Delivery, "fenced"),
            (Some(Code::ProducerFenced), From::Abort, "fenced"),
            // A record that the broker never takes.
            (Some(Code::MessageSizeTooLarge), From::Send, "refused"),
            (Some(Code::MessageSizeTooLarge), CALL, "refused"),
            (Some(Code::MessageSizeTooLarge), From::Delivery, "refused"),
            (Some(Code::InvalidMessageSize), From::Delivery, "refused"),
            // Rights.
            (Some(Code::TopicAuthorizationFailed), ABORTABLE, "forbidden"),
            (Some(Code::TopicAuthorizationFailed), From::Delivery, "forbidden"),
            (Some(Code::GroupAuthorizationFailed), ABORTABLE, "forbidden"),
            (Some(Code::TransactionalIdAuthorizationFailed), CALL, "forbidden"),
            (Some(Code::ClusterAuthorizationFailed), CALL, "forbidden"),
            // librdkafka can still abort.
            (Some(Code::IllegalGeneration), ABORTABLE, "aborted"),
            (Some(Code::UnknownMemberId), ABORTABLE, "aborted"),
            (Some(Code::InvalidProducerIdMapping), ABORTABLE, "aborted"),
            (Some(Code::OutOfOrderSequenceNumber), ABORTABLE, "aborted"),
            (Some(Code::State), From::Send, "aborted"),
            (Some(Code::MessageTimedOut), From::Delivery, "aborted"),
            (Some(Code::PurgeQueue), From::Delivery, "aborted"),
            (Some(Code::OutOfOrderSequenceNumber), From::Delivery, "aborted"),
            (Some(Code::NotEnoughReplicas), From::Delivery, "aborted"),
            // Nobody knows.
            (Some(Code::OperationTimedOut), CALL, "indefinite"),
            (Some(Code::RequestTimedOut), CALL, "indefinite"),
            (Some(Code::InvalidTransactionalState), CALL, "indefinite"),
            (Some(Code::ConcurrentTransactions), CALL, "indefinite"),
            (Some(Code::State), CALL, "indefinite"),
            (Some(Code::Fatal), CALL, "indefinite"),
            (Some(Code::Fatal), From::Send, "indefinite"),
            (Some(Code::QueueFull), From::Send, "indefinite"),
            (None, CALL, "indefinite"),
            // A producer that cannot abort is of no more use.
            (Some(Code::OperationTimedOut), From::Abort, "indefinite"),
            (Some(Code::TopicAuthorizationFailed), From::Abort, "indefinite"),
            (Some(Code::MessageSizeTooLarge), From::Abort, "indefinite"),
            (None, From::Abort, "indefinite"),
        ] {
            assert_eq!(name(&class(from, code)(String::new())), wanted, "{code:?} from {from:?}");
        }
    }

    #[test]
    fn each_class_has_its_action() {
        for (error, attempt, wanted) in [
            (TransactionError::Aborted as fn(String) -> TransactionError, 1, Action::AbortAndRepeat),
            (TransactionError::Aborted, MAX_ATTEMPTS, Action::AbortAndRepeat),
            (TransactionError::Aborted, MAX_ATTEMPTS + 1, Action::End),
            (TransactionError::Indefinite, 1, Action::ReplaceAndLook),
            (TransactionError::Indefinite, MAX_ATTEMPTS, Action::ReplaceAndLook),
            (TransactionError::Indefinite, MAX_ATTEMPTS + 1, Action::End),
            (TransactionError::Fenced, 1, Action::End),
            (TransactionError::Fenced, MAX_ATTEMPTS + 1, Action::End),
            (TransactionError::Refused, 1, Action::End),
            (TransactionError::Refused, MAX_ATTEMPTS + 1, Action::End),
            (TransactionError::Forbidden, 1, Action::End),
            (TransactionError::Forbidden, MAX_ATTEMPTS + 1, Action::End),
        ] {
            let error = error("why".to_owned());
            assert_eq!(after(&error, attempt, false), wanted, "{error} at attempt {attempt}");
            // What was open for too long was not lost to anybody, as far as this error tells.
            let fenced = matches!(error, TransactionError::Fenced(_)) && attempt <= MAX_ATTEMPTS;
            let wanted = if fenced { Action::ReplaceAndLook } else { wanted };
            assert_eq!(after(&error, attempt, true), wanted, "{error} at attempt {attempt}, too long open");
        }
    }

    /// A record that is refused is refused again, unless somebody looks before at what is taken.
    #[test]
    fn each_class_has_its_code_and_only_a_refused_record_tells_a_worker_from_a_member() {
        let worker = Who::Worker { partition: 3, attempt: 1 };
        for (error, code, of_worker, of_member) in [
            (TransactionError::Aborted as fn(String) -> TransactionError, "transaction-failed", true, true),
            (TransactionError::Indefinite, "transaction-failed", true, true),
            (TransactionError::Fenced, "fenced", true, true),
            (TransactionError::Refused, "record-refused", false, true),
            (TransactionError::Forbidden, "not-authorized", true, true),
        ] {
            let error = error("why".to_owned());
            let (worker, member) = (stop(worker, &error), stop(Who::Member, &error));
            assert_eq!((worker.code, worker.retryable), (code, of_worker), "{worker}");
            assert_eq!((member.code, member.retryable), (code, of_member), "{member}");
            assert!(worker.what.starts_with("partition 3, attempt 1: ") && worker.what.contains("why"), "{worker}");
            assert!(member.what.contains("why"), "{member}");
        }
    }
}
