//! The table of what is described. A test holds it against the paths that are really answered.

/// One path with its templates in braces.
pub(super) struct Resource {
    pub(super) path: &'static str,
    pub(super) operations: &'static [Operation],
}

pub(super) struct Operation {
    pub(super) method: &'static str,
    /// The name of the transaction in PS3.18.
    pub(super) id: &'static str,
    pub(super) query: &'static [&'static str],
    /// Media types of the request.
    pub(super) takes: &'static [&'static str],
    /// Media types of the answer, the default first.
    pub(super) gives: &'static [&'static str],
    pub(super) statuses: &'static [u16],
}

impl Resource {
    /// Whether a path is this resource: templates stand for any one segment.
    pub(super) fn names(&self, path: &str) -> bool {
        let (own, asked) = (self.path.split('/'), path.split('/'));
        let fits = |(own, asked): (&str, &str)| own.starts_with('{') || own == asked;
        own.clone().count() == asked.clone().count() && own.zip(asked).all(fits)
    }
}

const ACCEPT: &[&str] = &["accept"];
const SEARCH: &[&str] = &[
    "{attributeID}",
    "includefield",
    "fuzzymatching",
    "emptyvaluematching",
    "multiplevaluematching",
    "limit",
    "offset",
    "accept",
    "charset",
];
const RENDER: &[&str] = &["accept", "viewport", "window", "quality"];
const SEARCHED: &[&str] =
    &["application/dicom+json", "application/json", "multipart/related; type=\"application/dicom+xml\""];
const OBJECTS: &[&str] = &["multipart/related; type=\"application/dicom\"", "application/dicom"];
const FRAMES: &[&str] = &["multipart/related", "application/octet-stream"];
const BULK: &[&str] = &["application/octet-stream", "multipart/related"];
const PICTURES: &[&str] = &["image/jpeg", "image/png", "image/gif"];
const STORED: &[&str] = &["multipart/related; type=\"application/dicom\"", "application/dicom"];
const REPORTED: &[&str] = &["application/dicom+json", "application/dicom+xml"];

const FOUND: &[u16] = &[200, 400, 406];
const GOT: &[u16] = &[200, 304, 400, 404, 406, 410];
const GOT_RANGE: &[u16] = &[200, 206, 304, 400, 404, 406, 410, 416];
const KEPT: &[u16] = &[200, 202, 400, 406, 409, 413, 415, 503, 507];
const GONE: &[u16] = &[204, 403, 404, 409, 410];

const fn get(
    id: &'static str,
    query: &'static [&'static str],
    gives: &'static [&'static str],
    statuses: &'static [u16],
) -> Operation {
    Operation { method: "GET", id, query, takes: &[], gives, statuses }
}

const fn search(id: &'static str) -> Operation {
    get(id, SEARCH, SEARCHED, FOUND)
}

const STORE: Operation = Operation {
    method: "POST",
    id: "StoreInstances",
    query: ACCEPT,
    takes: STORED,
    gives: REPORTED,
    statuses: KEPT,
};
const DELETE: Operation =
    Operation { method: "DELETE", id: "Delete", query: &["reason"], takes: &[], gives: &[], statuses: GONE };
const OBJECT: Operation = get("RetrieveInstances", ACCEPT, OBJECTS, GOT);
const METADATA: Operation = get("RetrieveMetadata", ACCEPT, SEARCHED, GOT);
const RENDERED: Operation = get("RetrieveRendered", RENDER, PICTURES, GOT);
const THUMBNAIL: Operation = get("RetrieveThumbnail", &["accept", "viewport"], PICTURES, GOT);

pub(super) const RESOURCES: &[Resource] = &[
    Resource { path: "patients", operations: &[search("SearchForPatients")] },
    Resource { path: "studies", operations: &[search("SearchForStudies"), STORE] },
    Resource { path: "series", operations: &[search("SearchForSeries")] },
    Resource { path: "instances", operations: &[search("SearchForInstances")] },
    Resource { path: "studies/{study}", operations: &[OBJECT, STORE, DELETE] },
    Resource { path: "studies/{study}/metadata", operations: &[METADATA] },
    Resource { path: "studies/{study}/rendered", operations: &[RENDERED] },
    Resource { path: "studies/{study}/thumbnail", operations: &[THUMBNAIL] },
    Resource { path: "studies/{study}/series", operations: &[search("SearchForStudySeries")] },
    Resource { path: "studies/{study}/instances", operations: &[search("SearchForStudyInstances")] },
    Resource { path: "studies/{study}/series/{series}", operations: &[OBJECT, DELETE] },
    Resource { path: "studies/{study}/series/{series}/metadata", operations: &[METADATA] },
    Resource { path: "studies/{study}/series/{series}/rendered", operations: &[RENDERED] },
    Resource { path: "studies/{study}/series/{series}/thumbnail", operations: &[THUMBNAIL] },
    Resource {
        path: "studies/{study}/series/{series}/instances",
        operations: &[search("SearchForStudySeriesInstances")],
    },
    Resource { path: "studies/{study}/series/{series}/instances/{instance}", operations: &[OBJECT, DELETE] },
    Resource {
        path: "studies/{study}/series/{series}/instances/{instance}/metadata",
        operations: &[METADATA],
    },
    Resource {
        path: "studies/{study}/series/{series}/instances/{instance}/rendered",
        operations: &[RENDERED],
    },
    Resource {
        path: "studies/{study}/series/{series}/instances/{instance}/thumbnail",
        operations: &[THUMBNAIL],
    },
    Resource {
        path: "studies/{study}/series/{series}/instances/{instance}/frames/{frames}",
        operations: &[get("RetrieveFrames", ACCEPT, FRAMES, GOT)],
    },
    Resource {
        path: "studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered",
        operations: &[RENDERED],
    },
    Resource {
        path: "studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail",
        operations: &[THUMBNAIL],
    },
    Resource {
        path: "studies/{study}/series/{series}/instances/{instance}/bulkdata/{attribute}",
        operations: &[get("RetrieveBulkdata", ACCEPT, BULK, GOT_RANGE)],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::endpoint::Endpoint;
    use http::Method;

    fn example(path: &str) -> String {
        let named = [("{frames}", "1"), ("{attribute}", "7FE00010")];
        let filled = named.iter().fold(path.to_owned(), |path, (from, to)| path.replace(from, to));
        let segments = filled.split('/').map(|one| if one.starts_with('{') { "1.2" } else { one });
        format!("/dicom-web/{}", segments.collect::<Vec<_>>().join("/"))
    }

    #[test]
    fn everything_that_is_described_is_answered_g18() {
        for resource in RESOURCES {
            let path = example(resource.path);
            assert!(resource.names(path.strip_prefix("/dicom-web/").unwrap()), "{path}");
            for operation in resource.operations {
                let method: Method = operation.method.parse().unwrap();
                assert!(Endpoint::parse(&method, &path).is_ok(), "{method} {path}");
            }
        }
    }

    #[test]
    fn every_method_that_is_allowed_is_described_g18() {
        for resource in RESOURCES {
            let allow = Endpoint::allow(&example(resource.path)).unwrap();
            for method in allow.split(", ").filter(|method| *method != "HEAD" && *method != "OPTIONS") {
                let described = resource.operations.iter().any(|operation| operation.method == method);
                assert!(described, "{method} {}", resource.path);
            }
        }
    }
}
