//! One harmless question to each sink: is it there, and does it know us?
//!
//! Settings in, what each said out. To an HTTP sink a HEAD request with its credentials and nothing of a record, under the
//! same guard as deliveries; to brokers whether the topic is there; to a mail server a greeting; to PostgreSQL what our user
//! may do; of a file its folder. Nothing is written.

use crate::database::postgres;
use crate::deliver::outcome::{Attempt, HoldReason};
use crate::http::HttpTransport;
use crate::mail::MailTransport;
use crate::settings::{Kind, Settings, SinkSettings};
use crate::topic::{self, Unfit};

/// A sink and what came of asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub sink: String,
    /// What it said, or why it will not do.
    pub outcome: Result<String, Unwell>,
}

/// A sink to which nothing could be delivered now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwell {
    /// A code of `docs/errors.md`.
    pub code: &'static str,
    pub what: String,
    pub remedy: &'static str,
}

/// Asks all sinks, one after the other. `kafka`: our own cluster.
pub async fn probe(settings: &Settings, kafka: &hirewire_kafka::Settings) -> Vec<Probed> {
    let mut all = Vec::new();
    for sink in &settings.sinks {
        all.push(Probed { sink: sink.name.to_string(), outcome: Box::pin(ask(sink, kafka)).await });
    }
    all
}

async fn ask(sink: &SinkSettings, kafka: &hirewire_kafka::Settings) -> Result<String, Unwell> {
    let (attempt, known_by) = match &sink.kind {
        Kind::Http(settings) => {
            let known_by = settings.auth.is_some();
            let transport = HttpTransport::new((**settings).clone()).map_err(|error| Unwell {
                code: "SINK_STORE_REFUSED",
                what: error.to_string(),
                remedy: "mend the certificate under `ca` of the sink",
            })?;
            (Box::pin(transport.probe()).await, known_by)
        }
        Kind::Topic(settings) => {
            let asked = topic::probe(settings, kafka).await;
            let remedy = "create the topic, or mend `kafka` of the sink; until it is there records wait";
            return asked.map_err(|unfit| match unfit {
                Unfit::Stopped(stop) => Unwell { code: stop.code, what: stop.what, remedy },
                Unfit::Refused(broker, refusal) => {
                    let what = format!("our own guard refuses the broker {broker:?}: {refusal}");
                    held(HoldReason::AddressRefused, &what)
                }
            });
        }
        Kind::Mail(settings) => (Box::pin(MailTransport::new(settings.clone()).probe()).await, true),
        Kind::Postgres(settings) => match Box::pin(postgres::probe(settings, &sink.system)).await {
            Ok(give) if give.is_empty() => (Attempt::Stored, true),
            Ok(give) => {
                return Err(Unwell {
                    code: HoldReason::StoreRefused.code(),
                    what: format!("its user lacks rights: {}", give.join("; ")),
                    remedy: "let the owner of the schema run these statements",
                });
            }
            Err(attempt) => (attempt, true),
        },
        Kind::Lines(settings) => return folder_of(&settings.path),
        Kind::Tables(settings) => return folder_of(&settings.path),
        Kind::Sqlite(path) => return folder_of(path),
    };
    judge(&attempt, known_by)
}

fn folder_of(path: &std::path::Path) -> Result<String, Unwell> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| std::path::Path::new("."));
    if folder.is_dir() {
        return Ok(format!("{} is there", folder.display()));
    }
    Err(Unwell {
        code: "SINK_STORE_REFUSED",
        what: format!("the folder {} is not there", folder.display()),
        remedy: "create it, or mend the sink's `path`",
    })
}

fn held(reason: HoldReason, what: &str) -> Unwell {
    Unwell { code: reason.code(), what: what.to_owned(), remedy: reason.remedy() }
}

/// `known_by`: the request carried credentials, so that a refusal is one of them.
fn judge(attempt: &Attempt, known_by: bool) -> Result<String, Unwell> {
    let away = |what: String| Unwell {
        code: "ROUTE_RETRIES_EXHAUSTED",
        what,
        remedy: "look at the receiver and at the way to it; until it answers deliveries wait",
    };
    match attempt {
        Attempt::Answered { status: 401, .. } if known_by => Err(held(HoldReason::Unauthorized, "it answers 401")),
        Attempt::Answered { status: 403, .. } if known_by => Err(held(HoldReason::Forbidden, "it answers 403")),
        Attempt::Answered { status: 410, .. } => Err(held(HoldReason::Gone, "it answers 410")),
        Attempt::Answered { status: status @ 500.., .. } => Err(away(format!("it answers {status}"))),
        // A receiver of POST need not know HEAD.
        Attempt::Answered { status, .. } => Ok(format!("it answers {status} to a HEAD request")),
        Attempt::Mail(530 | 534 | 535 | 538) => Err(held(HoldReason::Unauthorized, "it does not accept our password")),
        Attempt::Mail(code @ 400..) => Err(away(format!("it answers {code}"))),
        Attempt::Stored | Attempt::Known | Attempt::Mail(_) => Ok("it lets us in".to_owned()),
        Attempt::TimedOut => Err(away("no answer in time".to_owned())),
        Attempt::Unreachable(_) => Err(away(format!("it cannot be reached: {attempt}"))),
        Attempt::AddressRefused => Err(held(HoldReason::AddressRefused, "our own guard refuses its address")),
        Attempt::SecretMissing => Err(held(HoldReason::SecretMissing, "its secret cannot be read")),
        Attempt::TokenRefused => Err(held(HoldReason::Unauthorized, "the endpoint of its tokens refuses us")),
        Attempt::Unsaid => Ok("it lets us in".to_owned()),
        // A HEAD request has no rules to read its answer by.
        Attempt::Understood(answer) => Ok(format!("it answers {} to a HEAD request", answer.status)),
        Attempt::Unstorable | Attempt::StoreRefused => Err(held(HoldReason::StoreRefused, "it refuses us")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_showed_credentials_is_refused_for_them() {
        let answered = |status| Attempt::Answered { status, retry_after: None };
        let code = |attempt: &Attempt, known_by| judge(attempt, known_by).err().map(|unwell| unwell.code);
        assert_eq!(code(&answered(401), true), Some("SINK_UNAUTHORIZED"));
        assert_eq!(code(&answered(403), true), Some("SINK_FORBIDDEN"));
        assert_eq!(code(&answered(401), false), None, "unsigned, as a HEAD request is");
        assert_eq!(code(&answered(405), true), None);
        assert_eq!(code(&answered(410), false), Some("SINK_GONE"));
        assert_eq!(code(&answered(503), true), Some("ROUTE_RETRIES_EXHAUSTED"));
        assert_eq!(code(&Attempt::AddressRefused, false), Some("SINK_ADDRESS_REFUSED"));
    }
}
