//! `Link` headers (RFC 8288): what they lead to, and which ids a path holds.
//!
//! A link is only ever read. Where a request is sent is the connection's base URL with the manifest's path, so that no
//! sender can lead a credential elsewhere.

use axum::http::HeaderMap;
use reqwest::Url;

use crate::manifest::param_of;

/// The target of the first link with this relation.
pub(crate) fn target<'h>(headers: &'h HeaderMap, relation: &str) -> Option<&'h str> {
    let links = headers.get_all("link").iter().filter_map(|value| value.to_str().ok());
    links.flat_map(split_links).find_map(|(target, relations)| {
        relations.split_ascii_whitespace().any(|known| known.eq_ignore_ascii_case(relation)).then_some(target)
    })
}

/// The values that the `{params}` of `path` have in a link: `path` stands behind `base`, and both must go the same way as
/// far as both go. `None` if they do not, or one of the params has no value.
pub(crate) fn values(target: &str, base: &str, path: &str) -> Option<Vec<(String, String)>> {
    let base = Url::parse(base).ok()?;
    let url = base.join(target).ok()?;
    let (front, all) = (parts(&base), parts(&url));
    let mut named = all.strip_prefix(front.as_slice()).unwrap_or(&all).iter();
    let mut found = Vec::new();
    for part in path.split('/') {
        match (param_of(part), named.next()) {
            // What is encoded would have to be encoded otherwise in our own path.
            (Some(param), Some(value)) if !value.contains('%') => found.push((param.to_owned(), (*value).to_owned())),
            (Some(_), _) => return None,
            (None, Some(value)) if *value != part => return None,
            (None, _) => {}
        }
    }
    Some(found)
}

fn parts(url: &Url) -> Vec<&str> {
    url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect()
}

/// Target and `rel` of each link of a `Link` header.
fn split_links(header: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((target, after)) = after.split_once('>') else { break };
        // Parameters go on to the '<' of the next link; a quoted one may hold a comma, never a '<' in practice.
        let (params, _) = after.split_once('<').unwrap_or((after, ""));
        for param in params.split([';', ',']) {
            if let Some((name, value)) = param.split_once('=')
                && name.trim().eq_ignore_ascii_case("rel")
            {
                links.push((target, value.trim().trim_matches('"')));
            }
        }
        rest = after;
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(links: &[&str]) -> HeaderMap {
        links.iter().map(|link| ("link".parse().unwrap(), link.parse().unwrap())).collect()
    }

    #[test]
    fn a_target_is_found_by_its_relation() {
        for links in [
            &["<https://x.example/a>; rel=self"][..],
            &["<https://x.example/b>; rel=next, <https://x.example/a>; title=\"t\"; rel=\"Self up\""],
            &["<https://x.example/b>; rel=next", "<https://x.example/a>;rel=self"],
        ] {
            assert_eq!(target(&headers(links), "self"), Some("https://x.example/a"), "{links:?}");
        }
        for links in
            [&[][..], &["<https://x.example/a>"], &["<https://x.example/a>; rel=selfish"], &["<"], &["nonsense"]]
        {
            assert_eq!(target(&headers(links), "self"), None, "{links:?}");
        }
    }

    #[test]
    fn ids_are_found_where_link_and_path_go_the_same_way() {
        let of = |target: &str, base: &str, path: &str| values(target, base, path).map(|pairs| format!("{pairs:?}"));
        let (plain, deep) = ("https://x.example", "https://x.example/api/v1");
        let both = Some("[(\"c\", \"7\"), (\"j\", \"8\")]".to_owned());
        // The link may be shorter than the path, or longer, and its host does not count.
        assert_eq!(of("https://y.example/people/7/jobs/8", plain, "people/{c}/jobs/{j}/history"), both);
        assert_eq!(of("/people/7/jobs/8/offers/9?x=1#y", plain, "people/{c}/jobs/{j}/offers"), both);
        assert_eq!(of("https://x.example/api/v1/people/7/jobs/8", deep, "people/{c}/jobs/{j}"), both);
        assert_eq!(of("https://y.example/people/7/jobs/8", deep, "people/{c}/jobs/{j}"), both);
        for (target, path) in [
            ("https://x.example/people/7", "people/{c}/jobs/{j}"),
            ("https://x.example/jobs/8", "people/{c}"),
            ("https://x.example/people/7/offers/9", "people/{c}/jobs/{j}"),
            ("https://x.example/people/7%2F8", "people/{c}"),
            ("https://x.example/people/../jobs/8", "people/{c}"),
            ("https://x.example", "people/{c}"),
            ("http://[", "people/{c}"),
        ] {
            assert_eq!(of(target, plain, path), None, "{target} {path}");
        }
    }
}
