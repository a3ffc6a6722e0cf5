//! Which objects of a study are analysed, by which pipeline, and why the others are not: guards
//! first, then the rules of the configuration. Pure.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::outside::Stays;
use crate::ai::prompt::Pipeline;
use crate::config::Rule;
use crate::db::studies::Member;
use crate::dicom::sop_class::{ObjectKind, kind};
use crate::dicom::uid::SopInstanceUid;
use crate::ids::hex;
use crate::ingest::Source;
use crate::jobs::conditions::Conditions;

/// What is never analysed, whatever the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// Made by an analysis: no model reads what a model wrote.
    OwnResult,
    /// SR, presentation states, key objects, documents.
    NotAnImage,
    NoPixels,
    /// A phantom or a quality assurance object, by its names.
    QualityAssurance,
}

impl Guard {
    pub fn name(self) -> &'static str {
        match self {
            Self::OwnResult => "own-result",
            Self::NotAnImage => "not-an-image",
            Self::NoPixels => "no-pixels",
            Self::QualityAssurance => "quality-assurance",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::OwnResult => "written by an analysis of this server",
            Self::NotAnImage => "a report, presentation state, key object or document",
            Self::NoPixels => "without pixel data",
            Self::QualityAssurance => "a phantom or a quality assurance object by its name or description",
        }
    }
}

/// Why an object is not analysed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    Guard(Guard),
    /// A rule that names no pipeline.
    Rule(String),
    /// A rule names a pipeline that `analysis.experimental` has not turned on.
    Experimental {
        rule: String,
        pipeline: Pipeline,
    },
    /// A rule names a pipeline that does not exist.
    UnknownPipeline {
        rule: String,
        pipeline: String,
    },
    NoRule,
    /// Its pixels do not leave this machine, and the model runs elsewhere.
    Stays(Stays),
}

impl Skip {
    pub fn rule(&self) -> &str {
        match self {
            Self::Guard(guard) => guard.name(),
            Self::Rule(rule) | Self::UnknownPipeline { rule, .. } | Self::Experimental { rule, .. } => rule,
            Self::NoRule => "no-rule",
            Self::Stays(why) => why.name(),
        }
    }

    pub fn reason(&self, objects: usize) -> String {
        let what = match self {
            Self::Guard(guard) => guard.reason().to_owned(),
            Self::Rule(rule) => format!("the rule \"{rule}\" says so"),
            Self::Experimental { pipeline, .. } => is_off(*pipeline),
            Self::UnknownPipeline { pipeline, .. } => format!("there is no pipeline \"{pipeline}\""),
            Self::NoRule => "no rule names it".to_owned(),
            Self::Stays(why) => why.reason().to_owned(),
        };
        format!("{objects} not analysed: {what}")
    }
}

/// Why a pipeline is not used.
pub fn is_off(pipeline: Pipeline) -> String {
    format!("the pipeline \"{}\" is experimental and not in analysis.experimental", pipeline.name())
}

/// The objects that one pipeline will look at.
#[derive(Debug, Clone)]
pub struct Content {
    pub pipeline: Pipeline,
    pub rule: String,
    pub members: Vec<Member>,
}

impl Content {
    /// Names the content: SOP Instance UIDs with the digests of their data sets, sorted.
    pub fn sha256(&self) -> String {
        let mut lines: Vec<String> =
            self.members.iter().map(|m| format!("{} {}\n", m.sop_instance, hex(&m.dataset_sha256))).collect();
        lines.sort();
        hex(&Sha256::digest(lines.concat()))
    }
}

/// A study sorted into what is analysed and what is not.
#[derive(Debug, Default)]
pub struct Sorted {
    pub contents: Vec<Content>,
    /// Reason and number of objects.
    pub skipped: BTreeMap<Skip, usize>,
}

pub struct Trigger<'a> {
    pub rules: &'a [Rule],
    pub guard_words: &'a [String],
    pub experimental: &'a [Pipeline],
    /// Objects whose pixels do not leave this machine; none where the model runs here.
    pub stays: BTreeMap<SopInstanceUid, Stays>,
}

impl Trigger<'_> {
    pub fn sort(&self, members: Vec<Member>) -> Sorted {
        let mut sorted = Sorted::default();
        for member in members {
            match self.pipeline(&member) {
                Ok((pipeline, rule)) => add(&mut sorted.contents, pipeline, rule, member),
                Err(skip) => *sorted.skipped.entry(skip).or_default() += 1,
            }
        }
        sorted
    }

    /// What a person may have analysed by a pipeline of their choice: everything no guard holds and
    /// that may go where the model is.
    pub fn allowed(&self, members: Vec<Member>, pipeline: Pipeline) -> Content {
        let may_be_read =
            |member: &Member| self.guard(member).is_none() && !self.stays.contains_key(&member.sop_instance);
        let members = members.into_iter().filter(may_be_read).collect();
        Content { pipeline, rule: "request".to_owned(), members }
    }

    fn pipeline(&self, member: &Member) -> Result<(Pipeline, &str), Skip> {
        if let Some(guard) = self.guard(member) {
            return Err(Skip::Guard(guard));
        }
        let rule = self.rules.iter().find(|rule| conditions(rule).hold(member)).ok_or(Skip::NoRule)?;
        let name = rule.pipeline.as_ref().ok_or_else(|| Skip::Rule(rule.name.clone()))?;
        let unknown = || Skip::UnknownPipeline { rule: rule.name.clone(), pipeline: name.clone() };
        let pipeline = Pipeline::from_name(name).ok_or_else(unknown)?;
        match self.is_on(pipeline) {
            true => match self.stays.get(&member.sop_instance) {
                Some(why) => Err(Skip::Stays(*why)),
                None => Ok((pipeline, &rule.name)),
            },
            false => Err(Skip::Experimental { rule: rule.name.clone(), pipeline }),
        }
    }

    pub fn is_on(&self, pipeline: Pipeline) -> bool {
        !pipeline.is_experimental() || self.experimental.contains(&pipeline)
    }

    fn guard(&self, member: &Member) -> Option<Guard> {
        if member.source == Source::Analysis.as_str() {
            return Some(Guard::OwnResult);
        }
        if kind(member.sop_class.as_str()) == ObjectKind::NotAnImage {
            return Some(Guard::NotAnImage);
        }
        if member.rows == 0 {
            return Some(Guard::NoPixels);
        }
        let texts = [&member.patient_name, &member.study_description, &member.series_description];
        let marked = texts.iter().any(|text| has_word(text, self.guard_words));
        marked.then_some(Guard::QualityAssurance)
    }
}

fn conditions(rule: &Rule) -> Conditions<'_> {
    Conditions {
        modality: &rule.modality,
        sop_class: &rule.sop_class,
        body_part: &rule.body_part,
        calling_aet: &rule.calling_aet,
        description: rule.description.as_deref(),
    }
}

fn add(contents: &mut Vec<Content>, pipeline: Pipeline, rule: &str, member: Member) {
    match contents.iter_mut().find(|content| content.pipeline == pipeline) {
        Some(content) => content.members.push(member),
        None => contents.push(Content { pipeline, rule: rule.to_owned(), members: vec![member] }),
    }
}

fn has_word(text: &str, words: &[String]) -> bool {
    let mut parts = text.split(|c: char| !c.is_alphanumeric());
    parts.any(|part| words.iter().any(|word| word.eq_ignore_ascii_case(part)))
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use super::*;

    fn member() -> Member {
        Member {
            series: "1.2.3".parse().unwrap(),
            sop_instance: "1.2.3.4".parse().unwrap(),
            sop_class: uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION.parse().unwrap(),
            dataset_sha256: vec![1],
            modality: "DX".to_owned(),
            body_part: "CHEST".to_owned(),
            series_description: String::new(),
            study_description: "Thorax pa".to_owned(),
            patient_name: "Doe^Jane".to_owned(),
            source: "dimse".to_owned(),
            calling_aet: "MOD1".to_owned(),
            rows: 100,
        }
    }

    fn sort(rules: &[Rule], member: Member) -> Result<String, Skip> {
        let guard_words = &["PHANTOM".to_owned(), "QA".to_owned()];
        let trigger = Trigger { rules, guard_words, experimental: &[Pipeline::Mr], stays: BTreeMap::new() };
        let sorted = trigger.sort(vec![member]);
        match sorted.contents.first() {
            Some(content) => Ok(content.rule.clone()),
            None => Err(sorted.skipped.into_keys().next().unwrap()),
        }
    }

    fn chest() -> Rule {
        Rule {
            name: "chest".into(),
            modality: vec!["DX".into()],
            pipeline: Some("chest-radiograph".into()),
            ..Rule::default()
        }
    }

    #[test]
    fn the_first_rule_whose_conditions_hold_decides() {
        let never = Rule { name: "never".into(), calling_aet: vec!["OTHER".into()], ..chest() };
        assert_eq!(sort(&[never, chest()], member()), Ok("chest".to_owned()));
        let stop = Rule {
            name: "stop".into(),
            description: Some("*THORAX*".into()),
            pipeline: None,
            ..Rule::default()
        };
        assert_eq!(sort(&[stop, chest()], member()), Err(Skip::Rule("stop".into())));
        assert_eq!(sort(&[], member()), Err(Skip::NoRule));
    }

    #[test]
    fn an_experimental_pipeline_is_off_until_it_is_turned_on() {
        let named = |pipeline: &str| Rule { pipeline: Some(pipeline.into()), ..chest() };
        let off = sort(&[named("ct")], member()).unwrap_err();
        assert_eq!(off, Skip::Experimental { rule: "chest".into(), pipeline: Pipeline::Ct });
        assert!(off.reason(3).contains("experimental and not in analysis.experimental"));
        assert!(sort(&[named("mr")], member()).is_ok());
    }

    #[test]
    fn guards_come_before_rules() {
        let guarded = |change: fn(&mut Member)| {
            let mut member = member();
            change(&mut member);
            sort(&[chest()], member).unwrap_err()
        };
        assert_eq!(guarded(|m| m.source = "analysis".into()), Skip::Guard(Guard::OwnResult));
        assert_eq!(guarded(|m| m.rows = 0), Skip::Guard(Guard::NoPixels));
        assert_eq!(guarded(|m| m.patient_name = "QA^DAILY".into()), Skip::Guard(Guard::QualityAssurance));
        let report = |m: &mut Member| m.sop_class = uids::BASIC_TEXT_SR_STORAGE.parse().unwrap();
        assert_eq!(guarded(report), Skip::Guard(Guard::NotAnImage));
    }

    #[test]
    fn a_guard_word_inside_another_word_is_no_guard() {
        let mut member = member();
        member.patient_name = "Qadir^Phantomas".to_owned();
        assert!(sort(&[chest()], member).is_ok());
    }

    #[test]
    fn content_is_named_by_what_it_holds_not_by_its_order() {
        let other = Member { sop_instance: "1.2.3.5".parse().unwrap(), ..member() };
        let content = |members| Content { pipeline: Pipeline::ChestRadiograph, rule: String::new(), members };
        let both = content(vec![member(), other.clone()]).sha256();
        assert_eq!(both, content(vec![other, member()]).sha256());
        assert_ne!(both, content(vec![member()]).sha256());
    }
}
