//! The resources of PS3.18 chapters 9 and 10.

use http::Method;

use super::{RouteError, when};
use crate::auth::{Needs, Permission, may};
use crate::dicom::attributes::Level;
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::query::Scope;

const READ_AND_DELETE: &str = "GET, HEAD, DELETE, OPTIONS";
const READ_POST_AND_DELETE: &str = "GET, HEAD, POST, DELETE, OPTIONS";
const READ_AND_POST: &str = "GET, HEAD, POST, OPTIONS";
const READ: &str = super::READ;

/// PS3.18 chapter 10.
#[derive(Debug, PartialEq, Eq)]
pub enum Dicomweb {
    /// 10.5. With a study, instances of any other study are refused.
    Store { study: Option<StudyUid> },
    /// 10.6.
    Search { level: Level, study: Option<StudyUid>, series: Option<SeriesUid> },
    /// 10.4.1.1.1: the instances of a scope.
    Retrieve(Scope),
    /// 10.4.1.1.2.
    Metadata(Scope),
    /// 10.4.1.1.3.
    Rendered(Scope, Option<FrameList>),
    /// 10.4.1.1.4.
    Thumbnail(Scope, Option<FrameList>),
    /// 10.4.1.1.6, an instance.
    Frames(Scope, FrameList),
    /// 10.4.1.1.6: every frame of a scope.
    PixelData(Scope),
    /// 10.4.1.1.5: every value of a scope that the metadata refer to.
    AllBulkdata(Scope),
    /// Chapter 9; the query names the object.
    WadoUri,
    /// 10.4.1.1.5, an instance; `path` is that of the attribute, `00420011` or `54000100/0/54001010`.
    Bulkdata { instance: Scope, path: String },
    /// No transaction of the standard.
    Delete(Scope),
}

/// Frame numbers as asked, from 1; repeats and any order allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameList(pub Vec<u32>);

impl Dicomweb {
    pub(super) fn parse(method: &Method, segments: &[&str]) -> Result<Self, RouteError> {
        let get = method == Method::GET || method == Method::HEAD;
        match (segments, get) {
            (["studies"], false) => when(method == Method::POST, READ_AND_POST, Self::Store { study: None }),
            (["studies", study], false) if method == Method::DELETE => {
                Ok(Self::Delete(Scope::Study(study.parse()?)))
            }
            (["studies", study], false) => when(
                method == Method::POST,
                READ_POST_AND_DELETE,
                Self::Store { study: Some(study.parse()?) },
            ),
            (["studies", study, "series", series], false) => {
                let scope = Scope::Series(study.parse()?, series.parse()?);
                when(method == Method::DELETE, READ_AND_DELETE, Self::Delete(scope))
            }
            (["studies", study, "series", series, "instances", instance], false) => {
                let scope = Scope::Instance(study.parse()?, series.parse()?, instance.parse()?);
                when(method == Method::DELETE, READ_AND_DELETE, Self::Delete(scope))
            }
            (_, get) => when(get, READ, Self::parse_read(segments)?),
        }
    }

    fn parse_read(segments: &[&str]) -> Result<Self, RouteError> {
        match segments {
            ["patients"] => Ok(search(Level::Patient)),
            ["studies"] => Ok(search(Level::Study)),
            ["series"] => Ok(search(Level::Series)),
            ["instances"] => Ok(search(Level::Instance)),
            ["studies", study, "series", series, "instances", instance, rest @ ..] => {
                Self::of_instance(Scope::Instance(study.parse()?, series.parse()?, instance.parse()?), rest)
            }
            ["studies", study, "series"] => Ok(search_in(Level::Series, study.parse()?, None)),
            ["studies", study, "instances"] => Ok(search_in(Level::Instance, study.parse()?, None)),
            ["studies", study, "series", series, "instances"] => {
                Ok(search_in(Level::Instance, study.parse()?, Some(series.parse()?)))
            }
            ["studies", study, "series", series, rest @ ..] => {
                Self::of_scope(Scope::Series(study.parse()?, series.parse()?), rest)
            }
            ["studies", study, rest @ ..] => Self::of_scope(Scope::Study(study.parse()?), rest),
            _ => Err(RouteError::UnknownPath),
        }
    }

    fn of_scope(scope: Scope, rest: &[&str]) -> Result<Self, RouteError> {
        match rest {
            [] => Ok(Self::Retrieve(scope)),
            ["metadata"] => Ok(Self::Metadata(scope)),
            ["rendered"] => Ok(Self::Rendered(scope, None)),
            ["thumbnail"] => Ok(Self::Thumbnail(scope, None)),
            ["pixeldata"] => Ok(Self::PixelData(scope)),
            ["bulkdata"] => Ok(Self::AllBulkdata(scope)),
            _ => Err(RouteError::UnknownPath),
        }
    }

    fn of_instance(instance: Scope, rest: &[&str]) -> Result<Self, RouteError> {
        match rest {
            ["frames", frames] => Ok(Self::Frames(instance, frames.parse()?)),
            ["frames", frames, "rendered"] => Ok(Self::Rendered(instance, Some(frames.parse()?))),
            ["frames", frames, "thumbnail"] => Ok(Self::Thumbnail(instance, Some(frames.parse()?))),
            ["bulkdata", path @ ..] if is_attribute_path(path) => {
                Ok(Self::Bulkdata { instance, path: path.join("/") })
            }
            _ => Self::of_scope(instance, rest),
        }
    }

    /// What of the archive is asked for; a search looks for it instead.
    pub fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Store { .. } | Self::Search { .. } | Self::WadoUri => None,
            Self::Retrieve(scope)
            | Self::Metadata(scope)
            | Self::Rendered(scope, _)
            | Self::Thumbnail(scope, _)
            | Self::Frames(scope, _)
            | Self::PixelData(scope)
            | Self::AllBulkdata(scope)
            | Self::Bulkdata { instance: scope, .. }
            | Self::Delete(scope) => Some(scope),
        }
    }

    /// For a caller who sees no drafts: of a study only what is none.
    pub fn released(mut self) -> Self {
        if let Self::Retrieve(scope)
        | Self::Metadata(scope)
        | Self::Rendered(scope, _)
        | Self::Thumbnail(scope, _)
        | Self::PixelData(scope)
        | Self::AllBulkdata(scope) = &mut self
            && let Scope::Study(study) = scope
        {
            *scope = Scope::Released(study.clone());
        }
        self
    }

    /// What gives out representations of stored objects.
    pub fn is_retrieval(&self) -> bool {
        !matches!(self, Self::Store { .. } | Self::Search { .. } | Self::WadoUri | Self::Delete(_))
    }

    /// What a caller must be allowed to do.
    pub fn needs(&self) -> Needs {
        match self {
            Self::Store { .. } => may(Permission::StoreObjects),
            Self::Delete(_) => may(Permission::DeleteStudies),
            _ => may(Permission::ViewStudies),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Store { .. } => "store",
            Self::Search { level: Level::Patient, .. } => "search-patients",
            Self::Search { level: Level::Series, .. } => "search-series",
            Self::Search { level: Level::Instance, .. } => "search-instances",
            Self::Search { .. } => "search-studies",
            Self::Retrieve(Scope::Study(_) | Scope::Released(_)) => "retrieve-study",
            Self::Retrieve(Scope::Series(..)) => "retrieve-series",
            Self::Retrieve(Scope::Instance(..)) => "retrieve-instance",
            Self::Metadata(_) => "retrieve-metadata",
            Self::Rendered(..) => "retrieve-rendered",
            Self::Thumbnail(..) => "retrieve-thumbnail",
            Self::Frames(..) => "retrieve-frames",
            Self::Delete(Scope::Study(_) | Scope::Released(_)) => "delete-study",
            Self::Delete(Scope::Series(..)) => "delete-series",
            Self::Delete(Scope::Instance(..)) => "delete-instance",
            Self::PixelData(_) => "retrieve-pixeldata",
            Self::AllBulkdata(_) | Self::Bulkdata { .. } => "retrieve-bulkdata",
            Self::WadoUri => "wado-uri",
        }
    }
}

fn search(level: Level) -> Dicomweb {
    Dicomweb::Search { level, study: None, series: None }
}

fn search_in(level: Level, study: StudyUid, series: Option<SeriesUid>) -> Dicomweb {
    Dicomweb::Search { level, study: Some(study), series }
}

/// Tags and item numbers by turns, a tag at both ends.
fn is_attribute_path(path: &[&str]) -> bool {
    let is_tag = |part: &str| part.len() == 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let is_item = |part: &str| (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let fits = |(at, part): (usize, &&str)| if at % 2 == 0 { is_tag(part) } else { is_item(part) };
    path.len() % 2 == 1 && path.iter().enumerate().all(fits)
}

impl std::str::FromStr for FrameList {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let number = |part: &str| part.parse().ok().filter(|&frame: &u32| frame > 0);
        let text = text.replace("%2C", ",").replace("%2c", ",");
        text.split(',').map(number).collect::<Option<_>>().map(Self).ok_or(RouteError::FrameList)
    }
}
