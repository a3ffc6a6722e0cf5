//! From stored pixels to numbers, pictures and volumes: pure functions on arrays.
//!
//! Nothing here reads a file, holds a lock or waits. A caller brings attributes (an
//! [`dicom_object::InMemDicomObject`]) and the bytes of one frame, and goes
//!
//! - to a picture for a viewer: [`pixels::decode`], then [`grayscale::display`];
//! - to what the model sees: [`pixels::decode`], then [`model_view`];
//! - to a volume: [`geometry::SlicePlane`] per frame, [`series::stacks`], [`selection`], then
//!   [`assemble::assemble`], and on to [`resample::isotropic`], [`plane`] or [`nifti`].

pub mod assemble;
pub mod attributes;
pub mod description;
pub mod functional_groups;
pub mod geometry;
pub mod grayscale;
pub mod lookup_table;
pub mod model_view;
pub mod nifti;
pub mod normalize;
pub mod overlays;
pub mod pixel_spacing;
pub mod pixels;
pub mod plane;
pub mod resample;
pub mod selection;
pub mod series;
pub mod shutter;

#[cfg(test)]
pub(crate) mod testing;
