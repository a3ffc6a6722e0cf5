//! From a codec's colour space to RGB.

/// YBR_FULL to RGB (PS3.3 C.7.6.3.1.2), rounded to the nearest level.
pub(super) fn rgb_from_ybr_full([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|level| level.round() as u8)
}

/// Y1 Y2 Cb Cr to two pixels of Y Cb Cr each.
pub(super) fn split_422(quad: [u8; 4]) -> [[u8; 3]; 2] {
    let [first, second, cb, cr] = quad;
    [[first, cb, cr], [second, cb, cr]]
}
