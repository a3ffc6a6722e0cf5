//! Which files are sent: those below the paths, what DICOMDIRs list, and the entries of zips, which
//! are unpacked into a folder of their own and gone at the end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use zip::ZipArchive;
use zip::read::ZipFile;

use super::outcome::Outcome;
use crate::cli::import::summary::{Report, Verdict};
use crate::cli::import::walk;
use crate::ids;
use crate::ingest::sniff::{self, Kind};

const ENTRIES_MAX: usize = 1_000_000;

/// Gone with what is in it when it is dropped.
struct Unpacked(PathBuf);

impl Drop for Unpacked {
    fn drop(&mut self) {
        // Only in the way of the next one if it could not be removed, and that has another name.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) struct Files {
    paths: Vec<PathBuf>,
    told: Vec<Outcome>,
    /// Of entries that were unpacked.
    names: BTreeMap<PathBuf, String>,
    bytes_max: u64,
    unpacked: Option<Unpacked>,
}

impl Files {
    /// Blocking. Entries of zips may be as long as objects may.
    pub(super) fn find(paths: &[PathBuf], bytes_max: u64) -> Self {
        let (told, names) = Default::default();
        let mut files = Self { paths: Vec::new(), told, names, bytes_max, unpacked: None };
        let found = walk::find(paths);
        for Report { name, verdict } in found.unreadable {
            files.fail(name, reason(verdict));
        }
        for file in found.files {
            files.add(&file.path, paths.contains(&file.path));
        }
        files
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.paths.clone()
    }

    /// What was told of files before any was sent.
    pub(super) fn told(&self) -> Vec<Outcome> {
        self.told.clone()
    }

    pub(super) fn name(&self, path: &Path) -> String {
        self.names.get(path).cloned().unwrap_or_else(|| path.display().to_string())
    }

    /// A DICOMDIR stands for its files when it is named, and for nothing beside them.
    fn add(&mut self, path: &Path, is_named: bool) {
        let name = path.display().to_string();
        let kind =
            File::open(path).and_then(|mut file| Ok(sniff::kind(file_name(path), &sniff::head(&mut file)?)));
        match kind {
            Ok(Kind::Dicom) => self.paths.push(path.to_owned()),
            Ok(Kind::Dicomdir) if is_named => self.listed(path),
            Ok(Kind::Dicomdir) => self.skip(name, "a DICOMDIR, the index of a medium"),
            Ok(Kind::Zip) => self.unpack(path),
            Ok(Kind::Other) => self.skip(name, "not a DICOM file"),
            Err(error) => self.fail(name, format!("cannot be read: {error}")),
        }
    }

    /// PS3.3 F.2.2.2: the files of a medium, each by the parts of its path.
    fn listed(&mut self, dicomdir: &Path) {
        let folder = dicomdir.parent().unwrap_or(Path::new("."));
        match references(dicomdir) {
            Ok(references) => {
                for parts in references {
                    self.add(&parts.iter().fold(folder.to_owned(), |path, part| path.join(part)), false);
                }
            }
            Err(error) => self.fail(dicomdir.display().to_string(), format!("cannot be read: {error}")),
        }
    }

    fn unpack(&mut self, path: &Path) {
        if let Err(error) = self.try_unpack(path) {
            self.fail(path.display().to_string(), format!("a zip that cannot be read: {error}"));
        }
    }

    fn try_unpack(&mut self, path: &Path) -> io::Result<()> {
        let mut zip = ZipArchive::new(BufReader::new(File::open(path)?)).map_err(io::Error::other)?;
        if zip.len() > ENTRIES_MAX || zip.has_overlapping_files().map_err(io::Error::other)? {
            return Err(io::Error::other("too many entries, or they overlap"));
        }
        for index in 0..zip.len() {
            let entry = zip.by_index(index).map_err(io::Error::other)?;
            if !entry.is_dir() {
                let name = format!("{}: {}", path.display(), entry.name().unwrap_or_default());
                self.unpack_entry(entry, name)?;
            }
        }
        Ok(())
    }

    /// Its name is shown, never used as a path.
    fn unpack_entry(&mut self, mut entry: ZipFile<'_, BufReader<File>>, name: String) -> io::Result<()> {
        let head = sniff::head(&mut entry)?;
        match sniff::kind(name.rsplit(['/', '\\']).next().unwrap_or_default(), &head) {
            Kind::Dicom => {}
            Kind::Dicomdir => return Ok(self.skip(name, "a DICOMDIR, the index of a medium")),
            Kind::Zip => return Ok(self.skip(name, "a zip within a zip")),
            Kind::Other => return Ok(self.skip(name, "not a DICOM file")),
        }
        let path = self.folder()?.join(ids::row_id());
        let mut rest = head.chain(entry).take(self.bytes_max.saturating_add(1));
        if io::copy(&mut rest, &mut File::create_new(&path)?)? > self.bytes_max {
            fs::remove_file(&path)?;
            return Ok(self.fail(name, format!("the object is larger than {} bytes", self.bytes_max)));
        }
        self.names.insert(path.clone(), name);
        self.paths.push(path);
        Ok(())
    }

    fn folder(&mut self) -> io::Result<PathBuf> {
        if let Some(Unpacked(folder)) = &self.unpacked {
            return Ok(folder.clone());
        }
        let folder = std::env::temp_dir().join(format!("radiant-send-{}", ids::row_id()));
        fs::create_dir(&folder)?;
        self.unpacked = Some(Unpacked(folder.clone()));
        Ok(folder)
    }

    fn skip(&mut self, name: String, reason: &str) {
        self.told.push(Outcome::Skipped { name, reason: reason.to_owned() });
    }

    fn fail(&mut self, name: String, reason: String) {
        self.told.push(Outcome::Failed { name, status: None, reason });
    }
}

fn reason(verdict: Verdict) -> String {
    match verdict {
        Verdict::Refused(reason) => reason,
        other => format!("{other:?}"),
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// What its records refer to, without what would lead out of its folder.
fn references(dicomdir: &Path) -> io::Result<Vec<Vec<String>>> {
    let object = dicom_object::open_file(dicomdir).map_err(io::Error::other)?;
    let records = object.element(tags::DIRECTORY_RECORD_SEQUENCE).map_err(io::Error::other)?;
    let parts = |record: &dicom_object::InMemDicomObject| {
        let file = record.element(tags::REFERENCED_FILE_ID).ok()?.to_multi_str().ok()?;
        let parts: Vec<String> = file.iter().map(|part| part.trim().to_owned()).collect();
        parts
            .iter()
            .all(|part| !part.is_empty() && !part.contains(['/', '\\']) && part != "..")
            .then_some(parts)
    };
    Ok(records.items().unwrap_or_default().iter().filter_map(parts).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DICOM: &[u8] = &[0; 140];

    fn dicom() -> Vec<u8> {
        let mut bytes = DICOM.to_vec();
        bytes[128..132].copy_from_slice(b"DICM");
        bytes
    }

    #[test]
    fn folders_are_walked_and_what_is_no_object_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/a"), dicom()).unwrap();
        fs::write(folder.path().join("text"), b"text").unwrap();
        let files = Files::find(&[folder.path().to_owned(), "/nowhere/at/all".into()], 1000);
        assert_eq!(files.paths(), [folder.path().join("sub/a")]);
        let told = files.told();
        assert!(matches!(&told[0], Outcome::Failed { name, .. } if name == "/nowhere/at/all"));
        assert!(matches!(&told[1], Outcome::Skipped { reason, .. } if reason == "not a DICOM file"));
    }

    #[test]
    fn entries_of_a_zip_are_unpacked_within_the_limit_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        let options = zip::write::SimpleFileOptions::default();
        for (name, bytes) in [("../x/a", dicom()), ("large", [dicom(), vec![0; 2000]].concat())] {
            zip.start_file(name, options).unwrap();
            io::Write::write_all(&mut zip, &bytes).unwrap();
        }
        zip.finish().unwrap();
        let files = Files::find(std::slice::from_ref(&path), 1000);
        let [unpacked] = &files.paths()[..] else { panic!("{:?}", files.paths()) };
        assert_eq!(
            (fs::read(unpacked).unwrap(), files.name(unpacked)),
            (dicom(), format!("{}: ../x/a", path.display()))
        );
        assert!(matches!(&files.told()[..], [Outcome::Failed { reason, .. }] if reason.contains("larger")));
        let unpacked = unpacked.clone();
        drop(files);
        assert!(!unpacked.parent().unwrap().exists());
    }
}
