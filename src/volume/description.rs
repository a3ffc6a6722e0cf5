//! What is kept of a volume when its voxels are gone.

use serde::{Deserialize, Serialize};

use super::geometry::{AnatomicalPlane, VolumeGeometry};
use super::series::{Issue, Stack};

/// Geometry and oddities of one stack; the JSON of a volume row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeDescription {
    pub plane: AnatomicalPlane,
    pub slices: usize,
    pub rows: usize,
    pub columns: usize,
    pub geometry: VolumeGeometry,
    pub thickness_mm: Option<f64>,
    pub issues: Vec<Issue>,
}

impl VolumeDescription {
    pub fn of(stack: &Stack) -> Self {
        Self {
            plane: stack.plane.anatomical_plane(),
            slices: stack.order.len(),
            rows: stack.plane.rows,
            columns: stack.plane.columns,
            geometry: stack.geometry(),
            thickness_mm: stack.plane.thickness_mm,
            issues: stack.issues.clone(),
        }
    }

    /// From the centre of the first slice to that of the last.
    pub fn extent_mm(&self) -> f64 {
        self.geometry.spacing_mm[0] * self.slices.saturating_sub(1) as f64
    }
}

impl Stack {
    /// A single slice is as thick as it says, or 1 mm.
    pub fn geometry(&self) -> VolumeGeometry {
        let [between_rows, between_columns] = self.plane.spacing_mm;
        let between_slices = self.spacing_mm.or(self.plane.thickness_mm).unwrap_or(1.0);
        VolumeGeometry {
            origin_mm: self.plane.position,
            along_slices: self.plane.reading_direction(),
            along_column: self.plane.along_column,
            along_row: self.plane.along_row,
            spacing_mm: [between_slices, between_rows, between_columns],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::functional_groups::FrameAttributes;
    use crate::volume::series::{SliceFrame, stacks};
    use crate::volume::testing::slice;

    #[test]
    fn a_description_survives_its_json() {
        let frames = [0.0, -2.0, -4.0, -10.0].map(|z| SliceFrame::of(&FrameAttributes::new(&slice(z), 0), 0));
        let description = VolumeDescription::of(&stacks(&frames).stacks[0]);
        let json = serde_json::to_string(&description).unwrap();
        assert_eq!(serde_json::from_str::<VolumeDescription>(&json).unwrap(), description);
        assert!(
            json.contains(r#""issues":[{"kind":"gap","after":2,"missing":2,"distance_mm":6.0}]"#),
            "{json}"
        );
    }

    #[test]
    fn voxels_have_patient_coordinates() {
        let frames = [9.0, 7.0].map(|z| SliceFrame::of(&FrameAttributes::new(&slice(z), 0), 0));
        let geometry = stacks(&frames).stacks[0].geometry();
        assert_eq!(geometry.point_mm([1.0, 2.0, 4.0]), [-10.0 + 4.0 * 0.75, -20.0 + 2.0 * 0.5, 7.0]);
    }
}
