//! A frontal (PA) chest radiograph: body, lungs, ribs, spine, heart, and what may be wrong.
//!
//! Positions are fractions of the square that the picture becomes once it is padded, so that a
//! box of the truth needs no second coordinate system. The picture's left is the patient's right.

use crate::report::findings::Answer;

use super::random::Random;
use super::shape::{Ellipse, area_and_box, bump, step};
use super::truth::{self, Grade, Place, Side};

/// How stored values turn into brightness (PS3.3 C.7.6.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Photometric {
    Monochrome1,
    Monochrome2,
}

/// PS3.3 C.11.2.1.2, in stored values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub center: f64,
    pub width: f64,
}

/// What the caller decides; everything else follows from the seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChestOptions {
    /// Pixels along the longer side; drawn between 640 and 1024 when absent.
    pub matrix: Option<u16>,
    /// Drawn when absent. One seed shows the same picture both ways.
    pub photometric: Option<Photometric>,
    /// Whether a study may have a nodule. The rest of it is the same either way.
    pub nodules: bool,
}

/// A synthetic chest radiograph and what it shows.
#[derive(Debug, Clone)]
pub struct ChestPhantom {
    pub rows: u16,
    pub columns: u16,
    /// `rows * columns` stored values, row by row.
    pub pixels: Vec<u16>,
    /// 12, 14 or 16.
    pub bits_stored: u16,
    pub photometric: Photometric,
    /// At the detector, both directions.
    pub pixel_spacing_mm: f64,
    pub window: Window,
    pub truth: Answer,
}

/// Draws the chest radiograph of a seed.
pub fn chest(seed: u64, options: &ChestOptions) -> ChestPhantom {
    let mut anatomy = Anatomy::draw(&mut Random::new(seed, 1));
    anatomy.nodule = anatomy.nodule.filter(|_| options.nodules);
    let detector = Detector::draw(&mut Random::new(seed, 2), options);
    let mut noise = Random::new(seed, 3);
    let pixels = detector
        .positions()
        .map(|(x, y)| detector.stored(anatomy.density(x, y) + detector.noise * noise.noise()));
    ChestPhantom {
        rows: detector.rows,
        columns: detector.columns,
        pixels: pixels.collect(),
        bits_stored: detector.bits_stored,
        photometric: detector.photometric,
        pixel_spacing_mm: f64::from(FIELD_MM) / f64::from(detector.rows.max(detector.columns)),
        window: detector.window(),
        truth: anatomy.truth(),
    }
}

/// The side of the padded square at the detector.
const FIELD_MM: f32 = 400.0;

/// How far a density of 1 lies above the darkest air, as a share of the stored range.
struct Detector {
    rows: u16,
    columns: u16,
    bits_stored: u16,
    photometric: Photometric,
    offset: f32,
    gain: f32,
    noise: f32,
    /// The densities shown black and white.
    shown: (f32, f32),
}

impl Detector {
    fn draw(random: &mut Random, options: &ChestOptions) -> Self {
        let drawn = random.pick([640, 768, 896, 1024]);
        let long = options.matrix.unwrap_or(drawn);
        let short = (f32::from(long) * random.pick([0.8, 0.85, 0.9, 1.0, 1.0])) as u16;
        let (rows, columns) = if random.chance(0.15) { (short, long) } else { (long, short) };
        let photometric = random.pick([Photometric::Monochrome1, Photometric::Monochrome2]);
        Self {
            rows,
            columns,
            bits_stored: random.pick([12, 12, 14, 16]),
            photometric: options.photometric.unwrap_or(photometric),
            offset: random.between(0.05, 0.2),
            gain: random.between(0.5, 0.75),
            noise: random.between(0.01, 0.03),
            shown: (random.between(-0.05, 0.08), random.between(0.85, 1.1)),
        }
    }

    fn positions(&self) -> impl Iterator<Item = (f32, f32)> + use<> {
        let (rows, columns) = (f32::from(self.rows), f32::from(self.columns));
        let side = rows.max(columns);
        let at = move |index: u16, count: f32| (f32::from(index) + 0.5 - count / 2.0) / side + 0.5;
        let width = self.columns;
        (0..self.rows).flat_map(move |row| (0..width).map(move |c| (at(c, columns), at(row, rows))))
    }

    fn largest(&self) -> f32 {
        ((1u32 << self.bits_stored) - 1) as f32
    }

    fn stored(&self, density: f32) -> u16 {
        let value = self.level(density).clamp(0.0, self.largest());
        match self.photometric {
            Photometric::Monochrome2 => value.round() as u16,
            Photometric::Monochrome1 => (self.largest() - value.round()) as u16,
        }
    }

    fn level(&self, density: f32) -> f32 {
        (self.offset + self.gain * density) * self.largest()
    }

    fn window(&self) -> Window {
        let (black, white) = (self.level(self.shown.0), self.level(self.shown.1));
        let center = match self.photometric {
            Photometric::Monochrome2 => (black + white) / 2.0,
            Photometric::Monochrome1 => self.largest() - (black + white) / 2.0,
        };
        Window { center: center.round().into(), width: (white - black).round().into() }
    }
}

/// One thorax, in coordinates of its own; `Pose` places it on the detector.
struct Anatomy {
    pose: Pose,
    body: Ellipse,
    right: Lung,
    left: Lung,
    heart: Ellipse,
    /// Set when the heart is enlarged.
    ratio: Option<f32>,
    effusion: Option<Effusion>,
    nodule: Option<Nodule>,
    body_density: f32,
    lucency: f32,
    rib_density: f32,
    rib_phase: f32,
}

struct Pose {
    scale: f32,
    x: f32,
    y: f32,
}

impl Pose {
    fn draw(random: &mut Random) -> Self {
        Self {
            scale: random.between(0.93, 1.05),
            x: random.between(-0.025, 0.025),
            y: random.between(-0.025, 0.025),
        }
    }

    fn body_of(&self, x: f32, y: f32) -> (f32, f32) {
        ((x - 0.5 - self.x) / self.scale + 0.5, (y - 0.5 - self.y) / self.scale + 0.5)
    }
}

struct Lung {
    side: Side,
    outline: Ellipse,
    /// The height of the diaphragm's dome.
    base: f32,
}

impl Lung {
    fn draw(random: &mut Random, side: Side) -> Self {
        let outline = Ellipse {
            x: 0.5 + side.sign() * 0.19,
            y: 0.48 + random.between(-0.01, 0.01),
            half_width: 0.15 + random.between(-0.008, 0.008),
            half_height: 0.31 + random.between(-0.015, 0.015),
        };
        let lower = if side == Side::Left { 0.015 } else { 0.0 };
        Self { side, outline, base: 0.71 + lower + random.between(-0.012, 0.012) }
    }

    /// Air above the diaphragm, which falls off to both sides of its dome.
    fn air(&self, x: f32, y: f32) -> f32 {
        let dx = x - self.outline.x;
        let dome = self.base + 2.0 * dx * dx;
        self.outline.cover(x, y, 0.1) * step((dome - y) / 0.02)
    }

    /// The meniscus rises to the side.
    fn below(&self, x: f32, y: f32, level: f32) -> f32 {
        let lateral = (x - self.outline.x) * self.side.sign();
        let meniscus = level - 0.3 * lateral.clamp(-0.1, 0.15);
        step((y - meniscus) / 0.03)
    }

    /// Fluid gathers in the outline, also beside and behind the dome.
    fn fluid(&self, x: f32, y: f32, level: f32) -> f32 {
        self.outline.cover(x, y, 0.1) * self.below(x, y, level)
    }
}

struct Effusion {
    side: Side,
    grade: Grade,
    level: f32,
}

impl Effusion {
    fn draw(random: &mut Random) -> Self {
        let (side, grade) = (Side::draw(random), Grade::draw(random));
        let height = match grade {
            Grade::Small => random.between(0.06, 0.10),
            Grade::Moderate => random.between(0.20, 0.25),
            Grade::Large => random.between(0.37, 0.45),
        };
        Self { side, grade, level: 0.72 - height }
    }

    fn covers_heart(&self) -> bool {
        (self.side, self.grade) == (Side::Left, Grade::Large)
    }
}

struct Nodule {
    side: Side,
    outline: Ellipse,
    density: f32,
}

impl Nodule {
    fn draw(random: &mut Random) -> Self {
        let side = Side::draw(random);
        let radius = random.between(10.5, 16.0) / FIELD_MM;
        let outline = Ellipse {
            x: 0.5 + side.sign() * random.between(0.17, 0.26),
            y: random.between(0.30, 0.58),
            half_width: radius,
            half_height: radius,
        };
        Self { side, outline, density: random.between(0.7, 0.95) }
    }

    fn diameter_mm(&self, scale: f32) -> f32 {
        2.0 * self.outline.half_width * scale * FIELD_MM
    }
}

impl Anatomy {
    fn draw(random: &mut Random) -> Self {
        let (right, left) = (Lung::draw(random, Side::Right), Lung::draw(random, Side::Left));
        let enlarged = random.chance(0.3);
        let ratio = if enlarged { random.between(0.58, 0.66) } else { random.between(0.39, 0.46) };
        let drawn = Self {
            pose: Pose::draw(random),
            body: Ellipse { x: 0.5, y: 0.62, half_width: 0.44, half_height: 0.58 },
            heart: heart(&right, &left, ratio, random),
            right,
            left,
            ratio: enlarged.then_some(ratio),
            effusion: random.chance(0.45).then(|| Effusion::draw(random)),
            nodule: random.chance(0.2).then(|| Nodule::draw(random)),
            body_density: random.between(0.62, 0.72),
            lucency: random.between(0.42, 0.52),
            rib_density: random.between(0.04, 0.08),
            rib_phase: random.between(0.0, 1.0),
        };
        drawn.with_visible_heart()
    }

    /// A large left effusion covers the heart's border: nobody could call the heart enlarged, so
    /// it is not.
    fn with_visible_heart(mut self) -> Self {
        let covered = self.effusion.as_ref().is_some_and(Effusion::covers_heart);
        if covered && self.ratio.take().is_some() {
            self.heart.half_width *= 0.7;
            self.heart.x = 0.5 + 0.7 * (self.heart.x - 0.5);
        }
        self
    }

    /// 0 is air, about 1 the densest bone over soft tissue.
    fn density(&self, x: f32, y: f32) -> f32 {
        let (x, y) = self.pose.body_of(x, y);
        let body = self.body.cover(x, y, 0.06);
        let air = self.air(x, y);
        0.04 + body * (self.body_density - self.lucency * air + self.bone(x, y, air))
    }

    fn air(&self, x: f32, y: f32) -> f32 {
        let lungs = self.aerated(&self.right, x, y) + self.aerated(&self.left, x, y);
        let heart = self.heart.cover(x, y, 0.12);
        let nodule = self.nodule.as_ref().map_or(0.0, |n| n.density * n.outline.cover(x, y, 0.3));
        lungs.min(1.0) * (1.0 - 0.9 * heart) * (1.0 - nodule)
    }

    fn aerated(&self, lung: &Lung, x: f32, y: f32) -> f32 {
        let fluid = match &self.effusion {
            Some(effusion) if effusion.side == lung.side => lung.below(x, y, effusion.level),
            _ => 0.0,
        };
        lung.air(x, y) * (1.0 - fluid)
    }

    fn bone(&self, x: f32, y: f32, air: f32) -> f32 {
        let lateral = ((x - 0.5).abs() - 0.19).abs();
        let rib = ((y - 1.1 * lateral * lateral) / 0.065 + self.rib_phase).rem_euclid(1.0);
        let spine = step((0.045 - (x - 0.5).abs()) / 0.02);
        self.rib_density * bump((rib - 0.5) * 4.0) * (0.3 + air) + 0.13 * spine
    }

    fn truth(&self) -> Answer {
        let mut statements = Vec::new();
        if let Some(found) = &self.effusion {
            statements.push(truth::effusion(found.side, found.grade, self.effusion_place(found)));
        }
        statements.extend(self.ratio.map(truth::cardiomegaly));
        if let Some(found) = &self.nodule {
            let place = self.place(|x, y| found.outline.cover(x, y, 0.3));
            let diameter_mm = found.diameter_mm(self.pose.scale);
            statements.push(truth::nodule(found.side, diameter_mm, place));
        }
        truth::answer(statements)
    }

    fn effusion_place(&self, effusion: &Effusion) -> Place {
        let lung = if effusion.side == Side::Right { &self.right } else { &self.left };
        self.place(|x, y| lung.fluid(x, y, effusion.level))
    }

    fn place(&self, cover: impl Fn(f32, f32) -> f32) -> Place {
        let on_detector = |x, y| {
            let (x, y) = self.pose.body_of(x, y);
            cover(x, y)
        };
        Place { image: 1, box_2d: area_and_box(on_detector).1 }
    }
}

/// Two thirds of the heart lie on the patient's left.
fn heart(right: &Lung, left: &Lung, ratio: f32, random: &mut Random) -> Ellipse {
    let outer = |lung: &Lung| lung.outline.x + lung.side.sign() * lung.outline.half_width;
    let half_width = ratio * (outer(left) - outer(right)) / 2.0;
    Ellipse {
        x: 0.5 + half_width * random.between(0.22, 0.30),
        y: 0.62 + random.between(-0.01, 0.01),
        half_width,
        half_height: 0.15 + random.between(-0.01, 0.01),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: ChestOptions = ChestOptions { matrix: Some(128), photometric: None, nodules: false };

    fn as_mono(seed: u64, photometric: Photometric) -> ChestPhantom {
        chest(seed, &ChestOptions { photometric: Some(photometric), ..SMALL })
    }

    #[test]
    fn a_seed_always_draws_the_same_study() {
        let (one, two) = (chest(5, &SMALL), chest(5, &SMALL));
        assert_eq!((one.pixels, one.truth), (two.pixels, two.truth));
        assert_ne!(chest(6, &SMALL).window, one.window);
    }

    #[test]
    fn what_an_effusion_covers_is_not_in_the_truth() {
        let told = |seed| chest(seed, &SMALL).truth.impression;
        let covered: Vec<String> =
            (0..150).map(told).filter(|words| words.starts_with("Large left")).collect();
        assert!(covered.len() > 3);
        assert!(covered.iter().all(|words| words == "Large left pleural effusion."));
    }

    #[test]
    fn both_photometric_interpretations_carry_one_picture() {
        let (one, two) = (as_mono(9, Photometric::Monochrome1), as_mono(9, Photometric::Monochrome2));
        let largest = ((1u32 << one.bits_stored) - 1) as u16;
        assert!(one.pixels.iter().zip(&two.pixels).all(|(a, b)| a + b == largest));
        assert_eq!(one.window.center + two.window.center, f64::from(largest));
        assert_eq!(one.truth, two.truth);
    }

    #[test]
    fn nodules_come_only_when_asked_for_and_change_nothing_else() {
        let findings = |seed, nodules| chest(seed, &ChestOptions { nodules, ..SMALL }).truth.findings;
        for seed in 0..20 {
            let (without, mut with) = (findings(seed, false), findings(seed, true));
            assert!(without.iter().all(|finding| finding.finding != "pulmonary nodule"));
            with.retain(|finding| finding.finding != "pulmonary nodule");
            assert_eq!(with, without);
        }
    }

    #[test]
    fn an_effusion_is_boxed_on_its_own_side_and_whitens_it() {
        let seen = (0..60).map(|seed| as_mono(seed, Photometric::Monochrome2));
        for phantom in seen.filter(|p| p.truth.impression.starts_with("Large left")) {
            let found = phantom.truth.findings[0].box_2d.unwrap();
            assert!(found.x0 >= 450 && found.y1 > found.y0, "{found:?}");
            let mean = |from: usize| mean_of_strip(&phantom, from);
            assert!(mean(2) > mean(1), "the left base is whiter than the right one");
        }
    }

    /// The mean stored value low in the right (1) or left (2) third of the thorax.
    fn mean_of_strip(phantom: &ChestPhantom, third: usize) -> f64 {
        let (rows, columns) = (usize::from(phantom.rows), usize::from(phantom.columns));
        let x = if third == 1 { columns / 4 } else { columns * 3 / 4 };
        let rows = rows * 56 / 100..rows * 62 / 100;
        let strip = rows.map(|row| f64::from(phantom.pixels[row * columns + x]));
        strip.sum::<f64>()
    }
}
