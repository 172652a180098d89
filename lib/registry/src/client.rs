//! Calls to a registry: registering and reading schemas through `schema_registry_converter`, the rest by plain HTTP.

use reqwest::{Method, StatusCode, Url};
use schema_registry_converter::async_impl::schema_registry::{SrSettings, get_schema_by_id, post_schema};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{SchemaType, SuppliedSchema};
use serde_json::{Value, json};

use crate::access::Access;
use crate::codec::CodecError;

/// What is to be registered.
#[derive(Debug, Clone)]
pub struct Subject {
    pub name: String,
    /// Self-contained Avro schema.
    pub schema: String,
    /// Level to set on the subject before; `None` leaves it.
    pub compatibility: Option<String>,
}

/// What a registry makes of a schema under a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Registered,
    /// Not there, and taken when it is registered.
    Compatible,
    /// Not there, and refused when it is registered.
    Incompatible,
    /// The subject itself is not there.
    Absent,
}

#[derive(Clone)]
pub(crate) struct Client {
    url: Url,
    http: reqwest::Client,
    /// Without the password nobody gets in. Never shown.
    credentials: Option<(String, String)>,
    converter: SrSettings,
}

impl Client {
    pub(crate) fn new(access: &Access) -> Result<Self, CodecError> {
        let url = Url::parse(access.url()).map_err(|error| access.unusable(error.to_string()))?;
        if url.cannot_be_a_base() || !matches!(url.scheme(), "http" | "https") {
            return Err(access.unusable("it must begin with http:// or https://".to_owned()));
        }
        let http = access.http()?.build().map_err(|error| access.unusable(error.to_string()))?;
        let mut converter = SrSettings::new_builder(access.url().to_owned());
        let credentials = access.credentials()?.map(|(name, password)| (name.to_owned(), password));
        if let Some((name, password)) = &credentials {
            converter.set_basic_authorization(name, Some(password));
        }
        let converter = converter.build_with(access.http()?).map_err(|error| access.unusable(error.to_string()))?;
        Ok(Self { url, http, credentials, converter })
    }

    /// Registers the schema, or finds it if the subject has it.
    pub(crate) async fn register(&self, subject: &str, schema: &str) -> Result<u32, CodecError> {
        let supplied = SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned());
        match post_schema(&self.converter, subject.to_owned(), supplied).await {
            Ok(registered) => Ok(registered.id),
            Err(error) => {
                // The converter tells neither code nor status apart; ask once more in plain.
                let path = ["subjects", subject, "versions"];
                match self.call(Method::POST, &path, &[], Some(json!({"schema": schema}))).await {
                    Ok(answer) => id_of(&answer).ok_or_else(|| from_converter(subject, error)),
                    Err(CodecError::Refused { code: 409, message, .. }) => {
                        Err(CodecError::Incompatible { subject: subject.to_owned(), message })
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Text of an id's schema, without references.
    pub(crate) async fn schema_text(&self, id: u32) -> Result<Option<String>, CodecError> {
        match get_schema_by_id(id, &self.converter).await {
            Ok(found) => Ok(Some(found.schema)),
            Err(error) => match self.call(Method::GET, &["schemas", "ids", &id.to_string()], &[], None).await {
                Ok(answer) => match answer.get("schema").and_then(Value::as_str) {
                    Some(text) => Ok(Some(text.to_owned())),
                    None => Err(from_converter(&format!("schema {id}"), error)),
                },
                Err(CodecError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Sets the subject's level unless it has it.
    pub(crate) async fn set_level(&self, subject: &str, level: &str) -> Result<(), CodecError> {
        let path = ["config", subject];
        match self.call(Method::GET, &path, &[], None).await {
            Ok(answer) if answer.get("compatibilityLevel").and_then(Value::as_str) == Some(level) => return Ok(()),
            Ok(_) | Err(CodecError::Refused { status: StatusCode::NOT_FOUND, .. }) => {}
            Err(error) => return Err(error),
        }
        self.call(Method::PUT, &path, &[], Some(json!({"compatibility": level}))).await.map(drop)
    }

    /// What would become of the schema if it were registered now. Changes nothing.
    pub(crate) async fn look(&self, subject: &str, schema: &str) -> Result<Standing, CodecError> {
        let body = json!({"schema": schema});
        match self.call(Method::POST, &["subjects", subject], &[], Some(body.clone())).await {
            Ok(_) => return Ok(Standing::Registered),
            Err(CodecError::Refused { status: StatusCode::NOT_FOUND, code: 40401, .. }) => return Ok(Standing::Absent),
            Err(CodecError::Refused { status: StatusCode::NOT_FOUND, .. }) => {}
            Err(error) => return Err(error),
        }
        let path = ["compatibility", "subjects", subject, "versions", "latest"];
        let answer = self.call(Method::POST, &path, &[], Some(body)).await?;
        let fits = answer.get("is_compatible").and_then(Value::as_bool) == Some(true);
        Ok(if fits { Standing::Compatible } else { Standing::Incompatible })
    }

    pub(crate) async fn subjects(&self) -> Result<Vec<String>, CodecError> {
        let answer = self.call(Method::GET, &["subjects"], &[("deleted", "true")], None).await?;
        let subjects = answer.as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(subjects.map(str::to_owned).collect())
    }

    /// Soft, then hard. What is already gone is no error.
    pub(crate) async fn delete_subject(&self, subject: &str) -> Result<(), CodecError> {
        for query in [&[][..], &[("permanent", "true")]] {
            match self.call(Method::DELETE, &["subjects", subject], query, None).await {
                Ok(_) | Err(CodecError::Refused { status: StatusCode::NOT_FOUND, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Value, CodecError> {
        let away = |source| CodecError::Away { url: self.url.to_string(), source: Box::new(source) };
        let response = self.request(method, path, query, body).send().await.map_err(away)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(away)?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let code = answer.get("error_code").and_then(Value::as_u64).and_then(|code| u32::try_from(code).ok());
        let message = answer.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        Err(CodecError::Refused { status, code: code.unwrap_or_else(|| u32::from(status.as_u16())), message })
    }

    /// What the registry's clock says, as HTTP tells it.
    pub(crate) async fn date(&self) -> Result<Option<String>, CodecError> {
        let away = |source| CodecError::Away { url: self.url.to_string(), source: Box::new(source) };
        let response = self.request(Method::GET, &["subjects"], &[], None).send().await.map_err(away)?;
        let status = response.status();
        if !status.is_success() {
            let code = u32::from(status.as_u16());
            return Err(CodecError::Refused { status, code, message: "the list of subjects".to_owned() });
        }
        let date = response.headers().get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
        Ok(date.map(str::to_owned))
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> reqwest::RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // Encodes what a subject may hold: slashes, spaces, percent signs.
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.http.request(method, url).query(query);
        if let Some((name, password)) = &self.credentials {
            request = request.basic_auth(name, Some(password));
        }
        if let Some(body) = body {
            request = request.header(reqwest::header::CONTENT_TYPE, "application/vnd.schemaregistry.v1+json");
            request = request.body(body.to_string());
        }
        request
    }
}

fn id_of(answer: &Value) -> Option<u32> {
    answer.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok())
}

fn from_converter(what: &str, error: SRCError) -> CodecError {
    CodecError::Answer { what: what.to_owned(), source: Box::new(error) }
}
