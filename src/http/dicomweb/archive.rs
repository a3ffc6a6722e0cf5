//! A scope as one ZIP file, `application/zip`: written while it is sent.
//!
//! A folder per series, and file names as PS3.10 8.2 has them, so that the files can go onto any
//! medium. Objects are not compressed again.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{StreamExt, TryStreamExt};
use http::Response;
use http::header::{CONTENT_DISPOSITION, HeaderValue};

use super::Content;
use super::instances::{self, Outgoing, Wanted, log_broken, set_content_type};
use crate::dicom::uid::SeriesUid;
use crate::http::State;
use crate::http::body;
use crate::http::service::Answer;
use crate::media::zip::{self, Entry};
use crate::query::Scope;

pub(super) const ZIP: &str = "application/zip";

pub(super) async fn response(state: Arc<State>, scope: Scope, wanted: Wanted) -> Answer {
    let name = format!("attachment; filename=\"{}.zip\"", last_uid(&scope));
    let mut response = Response::new(body::streamed(archive(state, scope, wanted)));
    set_content_type(&mut response, ZIP);
    if let Ok(value) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

fn last_uid(scope: &Scope) -> &str {
    match scope {
        Scope::Study(study) | Scope::Released(study) => study.as_str(),
        Scope::Series(_, series) => series.as_str(),
        Scope::Instance(_, _, instance) => instance.as_str(),
    }
}

fn archive(state: Arc<State>, scope: Scope, wanted: Wanted) -> Content {
    let mut names = Names::default();
    let named = instances::all(Arc::clone(&state), scope).map_ok(move |instance| {
        let name = names.next(&instance.series);
        (instance, name)
    });
    let entries = named.and_then(move |(instance, name)| {
        let (state, wanted) = (Arc::clone(&state), wanted.clone());
        async move {
            let outgoing = Outgoing::open(&state, instance.clone(), &wanted).await;
            let outgoing = outgoing.inspect_err(|error| log_broken(&instance, error))?;
            Ok(Entry { name, length: outgoing.length, content: outgoing.content })
        }
    });
    zip::archive(entries.boxed())
}

/// Folders and files by number: at most eight characters each (PS3.10 8.2).
#[derive(Default)]
struct Names {
    series: HashMap<SeriesUid, (usize, usize)>,
}

impl Names {
    fn next(&mut self, series: &SeriesUid) -> String {
        let folder = self.series.len() + 1;
        let (folder, files) = self.series.entry(series.clone()).or_insert((folder, 0));
        *files += 1;
        format!("SE{folder:06}/IM{files:06}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_sorted_by_series_w36() {
        let (a, b): (SeriesUid, SeriesUid) = ("1.2".parse().unwrap(), "1.3".parse().unwrap());
        let mut names = Names::default();
        let given: Vec<String> = [&a, &b, &a].into_iter().map(|series| names.next(series)).collect();
        assert_eq!(given, ["SE000001/IM000001", "SE000002/IM000001", "SE000001/IM000002"]);
    }
}
