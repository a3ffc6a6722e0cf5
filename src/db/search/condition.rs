//! Keys of a search as SQL, as far as the columns of the index reach.

use std::collections::BTreeSet;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::columns;
use crate::auth::Reach;
use crate::db::Value;
use crate::dicom::attributes::{self, Attribute, Held, Level};
use crate::dicom::temporal;
use crate::query::request::moments::{date_of, time_of};
use crate::query::request::pattern::{FuzzyWord, GroupPattern, NamePattern, Pattern};
use crate::query::request::{Key, Matcher, Range, Zone};

/// `where` clauses and their values, numbered in the order of the text, and the tables they need.
#[derive(Clone)]
pub(super) struct Condition {
    reach: Reach,
    clauses: Vec<String>,
    pub(super) values: Vec<Value>,
    pub(super) tables: BTreeSet<Level>,
}

/// What SQL says about a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    All,
    /// What is left must be compared with the attributes themselves.
    Part,
}

impl Condition {
    pub(super) fn of(reach: Reach) -> Self {
        Self { reach, clauses: Vec::new(), values: Vec::new(), tables: BTreeSet::new() }
    }

    pub(super) fn parameter(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    pub(super) fn push(&mut self, clause: String) {
        self.clauses.push(clause);
    }

    /// Leaves what follows a row by the columns of the order, and that row.
    pub(super) fn push_place(&mut self, columns: &str, follows: &str, key: &[Value]) {
        let key: Vec<String> = key.iter().map(|value| self.parameter(value.clone())).collect();
        self.push(format!("({columns}) {follows} ({})", key.join(", ")));
    }

    pub(super) fn text(&self) -> String {
        if self.clauses.is_empty() { String::new() } else { format!(" where {}", self.clauses.join(" and ")) }
    }

    /// Narrows the search to what may match a key.
    pub(super) fn add(&mut self, key: &Key, zone: Zone) -> Told {
        if let (tags::REQUEST_ATTRIBUTES_SEQUENCE, Matcher::Item(keys)) = (key.tag, &key.matcher) {
            return self.add_request(keys);
        }
        let Some(attribute) = attributes::by_tag(key.tag).filter(|_| key.creator.is_none()) else {
            return Told::Part;
        };
        if zone.asked.is_some() && (time_of(key.tag).is_some() || date_of(key.tag).is_some()) {
            self.add_days_around(attribute, &key.matcher);
            return Told::Part;
        }
        match self.clause(attribute, &key.matcher) {
            Some(clause) => {
                self.tables.insert(attribute.level);
                self.push(clause);
                Told::All
            }
            None => Told::Part,
        }
    }

    /// `None` where the column cannot tell; nothing is bound then.
    fn clause(&mut self, attribute: &Attribute, matcher: &Matcher) -> Option<String> {
        let column = &*columns::expression(attribute.held, &self.reach);
        Some(match (matcher, attribute.held) {
            (Matcher::Empty, Held::Number(_)) => format!("{column} is null"),
            (Matcher::Empty, _) => format!("{column} = ''"),
            (Matcher::Any(patterns), Held::Text(_)) => self.any_text(column, patterns),
            (Matcher::Any(patterns), Held::List(_)) => self.any_item(column, patterns),
            (Matcher::Number(number), Held::Number(_)) if number.fract() == 0.0 => {
                let parameter = self.parameter(*number as i64);
                format!("{column} = {parameter}")
            }
            (Matcher::Name(pattern), Held::Name(prefix)) => self.name(prefix, pattern),
            (Matcher::FuzzyName { words, literally }, Held::Name(prefix)) => {
                self.fuzzy_name(prefix, words, literally.as_ref())
            }
            (Matcher::Range(range), Held::Text(_)) => self.range(column, range),
            (Matcher::Combined { time, dates, times }, Held::Text(_)) => {
                let time = columns::expression(attributes::by_tag(*time)?.held, &self.reach);
                self.moment(column, dates, &time, times)
            }
            (Matcher::Every(each), _) if each.iter().all(|one| is_told(attribute.held, one)) => {
                let clauses = each.iter().map(|one| self.clause(attribute, one));
                clauses.collect::<Option<Vec<_>>>()?.join(" and ")
            }
            (Matcher::OneOf(each), _) if each.iter().all(|one| is_told(attribute.held, one)) => {
                let clauses = each.iter().map(|one| self.clause(attribute, one));
                any(clauses.collect::<Option<Vec<_>>>()?)
            }
            _ => return None,
        })
    }

    fn any_text(&mut self, column: &str, patterns: &[Pattern]) -> String {
        let mut clauses = Vec::new();
        let exact = patterns.iter().filter_map(|pattern| match pattern {
            Pattern::Exact(text) => Some(self.parameter(text.as_str())),
            Pattern::Wildcard(_) => None,
        });
        let exact: Vec<String> = exact.collect();
        if !exact.is_empty() {
            clauses.push(format!("{column} in ({})", exact.join(", ")));
        }
        for pattern in patterns {
            if let Pattern::Wildcard(text) = pattern {
                // `like` heeds the case on one engine and not on the other.
                let parameter = self.parameter(like(text));
                clauses.push(format!("lower({column}) like lower({parameter}) escape '!'"));
            }
        }
        any(clauses)
    }

    /// Of a list, `\CT\SR\`.
    fn any_item(&mut self, column: &str, patterns: &[Pattern]) -> String {
        let clauses = patterns.iter().map(|pattern| {
            let (Pattern::Exact(text) | Pattern::Wildcard(text)) = pattern;
            let parameter = self.parameter(format!("%\\{}\\%", like(text)));
            format!("{column} like {parameter} escape '!'")
        });
        any(clauses.collect())
    }

    fn name(&mut self, prefix: &str, pattern: &NamePattern) -> String {
        let columns = columns::of_groups(prefix);
        let clauses: Vec<String> = match pattern {
            NamePattern::AnyGroup(group) => columns.iter().map(|column| self.group(column, group)).collect(),
            NamePattern::Groups(groups) => {
                let named =
                    columns.iter().zip(groups).filter_map(|(column, group)| Some((column, group.as_ref()?)));
                let clauses = named.map(|(column, group)| self.group(column, group));
                return clauses.collect::<Vec<_>>().join(" and ");
            }
        };
        any(clauses)
    }

    /// A pattern with a beginning is a range of the index too.
    fn group(&mut self, column: &str, group: &GroupPattern) -> String {
        let begins = group.pattern.prefix();
        let whole = match &group.pattern {
            Pattern::Exact(text) => {
                let parameter = self.parameter(text.as_str());
                format!("{column} = {parameter}")
            }
            Pattern::Wildcard(text) => self.like_from(column, begins, &like(text)),
        };
        if !group.open {
            return whole;
        }
        let (Pattern::Exact(text) | Pattern::Wildcard(text)) = &group.pattern;
        let continued = self.like_from(column, begins, &format!("{}^%", like(text)));
        any(vec![whole, continued])
    }

    fn like_from(&mut self, column: &str, begins: &str, pattern: &str) -> String {
        if begins.is_empty() {
            let parameter = self.parameter(pattern);
            return format!("{column} like {parameter} escape '!'");
        }
        let from = self.parameter(begins);
        let to = self.parameter(format!("{begins}{}", char::MAX));
        let parameter = self.parameter(pattern);
        format!("({column} >= {from} and {column} < {to} and {column} like {parameter} escape '!')")
    }

    fn fuzzy_name(&mut self, prefix: &str, words: &[FuzzyWord], literally: Option<&NamePattern>) -> String {
        let every: Vec<String> = words.iter().map(|word| self.fuzzy_word(prefix, word)).collect();
        let every = format!("({})", every.join(" and "));
        match literally {
            Some(pattern) => {
                let literal = self.name(prefix, pattern);
                any(vec![every, format!("({literal})")])
            }
            None => every,
        }
    }

    fn fuzzy_word(&mut self, prefix: &str, word: &FuzzyWord) -> String {
        let beginning = self.parameter(format!("% {}%", like(&word.prefix)));
        let mut clauses = vec![format!("{prefix}_words like {beginning} escape '!'")];
        for sound in &word.sounds {
            let sound = self.parameter(format!("% {sound} %"));
            clauses.push(format!("{prefix}_sounds like {sound}"));
        }
        any(clauses)
    }

    /// Both bounds in one place, for the index; an empty value lies in no range.
    fn range(&mut self, column: &str, range: &Range) -> String {
        let from = self.parameter(range.from.clone().unwrap_or_else(|| "0".to_owned()));
        let to = self.parameter(range.end().unwrap_or_else(|| ":".to_owned()));
        format!("({column} >= {from} and {column} < {to})")
    }

    fn moment(&mut self, date: &str, dates: &Range, time: &str, times: &Range) -> String {
        let mut clauses = vec![self.range(date, dates)];
        if let (Some(day), Some(from)) = (&dates.from, &times.from) {
            let day = self.parameter(day.as_str());
            let from = self.parameter(from.as_str());
            clauses.push(format!("({date} > {day} or {time} >= {from})"));
        }
        if let (Some(day), Some(to)) = (&dates.to, times.end()) {
            let day = self.parameter(day.as_str());
            let to = self.parameter(to);
            clauses.push(format!("({date} < {day} or ({time} <> '' and {time} < {to}))"));
        }
        clauses.join(" and ")
    }

    /// Elsewhere it may be the day before or after.
    fn add_days_around(&mut self, attribute: &Attribute, matcher: &Matcher) {
        let (Matcher::Range(dates) | Matcher::Combined { dates, .. }) = matcher else { return };
        if time_of(attribute.tag).is_none() {
            return;
        }
        let around = Range {
            from: dates.from.as_ref().map(|from| temporal::shifted(from, -1)),
            to: dates.to.as_ref().map(|to| temporal::shifted(to, 1)),
        };
        let column = columns::expression(attribute.held, &self.reach);
        let clause = self.range(&column, &around);
        self.tables.insert(attribute.level);
        self.push(clause);
    }

    /// The items of Request Attributes Sequence lie in a table of their own.
    fn add_request(&mut self, keys: &[Key]) -> Told {
        let listed = |key: &Key| {
            request_column(key.tag).is_some() && matches!(key.matcher, Matcher::Any(_) | Matcher::Empty)
        };
        if !keys.iter().all(listed) {
            return Told::Part;
        }
        let clauses = keys.iter().filter_map(|key| {
            let column = request_column(key.tag)?;
            match &key.matcher {
                Matcher::Any(patterns) => Some(self.any_text(column, patterns)),
                _ => Some(format!("{column} = ''")),
            }
        });
        let clauses = clauses.collect::<Vec<_>>().join(" and ");
        self.tables.insert(Level::Series);
        self.push(format!(
            "series.id in (select request.series from series_request request where {clauses})"
        ));
        Told::All
    }
}

fn request_column(tag: Tag) -> Option<&'static str> {
    match tag {
        tags::SCHEDULED_PROCEDURE_STEP_ID => Some("request.step_id"),
        tags::REQUESTED_PROCEDURE_ID => Some("request.procedure_id"),
        _ => None,
    }
}

fn is_told(held: Held, matcher: &Matcher) -> bool {
    matches!(
        (matcher, held),
        (Matcher::Any(_), Held::Text(_) | Held::List(_)) | (Matcher::Name(_), Held::Name(_))
    )
}

fn any(mut clauses: Vec<String>) -> String {
    match clauses.len() {
        1 => clauses.remove(0),
        _ => format!("({})", clauses.join(" or ")),
    }
}

/// A pattern in the language of `like`, with `!` before what is meant literally.
fn like(pattern: &str) -> String {
    let literal = pattern.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    literal.replace('*', "%").replace('?', "_")
}
