//! An axial CT series of the thorax in Hounsfield units: body, lungs, spine, ribs, heart, and
//! what may be wrong.
//!
//! In a slice, x runs to the patient's left and y to the back, as fractions of the picture; along
//! the series, `z` runs from 0 at the head to 1 at the feet.

use crate::report::findings::Answer;

use super::random::Random;
use super::shape::{Ellipse, area_and_box, bump, step};
use super::truth::{self, Grade, Place, Side};

/// Pixels along each side of a slice.
pub const MATRIX: u16 = 256;
/// How many slices of a CT a model is shown; `image` in the truth counts these.
pub const SHOWN: usize = 4;

/// A synthetic CT series and what it shows.
pub struct CtPhantom {
    seed: u64,
    anatomy: Anatomy,
    /// How many slices the series has, head to feet.
    pub slices: usize,
    pub pixel_spacing_mm: f64,
    /// Distance between the centres of neighbouring slices.
    pub slice_spacing_mm: f64,
    pub truth: Answer,
}

/// What the caller decides; everything else follows from the seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct CtOptions {
    /// Whether a study may have a nodule. The rest of it is the same either way.
    pub nodules: bool,
}

/// Draws the CT series of a seed. Slices are rendered one by one, by [`CtPhantom::slice`].
pub fn ct(seed: u64, options: CtOptions) -> CtPhantom {
    let random = &mut Random::new(seed, 11);
    let slices = random.pick([20, 24, 28]);
    let mut anatomy = Anatomy::draw(random, slices);
    anatomy.nodule = anatomy.nodule.filter(|_| options.nodules);
    CtPhantom {
        seed,
        truth: anatomy.truth(slices),
        anatomy,
        slices,
        pixel_spacing_mm: f64::from(FIELD_MM) / f64::from(MATRIX),
        slice_spacing_mm: 240.0 / slices as f64,
    }
}

impl CtPhantom {
    /// `MATRIX * MATRIX` Hounsfield values of the slice `index`, 0 at the head.
    pub fn slice(&self, index: usize) -> Vec<i16> {
        let z = along(index, self.slices);
        let mut noise = Random::new(self.seed, 100 + index as u64);
        let at = |cell: u16| (f32::from(cell) + 0.5) / f32::from(MATRIX);
        let cells = (0..MATRIX).flat_map(|row| (0..MATRIX).map(move |column| (column, row)));
        let section = self.anatomy.section(z);
        let values = cells.map(|(column, row)| {
            let hounsfield = section.hounsfield(at(column), at(row));
            (hounsfield + self.anatomy.noise * noise.noise()).clamp(-1024.0, 3071.0) as i16
        });
        values.collect()
    }
}

/// The slices a model is shown, head to feet: `round(i / 4 * (n - 1))` for i = 1 to 4.
pub fn shown(slices: usize) -> [usize; SHOWN] {
    let last = slices.saturating_sub(1) as f64;
    [1, 2, 3, 4].map(|i| (f64::from(i) / SHOWN as f64 * last).round() as usize)
}

const FIELD_MM: f32 = 400.0;

fn along(index: usize, slices: usize) -> f32 {
    index as f32 / (slices - 1) as f32
}

struct Anatomy {
    scale: f32,
    body_height: f32,
    heart_size: f32,
    noise: f32,
    /// Turns the pattern of ribs.
    rib_phase: f32,
    effusion: Option<Effusion>,
    nodule: Option<Nodule>,
}

struct Effusion {
    side: Side,
    grade: Grade,
    /// The share of the lung's depth that is fluid where the effusion is deepest.
    depth: f32,
    /// Where along the body it is deepest.
    deepest: f32,
}

impl Effusion {
    fn draw(random: &mut Random) -> Self {
        let (side, grade) = (Side::draw(random), Grade::draw(random));
        let depth = match grade {
            Grade::Small => random.between(0.16, 0.22),
            Grade::Moderate => random.between(0.38, 0.46),
            Grade::Large => random.between(0.66, 0.76),
        };
        Self { side, grade, depth, deepest: random.pick([0.75, 1.0]) }
    }

    fn depth_at(&self, z: f32) -> f32 {
        self.depth * bump((z - self.deepest) / 0.6)
    }
}

struct Nodule {
    side: Side,
    outline: Ellipse,
    z: f32,
}

impl Nodule {
    fn draw(random: &mut Random, slices: usize) -> Self {
        let side = Side::draw(random);
        let [upper, middle, ..] = shown(slices);
        let radius = random.between(11.0, 16.0) / FIELD_MM;
        let outline = Ellipse {
            x: 0.5 + side.sign() * random.between(0.17, 0.23),
            y: random.between(0.38, 0.48),
            half_width: radius,
            half_height: radius,
        };
        Self { side, outline, z: along(random.pick([upper, middle]), slices) }
    }

    /// A ball: the section shrinks away from the centre.
    fn section(&self, z: f32) -> Option<Ellipse> {
        let away = (z - self.z) * 240.0 / FIELD_MM / self.outline.half_width;
        let shrink = (1.0 - away * away).max(0.0).sqrt();
        let Ellipse { half_width, half_height, .. } = self.outline;
        (shrink > 0.2).then_some(Ellipse {
            half_width: half_width * shrink,
            half_height: half_height * shrink,
            ..self.outline
        })
    }
}

impl Anatomy {
    fn draw(random: &mut Random, slices: usize) -> Self {
        Self {
            scale: random.between(0.94, 1.05),
            body_height: random.between(0.27, 0.31),
            heart_size: random.between(0.9, 1.1),
            noise: random.between(12.0, 30.0),
            rib_phase: random.between(0.0, 1.0),
            effusion: random.chance(0.6).then(|| Effusion::draw(random)),
            nodule: random.chance(0.2).then(|| Nodule::draw(random, slices)),
        }
    }

    fn lung(&self, side: Side, z: f32) -> Ellipse {
        let size = (0.6 + 0.9 * z).min(1.0) * self.scale;
        Ellipse {
            x: 0.5 + side.sign() * 0.19 * self.scale,
            y: 0.49,
            half_width: 0.145 * size,
            half_height: 0.205 * size * self.body_height / 0.29,
        }
    }

    fn section(&self, z: f32) -> Section<'_> {
        let heart = self.heart_size * self.scale * bump((z - 0.65) / 0.5).sqrt();
        Section {
            anatomy: self,
            lungs: [self.lung(Side::Right, z), self.lung(Side::Left, z)],
            nodule: self.nodule.as_ref().and_then(|nodule| nodule.section(z)),
            heart: Ellipse {
                x: 0.54,
                y: 0.42,
                half_width: 0.12 * heart + 0.001,
                half_height: 0.10 * heart + 0.001,
            },
            z,
        }
    }

    fn truth(&self, slices: usize) -> Answer {
        let mut statements = Vec::new();
        if let Some(found) = &self.effusion {
            let place = self.place(slices, |section| move |x, y| section.fluid_of(found, x, y));
            statements.push(truth::effusion(found.side, found.grade, place));
        }
        if let Some(found) = &self.nodule {
            let place = self.place(slices, |section| move |x, y| section.nodule_cover(x, y));
            let diameter_mm = 2.0 * found.outline.half_width * FIELD_MM;
            statements.push(truth::nodule(found.side, diameter_mm, place));
        }
        truth::answer(statements)
    }

    /// The shown slice on which a shape is largest, and its box there.
    fn place<'a, C: Fn(f32, f32) -> f32>(&'a self, slices: usize, shape: impl Fn(Section<'a>) -> C) -> Place {
        let seen = shown(slices).map(|index| area_and_box(shape(self.section(along(index, slices)))));
        let (mut image, mut largest) = (1, seen[0]);
        for (number, candidate) in (1..).zip(seen) {
            if candidate.0 > largest.0 {
                (image, largest) = (number, candidate);
            }
        }
        Place { image, box_2d: largest.1 }
    }
}

/// The anatomy cut at one height.
struct Section<'a> {
    anatomy: &'a Anatomy,
    /// Right, left.
    lungs: [Ellipse; 2],
    heart: Ellipse,
    nodule: Option<Ellipse>,
    z: f32,
}

impl Section<'_> {
    fn hounsfield(&self, x: f32, y: f32) -> f32 {
        let body = self.body();
        let skin = body.radius(x, y);
        if skin > 1.0 {
            return -1000.0;
        }
        let soft = if skin > 0.93 { -100.0 } else { 50.0 };
        let tissue = soft + self.bone(x, y, skin);
        let air = self.air(x, y);
        let filled = tissue.max(self.heart.cover(x, y, 0.05) * 45.0);
        filled * (1.0 - air) - 860.0 * air - 35.0 * self.fluid(x, y)
    }

    fn body(&self) -> Ellipse {
        let Anatomy { scale, body_height, .. } = self.anatomy;
        Ellipse { x: 0.5, y: 0.5, half_width: 0.40 * scale, half_height: body_height * scale }
    }

    fn air(&self, x: f32, y: f32) -> f32 {
        let lungs: f32 = self.lungs.iter().map(|lung| lung.cover(x, y, 0.06)).sum();
        let fluid = self.anatomy.effusion.as_ref().map_or(0.0, |found| self.below(found, x, y));
        let solid = self.heart.cover(x, y, 0.05).max(fluid).max(self.nodule_cover(x, y));
        let trachea = Ellipse { x: 0.5, y: 0.5, half_width: 0.022, half_height: 0.022 };
        let open = if self.z < 0.4 { trachea.cover(x, y, 0.2) } else { 0.0 };
        (lungs.min(1.0) * (1.0 - solid)).max(open)
    }

    fn fluid(&self, x: f32, y: f32) -> f32 {
        self.anatomy.effusion.as_ref().map_or(0.0, |effusion| self.fluid_of(effusion, x, y))
    }

    /// The patient lies on the back: fluid gathers behind, with a level that rises to the side.
    fn below(&self, effusion: &Effusion, x: f32, y: f32) -> f32 {
        let lung = self.lung_of(effusion);
        let lateral = (x - lung.x) * effusion.side.sign();
        let depth = effusion.depth_at(self.z) * 2.0 * lung.half_height;
        let level = lung.y + lung.half_height - depth - 0.15 * lateral;
        let same_side = (x - 0.5) * effusion.side.sign() > 0.0;
        if same_side && depth > 0.005 { step((y - level) / 0.012) } else { 0.0 }
    }

    fn fluid_of(&self, effusion: &Effusion, x: f32, y: f32) -> f32 {
        self.below(effusion, x, y) * self.lung_of(effusion).cover(x, y, 0.06)
    }

    fn lung_of(&self, effusion: &Effusion) -> Ellipse {
        self.lungs[usize::from(effusion.side == Side::Left)]
    }

    fn nodule_cover(&self, x: f32, y: f32) -> f32 {
        self.nodule.map_or(0.0, |nodule| nodule.cover(x, y, 0.2))
    }

    /// Hounsfield units above soft tissue.
    fn bone(&self, x: f32, y: f32, skin: f32) -> f32 {
        let vertebra = Ellipse { x: 0.5, y: 0.67, half_width: 0.045, half_height: 0.04 };
        let canal = Ellipse { x: 0.5, y: 0.735, half_width: 0.018, half_height: 0.016 };
        let sternum = Ellipse { x: 0.5, y: 0.26, half_width: 0.05, half_height: 0.012 };
        let spine = 330.0 * vertebra.cover(x, y, 0.1) - 30.0 * canal.cover(x, y, 0.2);
        spine + 260.0 * sternum.cover(x, y, 0.2) + 380.0 * self.rib(x, y, skin)
    }

    /// Ribs cross an axial slice obliquely: pieces of a ring that wander from slice to slice.
    fn rib(&self, x: f32, y: f32, skin: f32) -> f32 {
        let turn = (y - 0.5).atan2((x - 0.5).abs()) / std::f32::consts::PI * 4.0;
        let phase = (turn + 3.0 * self.z + self.anatomy.rib_phase).rem_euclid(1.0);
        let ring = bump((skin - 0.86) / 0.04);
        ring * bump((phase - 0.5) * 3.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_slices_follow_the_makers_rule() {
        assert_eq!(shown(24), [6, 12, 17, 23]);
        assert_eq!(shown(4), [1, 2, 2, 3]);
    }

    #[test]
    fn tissues_have_their_hounsfield_values() {
        let phantom = ct(3, CtOptions::default());
        let slice = phantom.slice(phantom.slices / 2);
        let at = |x: usize, y: usize| slice[y * usize::from(MATRIX) + x];
        assert!(at(2, 2) < -900, "air around the body");
        assert!((-950..-750).contains(&at(80, 110)), "lung: {}", at(80, 110));
        assert!(at(128, 171) > 200, "vertebra: {}", at(128, 171));
    }

    #[test]
    fn an_effusion_lies_in_its_box_on_its_slice() {
        let drawn = (0..40).map(|seed| ct(seed, CtOptions::default()));
        let wet = drawn.filter(|p| p.truth.impression.starts_with("Large"));
        for phantom in wet {
            let found = &phantom.truth.findings[0];
            let image = found.image.unwrap() as usize;
            let slice = phantom.slice(shown(phantom.slices)[image - 1]);
            let b = found.box_2d.unwrap();
            let middle = |low: u16, high: u16| usize::from(low + high) * usize::from(MATRIX) / 2000;
            let value = slice[middle(b.y0, b.y1) * usize::from(MATRIX) + middle(b.x0, b.x1)];
            assert!((-120..160).contains(&value), "{value} in {b:?}");
        }
    }
}
