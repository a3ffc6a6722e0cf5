//! What the API tells of a report.

use serde::Serialize;
use utoipa::ToSchema;

use crate::db::reports::{Objects, Version};
use crate::db::results;
use crate::dicom::uid::StudyUid;
use crate::http::rest::etag::Etag;
use crate::http::rest::time::Time;
use crate::http::urls::Urls;
use crate::report::content::{Content, Decision, ImagePlace, Origin, Sections, StatedFinding, Words};
use crate::report::measure::Measured;
use crate::report::region::Region;
use crate::reporting::Opened;
use crate::reporting::state::Act;

/// Publication changes the answer and nothing that a person could overwrite: both tags of a
/// revision let a change through.
pub(super) fn tags(opened: &Opened) -> [Etag; 2] {
    let id = &opened.head.id;
    ["", " published"].map(|published| Etag::of_version(&format!("{id}{published}"), opened.head.revision))
}

pub(super) fn tag(opened: &Opened) -> Etag {
    let [unpublished, published] = tags(opened);
    if opened.version.published_at.is_some() { published } else { unpublished }
}

#[derive(Serialize, ToSchema)]
pub(super) struct ReportSummary {
    id: String,
    study_uid: StudyUid,
    /// Null for a report that a person began.
    analysis: Option<String>,
    /// draft, edited, signed, addending, addended, correcting, corrected or superseded.
    status: String,
    version: i64,
    created_at: Time,
    links: ReportLinks,
}

#[derive(Serialize, ToSchema)]
struct ReportLinks {
    #[serde(rename = "self")]
    own: String,
    versions: String,
    study: String,
    /// Of the newest version with documents; null while there is none.
    pdf: Option<String>,
    /// The structured report, by DICOMweb.
    sr: Option<String>,
    /// The stored PDF, by DICOMweb.
    encapsulated_pdf: Option<String>,
}

fn instance(urls: &Urls, study: &StudyUid, series: &str, instance: &str) -> String {
    format!("{}/series/{series}/instances/{instance}", urls.study(study))
}

impl ReportLinks {
    fn of(id: &str, study: &StudyUid, objects: Option<&Objects>, urls: &Urls) -> Self {
        Self {
            own: urls.rest(&format!("reports/{id}")),
            versions: urls.rest(&format!("reports/{id}/versions")),
            study: urls.rest(&format!("studies/{study}")),
            pdf: objects.map(|_| urls.rest(&format!("reports/{id}/pdf"))),
            sr: objects.map(|o| instance(urls, study, &o.series_uid_sr, &o.sr_instance_uid)),
            encapsulated_pdf: objects.map(|o| instance(urls, study, &o.series_uid_pdf, &o.pdf_instance_uid)),
        }
    }
}

impl ReportSummary {
    pub(super) fn of_row(report: &results::Report, urls: &Urls) -> Self {
        let objects = Objects {
            series_uid_sr: report.series_uid_sr.clone(),
            sr_instance_uid: report.sr_instance_uid.clone(),
            series_uid_pdf: report.series_uid_pdf.clone(),
            pdf_instance_uid: report.pdf_instance_uid.clone(),
        };
        let objects = Some(objects).filter(|objects| !objects.sr_instance_uid.is_empty());
        Self {
            id: report.id.clone(),
            study_uid: report.study.clone(),
            analysis: report.analysis.clone(),
            status: report.status.clone(),
            version: report.version,
            created_at: report.created_at.into(),
            links: ReportLinks::of(&report.id, &report.study, objects.as_ref(), urls),
        }
    }

    fn of(opened: &Opened, urls: &Urls) -> Self {
        let head = &opened.head;
        Self {
            id: head.id.clone(),
            study_uid: head.study.clone(),
            analysis: head.analysis.clone(),
            status: head.status.clone(),
            version: head.version,
            created_at: head.created_at.into(),
            links: ReportLinks::of(&head.id, &head.study, head.objects.as_ref(), urls),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Report {
    #[serde(flatten)]
    summary: ReportSummary,
    updated_at: Time,
    /// What a person may do now, given the right.
    allowed: Vec<Act>,
    /// Findings that must be accepted, edited or rejected before it can be signed.
    undecided: usize,
    /// What a reader must know of how the report stands.
    notices: Vec<String>,
    /// The report of a later analysis, of more of the study, that left this one alone.
    newer_draft: Option<String>,
    /// The report that took the place of this untouched draft.
    superseded_by: Option<String>,
    current: VersionSummary,
    content: ReportContent,
    /// The same in sentences, section by section.
    #[schema(value_type = Object)]
    narrative: serde_json::Value,
}

impl Report {
    pub(super) fn of(opened: &Opened, urls: &Urls) -> Self {
        let head = &opened.head;
        Self {
            summary: ReportSummary::of(opened, urls),
            updated_at: head.updated_at.into(),
            allowed: opened.status.allowed().collect(),
            undecided: opened.content.undecided(),
            notices: notices(opened),
            newer_draft: head.newer_draft.clone(),
            superseded_by: head.superseded_by.clone(),
            current: VersionSummary::of(&head.id, &head.study, &opened.version, urls),
            content: ReportContent::of(&opened.content),
            narrative: crate::http::rest::stored_json(&head.narrative),
        }
    }
}

fn notices(opened: &Opened) -> Vec<String> {
    let head = &opened.head;
    let newer = head.newer_draft.as_ref().map(|id| {
        format!("More of the study was analysed after people had worked on this report: see the draft {id}. Nothing of this report was changed.")
    });
    let superseded =
        head.superseded_by.as_ref().map(|id| format!("The draft {id} of more of the study took its place."));
    let doubtful = opened.content.impression_is_doubtful().then(|| {
        "The impression is the model's, and a finding it may rest on was changed or rejected.".to_owned()
    });
    let failed = opened.version.publish_error.as_ref().map(|_| {
        "The documents of this version could not be made; the log of the server says why.".to_owned()
    });
    [newer, superseded, doubtful, failed].into_iter().flatten().collect()
}

/// A version without what it says.
#[derive(Serialize, ToSchema)]
pub(super) struct VersionSummary {
    version: i64,
    /// Of the report with this version.
    status: String,
    /// draft, begin, edit, accept-finding, reject-finding, edit-finding, add-finding, sign, ….
    act: String,
    author: String,
    at: Time,
    reason: Option<String>,
    /// The signed version that this one adds to or corrects.
    follows: Option<i64>,
    signature: Option<VersionSignature>,
    /// When SR and PDF were in the study.
    published_at: Option<Time>,
    /// The signed version that replaced this one.
    superseded_by: Option<i64>,
    links: VersionLinks,
}

#[derive(Serialize, ToSchema)]
struct VersionSignature {
    name: String,
    organization: String,
    /// password, recent-authentication or configured.
    proof: String,
    at: Time,
}

#[derive(Serialize, ToSchema)]
struct VersionLinks {
    #[serde(rename = "self")]
    own: String,
    pdf: Option<String>,
    /// By DICOMweb.
    sr: Option<String>,
    encapsulated_pdf: Option<String>,
}

impl VersionSummary {
    pub(super) fn of(report: &str, study: &StudyUid, version: &Version, urls: &Urls) -> Self {
        let own = urls.rest(&format!("reports/{report}/versions/{}", version.number));
        let objects = version.objects.as_ref().filter(|_| version.published_at.is_some());
        let links = VersionLinks {
            pdf: objects.map(|_| format!("{own}/pdf")),
            sr: objects.map(|o| instance(urls, study, &o.series_uid_sr, &o.sr_instance_uid)),
            encapsulated_pdf: objects.map(|o| instance(urls, study, &o.series_uid_pdf, &o.pdf_instance_uid)),
            own,
        };
        let signature = version.signature.as_ref().map(|signature| VersionSignature {
            name: signature.signer_name.clone(),
            organization: signature.organization.clone(),
            proof: signature.proof.clone(),
            at: version.at.into(),
        });
        Self {
            version: version.number,
            status: version.status.clone(),
            act: version.act.clone(),
            author: if version.author == "system" { "the model".into() } else { version.author_name.clone() },
            at: version.at.into(),
            reason: version.reason.clone(),
            follows: version.follows,
            signature,
            published_at: version.published_at.map(Into::into),
            superseded_by: version.superseded_by,
            links,
        }
    }
}

/// A version with all that it says.
#[derive(Serialize, ToSchema)]
pub(super) struct ReportVersion {
    #[serde(flatten)]
    pub(super) summary: VersionSummary,
    pub(super) content: ReportContent,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ReportContent {
    title: String,
    /// Of the text, RFC 5646.
    language: String,
    sections: Sections,
    /// Whether a model wrote the impression and nobody has touched it since.
    impression_of_model: bool,
    findings: Vec<ReportFinding>,
    addenda: Vec<ReportAddendum>,
    limitations: Vec<String>,
    images: Vec<ReportImage>,
}

#[derive(Serialize, ToSchema)]
struct ReportFinding {
    id: String,
    origin: Origin,
    decision: Decision,
    decided_by: Option<String>,
    decided_at: Option<Time>,
    reason: Option<String>,
    /// For readers.
    sentence: String,
    words: Words,
    /// The model's own, beside what a person made of them.
    original: Option<Words>,
    /// Taken by the server on the region of the words: sizes, and on CT attenuation.
    measured: Vec<Measured>,
    /// Of automatic checks.
    remarks: Vec<String>,
    tracking_uid: String,
}

#[derive(Serialize, ToSchema)]
struct ReportAddendum {
    text: String,
    by: String,
    at: Time,
}

/// An image that the report is made of, or that a finding is on.
#[derive(Serialize, ToSchema)]
struct ReportImage {
    #[serde(flatten)]
    place: ImagePlace,
    series_uid: String,
    sop_class_uid: String,
    modality: String,
    rows: u32,
    columns: u32,
    /// Where stated findings are, in pixels.
    regions: Vec<Region>,
}

impl ReportContent {
    pub(super) fn of(content: &Content) -> Self {
        let addenda = content.addenda.iter().map(|addendum| ReportAddendum {
            text: addendum.text.clone(),
            by: addendum.by.clone(),
            at: addendum.at.into(),
        });
        let image = |image: &crate::report::document::ImageReference| ReportImage {
            place: ImagePlace::of(image),
            series_uid: image.series.to_string(),
            sop_class_uid: image.sop_class.to_string(),
            modality: image.modality.clone(),
            rows: image.rows,
            columns: image.columns,
            regions: content.stated().filter(|f| on(f, image)).filter_map(|f| f.words.region).collect(),
        };
        Self {
            title: content.title.clone(),
            language: content.language.clone(),
            sections: content.sections.clone(),
            impression_of_model: content.impression_of_model,
            findings: content.findings.iter().map(finding).collect(),
            addenda: addenda.collect(),
            limitations: content.limitations.clone(),
            images: content.evidence.iter().map(image).collect(),
        }
    }
}

fn on(finding: &StatedFinding, image: &crate::report::document::ImageReference) -> bool {
    finding.words.image.as_ref().is_some_and(|place| place.is(image))
}

fn finding(stated: &StatedFinding) -> ReportFinding {
    let decided = stated.decided.as_ref();
    ReportFinding {
        id: stated.id.clone(),
        origin: stated.origin,
        decision: stated.decision,
        decided_by: decided.map(|decided| decided.by.clone()),
        decided_at: decided.map(|decided| decided.at.into()),
        reason: decided.and_then(|decided| decided.reason.clone()),
        sentence: stated.words.sentence(),
        words: stated.words.clone(),
        original: stated.original.clone(),
        measured: stated.measured.clone(),
        remarks: stated.remarks.clone(),
        tracking_uid: stated.tracking_uid.clone(),
    }
}
