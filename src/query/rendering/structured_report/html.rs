//! `text/html`: one page that needs nothing else, to be read and to be printed.

use std::fmt::{self, Display, Formatter};

use super::content::{Code, Content, Item, Region, Relation};
use super::{Document, Locate};

const STYLE: &str = include_str!("page.css");
/// There are six levels of headings, the first for the title.
const HEADING_LAST: usize = 6;

pub(super) fn write(document: &Document, locate: Locate) -> String {
    Page { document, locate }.to_string()
}

/// Text that is no markup. Characters that HTML does not take become U+FFFD.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\r' | '\n' | '\t' => write!(f, "{character}")?,
                c if c.is_control() => f.write_str("\u{FFFD}")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

struct Page<'a> {
    document: &'a Document,
    locate: Locate<'a>,
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let document = self.document;
        let title = Escaped(&document.title);
        let language = document.language.as_deref().unwrap_or("en");
        write!(f, "<!DOCTYPE html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n")?;
        f.write_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")?;
        writeln!(f, "<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>")?;
        self.running_head(f)?;
        writeln!(f, "<main>\n<header>\n<h1>{title}</h1>")?;
        self.standing(f)?;
        self.facts(f)?;
        f.write_str("</header>\n")?;
        self.children(f, &document.root, 2)?;
        f.write_str("</main>\n</body>\n</html>\n")
    }
}

impl Page<'_> {
    /// On paper every sheet says what the first one says.
    fn running_head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.document.standing.warnings.first() {
            Some(warning) => {
                writeln!(f, "<p class=\"running\" aria-hidden=\"true\">{}</p>", Escaped(warning))
            }
            None => Ok(()),
        }
    }

    fn standing(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let standing = &self.document.standing;
        if let Some((first, others)) = standing.warnings.split_first() {
            write!(
                f,
                "<div class=\"warning\" role=\"note\" aria-label=\"Warning\"><strong>{}</strong>",
                Escaped(first)
            )?;
            others.iter().try_for_each(|warning| write!(f, "<p>{}</p>", Escaped(warning)))?;
            f.write_str("</div>\n")?;
        }
        for verifier in &standing.verified_by {
            writeln!(f, "<p class=\"verified\">Verified by {}</p>", Escaped(verifier))?;
        }
        Ok(())
    }

    fn facts(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("<dl class=\"facts\">\n")?;
        for fact in &self.document.facts {
            writeln!(f, "<div><dt>{}</dt><dd>{}</dd></div>", fact.label, Escaped(&fact.value))?;
        }
        f.write_str("</dl>\n")
    }

    /// Runs of plain items are a list of terms; containers are sections.
    fn children(&self, f: &mut Formatter<'_>, item: &Item, level: usize) -> fmt::Result {
        for run in item.children.chunk_by(|a, b| is_section(a) == is_section(b)) {
            if is_section(&run[0]) {
                run.iter().try_for_each(|item| self.section(f, item, level))?;
            } else {
                self.terms(f, &run.iter().collect::<Vec<_>>(), level)?;
            }
        }
        Ok(())
    }

    fn terms(&self, f: &mut Formatter<'_>, items: &[&Item], level: usize) -> fmt::Result {
        if items.is_empty() {
            return Ok(());
        }
        f.write_str("<dl>\n")?;
        items.iter().try_for_each(|item| self.term(f, item, level))?;
        f.write_str("</dl>\n")
    }

    fn section(&self, f: &mut Formatter<'_>, item: &Item, level: usize) -> fmt::Result {
        let heading = level.min(HEADING_LAST);
        write!(f, "<section id=\"item-{}\">", item.position)?;
        if item.name.is_some() {
            write!(f, "<h{heading}>")?;
            name(f, item)?;
            writeln!(f, "</h{heading}>")?;
        }
        match item.running_text() {
            Some(text) => {
                writeln!(f, "<p class=\"text\">{}</p>", Escaped(&text))?;
                let beside: Vec<&Item> = item.beside_running_text().collect();
                self.terms(f, &beside, level + 1)?;
            }
            None => self.children(f, item, level + 1)?,
        }
        f.write_str("</section>\n")
    }

    fn term(&self, f: &mut Formatter<'_>, item: &Item, level: usize) -> fmt::Result {
        write!(f, "<div id=\"item-{}\" class=\"{}\"><dt>", item.position, class(item.relation))?;
        name(f, item)?;
        f.write_str("</dt><dd>")?;
        self.value(f, item)?;
        if !item.observed.is_empty() {
            write!(f, " <span class=\"observed\">{}</span>", Escaped(&item.observed))?;
        }
        if !item.children.is_empty() {
            f.write_str("\n")?;
            self.children(f, item, level)?;
        }
        f.write_str("</dd></div>\n")
    }

    fn value(&self, f: &mut Formatter<'_>, item: &Item) -> fmt::Result {
        match &item.content {
            Content::Container(_) => Ok(()),
            Content::Text(text) => write!(f, "<span class=\"text\">{}</span>", Escaped(text)),
            Content::Uid(uid) => write!(f, "<span class=\"uid\">{}</span>", Escaped(uid)),
            Content::Code(code) => code.as_ref().map_or(Ok(()), |value| coded(f, value)),
            Content::Number(number) => {
                write!(f, "<span class=\"number\">{}</span>", Escaped(&number.words()))
            }
            Content::Object(reference) => match reference.url(self.locate) {
                Some(url) => write!(f, "<a href=\"{}\">{}</a>", Escaped(&url), Escaped(&reference.words())),
                None => write!(
                    f,
                    "{} <span class=\"uid\">{}</span>",
                    Escaped(&reference.words()),
                    Escaped(&reference.instance)
                ),
            },
            Content::Region(region) => write_region(f, region),
            Content::Times(times) => write!(f, "{}", Escaped(&times.words())),
            Content::SeeAlso(position) => self.see_also(f, position),
            Content::Unknown(value_type) => write!(f, "(content of type {})", Escaped(value_type)),
        }
    }

    fn see_also(&self, f: &mut Formatter<'_>, position: &str) -> fmt::Result {
        let position = Escaped(position);
        write!(f, "<a href=\"#item-{position}\">see item {position}</a>")
    }
}

fn is_section(item: &Item) -> bool {
    matches!(item.content, Content::Container(_))
}

/// Of the codes, only what they mean is for people; the rest is there for who points at it.
fn coded(f: &mut Formatter<'_>, code: &Code) -> fmt::Result {
    let Code { value, scheme, .. } = code;
    write!(f, "<span title=\"{} {}\">{}</span>", Escaped(scheme), Escaped(value), Escaped(&code.to_string()))
}

fn name(f: &mut Formatter<'_>, item: &Item) -> fmt::Result {
    if let Some(words) = item.relation.words() {
        write!(f, "<span class=\"relation\">{words}</span> ")?;
    }
    item.name.as_ref().map_or(Ok(()), |name| coded(f, name))
}

fn class(relation: Relation) -> &'static str {
    match relation {
        Relation::HasObservationContext | Relation::HasAcquisitionContext => "context",
        Relation::HasConceptModifier => "modifier",
        _ => "item",
    }
}

/// All points of a region are there for who opens them.
fn write_region(f: &mut Formatter<'_>, region: &Region) -> fmt::Result {
    let words = region.words();
    if !words.ends_with("points") || region.coordinates.is_empty() {
        return write!(f, "{}", Escaped(&words));
    }
    let points = region.points().join(" ");
    write!(f, "<details><summary>{}</summary>{}</details>", Escaped(&words), Escaped(&points))
}
