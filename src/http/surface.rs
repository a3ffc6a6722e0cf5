//! Every endpoint with an example of its path, for tests that ask all of them.

use http::Method;

use super::capabilities::described_resources;
use super::endpoint::Endpoint;
use super::rest::TABLE;
use crate::auth::Needs;

/// What is asked for and what a caller needs for it.
pub struct Door {
    /// For logs, metrics and the audit.
    pub name: &'static str,
    pub method: Method,
    /// With an example for each template.
    pub path: String,
    pub needs: Needs,
}

/// What stands beside the tables.
const SINGLE: [&str; 12] = [
    "/",
    "/api/docs",
    "/api/docs/index.html",
    "/healthz",
    "/readyz",
    "/metrics",
    "/wado?requestType=WADO&studyUID=1.2&seriesUID=1.2&objectUID=1.2",
    "/dicom-web/studies/1.2/pixeldata",
    "/dicom-web/studies/1.2/bulkdata",
    "/dicom-web/studies/1.2/series/1.2/bulkdata",
    "/dicom-web/studies/1.2/series/1.2/instances/1.2/pixeldata",
    "/dicom-web/studies/1.2/series/1.2/instances/1.2/bulkdata",
];

/// All of them. One that is not found by its own example is a mistake of the table.
pub fn doors() -> Vec<Door> {
    let single = SINGLE.iter().map(|path| (Method::GET, (*path).to_owned()));
    let described = described_resources().into_iter().filter_map(|resource| {
        Some((resource.method.parse().ok()?, format!("/dicom-web/{}", example(resource.path))))
    });
    let rest = TABLE.iter().flat_map(|rows| rows.iter());
    let rest = rest.map(|row| (row.method.clone(), format!("/api/v1/{}", example(row.path))));
    single.chain(described).chain(rest).filter_map(|(method, path)| door(method, path)).collect()
}

fn door(method: Method, path: String) -> Option<Door> {
    let endpoint = Endpoint::parse(&method, path.split('?').next()?).ok()?;
    Some(Door { name: endpoint.name(), needs: endpoint.needs(), method, path })
}

/// Each template filled with something that it could be.
fn example(path: &str) -> String {
    let fill = |segment: &str| match segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
        None => segment.to_owned(),
        Some("frames") => "1".to_owned(),
        Some("attribute") => "7FE00010".to_owned(),
        Some(_) => "1.2".to_owned(),
    };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::endpoint::Dicomweb;

    /// A variant that is not counted does not compile.
    fn number(endpoint: &Dicomweb) -> usize {
        match endpoint {
            Dicomweb::Store { .. } => 0,
            Dicomweb::Search { .. } => 1,
            Dicomweb::Retrieve(_) => 2,
            Dicomweb::Metadata(_) => 3,
            Dicomweb::Rendered(..) => 4,
            Dicomweb::Thumbnail(..) => 5,
            Dicomweb::Frames(..) => 6,
            Dicomweb::PixelData(_) => 7,
            Dicomweb::AllBulkdata(_) => 8,
            Dicomweb::WadoUri => 9,
            Dicomweb::Bulkdata { .. } => 10,
            Dicomweb::Delete(_) => 11,
        }
    }

    #[test]
    fn every_transaction_has_an_example() {
        let parsed = doors().into_iter().filter_map(|door| {
            match Endpoint::parse(&door.method, door.path.split('?').next()?) {
                Ok(Endpoint::Dicomweb(endpoint)) => Some(number(&endpoint)),
                _ => None,
            }
        });
        assert_eq!(parsed.collect::<BTreeSet<_>>(), (0..12).collect());
    }

    #[test]
    fn every_row_is_found_by_its_own_example() {
        let found: BTreeSet<&str> = doors().iter().map(|door| door.name).collect();
        let rows = TABLE.iter().flat_map(|rows| rows.iter());
        let lost: Vec<&str> = rows.map(|row| row.name).filter(|name| !found.contains(name)).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}
