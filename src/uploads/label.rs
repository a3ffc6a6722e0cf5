//! Names of files as they may be shown.

/// What would deceive a reader is written as what it is: control characters, marks that turn the
/// direction of text or have no width, and separators of lines. The result is at most `bytes_max`
/// long, and a longer name shows that it was cut.
pub fn shown(name: &str, bytes_max: usize) -> String {
    let mut shown = String::new();
    for character in name.chars() {
        match is_deceptive(character) {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
        if shown.len() > bytes_max {
            let end = (0..=bytes_max).rev().find(|at| shown.is_char_boundary(*at)).unwrap_or(0);
            shown.truncate(end);
            shown.push('…');
            break;
        }
    }
    shown
}

fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels_and_show_their_tricks() {
        assert_eq!(shown("../../etc/passwd", 99), "../../etc/passwd");
        assert_eq!(shown("a\0b\nc", 99), "a\\u{0}b\\u{a}c");
        assert_eq!(shown("scan\u{202e}mcd.exe", 99), "scan\\u{202e}mcd.exe");
        assert_eq!(shown("Müller/äöü.dcm", 99), "Müller/äöü.dcm");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(shown("äää", 3), "ä…");
        assert_eq!(shown("abc", 3), "abc");
    }
}
