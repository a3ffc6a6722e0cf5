//! The form of every list: `limit`, `cursor`, `sort` and `fields` in, `items`, `next` and `total`
//! out.
//!
//! A cursor says behind which values the next page begins, so it outlives whatever comes and goes
//! meanwhile. It names its list, order and filters: under others it is refused. Lists are not
//! sorted by what is about a patient, since a cursor is part of a URL.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

use super::fields::Fields;
use crate::db::Value;
use crate::db::page::{self, Found, Key};
use crate::http::error::HttpError;
use crate::http::query_string::QueryString;
use crate::http::service::Answer;
use crate::ids::hex;

/// Bounds one answer.
pub(super) const LIMIT_MAX: u32 = 1000;
const LIMIT_DEFAULT: u32 = 100;
const OF_LISTS: [&str; 4] = ["limit", "cursor", "sort", "fields"];
/// What every request may carry beside its own parameters.
const ALWAYS: [&str; 2] = ["accept", "charset"];

/// What can be asked of one list.
pub(super) struct List {
    pub(super) name: &'static str,
    pub(super) filters: &'static [&'static str],
    /// What it can be sorted by, with the columns: never null.
    pub(super) sorts: &'static [(&'static str, &'static str)],
    /// The order where none is asked for.
    pub(super) default: &'static str,
    /// The column that tells rows apart which are equal in everything else.
    pub(super) key: &'static str,
}

/// The page that a request wants.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) page: page::Page,
    fields: Fields,
    mark: String,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// The `cursor` of the next page; null on the last one.
    next: Option<String>,
    /// Items on all pages.
    total: i64,
}

/// The parameters of every list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the description of parameters, which are read one by one")]
pub(super) struct PageParameters {
    /// Items on one page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next` of the page before, of the same list, order and filters.
    #[param(max_length = 2048)]
    cursor: Option<String>,
    /// Names separated by commas, the most important one first; `-` in front turns one round.
    #[param(max_length = 256)]
    sort: Option<String>,
    /// Names separated by commas: nothing else is in the items. `a.b` is `b` within `a`.
    #[param(max_length = 2048)]
    fields: Option<String>,
}

/// The parameters of lists in the order of the configuration.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the description of parameters, which are read from the query")]
pub(super) struct ConfiguredParameters {
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    #[param(max_length = 20)]
    cursor: Option<String>,
    /// Names separated by commas: nothing else is in the items. `a.b` is `b` within `a`.
    #[param(max_length = 2048)]
    fields: Option<String>,
}

/// What of one resource is wanted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the description of a parameter, which is read from the query")]
pub(super) struct FieldsParameter {
    /// Names separated by commas: nothing else is answered. `a.b` is `b` within `a`.
    #[param(max_length = 2048)]
    fields: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// Of list, order and filters.
    of: String,
    after: Vec<serde_json::Value>,
}

impl List {
    /// `scope` tells lists apart that have the same name: the study of a path, say.
    pub(super) fn wanted<T: ToSchema>(&self, query: &QueryString, scope: &str) -> Result<Wanted, HttpError> {
        self.check_names(query)?;
        let order = self.order(query.get("sort").unwrap_or(self.default))?;
        let mark = self.mark(query, scope, &order);
        let after = query.get("cursor").map(|text| position(text, &mark, order.len())).transpose()?;
        let fields = Fields::of::<T>(query)?;
        Ok(Wanted { page: page::Page { order, after, limit: limit(query)? }, fields, mark })
    }

    /// A filter that is misspelled would show everything.
    fn check_names(&self, query: &QueryString) -> Result<(), HttpError> {
        let known: Vec<&str> = OF_LISTS.iter().chain(self.filters).copied().collect();
        check_names(query, &known)
    }

    fn order(&self, text: &str) -> Result<Vec<Key>, HttpError> {
        let mut order: Vec<Key> = Vec::new();
        for named in text.split(',') {
            let (name, descending) = named.strip_prefix('-').map_or((named, false), |name| (name, true));
            let column = self.sorts.iter().find(|(known, _)| *known == name).map(|(_, column)| *column);
            // What grows while another shrinks: age, as the time of arrival.
            let (column, descending) = match column.and_then(|column| column.strip_prefix('-')) {
                Some(column) => (Some(column), !descending),
                None => (column, descending),
            };
            let column = column.filter(|column| order.iter().all(|key| key.column != *column));
            let column = column.ok_or_else(|| HttpError::bad_request(self.sortable()))?;
            order.push(Key { column, descending });
        }
        if order.iter().all(|key| key.column != self.key) {
            let descending = order.last().is_some_and(|key| key.descending);
            order.push(Key { column: self.key, descending });
        }
        Ok(order)
    }

    fn sortable(&self) -> String {
        let names: Vec<&str> = self.sorts.iter().map(|(name, _)| *name).collect();
        format!("sort is a list of {}, each once, with - in front to turn it round", names.join(", "))
    }

    fn mark(&self, query: &QueryString, scope: &str, order: &[Key]) -> String {
        let mut hasher = Sha256::new();
        let order = order.iter().map(|key| format!("{}{}", key.column, key.descending));
        for part in [self.name.to_owned(), scope.to_owned()].into_iter().chain(order) {
            hasher.update(part);
            hasher.update([0]);
        }
        let mut filters: Vec<(&str, &str)> =
            query.iter().filter(|(name, _)| self.filters.contains(name)).collect();
        filters.sort_unstable();
        for (name, value) in filters {
            hasher.update(format!("{name}={value}\0"));
        }
        hex(&hasher.finalize()[..8])
    }
}

/// What is misspelled is not passed over.
pub(super) fn check_names(query: &QueryString, known: &[&str]) -> Result<(), HttpError> {
    let mut seen: Vec<&str> = Vec::new();
    for (name, _) in query.iter() {
        if !ALWAYS.contains(&name) && !known.contains(&name) {
            let known = known.join(", ");
            return Err(HttpError::bad_request(format!("there is no parameter of that name: {known}")));
        }
        if seen.contains(&name) {
            return Err(HttpError::bad_request(format!("{name} is given more than once")));
        }
        seen.push(name);
    }
    Ok(())
}

/// Items of the configuration, in its order: a cursor is how many of them came before.
pub(super) fn configured<T: Serialize + ToSchema>(query: &QueryString, items: Vec<T>) -> Answer {
    check_names(query, &["limit", "cursor", "fields"])?;
    let (fields, limit, total) = (Fields::of::<T>(query)?, limit(query)? as usize, items.len());
    let after = query.get("cursor").map(place).transpose()?.unwrap_or(0);
    let next = after.saturating_add(limit);
    let next = (next < total).then(|| next.to_string());
    paged(&fields, items.into_iter().skip(after).take(limit).collect(), next, total as i64)
}

/// How many items are in front of the page: written as `next` is, without zeros ahead.
fn place(cursor: &str) -> Result<usize, HttpError> {
    let place = cursor.parse::<usize>().ok().filter(|place| place.to_string() == cursor);
    place.ok_or_else(|| HttpError::bad_request("cursor is not one of this list"))
}

fn paged<T: Serialize>(fields: &Fields, items: Vec<T>, next: Option<String>, total: i64) -> Answer {
    if fields.everything() {
        return super::json(StatusCode::OK, &Page { items, next, total });
    }
    let items = items.iter().map(|item| fields.select(item)).collect::<Result<Vec<_>, _>>()?;
    super::json(StatusCode::OK, &Page { items, next, total })
}

impl Wanted {
    pub(super) fn answer<T: Serialize>(&self, found: Found<T>) -> Answer {
        let next = found.next.map(|after| self.cursor(after)).transpose()?;
        paged(&self.fields, found.items, next, found.total)
    }

    fn cursor(&self, after: Vec<Value>) -> Result<String, HttpError> {
        let json = |value| match value {
            Value::Int(int) => int.into(),
            Value::Real(real) => real.into(),
            Value::Text(text) => text.into(),
            Value::Null | Value::Bytes(_) => serde_json::Value::Null,
        };
        let cursor = Cursor { of: self.mark.clone(), after: after.into_iter().map(json).collect() };
        let text = serde_json::to_vec(&cursor).map_err(HttpError::internal("writing a cursor"))?;
        Ok(URL_SAFE_NO_PAD.encode(text))
    }
}

fn position(text: &str, mark: &str, columns: usize) -> Result<Vec<Value>, HttpError> {
    let refused = || HttpError::bad_request("cursor is not one of this list, order and filters");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
    let cursor: Cursor = serde_json::from_slice(&bytes).map_err(|_| refused())?;
    let value = |json: serde_json::Value| match json {
        serde_json::Value::String(text) => Some(Value::Text(text)),
        serde_json::Value::Number(number) => {
            number.as_i64().map(Value::Int).or_else(|| number.as_f64().map(Value::Real))
        }
        _ => None,
    };
    let after: Option<Vec<Value>> = cursor.after.into_iter().map(value).collect();
    after.filter(|after| cursor.of == mark && after.len() == columns).ok_or_else(refused)
}

pub(super) fn limit(query: &QueryString) -> Result<u32, HttpError> {
    let Some(text) = query.get("limit") else { return Ok(LIMIT_DEFAULT) };
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| HttpError::bad_request(format!("limit is a whole number from 1 to {LIMIT_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: List = List {
        name: "things",
        filters: &["state"],
        sorts: &[("at", "thing.at"), ("size", "thing.size")],
        default: "-at",
        key: "thing.id",
    };

    #[derive(Serialize, ToSchema)]
    struct Thing {
        id: i64,
    }

    fn wanted(query: &str) -> Result<Wanted, HttpError> {
        LIST.wanted::<Thing>(&QueryString::parse(query).unwrap(), "")
    }

    fn refused(query: &str) -> bool {
        matches!(wanted(query), Err(HttpError::BadRequest(_)))
    }

    fn cursor() -> String {
        wanted("state=open").unwrap().cursor(vec![7_i64.into(), "x".into()]).unwrap()
    }

    #[test]
    fn the_order_ends_with_what_tells_rows_apart() {
        let columns = |query| {
            let order = wanted(query).unwrap().page.order;
            order.iter().map(|key| (key.column, key.descending)).collect::<Vec<_>>()
        };
        assert_eq!(columns(""), [("thing.at", true), ("thing.id", true)]);
        assert_eq!(columns("sort=size,-at"), [("thing.size", false), ("thing.at", true), ("thing.id", true)]);
        assert!(refused("sort=name") && refused("sort=at,-at") && refused("sort="));
    }

    #[test]
    fn a_cursor_leads_behind_its_row() {
        let page = wanted(&format!("cursor={}&limit=5&state=open", cursor())).unwrap().page;
        assert_eq!((page.after, page.limit), (Some(vec![7_i64.into(), "x".into()]), 5));
    }

    #[test]
    fn a_cursor_of_another_list_order_or_filter_is_refused() {
        assert!(refused(&format!("cursor={}", cursor())));
        assert!(refused(&format!("cursor={}&state=open&sort=at", cursor())));
        assert!(refused("cursor=nonsense&state=open") && refused("cursor=&state=open"));
        let query = QueryString::parse(&format!("cursor={}&state=open", cursor())).unwrap();
        assert!(LIST.wanted::<Thing>(&query, "1.2.3").is_err());
    }

    #[test]
    fn a_place_is_taken_as_it_was_given_alone() {
        assert_eq!(super::place("100").unwrap(), 100);
        let wrong = ["", "-1", "+1", "007", "000000000000000000000", "99999999999999999999999"];
        assert!(wrong.into_iter().all(|cursor| super::place(cursor).is_err()));
    }

    #[test]
    fn what_is_not_known_or_given_twice_is_refused() {
        assert!(refused("stat=open") && refused("state=a&state=b"));
        assert!(refused("limit=0") && refused("limit=1001") && refused("limit=-1"));
    }
}
