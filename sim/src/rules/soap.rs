//! Lists that are asked for by SOAP 1.1: their parameters are elements of the request, by their path in it.

use hirewire_yaml::{Map, Problems};

use super::read::{text, texts};

#[derive(Debug, Clone)]
pub(crate) struct SoapRules {
    /// Of the elements and attributes of requests and answers.
    pub(crate) namespace: String,
    /// The place in an answer of the number of its rows.
    pub(crate) count: String,
    /// The parameter that takes the instant whose state all pages show; `None`: they show the present.
    pub(crate) as_of: Option<String>,
    /// Elements that stand in this order in a request, as far as they stand in it.
    pub(crate) order: Vec<String>,
    /// The code of the fault that a wrong login is answered with.
    pub(crate) login: String,
}

impl SoapRules {
    pub(super) fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let as_of = map.get("as_of").map_or(Some(None), |node| node.text(problems).map(|text| Some(text.to_owned())));
        Some(Self {
            namespace: text(map, "namespace", problems)?,
            count: text(map, "count", problems)?,
            as_of: as_of?,
            order: texts(map, "order", problems)?,
            login: text(map, "login", problems)?,
        })
    }
}
