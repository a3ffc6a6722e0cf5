//! Swagger UI under `/api/docs`, from the program itself: no other host is asked for anything.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use utoipa_swagger_ui::{Config, serve};

use super::body;
use super::error::HttpError;
use super::service::Answer;
use super::urls::Urls;

const FRONT: &str = "index.html";

/// One file of the pages; none is the front, whose links need its folder.
pub(super) fn file(name: Option<&str>, urls: &Urls) -> Answer {
    let Some(name) = name else { return front(urls) };
    let config = Arc::new(Config::from("../v1/openapi.json"));
    let file =
        serve(name, config).map_err(|error| HttpError::internal("showing the API")(error.to_string()))?;
    let file = file.ok_or(HttpError::NotFound("page"))?;
    let content_type =
        HeaderValue::from_str(&file.content_type).map_err(HttpError::internal("showing the API"))?;
    let mut response = Response::new(body::full(file.bytes.into_owned()));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}

fn front(urls: &Urls) -> Answer {
    let location =
        HeaderValue::from_str(&urls.docs(FRONT)).map_err(HttpError::internal("showing the API"))?;
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_read_our_description() {
        let urls = Urls::at("http://h");
        assert_eq!(file(None, &urls).unwrap().headers()[LOCATION], "http://h/api/docs/index.html");
        assert_eq!(file(Some(FRONT), &urls).unwrap().headers()[CONTENT_TYPE], "text/html");
        assert!(file(Some("nothing.js"), &urls).is_err());
    }
}
