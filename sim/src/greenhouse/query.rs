//! The query of a list request, by the vendor's rules: a cursor alone, or filters and a page size.
//!
//! In: the parameters as sent. Out: a [`Query`] that SQL can answer, or the vendor's refusal.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::types::Value as Sql;
use serde::{Deserialize, Serialize};

use crate::clock::{iso_ms, parse_ms};
use crate::rules::{Refusal, Rules, Stream};

impl Refusal {
    fn unprocessable(error: impl Into<String>) -> Self {
        Self { status: 422, error: error.into() }
    }
}

/// Also what a cursor holds, which is why it can be written and read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Query {
    stream: String,
    pub(crate) per_page: u64,
    /// Only rows with smaller ids: where the page before ended.
    before: Option<i64>,
    dates: Vec<(String, String, i64)>,
    ids: Vec<(String, Vec<i64>)>,
    /// Show hidden rows too; or, if the second is set, only them.
    pub(crate) hidden: (bool, bool),
}

impl Query {
    pub(crate) fn read(rules: &Rules, stream: &Stream, params: &[(String, String)]) -> Result<Self, Refusal> {
        let cursor = params.iter().find(|(key, _)| key == rules.paging.next.param());
        if let Some((_, cursor)) = cursor {
            if let Some(alone) = rules.paging.alone.clone().filter(|_| params.len() > 1) {
                return Err(alone);
            }
            return Self::from_cursor(stream, cursor).ok_or_else(|| Refusal::unprocessable("Invalid cursor."));
        }
        let mut query = Self {
            stream: stream.name.clone(),
            per_page: rules.paging.size.as_ref().map_or(u64::MAX, |size| size.default),
            before: None,
            dates: Vec::new(),
            ids: Vec::new(),
            hidden: (false, false),
        };
        for (key, value) in params {
            if let Some(size) = rules.paging.size.as_ref().filter(|size| *key == size.param) {
                query.per_page =
                    value.parse().ok().filter(|n| (1..=size.max).contains(n)).ok_or_else(|| {
                        Refusal::unprocessable(format!("per_page must be between 1 and {}.", size.max))
                    })?;
            } else if stream.date_filters.contains(key) {
                query.dates.extend(dates(key, value)?);
            } else if let Some(column) = stream.id_filters.get(key) {
                let ids: Vec<i64> = value.split(',').filter_map(|id| id.trim().parse().ok()).collect();
                if ids.len() > rules.max_ids {
                    return Err(Refusal::unprocessable(format!("{key} takes at most {} ids.", rules.max_ids)));
                }
                query.ids.push((column.clone(), ids));
            } else if let Some(rule) = stream.hidden.as_ref().filter(|rule| *key == rule.param && *value == rule.value)
            {
                query.hidden = (true, rule.alone);
            }
            // Anything else is ignored in silence, as the vendor does.
        }
        Ok(query)
    }

    fn from_cursor(stream: &Stream, cursor: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let query: Self = serde_json::from_slice(&bytes).ok()?;
        (query.stream == stream.name).then_some(query)
    }

    /// The cursor of the page that follows `last`.
    pub(crate) fn next(&self, last: i64) -> String {
        let next = Self { before: Some(last), ..self.clone() };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&next).unwrap_or_default())
    }

    /// Up to which `updated_at` this list tells everything: its upper bound, else now.
    pub(crate) fn tells_until(&self, now: i64) -> i64 {
        let upper = self.dates.iter().filter(|(_, op, _)| op.starts_with('l')).map(|(_, _, at)| *at).min();
        upper.unwrap_or(now).min(now)
    }

    /// The statement for the newest visible version of each fitting row, highest id first, one more than the page.
    pub(crate) fn sql(&self, now: i64) -> (String, Vec<Sql>) {
        let mut sql = "SELECT id, body FROM row r WHERE stream = ?1 AND visible_at <= ?2 AND body IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM row n WHERE n.stream = r.stream AND n.id = r.id AND n.version > r.version \
             AND n.visible_at <= ?2)"
            .to_owned();
        let mut values = vec![Sql::Text(self.stream.clone()), Sql::Integer(now)];
        let mut bind = |sql: &mut String, text: &str, value: Sql| {
            values.push(value);
            sql.push_str(&text.replace('?', &format!("?{}", values.len())));
        };
        if let Some(before) = self.before {
            bind(&mut sql, " AND id < ?", Sql::Integer(before));
        }
        match self.hidden {
            (false, _) => sql.push_str(" AND hidden = 0"),
            (true, true) => sql.push_str(" AND hidden = 1"),
            (true, false) => {}
        }
        for (column, op, at) in &self.dates {
            let op = match op.as_str() {
                "gt" => ">",
                "gte" => ">=",
                "lt" => "<",
                _ => "<=",
            };
            if column == "updated_at" || column == "created_at" {
                bind(&mut sql, &format!(" AND {column} {op} ?"), Sql::Integer(*at));
            } else {
                // Texts of one form compare like the instants they stand for.
                bind(&mut sql, &format!(" AND json_extract(body, '$.{column}') {op} ?"), Sql::Text(iso_ms(*at)));
            }
        }
        for (column, ids) in &self.ids {
            let list: Vec<String> = ids.iter().map(i64::to_string).collect();
            sql.push_str(&format!(" AND json_extract(body, '$.{column}') IN ({})", list.join(",")));
        }
        bind(&mut sql, " ORDER BY id DESC LIMIT ?", Sql::Integer(i64::try_from(self.per_page).unwrap_or(100) + 1));
        (sql, values)
    }
}

/// `gte|2025-03-01T00:00:00Z|lte|2025-03-20T00:00:00Z`
fn dates(column: &str, text: &str) -> Result<Vec<(String, String, i64)>, Refusal> {
    let wrong = || Refusal::unprocessable(format!("{column} is not a valid filter."));
    let parts: Vec<&str> = text.split('|').collect();
    if !matches!(parts.len(), 2 | 4) {
        return Err(wrong());
    }
    parts
        .chunks(2)
        .map(|pair| match pair {
            [op, at] if ["gt", "gte", "lt", "lte"].contains(op) => {
                Ok((column.to_owned(), (*op).to_owned(), parse_ms(at).ok_or_else(wrong)?))
            }
            _ => Err(wrong()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::GREENHOUSE_API;

    fn params(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_cursor_with_company_is_refused_with_the_documented_error() {
        let rules = Rules::read("api.yaml", GREENHOUSE_API).unwrap();
        let stream = rules.stream("applications").unwrap();
        let first = Query::read(&rules, stream, &params(&[("per_page", "2")])).unwrap();
        let cursor = first.next(5);
        assert_eq!(Query::read(&rules, stream, &params(&[("cursor", &cursor)])).unwrap().before, Some(5));
        let refused = Query::read(&rules, stream, &params(&[("cursor", &cursor), ("per_page", "2")])).unwrap_err();
        assert_eq!(refused.status, 422);
        assert_eq!(refused.error, "When passing a cursor, do not include other query params.");
    }

    #[test]
    fn windows_read_and_nonsense_is_refused() {
        let rules = Rules::read("api.yaml", GREENHOUSE_API).unwrap();
        let stream = rules.stream("applications").unwrap();
        let window = "gte|2025-03-01T00:00:00Z|lt|2025-03-20T00:00:00.500Z";
        let query = Query::read(&rules, stream, &params(&[("updated_at", window), ("unknown", "x")])).unwrap();
        assert_eq!(query.dates.len(), 2);
        for wrong in ["2025-03-01", "gte|yesterday", "eq|2025-03-01T00:00:00Z", "gte"] {
            assert!(Query::read(&rules, stream, &params(&[("updated_at", wrong)])).is_err(), "{wrong}");
        }
        assert!(Query::read(&rules, stream, &params(&[("per_page", "501")])).is_err());
    }
}
