use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(declared: &str, vr: VR, bytes: &[u8], expected: &str) {
    let text = Text::of(vr).unwrap();
    assert_eq!(CharacterSet::declared(declared.as_bytes()).decode(bytes, text), expected, "{declared}");
}

#[test]
fn single_byte_sets_of_the_standard_w21() {
    check("ISO_IR 100", VR::PN, b"Buc^J\xe9r\xf4me", "Buc^Jérôme");
    check("ISO_IR 101", VR::PN, b"Wa\xb3\xeasa", "Wałęsa");
    check("ISO_IR 109", VR::PN, b"\xf8u\xfda", "ĝuŭa");
    check("ISO_IR 110", VR::PN, b"\xb9\xfdz", "šũz");
    check("ISO_IR 144", VR::PN, b"\xbb\xee\xdace\xdc\xd1yp\xd3", "Люкceмбypг");
    check("ISO_IR 127", VR::PN, b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار");
    check("ISO_IR 126", VR::PN, b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος");
    check("ISO_IR 138", VR::PN, b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה");
    check("ISO_IR 148", VR::PN, b"\xc7avu\xfeo\xf0lu", "Çavuşoğlu");
    check("ISO_IR 203", VR::PN, b"\xbd\xa4", "œ€");
    check("ISO_IR 166", VR::PN, b"\xb9\xd2\xc2", "นาย");
    check("ISO_IR 13", VR::PN, b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ");
}

#[test]
fn sets_of_many_bytes_without_escapes() {
    check("ISO_IR 192", VR::PN, "Wang^XiaoDong=王^小東=".as_bytes(), "Wang^XiaoDong=王^小東=");
    check("GB18030", VR::PN, b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东=");
    check("GB18030", VR::LO, b"\x81\x30\x89\x38", "ß");
    // The second byte of this character is that of a backslash.
    check("GBK", VR::LO, b"\x90\x5c\\a", "怽\\a");
}

#[test]
fn japanese_with_escapes() {
    let name = b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J";
    check("ISO 2022 IR 13\\ISO 2022 IR 87", VR::PN, name, "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう");
    check("\\ISO 2022 IR 159", VR::LO, b"a\x1b$(D0!0\"\x1b(Bb", "a丂丄b");
    check("\\ISO 2022 IR 87", VR::LO, b"\x1b$B!A!]\x1b(B~", "〜−~");
}

#[test]
fn korean_and_chinese_with_escapes() {
    let name =
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf";
    check("\\ISO 2022 IR 149", VR::PN, name, "Hong^Gildong=洪^吉洞=홍^길동");
    let name = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=";
    check("\\ISO 2022 IR 58", VR::PN, name, "Zhang^XiaoDong=张^小东=");
}

#[test]
fn a_delimiter_ends_what_an_escape_began() {
    let sets = "ISO 2022 IR 100\\ISO 2022 IR 144\\ISO 2022 IR 126";
    check(sets, VR::LO, b"\xe9\x1b-L\xd0\\\xe9\x1b-F\xe1", "éа\\éα");
    check(sets, VR::PN, b"\x1b-L\xd0^\xe9=\x1b-L\xd0=\xe9", "а^é=а=é");
    check(sets, VR::LT, b"\x1b-L\xd0\\\xd0\r\n\xe9\x1b-L\xd0\t\xe9", "а\\а\r\né\u{430}\té");
    check(sets, VR::LO, b"\x1b-L\xd0^\xd0", "а^а");
}

#[test]
fn bytes_of_a_kanji_are_no_delimiters() {
    check("\\ISO 2022 IR 87", VR::LO, b"\x1b$B\\%^%=%\x1b(B\\a", "椒泪愁\\a");
}

#[test]
fn yen_and_overline_stand_in_text_and_a_backslash_between_values() {
    check("ISO_IR 13", VR::LT, b"\\100~", "¥100‾");
    check("ISO_IR 13", VR::LO, b"a\\b", "a\\b");
}

#[test]
fn terms_are_known_in_any_spelling() {
    for term in
        ["ISO_IR 100", "ISO-IR 100", "ISO_IR_100", "iso ir 100 ", "ISO 2022 IR 100", "ISO8859-1", "IR 100"]
    {
        check(term, VR::LO, b"\xe9", "é");
    }
    check("ISO 2022 IR 6\\ISO 2022 IR 144", VR::LO, b"\x1b-L\xd0", "а");
    check("ISO 2022 IR 6\\ISO_IR 192", VR::LO, "é".as_bytes(), "é");
}

#[test]
fn what_files_do_wrong_is_read_as_far_as_it_can_be() {
    check("", VR::LO, "é王".as_bytes(), "é王");
    check("ISO_IR 6", VR::LO, b"\xe9\x92", "é’");
    check("ISO_IR 999", VR::LO, b"\xe9", "é");
    check("\\ISO 2022 IR 149", VR::PN, b"\xc8\xab^\xb1\xe6", "홍^길");
    check("ISO_IR 100", VR::LO, b"\x1b-L\xd0", "а");
    check("ISO_IR 192", VR::LO, b"a\xe9b", "a\u{FFFD}b");
    check("ISO_IR 100", VR::LO, b"a\x1b%Gb\x1b", "a\u{FFFD}%Gb\u{FFFD}");
    check("ISO_IR 13", VR::LO, b"\x8e\x52\x93\x63\xd4", "山田ﾔ");
    check("\\ISO 2022 IR 87", VR::PN, b"\x1b$B;3ED^\x1b$BB@O:=\x1b(Ja", "山田^太郎=a");
    check("\\ISO 2022 IR 87", VR::LO, b"\x1b$B;3E ", "山E ");
}

proptest! {
    #[test]
    fn no_bytes_stop_the_decoder(
        declared in prop::collection::vec("ISO 2022 IR (6|13|87|100|149|159|58|144)|ISO_IR 192|GB18030|x?", 0..4),
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(ESC), Just(b'$'), Just(b'B'), Just(b'('), Just(b')')], 0..40),
    ) {
        let set = CharacterSet::declared(declared.join("\\").as_bytes());
        for text in [Text::Whole, Text::Values, Text::Names] {
            set.decode(&bytes, text);
        }
    }
}
