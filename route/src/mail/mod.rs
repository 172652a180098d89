//! Mail as a sink: a message for each delivery, to the people whom the settings name.
//!
//! In: a [`Delivery`] whose request makes `{"subject": …, "text": …}`. Out: an [`Attempt`]. A connection for each message,
//! to an address that the guard lets through, with TLS unless the network is allowed. `Message-ID` is made of the
//! delivery's idempotency key, so that a message that comes again after a crash can be told.

mod settings;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::SystemTime;

use lettre::message::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde_json::Value;

use crate::deliver::outcome::{Attempt, Fault};
use crate::deliver::{Content, Delivery, Transport};
use crate::http::guard::{find_in, refusal_in};
use crate::request::Request;
pub(crate) use settings::{MailSettings, Security};

pub(crate) struct MailTransport {
    settings: MailSettings,
}

impl MailTransport {
    pub(crate) fn new(settings: MailSettings) -> Self {
        Self { settings }
    }

    async fn try_once(&self, delivery: &Delivery, request: &Request) -> Result<Attempt, Attempt> {
        let message = message(&self.settings, delivery, request).ok_or(Attempt::Unstorable)?;
        let answer = Box::pin(self.server().await?.send(message)).await;
        match answer {
            Ok(answer) => Ok(Attempt::Mail(answer.code().into())),
            Err(error) => Err(outcome_of(&error)),
        }
    }

    /// Resolved, and its secrets read, anew for each message.
    async fn server(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, Attempt> {
        let settings = &self.settings;
        let plain = settings.security == Security::None;
        let found = settings.guard.resolve(&settings.host, plain).await.map_err(|error| match refusal_in(&error) {
            Some(_) => Attempt::AddressRefused,
            None => Attempt::Unreachable(Fault::Name),
        })?;
        let address = found.first().ok_or(Attempt::Unreachable(Fault::Name))?;
        let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.to_string())
            .port(settings.port)
            .timeout(Some(settings.timeout))
            .tls(self.tls().ok_or(Attempt::StoreRefused)?);
        if let Some((user, password)) = &settings.login {
            let password = password.text().map_err(|_| Attempt::SecretMissing)?;
            server = server.credentials(Credentials::new(user.clone(), password));
        }
        Ok(server.build())
    }

    /// The name that the certificate must have is the host's, whatever the address.
    fn tls(&self) -> Option<Tls> {
        let mut parameters = TlsParameters::builder(self.settings.host.clone());
        if let Some(pem) = &self.settings.ca {
            parameters = parameters.add_root_certificate(Certificate::from_pem(pem).ok()?);
        }
        Some(match self.settings.security {
            Security::None => Tls::None,
            Security::Starttls => Tls::Required(parameters.build().ok()?),
            Security::Implicit => Tls::Wrapper(parameters.build().ok()?),
        })
    }

    /// Greets the server, with our name and password, and sends nothing.
    pub(crate) async fn probe(&self) -> Attempt {
        let server = match self.server().await {
            Ok(server) => server,
            Err(attempt) => return attempt,
        };
        match Box::pin(server.test_connection()).await {
            Ok(true) => Attempt::Mail(250),
            Ok(false) => Attempt::Unreachable(Fault::Protocol),
            Err(error) => outcome_of(&error),
        }
    }

    /// Changes when the password does.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.settings.login.as_ref().and_then(|(_, password)| password.bytes().ok()).hash(&mut hasher);
        hasher.finish()
    }
}

impl Transport for MailTransport {
    async fn attempt(&self, delivery: &Delivery) -> Attempt {
        match &delivery.content {
            Content::Request(request) => match Box::pin(self.try_once(delivery, request)).await {
                Ok(attempt) | Err(attempt) => attempt,
            },
            // The settings give nothing else to mail sinks.
            Content::Row(_) | Content::Copy(_) => Attempt::Unstorable,
        }
    }
}

/// `None`: no mail can be made of it.
pub(crate) fn message(settings: &MailSettings, delivery: &Delivery, request: &Request) -> Option<Message> {
    let body: Value = serde_json::from_slice(request.body.shown()).ok()?;
    let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let id = format!("<{}@{}>", delivery.idempotency_key, settings.from.email.domain());
    // RFC 3834: nobody's out-of-office answers it.
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let mut message = Message::builder()
        .from(settings.from.clone())
        .subject(text("subject")?)
        .message_id(Some(id))
        .date(SystemTime::now())
        .raw_header(automatic)
        .header(ContentType::TEXT_PLAIN);
    for to in &settings.to {
        message = message.to(to.clone());
    }
    message.body(text("text")?.to_owned()).ok()
}

fn outcome_of(error: &lettre::transport::smtp::Error) -> Attempt {
    if let Some(code) = error.status() {
        Attempt::Mail(code.into())
    } else if error.is_timeout() {
        Attempt::TimedOut
    } else if error.is_tls() || find_in::<native_tls::Error>(error).is_some() {
        Attempt::Unreachable(Fault::Tls)
    } else if error.is_client() {
        // It lacks what we must have of it: STARTTLS, or a way to show who we are.
        tracing::warn!(%error, "the mail server of a sink does not do what is asked of it");
        Attempt::StoreRefused
    } else {
        Attempt::Unreachable(Fault::Connect)
    }
}
