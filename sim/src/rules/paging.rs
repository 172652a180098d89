//! How lists come in pages: how many rows, in which order, and what names the page that follows.

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Node, Problems};

use super::read::{optional, text};
use super::{Refusal, read_refusal};

#[derive(Debug, Clone)]
pub struct Paging {
    /// `None`: nobody may say how many rows a page has.
    pub size: Option<Size>,
    pub next: Next,
    /// `None`: other parameters may stand beside the cursor.
    pub alone: Option<Refusal>,
    pub order: Order,
    /// `None`: nobody may choose the order.
    pub sort: Option<Sort>,
    /// What a page that is not known any more is answered; `None`: no source tells.
    pub unknown: Option<Refusal>,
}

/// The parameter that says how many rows are asked for.
#[derive(Debug, Clone)]
pub struct Size {
    pub param: String,
    pub default: u64,
    pub max: u64,
}

/// The parameter that chooses the order, and its values.
#[derive(Debug, Clone)]
pub struct Sort {
    pub param: String,
    pub orders: BTreeMap<String, Order>,
}

/// How an answer names the page that follows.
#[derive(Debug, Clone)]
pub enum Next {
    /// A `Link` header with `rel="next"`, whose URL holds this parameter.
    Link { param: String },
    /// A token at a place of the body.
    Token {
        param: String,
        field: String,
        /// The place of the boolean that says whether a page follows.
        more: Option<String>,
        encoded: bool,
    },
    /// Pages are counted from 1: a row that leaves shifts those behind it.
    Number {
        param: String,
        /// The place of the next page's URL; none on the last page.
        url: Option<String>,
        /// The place of the boolean that says whether this is the last page.
        last: Option<String>,
        /// The place of the number of pages.
        total: Option<String>,
    },
    /// The parameter that takes how many rows stand before the page. Nothing says whether one follows.
    Offset { param: String },
}

impl Next {
    /// The parameter that takes the cursor.
    #[must_use]
    pub fn param(&self) -> &str {
        match self {
            Self::Link { param } | Self::Token { param, .. } | Self::Number { param, .. } | Self::Offset { param } => {
                param
            }
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (kind, value) = node.tagged(&["link", "token", "number", "offset"], problems)?;
        let mut map = value.map(problems)?;
        let param = text(&mut map, "param", problems);
        let next = match kind {
            "link" => Some(Self::Link { param: param? }),
            "offset" => Some(Self::Offset { param: param? }),
            "token" => {
                let field = text(&mut map, "field", problems);
                let more = place(&mut map, "more", problems);
                let encoded = map.get("encoded").map_or(Some(false), |node| node.boolean(problems));
                Some(Self::Token { param: param?, field: field?, more: more?, encoded: encoded? })
            }
            _ => {
                let (url, last) = (place(&mut map, "url", problems)?, place(&mut map, "last", problems)?);
                let total = place(&mut map, "total", problems)?;
                if url.is_none() && last.is_none() && total.is_none() {
                    let hint = "name the place of `url`, of `last` or of `total`";
                    problems.add(node, "nothing says whether a page follows", hint);
                }
                Some(Self::Number { param: param?, url, last, total })
            }
        };
        map.finish(problems);
        next
    }
}

/// By what a list is ordered; then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    IdDescending,
    IdAscending,
    CreatedDescending,
    ChangedDescending,
}

impl Order {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let orders = [
            ("id descending", Self::IdDescending),
            ("id ascending", Self::IdAscending),
            ("created descending", Self::CreatedDescending),
            ("changed descending", Self::ChangedDescending),
        ];
        node.choice(&orders, problems)
    }
}

impl Paging {
    pub(super) fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let size = optional(map, "size", problems, |m, p| {
            let (default, max) = (m.require("default", p)?.whole(1, p)?, m.require("max", p)?.whole(1, p)?);
            Some(Size { param: text(m, "param", p)?, default, max })
        });
        let next = map.require("next", problems).and_then(|node| Next::read(node, problems));
        let order = map.require("order", problems).and_then(|node| Order::read(node, problems));
        let sort = optional(map, "sort", problems, |m, p| {
            let param = text(m, "param", p)?;
            let mut orders = m.require("orders", p)?.map(p)?;
            let read = |(_, name, order): (_, &str, &Node)| Some((name.to_owned(), Order::read(order, p)?));
            Some(Sort { param, orders: orders.entries().map(read).collect::<Option<_>>()? })
        });
        let alone = optional(map, "cursor_alone", problems, read_refusal);
        let unknown = optional(map, "unknown_page", problems, read_refusal);
        let (alone, unknown) = (alone?, unknown?);
        Some(Self { size: size?, next: next?, alone, order: order?, sort: sort?, unknown })
    }
}

/// A place that may be absent.
#[expect(clippy::option_option, reason = "absent, wrong and good are three things")]
fn place(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<Option<String>> {
    map.get(key).map_or(Some(None), |node| node.text(problems).map(|text| Some(text.to_owned())))
}
