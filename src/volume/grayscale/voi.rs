//! Modality values to fractions of the display range: windows and VOI tables (PS3.3 C.11.2).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{GrayscaleError, Window};
use crate::volume::attributes::{decimal, items, text};
use crate::volume::functional_groups::FrameAttributes;
use crate::volume::lookup_table::{Input, LookupTable};

/// Window Center and Window Width with the function that reads them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowLevel {
    pub center: f32,
    pub width: f32,
    pub function: VoiFunction,
}

/// VOI LUT Function (PS3.3 C.11.2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoiFunction {
    Linear,
    LinearExact,
    Sigmoid,
}

impl VoiFunction {
    /// The function by its DICOM name; an unknown name is read as the default, LINEAR.
    pub fn named(name: &str) -> Self {
        match name {
            "LINEAR_EXACT" => Self::LinearExact,
            "SIGMOID" => Self::Sigmoid,
            _ => Self::Linear,
        }
    }
}

impl WindowLevel {
    /// The first window that a frame declares.
    pub fn first_of(attributes: &FrameAttributes<'_>) -> Option<Self> {
        Self::of_item(attributes.group_or_object(tags::FRAME_VOILUT_SEQUENCE))
    }

    /// The first window of an item that may have some.
    pub fn of_item(group: &InMemDicomObject) -> Option<Self> {
        Some(Self {
            center: decimal(group, tags::WINDOW_CENTER)? as f32,
            width: decimal(group, tags::WINDOW_WIDTH).filter(|width| *width > 0.0)? as f32,
            function: function_of(group),
        })
    }

    /// From 0 (black) to 1.
    pub fn fraction(&self, value: f32) -> f32 {
        let Self { center, width, function } = *self;
        match function {
            // C.11.2.1.2.1: a width of 1 is a threshold at center - 0.5.
            VoiFunction::Linear if width <= 1.0 => f32::from(value > center - 0.5),
            VoiFunction::Linear => ((value - (center - 0.5)) / (width - 1.0) + 0.5).clamp(0.0, 1.0),
            VoiFunction::LinearExact => ((value - center) / width + 0.5).clamp(0.0, 1.0),
            VoiFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
        }
    }
}

fn function_of(group: &InMemDicomObject) -> VoiFunction {
    VoiFunction::named(text(group, tags::VOILUT_FUNCTION).as_deref().unwrap_or("LINEAR"))
}

/// From modality values to fractions of the display range.
#[derive(Debug, Clone, PartialEq)]
pub enum Voi {
    Window(WindowLevel),
    Table(LookupTable),
    Range(f32, f32),
}

impl Voi {
    pub(super) fn choose(
        window: Window,
        attributes: &FrameAttributes<'_>,
        input: Input,
        range: impl FnOnce() -> (f32, f32),
    ) -> Result<Self, GrayscaleError> {
        let full_range = || {
            let (low, high) = range();
            Ok(Self::Range(low, high))
        };
        match window {
            Window::Explicit(level) => Ok(Self::Window(level)),
            Window::FullRange => full_range(),
            Window::First => match (WindowLevel::first_of(attributes), first_table(attributes, input)?) {
                (Some(level), _) => Ok(Self::Window(level)),
                (None, Some(table)) => Ok(Self::Table(table)),
                (None, None) => full_range(),
            },
        }
    }

    /// The window, else the table of an item of Softcopy VOI LUT Sequence.
    pub fn of_softcopy_item(item: &InMemDicomObject) -> Result<Option<Self>, GrayscaleError> {
        match WindowLevel::of_item(item) {
            Some(level) => Ok(Some(Self::Window(level))),
            None => Ok(table_of_item(item, Input::Signed)?.map(Self::Table)),
        }
    }

    /// 0 is black and 1 is white. A range without extent is black.
    pub(super) fn fraction(&self, value: f32) -> f32 {
        match self {
            Self::Window(level) => level.fraction(value),
            Self::Table(table) => table.fraction(value),
            Self::Range(low, high) if high > low => ((value - low) / (high - low)).clamp(0.0, 1.0),
            Self::Range(..) => 0.0,
        }
    }
}

fn first_table(
    attributes: &FrameAttributes<'_>,
    input: Input,
) -> Result<Option<LookupTable>, GrayscaleError> {
    table_of_item(attributes.group_or_object(tags::FRAME_VOILUT_SEQUENCE), input)
}

/// The first VOI table of an item that may have some.
fn table_of_item(group: &InMemDicomObject, input: Input) -> Result<Option<LookupTable>, GrayscaleError> {
    let item = items(group, tags::VOILUT_SEQUENCE).first();
    item.map(|item| LookupTable::from_item(item, input).ok_or(GrayscaleError::VoiTable)).transpose()
}
