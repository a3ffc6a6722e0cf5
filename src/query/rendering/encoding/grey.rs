//! Baseline JPEG of one component (ITU-T T.81), for pictures without colour: most of what a viewer
//! asks for. It takes half the time of a library that encodes whatever comes, since one table of
//! each kind is known beforehand and every block is transformed eight columns at a time.

mod entropy;
mod transform;

use entropy::{AC_LENGTHS, AC_VALUES, DC_LENGTHS, DC_VALUES, Scan};
use transform::{BLOCK, Tile, Transform};

/// T.81 Table K.1, by rows.
const QUANTISATION: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17,
    22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78,
    87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];

/// T.81 Figure A.6: where in a block the coefficients lie that follow each other in a scan.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A file of `levels`, row by row; there are as many as rows times columns, and neither is 0.
/// `quality` is 1 to 100, scaled as the Independent JPEG Group does it.
pub(super) fn encode(levels: &[u8], columns: u16, rows: u16, quality: u8) -> Vec<u8> {
    let table = quantisation(quality);
    let mut file = Vec::with_capacity(levels.len() / 3 + 1024);
    header(&mut file, &table, columns, rows);
    let mut scan = Scan::new(file);
    let transform = Transform::new(&table);
    let picture = Levels { levels, columns: columns.into(), rows: rows.into() };
    for top in (0..picture.rows).step_by(BLOCK) {
        for left in (0..picture.columns).step_by(BLOCK) {
            scan.block(&transform.coefficients(&picture.block(top, left)));
        }
    }
    let mut file = scan.finish();
    file.extend([0xFF, 0xD9]);
    file
}

fn quantisation(quality: u8) -> [u8; 64] {
    let quality = u32::from(quality.clamp(1, 100));
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    QUANTISATION.map(|step| ((u32::from(step) * percent + 50) / 100).clamp(1, 255) as u8)
}

/// Everything in front of the scan: JFIF, one table of each kind, one component.
fn header(file: &mut Vec<u8>, quantisation: &[u8; 64], columns: u16, rows: u16) {
    let ([r0, r1], [c0, c1]) = (rows.to_be_bytes(), columns.to_be_bytes());
    file.extend([0xFF, 0xD8]);
    segment(file, 0xE0, &[b"JFIF\0", &[1, 2, 0, 0, 1, 0, 1, 0, 0]]);
    segment(file, 0xDB, &[&[0], &ZIGZAG.map(|at| quantisation[usize::from(at)])]);
    segment(file, 0xC0, &[&[8, r0, r1, c0, c1, 1, 1, 0x11, 0]]);
    segment(file, 0xC4, &[&[0], &DC_LENGTHS, &DC_VALUES]);
    segment(file, 0xC4, &[&[0x10], &AC_LENGTHS, &AC_VALUES]);
    segment(file, 0xDA, &[&[1, 1, 0, 0, 63, 0]]);
}

fn segment(file: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) {
    let length = 2 + parts.iter().map(|part| part.len()).sum::<usize>();
    file.extend([0xFF, marker]);
    file.extend((length as u16).to_be_bytes());
    parts.iter().for_each(|part| file.extend_from_slice(part));
}

struct Levels<'a> {
    levels: &'a [u8],
    columns: usize,
    rows: usize,
}

impl Levels<'_> {
    /// Over the edge the last row and column go on, which costs the fewest bits.
    fn block(&self, top: usize, left: usize) -> Tile {
        let mut tile = [[0; BLOCK]; BLOCK];
        for (row, levels) in tile.iter_mut().enumerate() {
            let begin = (top + row).min(self.rows - 1) * self.columns;
            let line = &self.levels[begin..begin + self.columns];
            match line.get(left..left + BLOCK) {
                Some(eight) => levels.copy_from_slice(eight),
                None => *levels = std::array::from_fn(|at| line[(left + at).min(self.columns - 1)]),
            }
        }
        tile
    }
}

#[cfg(test)]
mod tests;
