//! Which file is of which study, and which study each expectation is about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures::StreamExt;
use tokio::fs::File;

use crate::app::Archive;
use crate::cli::import::walk::{self, FoundFile};
use crate::dicom::uid::StudyUid;
use crate::ingest::sniff::{self, Kind};
use crate::ingest::{Body, Origin, Received, Source};
use crate::report::evaluation::expected::{Expectation, Fault, Key, Presence};
use crate::report::evaluation::judge::{Truth, Truths};
use crate::report::evaluation::{Name, Place};

/// A study of which something is known.
pub(super) struct Known {
    pub(super) study: StudyUid,
    pub(super) truths: Truths,
}

/// The files of a folder, stored.
#[derive(Default)]
pub(super) struct Index {
    /// Study and SOP Instance UID, by path below the folder.
    files: BTreeMap<String, (StudyUid, String)>,
    /// What was not taken, and why.
    pub(super) refused: Vec<String>,
}

impl Index {
    /// Stores every DICOM file below the folder, some at a time.
    pub(super) async fn of(archive: &Archive, dir: &Path, concurrency: usize) -> Self {
        let found = walk::find(&[dir.to_owned()]);
        let mut index = Self::default();
        index
            .refused
            .extend(found.unreadable.into_iter().map(|report| format!("{}: cannot be read", report.name)));
        let work = found.files.into_iter().map(|file| store(archive, dir, file));
        let mut done = futures::stream::iter(work).buffer_unordered(concurrency.max(1));
        while let Some((path, stored)) = done.next().await {
            match stored {
                Ok(Some(place)) => drop(index.files.insert(path, place)),
                Ok(None) => {}
                Err(reason) => index.refused.push(format!("{path}: {reason}")),
            }
        }
        index.refused.sort();
        index
    }

    pub(super) fn studies(&self) -> usize {
        self.files.values().map(|(study, _)| study).collect::<BTreeSet<_>>().len()
    }

    /// What is known, by study.
    pub(super) fn resolve(&self, rows: &[Expectation]) -> Result<Vec<Known>, Fault> {
        let mut studies: BTreeMap<StudyUid, Truths> = BTreeMap::new();
        let mut said: BTreeMap<(StudyUid, Name), Presence> = BTreeMap::new();
        for row in rows {
            let study = self.study(&row.key).map_err(|reason| Fault::new(row.line, reason))?;
            let before = said.insert((study.clone(), row.name.clone()), row.presence);
            if before.is_some_and(|before| before != row.presence) {
                let reason = format!("{} was said to be otherwise of this study above", row.name);
                return Err(Fault::new(row.line, reason));
            }
            let place = row.place.as_ref().map(|place| self.placed(place, &study)).transpose();
            let place = place.map_err(|reason| Fault::new(row.line, reason))?;
            let truth = studies.entry(study).or_default().entry(row.name.clone()).or_default();
            add(truth, row, place);
        }
        Ok(studies.into_iter().map(|(study, truths)| Known { study, truths }).collect())
    }

    fn study(&self, key: &Key) -> Result<StudyUid, String> {
        match key {
            Key::File(path) => {
                let found = self.files.get(&plain(path));
                found.map(|(study, _)| study.clone()).ok_or_else(|| format!("there is no DICOM file {path}"))
            }
            Key::Study(name) => {
                let folder = format!("{}/", plain(name));
                let own = |(path, (study, _)): &(&String, &(StudyUid, String))| {
                    study.as_str() == name || path.starts_with(&folder)
                };
                let studies: BTreeSet<&StudyUid> =
                    self.files.iter().filter(own).map(|(_, (study, _))| study).collect();
                match studies.into_iter().collect::<Vec<_>>()[..] {
                    [study] => Ok(study.clone()),
                    [] => Err(format!("there is no study {name}")),
                    _ => Err(format!("{name} holds more than one study")),
                }
            }
        }
    }

    /// The image by its UID.
    fn placed(&self, place: &Place, study: &StudyUid) -> Result<Place, String> {
        let Some(name) = &place.sop_instance else { return Ok(place.clone()) };
        let of_study = |(own, _): &&(StudyUid, String)| own == study;
        let by_path = self.files.get(&plain(name)).filter(of_study);
        let by_uid = || self.files.values().filter(of_study).find(|(_, instance)| instance == name);
        let (_, instance) =
            by_path.or_else(by_uid).ok_or_else(|| format!("the study has no image {name}"))?;
        Ok(Place { sop_instance: Some(instance.clone()), region: place.region })
    }
}

fn add(truth: &mut Truth, row: &Expectation, place: Option<Place>) {
    truth.present = row.presence == Presence::Present;
    truth.sides.extend(row.side);
    truth.places.extend(place);
}

/// As paths are kept: with `/`, from the folder on.
fn plain(path: &str) -> String {
    path.replace('\\', "/").trim_start_matches("./").trim_end_matches('/').to_owned()
}

/// Where the file is below the folder, and what it is; `None` where it is no object.
async fn store(
    archive: &Archive,
    dir: &Path,
    file: FoundFile,
) -> (String, Result<Option<(StudyUid, String)>, String>) {
    let below = file.path.strip_prefix(dir).unwrap_or(&file.path);
    (plain(&below.to_string_lossy()), try_store(archive, &file.path).await)
}

async fn try_store(archive: &Archive, path: &Path) -> Result<Option<(StudyUid, String)>, String> {
    let head = std::fs::File::open(path).and_then(|mut file| sniff::head(&mut file));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if sniff::kind(&name, &head.map_err(|error| error.to_string())?) != Kind::Dicom {
        return Ok(None);
    }
    let reader = File::open(path).await.map_err(|error| error.to_string())?;
    let origin = Origin::of(Source::Import);
    let received = Received { body: Body::Part10(reader), origin: &origin, only_study: None };
    let stored = archive.ingest.store(received).await.map_err(|refused| refused.refusal.to_string())?;
    Ok(Some((stored.instance.study.clone(), stored.instance.sop_instance.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::evaluation::expected::from_csv;

    fn index() -> Index {
        let file = |path: &str, study: &str, instance: &str| {
            (path.to_owned(), (study.parse().unwrap(), instance.to_owned()))
        };
        let files =
            [file("a/1.dcm", "1.1", "1.1.1"), file("a/2.dcm", "1.1", "1.1.2"), file("b.dcm", "1.2", "1.2.1")];
        Index { files: files.into(), refused: Vec::new() }
    }

    fn resolved(records: &str) -> Result<Vec<Known>, Fault> {
        let head = "study,file,finding,presence,side,image,left,top,right,bottom\n";
        index().resolve(&from_csv(&format!("{head}{records}")).unwrap())
    }

    #[test]
    fn a_study_is_named_by_its_uid_its_folder_or_a_file() {
        let known = resolved(
            "1.1,,cardiomegaly,absent,,,,,,\na/,,pleural effusion,present,left,a/2.dcm,1,2,3,4\n,b.dcm,nodule,absent,,,,,,\n",
        )
        .unwrap();
        assert_eq!(known.iter().map(|one| one.truths.len()).collect::<Vec<_>>(), [2, 1]);
        let effusion = &known[0].truths[&Name::of("pleural effusion")];
        assert_eq!(effusion.places[0].sop_instance.as_deref(), Some("1.1.2"));
        assert!(effusion.present && effusion.sides.len() == 1);
    }

    #[test]
    fn what_is_not_there_or_contradicts_itself_is_refused_by_its_line() {
        let refused = |records: &str| resolved(records).err().map(|fault| fault.line);
        assert_eq!(refused("1.1,,nodule,absent,,,,,,\n1.9,,nodule,absent,,,,,,\n"), Some(3));
        assert_eq!(refused(",c.dcm,nodule,absent,,,,,,\n"), Some(2));
        assert_eq!(refused("1.1,,nodule,present,,b.dcm,1,2,3,4\n"), Some(2));
        assert_eq!(refused("1.1,,nodule,absent,,,,,,\na,,Nodules,present,,,,,,\n"), Some(3));
    }
}
