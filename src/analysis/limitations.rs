//! What a reader must know about the images that an answer rests on, in sentences.

use crate::ai::prompt::Pipeline;
use crate::volume::series::{Issue, Stack, Stacks};

/// What its makers publish about models on such studies, for what is experimental because of it.
pub(super) fn of_pipeline(pipeline: Pipeline) -> Option<&'static str> {
    match pipeline {
        Pipeline::ChestRadiograph => None,
        Pipeline::LongitudinalChest => Some(
            "Experimental pipeline: in their makers' tests, models of this kind told better, worse and unchanged apart in 66 % of pairs of chest radiographs.",
        ),
        Pipeline::Ct => Some(
            "Experimental pipeline: in their makers' tests, models of this kind were right in 61 % of balanced cases of CT, where chance is 50 %.",
        ),
        Pipeline::Mr => Some(
            "Experimental pipeline: in their makers' tests, models of this kind were right in 65 % of balanced cases of MR, where chance is 50 %.",
        ),
        Pipeline::Photograph => Some(
            "Experimental pipeline: how well models of this kind read photographs of this kind is not known to this server.",
        ),
    }
}

pub(super) fn of_stacks(stacks: &Stacks, chosen: &Stack) -> Vec<String> {
    stacks.issues.iter().chain(&chosen.issues).map(sentence).collect()
}

fn sentence(issue: &Issue) -> String {
    match issue {
        Issue::Localizers { frames } => format!("{frames} localizer images were left out."),
        Issue::WithoutPlane { frames } => {
            format!("{frames} images without a position in space were left out.")
        }
        Issue::MixedOrientation { orientations } => {
            format!("The series has images in {orientations} orientations; one was used.")
        }
        Issue::MixedMatrix { sizes } => {
            format!("The series has images of {sizes} matrix sizes; one was used.")
        }
        Issue::RepeatedPositions { times } => {
            format!("Each position was imaged {times} times; one set was used.")
        }
        Issue::DuplicatePositions { frames } => {
            format!("{frames} images at a position already covered were left out.")
        }
        Issue::Gap { after, missing, distance_mm } => {
            format!("{missing} slices are missing after slice {} (a gap of {distance_mm:.1} mm).", after + 1)
        }
        Issue::IrregularSpacing { least_mm, greatest_mm } => {
            format!("Slices are not evenly spaced ({least_mm:.2} to {greatest_mm:.2} mm).")
        }
        Issue::Overlapping { thickness_mm, spacing_mm } => {
            format!("Slices of {thickness_mm:.2} mm overlap at a spacing of {spacing_mm:.2} mm.")
        }
        Issue::InterSliceGap { thickness_mm, spacing_mm } => {
            format!(
                "Tissue between slices was not imaged (thickness {thickness_mm:.2} mm, spacing {spacing_mm:.2} mm)."
            )
        }
        Issue::Sheared { degrees } => format!("The stack is sheared by {degrees:.1} degrees."),
    }
}
