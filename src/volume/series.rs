//! From the frames of a series to stacks in anatomical order.
//!
//! Frames are ordered by the distance of their plane along the normal, in the direction in which a
//! reader goes through them ([`SlicePlane::reading_direction`]: axial ones from head to feet);
//! Instance Number only breaks ties. What cannot belong to one stack (localizers, another orientation, another matrix) is set
//! apart, and whatever is odd about a stack is said as an [`Issue`].

mod spacing;

use dicom_dictionary_std::tags;
use serde::{Deserialize, Serialize};

use super::attributes::{integer, texts};
use super::functional_groups::FrameAttributes;
use super::geometry::{SlicePlane, dot};

/// What ordering needs to know of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceFrame {
    pub plane: Option<SlicePlane>,
    pub localizer: bool,
    pub instance_number: Option<i64>,
    /// What tells apart frames at one position: temporal position, acquisition, echo.
    pub phase: [i64; 3],
    /// Counts from 0 within its instance.
    pub frame: usize,
}

impl SliceFrame {
    pub fn of(attributes: &FrameAttributes<'_>, frame: usize) -> Self {
        let number = |tag| integer(attributes.object, tag).unwrap_or(0);
        let content = attributes.group_or_object(tags::FRAME_CONTENT_SEQUENCE);
        let temporal = integer(content, tags::TEMPORAL_POSITION_INDEX);
        Self {
            plane: SlicePlane::of(attributes).ok(),
            localizer: texts(attributes.object, tags::IMAGE_TYPE).iter().any(|value| value == "LOCALIZER"),
            instance_number: integer(attributes.object, tags::INSTANCE_NUMBER),
            phase: [
                temporal.unwrap_or_else(|| number(tags::TEMPORAL_POSITION_IDENTIFIER)),
                number(tags::ACQUISITION_NUMBER),
                number(tags::ECHO_NUMBERS),
            ],
            frame,
        }
    }

    fn sequence(&self) -> (i64, usize) {
        (self.instance_number.unwrap_or(i64::MAX), self.frame)
    }
}

/// Frames of one orientation, size and spacing, each position once, in reading order.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// Indices into the frames that were given, in reading order.
    pub order: Vec<usize>,
    /// The plane of the first frame in order.
    pub plane: SlicePlane,
    /// The distance of each slice in order from the first, in mm along the reading direction.
    pub depths_mm: Vec<f64>,
    /// The median distance between neighbours in mm; `None` for a single slice.
    pub spacing_mm: Option<f64>,
    pub issues: Vec<Issue>,
}

/// All of a series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stacks {
    /// The largest first.
    pub stacks: Vec<Stack>,
    /// Localizers and frames without a plane, in instance order.
    pub set_aside: Vec<usize>,
    /// What holds for the series rather than for one stack.
    pub issues: Vec<Issue>,
}

/// Something about a series that a reader of its volume must know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Issue {
    /// Image Type says LOCALIZER; the frames are not part of a stack.
    Localizers { frames: usize },
    /// No usable position, orientation or spacing; the frames are not part of a stack.
    WithoutPlane { frames: usize },
    /// Planes in more than one direction, one stack each.
    MixedOrientation { orientations: usize },
    /// Several matrix sizes or pixel spacings in one direction, one stack each.
    MixedMatrix { sizes: usize },
    /// Each position comes this many times (phases, echoes), one stack each.
    RepeatedPositions { times: usize },
    /// Frames at a position that another frame has; they were left out.
    DuplicatePositions { frames: usize },
    /// Slices are absent after the one with this index in the order.
    Gap { after: usize, missing: usize, distance_mm: f64 },
    /// Neighbours are not equally far apart, apart from gaps.
    IrregularSpacing { least_mm: f64, greatest_mm: f64 },
    /// Slices are thicker than they are apart.
    Overlapping { thickness_mm: f64, spacing_mm: f64 },
    /// Slices are thinner than they are apart: tissue between them was not imaged.
    InterSliceGap { thickness_mm: f64, spacing_mm: f64 },
    /// Positions do not advance along the normal, as with a tilted gantry.
    Sheared { degrees: f64 },
}

/// Sorts frames into stacks.
pub fn stacks(frames: &[SliceFrame]) -> Stacks {
    let mut result = Stacks::default();
    let with_plane = set_aside(frames, &mut result);
    let orientations = group(with_plane, |a, b| same_orientation(a.1, b.1));
    if orientations.len() > 1 {
        result.issues.push(Issue::MixedOrientation { orientations: orientations.len() });
    }
    for orientation in orientations {
        let sizes = group(orientation, |a, b| same_matrix(a.1, b.1));
        if sizes.len() > 1 {
            result.issues.push(Issue::MixedMatrix { sizes: sizes.len() });
        }
        result.stacks.extend(sizes.into_iter().flat_map(|members| stacks_of_one_size(frames, members)));
    }
    result.stacks.sort_by_key(|stack| std::cmp::Reverse(stack.order.len()));
    result
}

type Member<'a> = (usize, &'a SlicePlane);

fn set_aside<'a>(frames: &'a [SliceFrame], result: &mut Stacks) -> Vec<Member<'a>> {
    let mut members = Vec::new();
    let (mut localizers, mut without_plane) = (0, 0);
    for (index, frame) in frames.iter().enumerate() {
        match &frame.plane {
            _ if frame.localizer => localizers += 1,
            None => without_plane += 1,
            Some(plane) => {
                members.push((index, plane));
                continue;
            }
        }
        result.set_aside.push(index);
    }
    result.set_aside.sort_by_key(|index| frames[*index].sequence());
    let issues = [
        (localizers, Issue::Localizers { frames: localizers }),
        (without_plane, Issue::WithoutPlane { frames: without_plane }),
    ];
    result.issues.extend(issues.into_iter().filter(|(count, _)| *count > 0).map(|(_, issue)| issue));
    members
}

/// Each group holds what is alike with its first member.
fn group<T: Copy>(members: Vec<T>, alike: impl Fn(&T, &T) -> bool) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    for member in members {
        match groups.iter_mut().find(|group| alike(&group[0], &member)) {
            Some(group) => group.push(member),
            None => groups.push(vec![member]),
        }
    }
    groups
}

fn same_orientation(a: &SlicePlane, b: &SlicePlane) -> bool {
    const COSINE_HALF_DEGREE: f64 = 0.999_96;
    dot(a.along_row, b.along_row) > COSINE_HALF_DEGREE
        && dot(a.along_column, b.along_column) > COSINE_HALF_DEGREE
}

fn same_matrix(a: &SlicePlane, b: &SlicePlane) -> bool {
    let close = |axis: usize| (a.spacing_mm[axis] - b.spacing_mm[axis]).abs() < 1e-3 * a.spacing_mm[axis];
    (a.rows, a.columns) == (b.rows, b.columns) && close(0) && close(1)
}

/// Positions that all come equally often are phases of one anatomy; others are duplicates.
fn stacks_of_one_size(frames: &[SliceFrame], members: Vec<Member<'_>>) -> Vec<Stack> {
    let count = members.len();
    let positions = positions(frames, members);
    let times = positions[0].len();
    if times > 1 && positions.len() > 1 && positions.iter().all(|position| position.len() == times) {
        let phase = |at| positions.iter().map(|position| position[at]).collect();
        let repeated = vec![Issue::RepeatedPositions { times }];
        return (0..times).map(|at| Stack::new(phase(at), repeated.clone())).collect();
    }
    let duplicates = count - positions.len();
    let issues = (duplicates > 0).then_some(Issue::DuplicatePositions { frames: duplicates });
    vec![Stack::new(positions.iter().map(|position| position[0]).collect(), issues.into_iter().collect())]
}

/// Members by position in ascending order, those at one position by phase, then by instance.
fn positions<'a>(frames: &[SliceFrame], mut members: Vec<Member<'a>>) -> Vec<Vec<Member<'a>>> {
    const SAME_POSITION_MM: f64 = 0.01;
    members.sort_by(|a, b| a.1.depth_mm().total_cmp(&b.1.depth_mm()));
    let mut positions: Vec<Vec<Member<'a>>> = Vec::new();
    for member in members {
        match positions.last_mut() {
            Some(last) if member.1.depth_mm() - last[0].1.depth_mm() < SAME_POSITION_MM => last.push(member),
            _ => positions.push(vec![member]),
        }
    }
    for position in &mut positions {
        position.sort_by_key(|(index, _)| (frames[*index].phase, frames[*index].sequence()));
    }
    positions
}

impl Stack {
    fn new(members: Vec<Member<'_>>, mut issues: Vec<Issue>) -> Self {
        let planes: Vec<&SlicePlane> = members.iter().map(|(_, plane)| *plane).collect();
        issues.extend(spacing::issues(&planes));
        Self {
            order: members.iter().map(|(index, _)| *index).collect(),
            plane: *planes[0],
            depths_mm: planes.iter().map(|plane| plane.depth_mm() - planes[0].depth_mm()).collect(),
            spacing_mm: spacing::median_mm(&planes),
            issues,
        }
    }
}

#[cfg(test)]
mod tests;
