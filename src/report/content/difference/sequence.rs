//! The longest common subsequence of two texts, in pieces.

use serde::Serialize;
use utoipa::ToSchema;

use super::By;

/// A stretch of text; all but the added ones in order are the old text, all but the removed ones
/// the new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "change", rename_all = "kebab-case")]
#[schema(as = TextChange)]
pub enum Change {
    Same { text: String },
    Removed { text: String },
    Added { text: String },
}

/// Cells of the table at most: beyond, what differs is told as a whole.
const CELLS_MAX: usize = 4 << 20;

pub(super) fn changes(old: &str, new: &str, by: By) -> Vec<Change> {
    let (old, new) = (pieces(old, by), pieces(new, by));
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_middle, new_middle) = (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);
    let mut changes = Vec::new();
    say(&mut changes, Kind::Same, &old[..head]);
    middle(&mut changes, old_middle, new_middle);
    say(&mut changes, Kind::Same, &old[old.len() - tail..]);
    changes
}

/// Words with the white space and marks between them as pieces of their own, or lines with their
/// ends. Scripts without spaces fall into characters.
fn pieces(text: &str, by: By) -> Vec<&str> {
    if by == By::Line {
        return text.split_inclusive('\n').collect();
    }
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut before: Option<char> = None;
    for (at, c) in text.char_indices() {
        let one_word = before.is_some_and(|before| in_word(before) && in_word(c));
        if !one_word && at > start {
            pieces.push(&text[start..at]);
            start = at;
        }
        before = Some(c);
    }
    if start < text.len() {
        pieces.push(&text[start..]);
    }
    pieces
}

/// Of a script that parts words by spaces.
fn in_word(c: char) -> bool {
    let without_spaces = matches!(u32::from(c), 0x0E00..=0x0EFF | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF);
    c.is_alphanumeric() && !without_spaces
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Same,
    Removed,
    Added,
}

/// Adds to the last stretch where it is of the same kind.
fn say(changes: &mut Vec<Change>, kind: Kind, pieces: &[&str]) {
    if pieces.is_empty() {
        return;
    }
    let more = pieces.concat();
    match (changes.last_mut(), kind) {
        (Some(Change::Same { text }), Kind::Same)
        | (Some(Change::Removed { text }), Kind::Removed)
        | (Some(Change::Added { text }), Kind::Added) => text.push_str(&more),
        (_, Kind::Same) => changes.push(Change::Same { text: more }),
        (_, Kind::Removed) => changes.push(Change::Removed { text: more }),
        (_, Kind::Added) => changes.push(Change::Added { text: more }),
    }
}

fn middle(changes: &mut Vec<Change>, old: &[&str], new: &[&str]) {
    if (old.len() + 1).saturating_mul(new.len() + 1) > CELLS_MAX {
        say(changes, Kind::Removed, old);
        say(changes, Kind::Added, new);
        return;
    }
    let table = Table::of(old, new);
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            say(changes, Kind::Same, &old[i..=i]);
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || table.at(i + 1, j) >= table.at(i, j + 1)) {
            say(changes, Kind::Removed, &old[i..=i]);
            i += 1;
        } else {
            say(changes, Kind::Added, &new[j..=j]);
            j += 1;
        }
    }
}

/// How many pieces what follows (i, j) has in common.
struct Table {
    columns: usize,
    cells: Vec<u32>,
}

impl Table {
    fn of(old: &[&str], new: &[&str]) -> Self {
        let columns = new.len() + 1;
        let mut table = Self { columns, cells: vec![0; (old.len() + 1) * columns] };
        for i in (0..old.len()).rev() {
            for j in (0..new.len()).rev() {
                table.cells[i * columns + j] = match old[i] == new[j] {
                    true => table.at(i + 1, j + 1) + 1,
                    false => table.at(i + 1, j).max(table.at(i, j + 1)),
                };
            }
        }
        table
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.columns + j]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(changes: &[Change], of_old: bool) -> String {
        let text = |change: &Change| match change {
            Change::Same { text } => Some(text.clone()),
            Change::Removed { text } => of_old.then(|| text.clone()),
            Change::Added { text } => (!of_old).then(|| text.clone()),
        };
        changes.iter().filter_map(text).collect()
    }

    #[test]
    fn lines_stay_whole() {
        let changes = changes("one\ntwo\nthree\n", "one\n2\nthree\n", By::Line);
        let (removed, added) =
            (Change::Removed { text: "two\n".into() }, Change::Added { text: "2\n".into() });
        assert_eq!(changes[1..3], [removed, added]);
    }

    #[test]
    fn scripts_without_spaces_are_not_one_word() {
        let changes = changes("右胸水あり", "左胸水あり", By::Word);
        assert_eq!(changes.last(), Some(&Change::Same { text: "胸水あり".into() }));
    }

    #[test]
    fn long_texts_cost_little() {
        let old: String = (0..40_000).map(|n| format!("a{n} ")).collect();
        let new: String = (0..40_000).map(|n| format!("b{n} ")).collect();
        assert!(changes(&old, &new, By::Word).len() <= 3);
    }

    proptest! {
        #[test]
        fn both_texts_can_be_told_from_the_changes(old in "[ab \n.жあ]{0,40}", new in "[ab \n.жあ]{0,40}") {
            for by in [By::Word, By::Line] {
                let changes = changes(&old, &new, by);
                prop_assert_eq!(&told(&changes, true), &old);
                prop_assert_eq!(&told(&changes, false), &new);
            }
        }
    }
}
