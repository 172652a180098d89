//! Requests and answers of lists that are asked for by SOAP 1.1, with WS-Security's UsernameToken.
//!
//! What stands in the manifest becomes an envelope; an answer becomes rows of XML, each also as the JSON that ids and
//! times are read of, and the rest of the answer as JSON. A fault is a failure whatever its status. Nothing of it is told
//! but its code.
//!
//! <https://www.w3.org/TR/2000/NOTE-SOAP-20000508/>, <https://docs.oasis-open.org/wss-m/wss/v1.1.1/>

use bytes::Bytes;
use hirewire_mapping::xml;

use super::failure::{Failure, Remedy};
use crate::json::{self, Path};
use crate::manifest::{Element, Rows as Shape, Soap, escaped};

const SECURITY: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const PASSWORD_TEXT: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText";
/// Of WS-Security (SOAP Message Security 1.1, section 12): all say that the login does not work.
const LOGIN_CODES: [&str; 3] = ["FailedAuthentication", "FailedCheck", "InvalidSecurityToken"];

/// How a list is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) soap: &'a Soap,
    pub(super) request: &'a Element,
    pub(super) rows: &'a Shape,
    pub(super) leave_out: &'a [String],
}

/// A row of XML.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Its exact bytes, but for what is left out.
    pub(super) xml: Bytes,
    /// The same as JSON; nothing, if it cannot be read.
    pub(super) json: Bytes,
}

/// An answer that is one.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    /// The payload without its rows, as JSON.
    pub(super) rest: Bytes,
}

/// An answer that is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    Fault(Failure),
    Broken(&'static str),
}

/// The envelope of a request. `login`: user and password, for the envelope's header.
pub(super) fn envelope(
    asked: &Asked<'_>,
    login: Option<(&str, &str)>,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:r=\"{}\"><soapenv:Header>",
        escaped(&asked.soap.namespace)
    );
    if let Some((user, password)) = login {
        out.push_str(&format!(
            "<wsse:Security soapenv:mustUnderstand=\"1\" xmlns:wsse=\"{SECURITY}\"><wsse:UsernameToken><wsse:Username>{}</wsse:Username>\
             <wsse:Password Type=\"{PASSWORD_TEXT}\">{}</wsse:Password></wsse:UsernameToken></wsse:Security>",
            escaped(user),
            escaped(password)
        ));
    }
    out.push_str("</soapenv:Header><soapenv:Body>");
    asked.request.write_whole("r", value_of, &mut out);
    out.push_str("</soapenv:Body></soapenv:Envelope>");
    out
}

/// What an answer holds. `later`: it is of a page behind the first.
///
/// # Errors
/// When it is a fault, or cannot be used.
pub(super) fn read(body: &[u8], asked: &Asked<'_>, later: bool) -> Result<Answer, Unanswered> {
    let broken = |_| Unanswered::Broken("the body is cut off, or not XML that can be read");
    let place: Vec<&str> = match asked.rows {
        Shape::List(place) | Shape::Members(place) => place.keys().collect(),
        Shape::One(places) => places.first().into_iter().flat_map(json::Path::keys).collect(),
    };
    let page = xml::split(body, &place, asked.leave_out).map_err(broken)?;
    if page.name == "Fault" {
        return Err(Unanswered::Fault(fault(page.rest.as_bytes(), &asked.soap.login, later)));
    }
    let Some(count) = json::scalar(page.rest.as_bytes(), &asked.soap.count).and_then(|count| count.parse::<u64>().ok())
    else {
        return Err(Unanswered::Broken("the answer does not say how many rows it holds"));
    };
    if count > 0 && page.rows.is_empty() {
        return Err(Unanswered::Broken("the answer holds rows, and none where they should be"));
    }
    let of_row = |xml: Vec<u8>| {
        let mut json = String::new();
        // One bad row must not stop the list it came in: the mapping makes a dead letter of it.
        if xml::to_json(&xml, &asked.soap.forms, &mut json).is_err() {
            "{}".clone_into(&mut json);
        }
        Row { xml: xml.into(), json: json.into() }
    };
    Ok(Answer { rows: page.rows.into_iter().map(of_row).collect(), rest: page.rest.into() })
}

/// A fault by its code: `Server` may be asked again, all else gives the same again (SOAP 1.1, section 4.4.1). Of a later
/// page it may be the page that is not known any more.
fn fault(fault: &[u8], login: &[String], later: bool) -> Failure {
    let at = |path: &str| json::scalar(fault, &Path::parse(path)?);
    // The second is SOAP 1.2's.
    let code = at("faultcode").or_else(|| at("Code.Value")).unwrap_or_default();
    let code = code.rsplit(':').next().unwrap_or_default();
    // A code is a word; what else stands there may hold anything.
    let word = !code.is_empty()
        && code.len() <= 64
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let code = if word { code } else { "that it does not name" };
    if LOGIN_CODES.contains(&code) || login.iter().any(|known| known == code) {
        return Failure::Credentials(format!("the vendor answered with the SOAP fault {code}"));
    }
    let remedy = match code.split('.').next() {
        Some("Server" | "Receiver") => Remedy::Again,
        _ if later => Remedy::Restart,
        _ => Remedy::NextList,
    };
    Failure::Fault { code: code.to_owned(), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_judged_by_its_code_and_never_repeated() {
        let judge = |code: &str, later| {
            let body =
                format!("{{\"faultcode\":\"{code}\",\"faultstring\":\"SECRET\",\"detail\":{{\"M\":\"SECRET\"}}}}");
            fault(body.as_bytes(), &["Client.authenticationError".to_owned()], later)
        };
        let remedy = |code, later| judge(code, later).remedy();
        assert_eq!(remedy("SOAP-ENV:Client.validationError", false), Remedy::NextList);
        assert_eq!(remedy("SOAP-ENV:Client.validationError", true), Remedy::Restart);
        assert_eq!(
            (remedy("SOAP-ENV:Server.processingFault", false), remedy("Server", true)),
            (Remedy::Again, Remedy::Again)
        );
        for login in ["SOAP-ENV:Client.authenticationError", "wsse:FailedAuthentication", "InvalidSecurityToken"] {
            assert_eq!(remedy(login, true), Remedy::NextRound, "{login}");
        }
        for odd in ["", "SECRET of a person", "Clientx", "MustUnderstand"] {
            assert_eq!(remedy(odd, false), Remedy::NextList, "{odd}");
            assert!(!judge(odd, false).to_string().contains("SECRET"), "{odd}");
        }
        assert_eq!(fault(b"{\"Code\":{\"Value\":\"env:Receiver\"}}", &[], false).remedy(), Remedy::Again);
    }
}
