//! From a codec's colour space to RGB.

use super::Photometric;

/// Full-range luminance and colour differences, or the studio range that leaves 16 levels free at
/// the dark end (PS3.3 C.7.6.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ybr {
    Full,
    Partial,
}

impl Ybr {
    pub(super) fn of(photometric: Photometric) -> Option<Self> {
        match photometric {
            Photometric::YbrFull | Photometric::YbrFull422 => Some(Self::Full),
            Photometric::YbrPartial422 | Photometric::YbrPartial420 => Some(Self::Partial),
            _ => None,
        }
    }

    /// Rounded to the nearest level.
    pub(super) fn to_rgb(self, [y, cb, cr]: [u8; 3]) -> [u8; 3] {
        let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
        let rgb = match self {
            Self::Full => [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb],
            Self::Partial => {
                let y = 1.164_4 * (y - 16.0);
                [y + 1.596 * cr, y - 0.391_7 * cb - 0.812_9 * cr, y + 2.017_3 * cb]
            }
        };
        rgb.map(|level| level.round() as u8)
    }
}

/// Y1 Y2 Cb Cr to two pixels of Y Cb Cr each.
pub(super) fn split_422(quad: [u8; 4]) -> [[u8; 3]; 2] {
    let [first, second, cb, cr] = quad;
    [[first, cb, cr], [second, cb, cr]]
}
