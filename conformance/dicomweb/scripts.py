"""Text in every character set of PS3.3 C.12.1.1.2, as pydicom encodes it."""

import dataset
from dataset import TOKEN

# Specific Character Set, a person name and a description that need it.
SCRIPTS = {
    "Latin 1": ("ISO_IR 100", "Buc^Jérôme", "Größe, naïve"),
    "Latin 2": ("ISO_IR 101", "Łuczak^Żaneta", "Příliš žluťoučký"),
    "Latin 3": ("ISO_IR 109", "Ĝorĝ^Ĉapo", "Eĥoŝanĝo"),
    "Latin 4": ("ISO_IR 110", "Bērziņš^Ģirts", "Šaurums"),
    "Latin 5": ("ISO_IR 148", "Çavuş^Işık", "Göğüs röntgeni"),
    "Cyrillic": ("ISO_IR 144", "Люкceмбypг", "Грудная клетка"),
    "Greek": ("ISO_IR 126", "Διονυσιος", "Θώραξ"),
    "Arabic": ("ISO_IR 127", "قباني^لنزار", "الصدر"),
    "Hebrew": ("ISO_IR 138", "שרון^דבורה", "חזה"),
    "Thai": ("ISO_IR 166", "สมชาย^ใจดี", "ทรวงอก"),
    "Japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "胸部単純"),
    "Japanese with katakana": (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "胸部"),
    "Korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "흉부"),
    "Chinese by ISO 2022": (["", "ISO 2022 IR 58"], "Zhang^XiaoDong=张^小东", "胸部"),
    "Chinese GB18030": ("GB18030", "Wang^XiaoDong=王^小东", "胸部正位"),
    "Chinese GBK": ("GBK", "Wang^XiaoDong=王^小东", "胸部侧位"),
    "Greek beside Cyrillic": (
        ["ISO 2022 IR 100", "ISO 2022 IR 144", "ISO 2022 IR 126"],
        "Dionysios=Διονυσιος=Люкceмбypг",
        "Buc Jérôme",
    ),
    "Unicode": ("ISO_IR 192", "Wang^XiaoDong=王^小東", "𝕋ext: 胸部 Größe"),
}


def object_in(script):
    charset, name, description = SCRIPTS[script]
    return dataset.grey(
        SpecificCharacterSet=charset,
        PatientName=name,
        StudyDescription=description,
        PatientID=f"C{TOKEN}{list(SCRIPTS).index(script)}",
    )


def groups(name):
    """The name as DICOM JSON has it."""
    keys = ("Alphabetic", "Ideographic", "Phonetic")
    return {key: group for key, group in zip(keys, name.split("="), strict=False) if group}
