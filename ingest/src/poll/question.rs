//! What is asked for: a page of a list, one row, a place of a queue; and what it is with its parameters.

use jiff::Timestamp;
use reqwest::Url;

use super::soap;
use super::window::Window;
use crate::connection::Poll;
use crate::manifest::{self, Api, Document, Filter, One, Paging, QUEUE, Rows, Stream, TimeFormat, param_of};

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Question<'a> {
    /// Behind the base URL; a part of it may be `{param}`.
    path: &'a str,
    params: Vec<(&'a str, &'a str)>,
    /// Parameters that hold ids.
    own: Vec<(&'a str, &'a str)>,
    /// Take the places of `{param}` in the path.
    fill: Vec<(&'a str, &'a str)>,
    narrowed: Option<(&'a manifest::Window, &'a Window)>,
    pub(super) sync: Option<(&'a manifest::Sync, Option<&'a str>)>,
    /// The vendor's cursor of the page; `None`: the first.
    pub(super) page: Option<&'a str>,
    /// What the answer holds, if a page may follow it.
    pub(super) pages: Option<&'a Rows>,
    pub(super) by: By<'a>,
    /// Parameter, and up to when the list is read.
    as_of: Option<(&'a str, Timestamp)>,
    /// The list stands at a URL of the connection's own, under this name.
    elsewhere: Option<&'a str>,
}

/// How it is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum By<'a> {
    Rest,
    /// Something is to be made: PUT, with the parameters in the URL.
    Put,
    Soap(soap::Asked<'a>),
    Graphql(&'a Document),
}

impl<'a> Question<'a> {
    /// Of what stands at this path, by REST, all on one page.
    fn at(path: &'a str) -> Self {
        Self {
            path,
            params: Vec::new(),
            own: Vec::new(),
            fill: Vec::new(),
            narrowed: None,
            sync: None,
            page: None,
            pages: None,
            by: By::Rest,
            as_of: None,
            elsewhere: None,
        }
    }

    /// For a page of a list, narrowed to `window`.
    pub(super) fn list(api: &'a Api, stream: &'a Stream, params: &'a [(String, String)], window: &'a Window) -> Self {
        Self {
            params: first_page(api, stream).chain(texts(params)).collect(),
            narrowed: stream.window.as_ref().map(|rules| (rules, window)),
            sync: stream.sync.as_ref().map(|rules| (rules, window.sync.as_deref())),
            page: window.page.as_deref(),
            pages: stream.paged.then(|| api.rows_of(stream)),
            by: By::of(api, stream),
            as_of: stream.request.as_ref().and_then(|_| Some((api.soap.as_ref()?.as_of.as_deref()?, window.to))),
            elsewhere: elsewhere(stream),
            ..Self::at(&stream.path)
        }
    }

    /// For a page of a list per parent, or for what it has in the place of one: `ids` say whose.
    pub(super) fn of_parent(
        api: &'a Api,
        stream: &'a Stream,
        ids: &'a [(String, String)],
        page: Option<&'a str>,
    ) -> Self {
        let in_path = |(param, _): &(&str, &str)| stream.path.split('/').any(|part| param_of(part) == Some(param));
        let params = first_page(api, stream).chain(texts(&stream.params)).collect();
        let (fill, own) = texts(ids).partition(in_path);
        Self {
            params,
            own,
            fill,
            page,
            pages: stream.paged.then(|| api.rows_of(stream)),
            by: By::of(api, stream),
            elsewhere: elsewhere(stream),
            ..Self::at(&stream.path)
        }
    }

    /// As of this moment, if it is of one.
    pub(super) fn of_moment(self, at: Timestamp) -> Self {
        Self { as_of: self.as_of.map(|(param, _)| (param, at)), ..self }
    }

    /// The moment of what is asked for, as it is told to the mapping: a row of a later page is no newer than one of the first.
    pub(super) fn told_as_of(&self) -> Option<(String, String)> {
        self.as_of.map(|(param, at)| (param.to_owned(), TimeFormat::Rfc3339.write(at)))
    }

    /// For one row by its id.
    pub(super) fn one(rules: &'a One, id: &'a str) -> Self {
        let (own, fill) = match &rules.param {
            Some(param) => (vec![(param.as_str(), id)], Vec::new()),
            None => (Vec::new(), vec![("id", id)]),
        };
        let by = rules.query.as_ref().map_or(By::Rest, By::Graphql);
        Self { params: texts(&rules.params).collect(), own, fill, by, ..Self::at(&rules.path) }
    }

    /// About the queue of this name.
    pub(super) fn queue(
        path: &'a str,
        name: &'a str,
        params: &'a [(String, String)],
        number: Option<(&'a str, &'a str)>,
    ) -> Self {
        let (params, own) = (texts(params).collect(), number.into_iter().collect());
        Self { params, own, fill: vec![(QUEUE, name)], ..Self::at(path) }
    }

    /// To make what is at this place.
    pub(super) fn put(self) -> Self {
        Self { by: By::Put, ..self }
    }
}

impl<'a> By<'a> {
    fn of(api: &'a Api, stream: &'a Stream) -> Self {
        if let (Some(soap), Some(request)) = (&api.soap, &stream.request) {
            return Self::Soap(soap::Asked { soap, request, rows: api.rows_of(stream), leave_out: &stream.leave_out });
        }
        stream.query.as_ref().map_or(Self::Rest, Self::Graphql)
    }
}

fn elsewhere(stream: &Stream) -> Option<&str> {
    stream.url.as_ref().map(|_| stream.name.as_str())
}

/// What the first request of a list with pages says of them.
fn first_page<'a>(api: &'a Api, stream: &Stream) -> impl Iterator<Item = (&'a str, &'a str)> {
    texts(if stream.paged { &api.first_page } else { &[] })
}

fn texts(pairs: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

impl<'a> Question<'a> {
    /// Where it is sent, without its parameters.
    pub(super) fn url(&self, poll: &Poll, base_url: Option<&str>) -> Option<Url> {
        if let Some(list) = self.elsewhere {
            return Url::parse(poll.urls.get(list)?).ok();
        }
        let mut url = Url::parse(base_url?).ok()?;
        {
            let mut parts = url.path_segments_mut().ok()?;
            parts.pop_if_empty();
            for part in self.path.split('/') {
                let filled = param_of(part).and_then(|param| self.fill.iter().find(|(known, _)| *known == param));
                match filled {
                    // The URL would lead elsewhere.
                    Some((_, "" | "." | "..")) => return None,
                    Some((_, id)) => parts.push(id),
                    None => parts.push(part),
                };
            }
        }
        Some(url)
    }

    /// The first page by the stream's parameters and the window; a later one by the vendor's cursor, alone or with them.
    pub(super) fn parameters(&self, api: &'a Api) -> Vec<Param<'a>> {
        let told = |name: &'a str, value: &str| Param { name, value: value.to_owned(), plain: false };
        let param = api.paging.param();
        if let (Paging::LinkCursor { .. }, Some(page)) = (&api.paging, self.page) {
            return vec![told(param, page)];
        }
        let plain = |pair: &(&'a str, &'a str)| Param { name: pair.0, value: pair.1.to_owned(), plain: true };
        let mut params: Vec<_> = self.params.iter().map(plain).collect();
        params.extend(self.own.iter().map(|(name, id)| told(name, id)));
        params.extend(self.as_of.map(|(name, at)| told(name, &TimeFormat::Rfc3339.write(at))));
        if let Some((rules, window)) = self.narrowed {
            let to = rules.format.write(window.to);
            let from = window.from.map(|from| rules.format.write(from));
            match (&rules.filter, from) {
                (Filter::One { param, first, .. }, None) => params.push(told(param, &first.replace("{to}", &to))),
                (Filter::One { param, then, .. }, Some(from)) => {
                    params.push(told(param, &then.replace("{from}", &from).replace("{to}", &to)));
                }
                (Filter::Two { both: true, .. }, None) => {}
                (Filter::Two { to: param, both: false, .. }, None) => params.push(told(param, &to)),
                (Filter::After { param, first, .. }, None) => {
                    params.extend(first.as_ref().map(|first| told(param, first)))
                }
                (Filter::After { param, then, .. }, Some(from)) => {
                    params.push(told(param, &then.replace("{from}", &from)))
                }
                (Filter::Two { from: first, to: second, .. }, Some(from)) => {
                    params.extend([told(first, &from), told(second, &to)]);
                }
            }
        }
        match (self.page, self.sync) {
            (Some(page), _) => params.push(told(param, page)),
            // The pages that follow know the token by themselves.
            (None, Some((rules, Some(token)))) => params.push(told(&rules.param, token)),
            (None, _) => {}
        }
        params
    }
}

/// A parameter of a request.
pub(super) struct Param<'a> {
    pub(super) name: &'a str,
    pub(super) value: String,
    /// Written in the manifest: `true`, `false` and whole numbers are no texts in JSON.
    plain: bool,
}

impl Param<'_> {
    fn json(self) -> serde_json::Value {
        if !self.plain {
            return self.value.into();
        }
        match (self.value.as_str(), self.value.parse::<i64>()) {
            ("true", _) => true.into(),
            ("false", _) => false.into(),
            // `007` is a text.
            (text, Ok(number)) if number.to_string() == text => number.into(),
            (text, _) => text.into(),
        }
    }
}

pub(super) fn object(params: Vec<Param<'_>>) -> serde_json::Value {
    serde_json::Value::Object(params.into_iter().map(|param| (param.name.to_owned(), param.json())).collect())
}
