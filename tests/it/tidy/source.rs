//! Rust text taken apart far enough to ask what its code names, without what it merely says.

/// One file: `code` has the same lines as `text`, but comments, the inside of literals and
/// items under `#[cfg(test)]` are blank.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) code: String,
    pub(crate) literals: Vec<Literal>,
}

/// A string literal outside tests and the line it starts on.
pub(crate) struct Literal {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut scanner = Scanner::new(text);
        while scanner.step() {}
        let Scanner { code, literals, .. } = scanner;
        let mut code: String = code.into_iter().collect();
        let tests = test_items(&code);
        for range in &tests {
            code = blanked(&code, range.clone());
        }
        let in_tests = |literal: &Literal| {
            tests.iter().any(|range| {
                let lines = line_of(&code, range.start)..=line_of(&code, range.end);
                lines.contains(&literal.line)
            })
        };
        let literals = literals.into_iter().filter(|literal| !in_tests(literal)).collect();
        Self { path: path.to_owned(), text: text.to_owned(), code, literals }
    }

    /// Lines of production code with their numbers.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines())
    }

    /// `src/foo/bar` for each `#[cfg(test)] mod bar;` in `src/foo.rs`.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.strip_suffix(".rs") {
            Some("src/lib" | "src/main") | None => "src",
            Some(stem) => stem,
        };
        let mut scanner = Scanner::new(&self.text);
        while scanner.step() {}
        let code: String = scanner.code.into_iter().collect();
        let items = test_items(&code).into_iter().map(|range| code[range].to_owned());
        let name = |item: String| {
            let item = item.trim_end().strip_suffix(';')?;
            Some(format!("{folder}/{}", item.rsplit_once("mod ")?.1))
        };
        items.filter_map(name).collect()
    }

    /// Name, first line and number of lines of every function outside tests.
    pub(crate) fn functions(&self) -> Vec<(String, usize, usize)> {
        let starts = self
            .code
            .match_indices("fn ")
            .filter(|(at, _)| *at == 0 || !self.code.as_bytes()[at - 1].is_ascii_alphanumeric());
        let function = |(at, _): (usize, &str)| {
            let name = self.code[at + 3..].split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
            let end = item_end(&self.code, at);
            let (first, last) = (line_of(&self.code, at), line_of(&self.code, end));
            (!name.is_empty()).then(|| (name.to_owned(), first, last - first + 1))
        };
        starts.filter_map(function).collect()
    }
}

fn line_of(code: &str, at: usize) -> usize {
    1 + code.as_bytes()[..at.min(code.len())].iter().filter(|byte| **byte == b'\n').count()
}

fn blanked(code: &str, range: std::ops::Range<usize>) -> String {
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    let inside: String = code[range.clone()].chars().map(blank).collect();
    format!("{}{inside}{}", &code[..range.start], &code[range.end..])
}

/// The items that `#[cfg(test)]` stands before, attributes included.
fn test_items(code: &str) -> Vec<std::ops::Range<usize>> {
    let found = code.match_indices("#[cfg(test)]");
    found.map(|(at, attribute)| at..item_end(code, at + attribute.len())).collect()
}

/// Where the item ends that starts at or after `from`: behind its `;` or its closing brace, or before that of what it is in.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                match depth {
                    0 => return from + at + 1,
                    // An arm or a variant that is the last one.
                    ..0 => return from + at,
                    _ => {}
                }
            }
            ';' if depth == 0 => return from + at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Goes through the text once; what is not code becomes spaces of the same width in bytes.
struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    code: Vec<char>,
    literals: Vec<Literal>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1, code: Vec::with_capacity(text.len()), literals: Vec::new() }
    }

    fn step(&mut self) -> bool {
        if self.rest.is_empty() {
            return false;
        }
        let rest = self.rest;
        if rest.starts_with("//") {
            self.blank(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.blank(rest.find("*/").map_or(rest.len(), |at| at + 2));
        } else if let Some(hashes) = raw_string_hashes(rest).filter(|_| !self.in_a_word()) {
            let open = rest.find('"').map_or(rest.len(), |at| at + 1);
            let close = format!("\"{}", "#".repeat(hashes));
            let end = rest[open..].find(&close).map_or(rest.len(), |at| open + at);
            self.literal(open, end, (end + close.len()).min(rest.len()));
        } else if rest.starts_with('"') {
            let end = string_end(rest);
            self.literal(1, end, (end + 1).min(rest.len()));
        } else if let Some(width) = char_literal(rest) {
            self.blank(width);
        } else {
            self.keep();
        }
        true
    }

    fn in_a_word(&self) -> bool {
        self.code.last().is_some_and(|c| c.is_alphanumeric() || *c == '_')
    }

    fn keep(&mut self) {
        if let Some(c) = self.rest.chars().next() {
            self.line += usize::from(c == '\n');
            let ascii = if c.is_ascii() { c } else { '_' };
            self.code.push(ascii);
            self.rest = &self.rest[c.len_utf8()..];
        }
    }

    fn blank(&mut self, width: usize) {
        let (gone, rest) = self.rest.split_at(width);
        self.code.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.line += gone.matches('\n').count();
        self.rest = rest;
    }

    /// Keeps the quotes, so that `.expect("` can still be told from `.expect(`.
    fn literal(&mut self, open: usize, close: usize, end: usize) {
        self.literals.push(Literal { line: self.line, text: self.rest[open..close].to_owned() });
        self.code.push('"');
        self.blank(close);
        self.blank(end - close);
    }
}

fn raw_string_hashes(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    rest.len()
}

/// The width of a character literal; `None` for a lifetime.
fn char_literal(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let mut chars = inner.char_indices();
    let (_, first) = chars.next()?;
    if first != '\\' {
        let (at, second) = chars.next()?;
        return (second == '\'').then_some(at + 2);
    }
    let (at, escaped) = chars.next()?;
    let from = at + escaped.len_utf8();
    Some(1 + from + inner[from..].find('\'')? + 1)
}

#[test]
fn comments_literals_and_tests_are_not_code() {
    let text = "use a::b; // hyper\nconst Q: &str = r#\"candle\"#;\nfn f(c: char) -> bool { c == '\"' }\n\
                #[cfg(test)]\nmod tests {\n    use dicom_ul::X;\n}\nfn g() {}\n";
    let source = Source::new("src/x.rs", text);
    assert_eq!(source.literals.len(), 1);
    assert_eq!(source.literals[0].text, "candle");
    assert!(!source.code.contains("hyper") && !source.code.contains("dicom_ul"));
    assert_eq!(source.lines().count(), text.lines().count());
    let functions = source.functions();
    assert_eq!(functions, [("f".to_owned(), 3, 1), ("g".to_owned(), 8, 1)]);
}

#[test]
fn a_module_under_test_only_is_known_by_its_path() {
    let source = Source::new("src/dimse.rs", "#[cfg(test)]\nmod tests;\nmod store;\n");
    assert_eq!(source.test_modules(), ["src/dimse/tests"]);
}
