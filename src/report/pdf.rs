//! The report on paper: A4, any script, every page saying how the report stands.
//!
//! Bytes depend on the report alone: no clock, no random identifiers.

mod canvas;
mod compose;
mod flow;
pub(crate) mod fonts;
mod picture;
mod shape;
mod signed;

use crate::ai::RgbImage;

use super::document::Report;
use super::region::Framing;
use super::signed::Signed;

/// The picture that boxes are drawn on.
#[derive(Debug, Clone, Copy)]
pub struct KeyImage<'a> {
    pub picture: &'a RgbImage,
    /// Position in the report's evidence of the image that the picture shows.
    pub evidence: usize,
    /// How the picture frames that image; its size in pixels does not matter.
    pub framing: Framing,
}

#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    #[error("the font {font} could not be read: {reason}")]
    Font { font: &'static str, reason: String },
    #[error("the font {font} could not be reduced to its used glyphs: {reason}")]
    Subset { font: &'static str, reason: String },
    #[error("the key image holds {actual} bytes in place of {expected}")]
    PictureSize { expected: usize, actual: usize },
    #[error("the key image could not be encoded")]
    Picture(#[source] image::ImageError),
    #[error("the key image shows none of the report's images")]
    NoSuchEvidence,
    #[error("the document could not be written")]
    Write(#[source] std::io::Error),
}

/// The report as a PDF file.
pub fn write(report: &Report, key_image: Option<KeyImage<'_>>) -> Result<Vec<u8>, PdfError> {
    let mut flow = flow::Flow::new(fonts::Fonts::load()?);
    let picture = key_image.map(|key| picture::Picture::of(report, key)).transpose()?;
    compose::report(&mut flow, report, picture.as_ref());
    let pages = flow.finish();
    let about = canvas::About::of(report);
    canvas::write(&pages, picture.as_ref(), &about)
}

/// A signed version as a PDF file; the picture shows the image at that position of the evidence.
pub fn write_signed(version: &Signed, picture: Option<(usize, &RgbImage)>) -> Result<Vec<u8>, PdfError> {
    let mut flow = flow::Flow::new(fonts::Fonts::load()?);
    let picture =
        picture.map(|(evidence, picture)| signed::picture(version, evidence, picture)).transpose()?;
    signed::compose(&mut flow, version, picture.as_ref());
    let pages = flow.finish();
    canvas::write(&pages, picture.as_ref(), &canvas::About::of_signed(version))
}

#[cfg(test)]
mod tests;
