//! Text that flows down a page and on to the next one.

use super::canvas::{Area, Ink, Mark, PAGE_HEIGHT, PAGE_WIDTH, Page};
use super::fonts::{Fonts, Weight};
use super::shape::{self, wrap};

pub(super) const MARGIN: f32 = 48.0;
pub(super) const WIDTH: f32 = PAGE_WIDTH - 2.0 * MARGIN;
/// Where the text of a page begins, below its header.
const TOP: f32 = 76.0;
/// Where it must end, above its footer.
const BOTTOM: f32 = PAGE_HEIGHT - 52.0;

pub(super) const BLACK: Ink = Ink(0.1, 0.1, 0.1);
pub(super) const GREY: Ink = Ink(0.42, 0.42, 0.42);
pub(super) const LIGHT: Ink = Ink(0.8, 0.8, 0.8);
pub(super) const PALE: Ink = Ink(0.95, 0.95, 0.95);
pub(super) const BLUE: Ink = Ink(0.07, 0.25, 0.45);
pub(super) const GREEN: Ink = Ink(0.08, 0.36, 0.2);
pub(super) const RED: Ink = Ink(0.7, 0.09, 0.09);
pub(super) const WHITE: Ink = Ink(1.0, 1.0, 1.0);

#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) size: f32,
    pub(super) weight: Weight,
    pub(super) ink: Ink,
}

pub(super) const BODY: Style = Style { size: 9.5, weight: Weight::Regular, ink: BLACK };
pub(super) const STRONG: Style = Style { size: 9.5, weight: Weight::Bold, ink: BLACK };
pub(super) const SMALL: Style = Style { size: 8.0, weight: Weight::Regular, ink: GREY };
const HEADING: Style = Style { size: 11.0, weight: Weight::Bold, ink: BLUE };

impl Style {
    /// From one baseline to the next: tall enough for stacked marks of any script.
    pub(super) fn leading(self) -> f32 {
        self.size * 1.42
    }
}

/// The pages so far and the place on the last one where the next line goes.
pub(super) struct Flow {
    fonts: Fonts,
    pages: Vec<Page>,
    y: f32,
}

impl Flow {
    pub(super) fn new(fonts: Fonts) -> Self {
        Self { fonts, pages: vec![Page::default()], y: TOP }
    }

    pub(super) fn finish(self) -> Vec<Page> {
        self.pages
    }

    pub(super) fn y(&self) -> f32 {
        self.y
    }

    pub(super) fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// Draws on the current page, wherever the mark says.
    pub(super) fn draw(&mut self, mark: Mark) {
        self.draw_on(self.pages.len() - 1, mark);
    }

    pub(super) fn draw_on(&mut self, page: usize, mark: Mark) {
        self.pages[page].marks.push(mark);
    }

    /// A line at a place of its own.
    pub(super) fn label(&mut self, page: usize, x: f32, y: f32, text: &str, style: Style) {
        let line = shape::line(&mut self.fonts, text, style.weight);
        self.draw_on(page, Mark::Text { x, y, size: style.size, ink: style.ink, line });
    }

    /// As [`Flow::label`], cut to a width with an ellipsis.
    pub(super) fn clipped_label(
        &mut self,
        page: usize,
        x: f32,
        y: f32,
        text: &str,
        style: Style,
        width: f32,
    ) {
        let mut lines = wrap(&mut self.fonts, text, style.weight, width / style.size - 1.0).into_iter();
        let first = lines.next().unwrap_or_default();
        let text = if lines.next().is_some() { format!("{first}…") } else { first };
        self.label(page, x, y, &text, style);
    }

    pub(super) fn width_of(&mut self, text: &str, style: Style) -> f32 {
        shape::line(&mut self.fonts, text, style.weight).width * style.size
    }

    /// Starts a new page unless so many points are left on this one.
    pub(super) fn ensure(&mut self, height: f32) {
        if self.y + height > BOTTOM {
            self.pages.push(Page::default());
            self.y = TOP;
        }
    }

    pub(super) fn space(&mut self, height: f32) {
        self.y += height;
    }

    /// Keeps the first lines of its section on the same page.
    pub(super) fn heading(&mut self, text: &str) {
        self.space(9.0);
        self.ensure(HEADING.leading() + 2.0 * BODY.leading());
        self.y += HEADING.leading();
        let page = self.pages.len() - 1;
        self.label(page, MARGIN, self.y, text, HEADING);
        self.draw(Mark::Rule { x: MARGIN, y: self.y + 3.5, width: WIDTH, ink: LIGHT });
        self.space(5.0);
    }

    pub(super) fn paragraph(&mut self, text: &str, style: Style) {
        self.column(MARGIN, WIDTH, text, style);
    }

    pub(super) fn bullet(&mut self, text: &str, style: Style) {
        self.item("•", text, style);
    }

    /// A paragraph with a mark hanging in front of it.
    pub(super) fn item(&mut self, mark: &str, text: &str, style: Style) {
        const INDENT: f32 = 16.0;
        self.ensure(style.leading());
        let (page, y) = (self.pages.len() - 1, self.y + style.leading());
        self.label(page, MARGIN + 3.0, y, mark, style);
        self.column(MARGIN + INDENT, WIDTH - INDENT, text, style);
    }

    /// Wrapped text in a column; the next line goes below it.
    pub(super) fn column(&mut self, x: f32, width: f32, text: &str, style: Style) {
        for line in wrap(&mut self.fonts, text, style.weight, width / style.size) {
            self.ensure(style.leading());
            self.y += style.leading();
            let page = self.pages.len() - 1;
            self.label(page, x, self.y, &line, style);
        }
    }

    /// One row of a table; the tallest cell sets the height, and a row is not split over pages.
    pub(super) fn row(&mut self, widths: &[f32], cells: &[String], style: Style) {
        let wrapped: Vec<Vec<String>> = widths
            .iter()
            .zip(cells)
            .map(|(width, cell)| wrap(&mut self.fonts, cell, style.weight, (width - 6.0) / style.size))
            .collect();
        let lines = wrapped.iter().map(Vec::len).max().unwrap_or(0);
        self.ensure(lines as f32 * style.leading() + 3.0);
        let (page, top) = (self.pages.len() - 1, self.y);
        let mut x = MARGIN;
        for (lines, width) in wrapped.iter().zip(widths) {
            for (index, line) in lines.iter().enumerate() {
                self.label(page, x + 3.0, top + style.leading() * (index + 1) as f32, line, style);
            }
            x += width;
        }
        self.y = top + lines as f32 * style.leading() + 3.5;
        self.draw(Mark::Rule { x: MARGIN, y: self.y, width: WIDTH, ink: LIGHT });
    }

    /// The area of this height at the current place, which the next text then follows.
    pub(super) fn reserve(&mut self, x: f32, width: f32, height: f32) -> Area {
        self.ensure(height);
        let area = Area { x, y: self.y, width, height };
        self.y += height;
        area
    }
}
