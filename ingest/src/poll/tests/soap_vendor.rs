//! A vendor in a test's own process that is asked by SOAP: operations with windows and pages, reports, and faults on demand.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Response};
use jiff::Timestamp;

use super::serving::{plain, serve};

pub(super) const USER: &str = "isu@acme";
pub(super) const PASSWORD: &str = "p<ss&word";

/// Between pretty-printed elements, as some answers are.
const SPACE: &str = "\n  ";

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) updated: Timestamp,
    pub(super) body: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) operation: String,
    pub(super) page: u64,
    pub(super) body: String,
}

#[derive(Default)]
pub(super) struct Account {
    /// By operation: the element of a row, and the rows.
    pub(super) lists: BTreeMap<&'static str, (&'static str, Vec<Row>)>,
    /// What the next requests meet: nothing, or this status and body.
    pub(super) faults: VecDeque<Option<(u16, String)>>,
    /// What requests for an operation meet for ever.
    pub(super) broken: BTreeMap<&'static str, (u16, String)>,
    pub(super) asked: Vec<Asked>,
    /// Query of each request for a report.
    pub(super) reports: Vec<String>,
    pub(super) per_page: usize,
    pub(super) gzip: bool,
    pub(super) refuses: bool,
    /// Tokens given so far: the last one proves who asks.
    pub(super) tokens: u32,
}

#[derive(Clone, Default)]
pub(super) struct Soap {
    pub(super) account: Arc<Mutex<Account>>,
    pub(super) address: String,
}

impl Soap {
    pub(super) async fn start() -> Self {
        let account = Account { per_page: 2, ..Account::default() };
        let soap = serve(|address| Self { account: Arc::new(Mutex::new(account)), address }, answer).await;
        soap.with(|account| {
            account.lists.insert("Get_Job_Requisitions", ("Job_Requisition", Vec::new()));
            account.lists.insert("Get_Evergreen_Requisitions", ("Evergreen_Job_Requsition", Vec::new()));
            account.lists.insert("Get_Job_Postings", ("Job_Posting", Vec::new()));
            account.lists.insert("Get_Candidates", ("Candidate", Vec::new()));
        });
        soap
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        change(&mut self.account.lock().unwrap())
    }

    /// Puts a row in a list, in place of the one with its id.
    pub(super) fn put(&self, operation: &'static str, id: &str, updated: Timestamp, body: &str) {
        self.with(|account| {
            let rows = &mut account.lists.get_mut(operation).unwrap().1;
            rows.retain(|row| row.id != id);
            rows.push(Row { id: id.to_owned(), updated, body: body.to_owned() });
        });
    }

    /// Requests for an operation since this was asked last.
    pub(super) fn asked(&self, operation: &str) -> Vec<Asked> {
        self.with(|account| {
            let (of, others) =
                std::mem::take(&mut account.asked).into_iter().partition(|asked| asked.operation == operation);
            account.asked = others;
            of
        })
    }

    /// The same by OAuth 2.
    pub(super) fn by_token(&self, folder: &std::path::Path) -> String {
        for (name, value) in [("client", "an-id"), ("secret", "a-secret"), ("refresh", "for-ever")] {
            std::fs::write(folder.join(name), value).unwrap();
        }
        format!(
            "client_id: {{file: {0}/client}}\nclient_secret: {{file: {0}/secret}}\nrefresh_token: {{file: {0}/refresh}}\n\
             token_url: {1}/ccx/oauth2/acme/token\nbase_url: {1}/ccx/service/acme\nretry_first: 1ms\nretry_most: 2ms\n",
            folder.display(),
            self.address
        )
    }

    /// The settings of a connection, with files in `folder`.
    pub(super) fn settings(&self, folder: &std::path::Path) -> String {
        std::fs::write(folder.join("user"), USER).unwrap();
        std::fs::write(folder.join("password"), PASSWORD).unwrap();
        format!(
            "username: {{file: {0}/user}}\npassword: {{file: {0}/password}}\nbase_url: {1}/ccx/service/acme\nretry_first: 1ms\nretry_most: 2ms\n",
            folder.display(),
            self.address
        )
    }
}

/// An envelope around a payload.
pub(super) fn envelope(payload: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>{SPACE}<env:Envelope xmlns:env=\"http://schemas.xmlsoap.org/soap/envelope/\">{SPACE}<env:Body>{payload}</env:Body>\n</env:Envelope>"
    )
}

/// A fault with a person's data wherever it may hold any.
pub(super) fn fault(code: &str) -> String {
    envelope(&format!(
        "<SOAP-ENV:Fault xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:wd=\"urn:com.workday/bsvc\"><faultcode>{code}</faultcode>\
         <faultstring>SECRET of a person</faultstring><detail><wd:Validation_Fault><wd:Validation_Error><wd:Message>SECRET</wd:Message>\
         <wd:Detail_Message>SECRET</wd:Detail_Message><wd:Xpath>SECRET</wd:Xpath></wd:Validation_Error></wd:Validation_Fault></detail></SOAP-ENV:Fault>"
    ))
}

fn text_of<'a>(body: &'a str, element: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<r:{element}>"))?;
    rest.split_once(&format!("</r:{element}>")).map(|(text, _)| text)
}

async fn answer(soap: Soap, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(to_bytes(body, 1_000_000).await.unwrap().to_vec()).unwrap();
    let mut account = soap.account.lock().unwrap();
    let authorization = parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    if parts.uri.path() == "/ccx/oauth2/acme/token" {
        // an-id:a-secret
        assert_eq!(authorization.as_deref(), Some("Basic YW4taWQ6YS1zZWNyZXQ="));
        assert_eq!(body, "grant_type=refresh_token&refresh_token=for-ever");
        account.tokens += 1;
        return plain(200, format!("{{\"access_token\":\"token-{}\",\"token_type\":\"Bearer\"}}", account.tokens));
    }
    let bearer = account.tokens > 0 && authorization == Some(format!("Bearer token-{}", account.tokens));
    if parts.method == "GET" {
        return report(&mut account, parts.uri.query().unwrap_or_default(), &parts.headers, bearer);
    }
    assert_eq!((parts.uri.path(), parts.uri.query()), ("/ccx/service/acme/Recruiting/v34.0", None));
    assert!(
        parts.headers["content-type"] == "text/xml;charset=UTF-8" && parts.headers["accept"] == "text/xml",
        "{parts:?}"
    );
    assert!(authorization.is_none() || account.tokens > 0, "the login stands in the envelope");
    assert!(authorization.is_none() || !body.contains("UsernameToken"), "one proof is enough");
    let operation = account.lists.keys().copied().find(|name| body.contains(&format!("<r:{name}_Request>"))).unwrap();
    let page: u64 = text_of(&body, "Page").map_or(1, |page| page.parse().unwrap());
    account.asked.push(Asked { operation: operation.to_owned(), page, body: body.clone() });
    // Escaped, as it must be.
    let proven = body.contains("<wsse:Username>isu@acme</wsse:Username>")
        && body.contains("#PasswordText\">p&lt;ss&amp;word</wsse:Password>");
    if !(proven || bearer) || account.refuses {
        return plain(500, fault("SOAP-ENV:Client.authenticationError"));
    }
    let broken = account.broken.get(operation).cloned();
    if let Some((status, body)) = broken.or_else(|| account.faults.pop_front().flatten()) {
        return plain(status, body);
    }
    let whole = list(&account, operation, &body, page);
    if account.gzip
        && parts.headers.get("accept-encoding").is_some_and(|value| value.to_str().unwrap().contains("gzip"))
    {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(whole.as_bytes()).unwrap();
        return Response::builder()
            .header("content-encoding", "gzip")
            .body(Body::from(packed.finish().unwrap()))
            .unwrap();
    }
    plain(200, whole)
}

/// The rows that changed within `(From, Through]`, as of the moment that is asked for.
fn list(account: &Account, operation: &str, body: &str, page: u64) -> String {
    let (element, rows) = &account.lists[operation];
    let instant = |element: &str| text_of(body, element).map(|text| text.parse::<Timestamp>().unwrap());
    let (from, through, as_of) =
        (instant("Updated_From"), instant("Updated_Through"), instant("As_Of_Entry_DateTime").unwrap());
    let shown = |row: &&Row| {
        from.is_none_or(|from| row.updated > from)
            && through.is_none_or(|through| row.updated <= through)
            && row.updated <= as_of
    };
    let all: Vec<&Row> = rows.iter().filter(shown).collect();
    let pages = all.len().div_ceil(account.per_page);
    let first = (usize::try_from(page).unwrap() - 1) * account.per_page;
    let here: Vec<&Row> = all.iter().skip(first).take(account.per_page).copied().collect();
    let mut payload = format!(
        "<wd:{operation}_Response xmlns:wd=\"urn:com.workday/bsvc\" wd:version=\"v34.0\">{SPACE}<wd:Response_Results><wd:Total_Results>{}</wd:Total_Results>\
         <wd:Total_Pages>{pages}</wd:Total_Pages><wd:Page_Results>{}</wd:Page_Results>",
        all.len(),
        here.len()
    );
    // Where nothing matches there is neither.
    if !here.is_empty() {
        payload.push_str(&format!("<wd:Page>{page}</wd:Page></wd:Response_Results>{SPACE}<wd:Response_Data>"));
        for row in here {
            payload.push_str(&format!(
                "{SPACE}<wd:{element}><wd:{element}_Reference><wd:ID wd:type=\"WID\">{}</wd:ID></wd:{element}_Reference>{}</wd:{element}>",
                row.id, row.body
            ));
        }
        payload.push_str("</wd:Response_Data>");
    } else {
        payload.push_str("</wd:Response_Results>");
    }
    payload.push_str(&format!("</wd:{operation}_Response>"));
    envelope(&payload)
}

fn report(account: &mut Account, query: &str, headers: &HeaderMap, bearer: bool) -> Response<Body> {
    account.reports.push(query.to_owned());
    // isu@acme:p<ss&word
    if !bearer && headers.get("authorization").is_none_or(|value| value != "Basic aXN1QGFjbWU6cDxzcyZ3b3Jk") {
        return plain(401, "");
    }
    plain(
        200,
        "{\"Report_Entry\":[{\"Event_WID\":\"e1\",\"Application_WID\":\"a1\",\"Updated_At\":\"2026-01-02T03:04:05Z\"}]}".to_owned(),
    )
}
