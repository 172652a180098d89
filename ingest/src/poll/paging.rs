//! Which page of a list follows, by what an answer says.

use axum::http::HeaderMap;
use reqwest::Url;

use super::failure::Failure;
use super::rows;
use crate::json;
use crate::link;
use crate::manifest::{LastPage, NextLink, NextToken, PageNumber, Paging, Rows};

/// The value of the paging parameter for the page behind this one, which was asked for by `page`; `None`: it is the last.
///
/// # Errors
/// When the answer does not say what follows, or says it in a way that cannot be followed.
pub(super) fn next(
    paging: &Paging,
    rows: &Rows,
    page: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<String>, Failure> {
    match paging {
        Paging::Offset { .. } => next_offset(body, rows, page),
        Paging::LinkCursor { param } => Ok(next_cursor(headers, param)),
        Paging::NextToken(rules) => next_token(body, rules),
        Paging::NextLink(rules) => next_link(body, rules),
        Paging::PageNumber(rules) => next_number(body, rules, page),
    }
}

/// The rows before the page that follows; `None`: this one has none. The first one is asked for without their number.
fn next_offset(body: &[u8], rows: &Rows, page: Option<&str>) -> Result<Option<String>, Failure> {
    let count = rows::ranges(body, rows)?.len() as u64;
    let before = page.map_or(Ok(0), |page| page.parse::<u64>().map_err(|_| Failure::PageGone(200)))?;
    Ok((count > 0).then(|| (before + count).to_string()))
}

/// The number of the page that follows. The first one is asked for without its number.
fn next_number(body: &[u8], rules: &PageNumber, page: Option<&str>) -> Result<Option<String>, Failure> {
    let number = page.map_or(Some(1), |page| page.parse::<u64>().ok());
    let last = match &rules.last {
        LastPage::Flag(path) => json::truth(body, path),
        LastPage::Of(path) => {
            let pages = json::scalar(body, path).and_then(|pages| pages.parse::<u64>().ok());
            pages.zip(number.or(Some(0))).map(|(pages, number)| number >= pages)
        }
    };
    match (last, number) {
        (Some(true), _) => Ok(None),
        (Some(false), Some(number)) => Ok(Some((number + 1).to_string())),
        (Some(false), None) => Err(Failure::PageGone(200)),
        (None, _) => Err(Failure::Broken("the answer does not say whether it is the last page")),
    }
}

/// The token of the page that follows, as a parameter's value. An answer that says that a page follows and does not
/// name it is unusable: its list would end too early.
fn next_token(body: &[u8], rules: &NextToken) -> Result<Option<String>, Failure> {
    let more = rules.more.as_ref().and_then(|more| json::truth(body, more));
    match (more, json::scalar(body, &rules.next)) {
        (Some(false), _) | (None, None) => Ok(None),
        (Some(true), None) => Err(Failure::Broken("a page follows, and the answer does not name it")),
        (Some(true) | None, Some(token)) => Ok(Some(if rules.encoded { decoded(token) } else { token })),
    }
}

/// The parameter of the URL that stands in the body. What is no URL with that parameter is unusable: its list would end
/// too early.
fn next_link(body: &[u8], rules: &NextLink) -> Result<Option<String>, Failure> {
    if json::is_null(body, &rules.next) {
        return Ok(None);
    }
    let named = json::scalar(body, &rules.next).and_then(|url| query_param(&url, &rules.param));
    named.map(Some).ok_or(Failure::Broken("a page follows, and its link does not name it"))
}

/// A percent-encoded text, decoded; one that is surely not encoded stays as it is.
fn decoded(token: String) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"%-._~".contains(&byte);
    if !token.bytes().all(safe) {
        return token;
    }
    let url = Url::parse(&format!("http://localhost/?t={token}")).ok();
    url.and_then(|url| url.query_pairs().next().map(|(_, value)| value.into_owned())).unwrap_or(token)
}

/// `param` of the link with `rel="next"` (RFC 8288).
fn next_cursor(headers: &HeaderMap, param: &str) -> Option<String> {
    query_param(link::target(headers, "next")?, param)
}

/// A parameter of a URL, decoded. The URL may be relative; only its query counts.
fn query_param(url: &str, param: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let query = query.split('#').next()?;
    let base = Url::parse(&format!("http://localhost/?{query}")).ok()?;
    base.query_pairs().find(|(name, _)| name == param).map(|(_, value)| value.into_owned()).filter(|v| !v.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(link: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([("link".parse().unwrap(), link.parse().unwrap())]);
        next_cursor(&headers, "cursor")
    }

    #[test]
    fn the_next_token_is_decoded_once_and_a_list_never_ends_by_a_missing_one() {
        let path = |text| json::Path::parse(text).unwrap();
        let rules = |encoded| NextToken {
            param: "offset".to_owned(),
            next: path("next"),
            more: Some(path("hasNext")),
            encoded,
        };
        let next = |body: &str| next_token(body.as_bytes(), &rules(true));
        let encoded = "{\"data\":[],\"hasNext\":true,\"next\":\"%5B3%2C1491%2C%22a%22%5D\"}";
        assert_eq!(next(encoded), Ok(Some("[3,1491,\"a\"]".to_owned())));
        assert_eq!(next_token(encoded.as_bytes(), &rules(false)), Ok(Some("%5B3%2C1491%2C%22a%22%5D".to_owned())));
        assert_eq!(
            next("{\"hasNext\":true,\"next\":\"0.1414895548650.a6070140-33db\"}"),
            Ok(Some("0.1414895548650.a6070140-33db".to_owned()))
        );
        assert_eq!(
            next("{\"hasNext\":true,\"next\":\"a&b=100%\"}"),
            Ok(Some("a&b=100%".to_owned())),
            "surely not encoded"
        );
        assert_eq!(next("{\"hasNext\":false,\"next\":\"left over\"}"), Ok(None));
        assert_eq!(next("{\"data\":[]}"), Ok(None));
        assert_eq!(next("{\"next\":\"n\"}"), Ok(Some("n".to_owned())));
        for body in ["{\"hasNext\":true}", "{\"hasNext\":true,\"next\":null}", "{\"hasNext\":true,\"next\":\"\"}"] {
            assert!(matches!(next(body), Err(Failure::Broken(_))), "{body}");
        }
    }

    #[test]
    fn the_cursor_of_the_next_link_is_found_and_of_no_other() {
        assert_eq!(next("<https://x.example/v3/a?cursor=abc>; rel=\"next\"").unwrap(), "abc");
        assert_eq!(
            next("<https://x.example/a?cursor=z>; rel=\"prev\", </a?q=1,2&cursor=a%2Bb%3D>; rel=next").unwrap(),
            "a+b="
        );
        assert_eq!(next("<https://x.example/a?cursor=abc>; title=\"t\"; rel=\"last next\"").unwrap(), "abc");
        for none in [
            "<https://x.example/a?page=1>; rel=\"last\"",
            "<https://x.example/a?page=2>; rel=\"next\"",
            "<https://x.example/a?cursor=>; rel=next",
            "nonsense",
            "<",
        ] {
            assert_eq!(next(none), None, "{none}");
        }
    }
    #[test]
    fn a_token_alone_says_that_a_page_follows() {
        let path = |text| json::Path::parse(text).unwrap();
        let rules = NextToken { param: "pageId".to_owned(), next: path("nextPageId"), more: None, encoded: false };
        assert_eq!(next_token(b"{\"content\":[],\"nextPageId\":\"p2\"}", &rules), Ok(Some("p2".to_owned())));
        for last in ["{\"content\":[]}", "{\"nextPageId\":\"\"}", "{\"nextPageId\":null}"] {
            assert_eq!(next_token(last.as_bytes(), &rules), Ok(None), "{last}");
        }
    }

    #[test]
    fn a_link_in_the_body_names_the_page_by_one_parameter_and_a_list_never_ends_by_another_shape() {
        let rules = NextLink { param: "page[number]".to_owned(), next: json::Path::parse("links.next").unwrap() };
        let next = |body: &str| next_link(body.as_bytes(), &rules);
        for url in [
            "https://x.example/v1/people?page%5Bnumber%5D=2&page%5Bsize%5D=30",
            "https:\\/\\/x.example\\/v1\\/people?sort=-a&page[number]=2#top",
            "/people?page%5Bnumber%5D=2",
        ] {
            let body = format!("{{\"data\":[],\"links\":{{\"next\":\"{url}\"}}}}");
            assert_eq!(next(&body), Ok(Some("2".to_owned())), "{body}");
        }
        for last in ["{\"data\":[]}", "{\"links\":{}}", "{\"links\":null}", "{\"links\":{\"next\":null}}"] {
            assert_eq!(next(last), Ok(None), "{last}");
        }
        for odd in
            ["\"\"", "\"https://x.example/people?page=2\"", "\"?page[number]=\"", "{\"href\":\"/p\"}", "false", "2"]
        {
            let body = format!("{{\"links\":{{\"next\":{odd}}}}}");
            assert!(matches!(next(&body), Err(Failure::Broken(_))), "{body}");
        }
    }

    #[test]
    fn rows_are_counted_until_a_page_has_none() {
        let rows = Rows::List(json::Path::parse("data").unwrap());
        let next = |body: &str, page| next_offset(body.as_bytes(), &rows, page);
        assert_eq!(next("{\"data\":[{},{}]}", None), Ok(Some("2".to_owned())));
        assert_eq!(next("{\"data\":[{}]}", Some("40")), Ok(Some("41".to_owned())), "fewer than before is no end");
        assert_eq!(next("{\"data\":[]}", Some("41")), Ok(None));
        assert!(matches!(next("{}", Some("41")), Err(Failure::Broken(_))), "nor is silence");
        // A cursor that was stored under another manifest.
        assert_eq!(next("{\"data\":[{}]}", Some("token")), Err(Failure::PageGone(200)));
    }

    #[test]
    fn numbers_go_up_until_the_last_page_and_a_list_never_ends_by_silence() {
        let rules =
            PageNumber { param: "page".to_owned(), last: LastPage::Flag(json::Path::parse("complete").unwrap()) };
        let next = |body: &str, page| next_number(body.as_bytes(), &rules, page);
        assert_eq!(next("{\"complete\":false}", None), Ok(Some("2".to_owned())));
        assert_eq!(next("{\"complete\":false}", Some("9")), Ok(Some("10".to_owned())));
        assert_eq!(next("{\"complete\":true}", Some("9")), Ok(None));
        for silent in ["{}", "[]", "{\"complete\":null}", "{\"complete\":\"true\"}"] {
            assert!(matches!(next(silent, None), Err(Failure::Broken(_))), "{silent}");
        }
        let total = PageNumber { param: "page".to_owned(), last: LastPage::Of(json::Path::parse("total").unwrap()) };
        let next = |body: &str, page| next_number(body.as_bytes(), &total, page);
        assert_eq!(next("{\"total\":\"3\"}", None), Ok(Some("2".to_owned())));
        assert_eq!(next("{\"total\":3}", Some("2")), Ok(Some("3".to_owned())));
        for last in ["{\"total\":3}", "{\"total\":2}", "{\"total\":\"0\"}"] {
            assert_eq!(next(last, Some("3")), Ok(None), "{last}");
        }
        for silent in ["{}", "{\"total\":\"\"}", "{\"total\":true}", "{\"total\":\"many\"}"] {
            assert!(matches!(next(silent, None), Err(Failure::Broken(_))), "{silent}");
        }
        let next = |body: &str, page| next_number(body.as_bytes(), &rules, page);
        // A cursor that was stored under another manifest.
        assert_eq!(next("{\"complete\":false}", Some("token")), Err(Failure::PageGone(200)));
    }
}
