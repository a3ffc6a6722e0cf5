//! `text/plain`: an indented outline.

use super::Document;
use super::content::Item;

/// Indentation stops here: deeper text would have no room beside it.
const INDENT_MAX: usize = 20;

/// What warns stands at both ends, since text is cut anywhere.
pub(super) fn write(document: &Document) -> String {
    let warnings = lines(&document.standing.warnings, |warning| format!("*** {warning} ***"));
    let verifiers = lines(&document.standing.verified_by, |verifier| format!("Verified by {verifier}"));
    let facts = lines(&document.facts, |fact| format!("{}: {}", fact.label, fact.value));
    let mut content = String::new();
    document.root.children.iter().for_each(|item| line(&mut content, item, 0));
    let blocks =
        [&*warnings, &verifiers, &lines(&[&document.title], |title| title.to_string()), &facts, &content];
    let blocks = blocks.into_iter().chain([&*warnings]).filter(|block| !block.is_empty());
    blocks.collect::<Vec<_>>().join("\n")
}

fn lines<T>(all: &[T], line: impl Fn(&T) -> String) -> String {
    all.iter().map(|one| clean(&line(one)) + "\n").collect()
}

fn line(out: &mut String, item: &Item, depth: usize) {
    let indent = "  ".repeat(depth.min(INDENT_MAX));
    let relation = item.relation.words().map(|words| format!("{words} ")).unwrap_or_default();
    let name = item.name.as_ref().map(ToString::to_string).unwrap_or_default();
    let running = item.running_text();
    let value = running.clone().unwrap_or_else(|| item.content.words());
    let colon = if name.is_empty() || value.is_empty() { "" } else { ": " };
    let text = clean(&format!("{relation}{name}{colon}{value}"));
    // The further lines of a text stand under its first.
    let text = text.replace('\n', &format!("\n{indent}  "));
    if !text.is_empty() {
        out.push_str(&format!("{indent}{text}{}\n", observed(item)));
    }
    match running {
        Some(_) => item.beside_running_text().for_each(|child| line(out, child, depth + 1)),
        None => item.children.iter().for_each(|child| line(out, child, depth + 1)),
    }
}

fn observed(item: &Item) -> String {
    match item.observed.as_str() {
        "" => String::new(),
        moment => format!(" [{}]", clean(moment)),
    }
}

/// Lines end in one way, and nothing steers a terminal.
fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
