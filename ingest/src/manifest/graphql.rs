//! Lists that are asked for by GraphQL: a document for each, whose variables are the list's parameters.

use hirewire_yaml::{Map, Node, Problems, did_you_mean};

use super::values::list_path;

/// What all requests by GraphQL have in common.
#[derive(Debug)]
pub struct Graphql {
    /// Behind the base URL.
    pub(crate) path: String,
}

/// A query, sent as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub text: String,
    /// Each name behind a `$`, once.
    variables: Vec<String>,
}

impl Graphql {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let path = map.require("path", problems).and_then(|node| list_path(node, &[], problems)).map(str::to_owned);
        map.finish(problems);
        Some(Self { path: path? })
    }
}

impl Document {
    /// Reads `query`, if there is one.
    #[expect(clippy::option_option, reason = "wrong, none and one are three things")]
    pub(super) fn read(map: &mut Map<'_>, by: Option<&Graphql>, problems: &mut Problems) -> Option<Option<Self>> {
        let Some(node) = map.get("query") else { return Some(None) };
        if by.is_none() {
            problems.add(node, "`query` without `api.graphql`", "say there which path requests by GraphQL have");
            return None;
        }
        if let Some(request) = map.node().peek("request") {
            problems.add(request, "`request` beside `query`", "a list is asked for by SOAP or by GraphQL: keep one");
            return None;
        }
        let text = node.text(problems)?;
        let document = Self { text: text.to_owned(), variables: variables(text) };
        // Whatever else is wrong with it, the vendor says.
        if !text.trim_start().starts_with("query") {
            problems.add(node, "a document that does not begin with a query", "write query($after: String) {…}");
            return None;
        }
        Some(Some(document))
    }

    /// Each parameter of the list is a variable, and each variable a parameter.
    pub(super) fn check_variables(&self, node: &Node, list: &str, sent: &[&str], problems: &mut Problems) {
        let own: Vec<&str> = self.variables.iter().map(String::as_str).collect();
        for name in own.iter().filter(|name| !sent.contains(name)) {
            let hint = did_you_mean(name, sent.iter().copied());
            problems.add(node, format!("the list {list} sends no parameter \"{name}\""), hint);
        }
        for name in sent.iter().filter(|name| !own.contains(name)) {
            let hint = format!("use ${name} where the query takes it");
            problems.add(node, format!("the parameter \"{name}\" is no variable of the query for {list}"), hint);
        }
    }
}

/// The names behind a `$`, outside of texts and comments.
fn variables(document: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut letters = document.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '#' => while letters.next_if(|letter| *letter != '\n').is_some() {},
            '"' => {
                while let Some(letter) = letters.next_if(|letter| *letter != '"') {
                    if letter == '\\' {
                        letters.next();
                    }
                }
                letters.next();
            }
            '$' => {
                let mut name = String::new();
                while let Some(letter) = letters.next_if(|letter| letter.is_ascii_alphanumeric() || *letter == '_') {
                    name.push(letter);
                }
                if !name.is_empty() && !found.contains(&name) {
                    found.push(name);
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_once_and_outside_of_texts_and_comments() {
        let document = "query($after: String, $first: Int) { # not $this\n  a(after: $after, first: $first, b: \"$no \\\" $nor\") { c } }";
        assert_eq!(variables(document), ["after", "first"]);
        assert_eq!(variables("query { a(b: \"\", c: $d) }"), ["d"]);
        assert!(variables("query { price(in: \"$\") # $").is_empty());
    }

    /// A manifest with these lines of `api` and of its list.
    fn mistakes(api: &str, list: &str) -> String {
        let text = format!(
            "vendor: x\napi:\n  base_url: https://x.example\n  auth: {{basic_api_key: {{}}}}\n{api}  \
             paging: {{next_token: {{param: after, next: data.list.pageInfo.endCursor, more: data.list.pageInfo.hasNextPage}}}}\n  \
             rows: data.list.nodes\n  first_page: {{first: 50}}\n  window: {{after: since, field: updatedAt}}\n  lag: 0s\n  overlap: 0s\n  \
             streams:\n    jobs: {{subject: {{Job: id}}, {list}}}\n"
        );
        crate::manifest::Manifest::parse("m.yaml", &text).err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_query_uses_each_parameter_of_its_list_and_no_other() {
        const GRAPHQL: &str = "  graphql: {path: graphql}\n  errors: {at: errors, codes: errors.extensions.code, login: [UNAUTHENTICATED], limited: [THROTTLED]}\n";
        let query = |variables: &str| format!("query: \"query {{ list: jobs({variables}) {{ nodes {{ id }} }} }}\"");
        let all = query("first: $first, after: $after, since: $since");
        assert_eq!(mistakes(GRAPHQL, &all), "");
        let one = "one: {query: \"query($id: ID!) { job(id: $id) { id } }\", row: data.job}";
        assert_eq!(mistakes(GRAPHQL, &format!("{all}, {one}")), "");
        for (api, list, part) in [
            ("", all.clone(), "m.yaml:12: `query` without `api.graphql`"),
            (
                "  graphql: {path: graphql}\n",
                all.clone(),
                "`graphql` without `errors` (GraphQL's errors come under 200",
            ),
            ("  graphql: {pth: graphql}\n", all.clone(), "did you mean \"path\"?"),
            (
                GRAPHQL,
                query("first: $first, after: $aftr, since: $since"),
                "jobs sends no parameter \"aftr\" (did you mean \"after\"?)",
            ),
            (
                GRAPHQL,
                query("first: $first, after: $after"),
                "the parameter \"since\" is no variable of the query for jobs (use $since",
            ),
            (GRAPHQL, "query: \"{ jobs { id } }\"".to_owned(), "a document that does not begin with a query"),
            (GRAPHQL, format!("{all}, request: {{A: b}}"), "`request` beside `query`"),
            (GRAPHQL, format!("{all}, {}", one.replace("$id", "$key")), "sends no parameter \"key\""),
            (GRAPHQL, format!("{all}, {}", one.replace("{query", "{path: jobs, query")), "`path` beside `query`"),
            (
                GRAPHQL,
                format!("{all}, one: {{param: id, query: \"query {{ a(id: $id) {{ id }} }}\"}}"),
                "`param` beside `query`",
            ),
        ] {
            let told = mistakes(api, &list);
            assert!(told.contains(part), "{list}: {told}");
        }
    }
}
