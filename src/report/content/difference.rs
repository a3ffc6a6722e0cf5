//! What became of one version in another: findings field by field, text by words or lines.

mod sequence;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Content, StatedFinding};

pub use sequence::Change;

/// The grain of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Word,
    Line,
}

/// From one version to another.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Difference {
    pub fields: Vec<FieldChange>,
    pub sections: Vec<SectionChange>,
    pub findings: Vec<FindingChange>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FieldChange {
    pub field: String,
    /// Null where there was none.
    pub before: Value,
    pub after: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SectionChange {
    pub section: String,
    pub parts: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum FindingChange {
    Added { id: String, sentence: String },
    Removed { id: String, sentence: String },
    Changed { id: String, sentence: String, fields: Vec<FieldChange> },
}

/// What changes from `old` to `new`; what is equal is left out.
pub fn between(old: &Content, new: &Content, by: By) -> Difference {
    let fields = [("title", &old.title, &new.title), ("language", &old.language, &new.language)];
    let changed = fields.into_iter().filter(|(_, before, after)| before != after);
    let change = |(field, before, after): (&str, &String, &String)| FieldChange {
        field: field.into(),
        before: before.as_str().into(),
        after: after.as_str().into(),
    };
    Difference {
        fields: changed.map(change).collect(),
        sections: sections(old, new, by),
        findings: findings(old, new),
    }
}

fn sections(old: &Content, new: &Content, by: By) -> Vec<SectionChange> {
    let section = |name: String, before: &str, after: &str| {
        (before != after)
            .then(|| SectionChange { section: name, parts: sequence::changes(before, after, by) })
    };
    let pairs = old.sections.named().into_iter().zip(new.sections.named());
    let named = pairs.filter_map(|((name, before), (_, after))| section(name.to_owned(), before, after));
    fn addendum(content: &Content, index: usize) -> &str {
        content.addenda.get(index).map_or("", |addendum| &addendum.text)
    }
    let addenda = (0..old.addenda.len().max(new.addenda.len()))
        .filter_map(|index| section(format!("addenda/{index}"), addendum(old, index), addendum(new, index)));
    named.chain(addenda).collect()
}

fn findings(old: &Content, new: &Content) -> Vec<FindingChange> {
    let told = |finding: &StatedFinding| (finding.id.clone(), finding.words.sentence());
    let removed = old.findings.iter().filter(|finding| new.finding(&finding.id).is_none()).map(|gone| {
        let (id, sentence) = told(gone);
        FindingChange::Removed { id, sentence }
    });
    let others = new.findings.iter().filter_map(|finding| {
        let (id, sentence) = told(finding);
        match old.finding(&finding.id) {
            None => Some(FindingChange::Added { id, sentence }),
            Some(before) if before == finding => None,
            Some(before) => Some(FindingChange::Changed { id, sentence, fields: fields(before, finding) }),
        }
    });
    removed.chain(others).collect()
}

fn fields(before: &StatedFinding, after: &StatedFinding) -> Vec<FieldChange> {
    let (before, mut after) = (flat(before), flat(after));
    let pairs = before.into_iter().map(|(field, before)| {
        let after = after.remove(&field).unwrap_or_default();
        FieldChange { field, before, after }
    });
    pairs.filter(|change| change.before != change.after).collect()
}

/// What a finding says and what was decided about it, by field.
fn flat(finding: &StatedFinding) -> serde_json::Map<String, Value> {
    let mut fields = match serde_json::to_value(&finding.words) {
        Ok(Value::Object(words)) => words,
        _ => serde_json::Map::new(),
    };
    let reason = finding.decided.as_ref().and_then(|decided| decided.reason.clone());
    fields.insert("decision".into(), serde_json::to_value(finding.decision).unwrap_or_default());
    fields.insert("reason".into(), reason.into());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::content::Decision;
    use crate::report::findings::Laterality;
    use crate::report::samples;

    fn content() -> Content {
        Content::of_draft(&samples::report(samples::chest_draft()))
    }

    #[test]
    fn equal_versions_differ_in_nothing() {
        let nothing = Difference { fields: vec![], sections: vec![], findings: vec![] };
        assert_eq!(between(&content(), &content(), By::Word), nothing);
    }

    #[test]
    fn a_changed_finding_tells_its_fields() {
        let mut new = content();
        new.findings[0].words.laterality = Laterality::Left;
        new.findings[0].decision = Decision::Edited;
        let difference = between(&content(), &new, By::Word);
        let [FindingChange::Changed { fields, .. }] = &difference.findings[..] else {
            panic!("{difference:?}")
        };
        let mut named: Vec<&str> = fields.iter().map(|change| change.field.as_str()).collect();
        named.sort_unstable();
        assert_eq!(named, ["decision", "laterality"]);
        let side = fields.iter().find(|change| change.field == "laterality").expect("the side");
        assert_eq!((side.before.as_str(), side.after.as_str()), (Some("right"), Some("left")));
    }

    #[test]
    fn findings_come_and_go() {
        let mut less = content();
        let gone = less.findings.remove(1);
        let there = between(&content(), &less, By::Word).findings;
        assert!(matches!(&there[..], [FindingChange::Removed { id, .. }] if *id == gone.id));
        let back = between(&less, &content(), By::Word).findings;
        assert!(matches!(&back[..], [FindingChange::Added { id, .. }] if *id == gone.id));
    }

    #[test]
    fn text_is_told_word_by_word() {
        let mut new = content();
        new.sections.impression = "Small right pleural effusion.".into();
        let sections = between(&content(), &new, By::Word).sections;
        assert_eq!((sections.len(), sections[0].section.as_str()), (1, "impression"));
        assert!(sections[0].parts.contains(&Change::Removed { text: "Moderate".into() }));
        assert!(sections[0].parts.contains(&Change::Added { text: "Small".into() }));
    }
}
