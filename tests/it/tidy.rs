//! What the layers of `docs/ARCHITECTURE.md` promise and no compiler holds, read from the
//! source text. Every exception is in this file, with its reason.

mod limits;
mod source;

use std::path::{Path, PathBuf};
use std::process::Command;

use source::Source;

/// A module may name its own layer and those above it in this list.
const LAYERS: [&[&str]; 6] = [
    &["causes", "clock", "ids", "json", "dicom", "config"],
    &["telemetry", "tls", "db", "blobs", "ul", "outbound"],
    &[
        "auth",
        "audit",
        "ingest",
        "query",
        "jobs",
        "volume",
        "ai",
        "hub",
        "report",
        "phantom",
        "fhir",
        "media",
        "deidentify",
    ],
    &["analysis", "export", "reporting", "uploads", "upkeep"],
    &["dimse", "http"],
    &["app", "lifecycle", "cli", "main"],
];

struct Exception {
    path: &'static str,
    names: &'static [&'static str],
    reason: &'static str,
}

const LAYER_EXCEPTIONS: &[Exception] = &[Exception {
    path: "src/db/",
    names: &["auth", "audit", "ingest", "query", "jobs"],
    reason: "typed statements take and give the plain records of the module that asks",
}];

/// Which folders and files alone may name something, and why.
struct Owned {
    needle: &'static str,
    owners: &'static [&'static str],
    reason: &'static str,
}

const OWNED: &[Owned] = &[
    Owned { needle: "rusqlite", owners: &["src/db"], reason: "one place for the database" },
    Owned { needle: "refinery", owners: &["src/db"], reason: "one place for the database" },
    Owned { needle: "object_store", owners: &["src/blobs"], reason: "one place for objects" },
    Owned { needle: "hyper", owners: &["src/http"], reason: "the framework stops at the edge" },
    Owned {
        needle: "dicom_ul",
        owners: &["src/ul", "src/dimse", "src/export"],
        reason: "the upper layer stops at the edge",
    },
    Owned { needle: "candle_core", owners: &["src/ai/local"], reason: "other engines do without" },
    Owned { needle: "candle_nn", owners: &["src/ai/local"], reason: "other engines do without" },
    Owned { needle: "candle_transformers", owners: &["src/ai/local"], reason: "other engines do without" },
    Owned { needle: "SystemTime", owners: &["src/clock"], reason: "time is passed in" },
    Owned { needle: "Timestamp::now", owners: &["src/clock"], reason: "time is passed in" },
    Owned { needle: "Zoned::now", owners: &["src/clock"], reason: "time is passed in" },
    Owned { needle: "env::var", owners: &["src/config"], reason: "one way to configure" },
    Owned { needle: "dbg!", owners: &[], reason: "a leftover" },
    Owned { needle: "todo!", owners: &[], reason: "a stub" },
    Owned { needle: "unimplemented!", owners: &[], reason: "a stub" },
];

/// Values in, values out.
const PURE: &[&str] = &[
    "src/volume",
    "src/report",
    "src/deidentify",
    "src/fhir",
    "src/ai/prompt",
    "src/http/endpoint",
    "src/query/request",
    "src/query/matching",
    "src/dicom",
];
const IMPURE: &[&str] = &["std::fs", "std::net", "tokio", "Mutex", "RwLock", "crate::db", "crate::blobs"];
const PURITY_EXCEPTIONS: &[Exception] = &[];

/// Where a stop is right although no sentence stands beside it.
const STOP_EXCEPTIONS: &[Exception] = &[Exception {
    path: "src/ai/prompt.rs",
    names: &["compiled_in"],
    reason: "a prompt that is part of the program and does not parse never passes the tests",
}];

const FILE_LINES_MAX: usize = 600;
/// The documentation of every key, in the order of its sections: a table to look things up in.
const LONG_TABLES: &[&str] = &["src/config/default.toml"];
const FUNCTION_LINES_MAX: usize = 80;
/// Written by programs.
const GENERATED: &[&str] = &[
    "Cargo.lock",
    "tests/it/golden/",
    "assets/",
    "schema/openapi.json",
    "conformance/react/package-lock.json",
];
const TEXT: &[&str] = &["rs", "py", "sh", "toml", "md", "sql", "json", "run", ""];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files of the project, tracked or about to be.
fn project_files() -> Vec<String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let listed = git.output().unwrap();
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    names.lines().filter(|name| root().join(name).is_file()).map(str::to_owned).collect()
}

/// Text that people wrote, with its path.
fn written_text() -> Vec<(String, String)> {
    let extension =
        |name: &str| Path::new(name).extension().map_or("", |e| e.to_str().unwrap_or("?")).to_owned();
    let names = project_files().into_iter().filter(|name| {
        TEXT.contains(&extension(name).as_str()) && !GENERATED.iter().any(|path| name.starts_with(path))
    });
    names.filter_map(|name| Some((name.clone(), std::fs::read_to_string(root().join(name)).ok()?))).collect()
}

/// The crate's own source without the modules that only tests have.
fn production() -> Vec<Source> {
    let files =
        written_text().into_iter().filter(|(name, _)| name.starts_with("src/") && name.ends_with(".rs"));
    let sources: Vec<Source> = files.map(|(name, text)| Source::new(&name, &text)).collect();
    let tests: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    let only_test = |path: &str| tests.iter().any(|module| belongs(path, module));
    sources.into_iter().filter(|source| !only_test(&source.path)).collect()
}

/// Whether a path is the module `owner` (`src/db`) or lies within it.
fn belongs(path: &str, owner: &str) -> bool {
    path.strip_prefix(owner).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn excepted(exceptions: &[Exception], path: &str, name: &str) -> bool {
    exceptions.iter().any(|exception| {
        assert!(!exception.reason.is_empty());
        path.starts_with(exception.path) && exception.names.contains(&name)
    })
}

#[track_caller]
fn none(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

fn module_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn upward_uses(source: &Source) -> Vec<String> {
    let module = module_of(&source.path);
    let Some(own) = layer(module) else {
        let known = module == "lib";
        return if known { vec![] } else { vec![format!("{}: module {module} has no layer", source.path)] };
    };
    let used = source.lines().flat_map(|(line, code)| {
        let names = code.split("crate::").skip(1);
        names.map(move |rest| {
            (line, rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(""))
        })
    });
    let turned = used.filter(|(_, name)| {
        layer(name).is_some_and(|layer| layer > own) && !excepted(LAYER_EXCEPTIONS, &source.path, name)
    });
    turned
        .map(|(line, name)| format!("{}:{line}: {module} names crate::{name}, a layer above it", source.path))
        .collect()
}

fn trespasses(source: &Source, owned: &Owned) -> Vec<String> {
    if owned.owners.iter().any(|owner| belongs(&source.path, owner)) {
        return vec![];
    }
    let named = source.lines().filter(|(_, code)| code.contains(owned.needle));
    let message = |line| {
        let owners = match owned.owners {
            [] => "nothing".to_owned(),
            owners => owners.join(", "),
        };
        format!("{}:{line}: names {}, which only {owners} may: {}", source.path, owned.needle, owned.reason)
    };
    named.map(|(line, _)| message(line)).collect()
}

fn is_sql(literal: &str) -> bool {
    let text = literal.trim_start().to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["select", rest @ ..] => rest.contains(&"from"),
        ["insert", "into", ..] | ["delete", "from", ..] | ["create", "table" | "index", ..] => true,
        ["update", _, "set", ..] => true,
        _ => false,
    }
}

/// An `unwrap` is right where a sentence on its line or the lines before says why.
fn unexplained_unwraps(source: &Source) -> Vec<String> {
    let text: Vec<&str> = source.text.lines().collect();
    let explained = |line: usize| {
        text[line.saturating_sub(4)..line].iter().any(|line| line.contains("// ") && !line.contains("/// "))
    };
    let functions = source.functions();
    let allowed = |line: usize| {
        let around = functions.iter().filter(|(_, first, lines)| (*first..first + lines).contains(&line));
        around.into_iter().any(|(name, ..)| excepted(STOP_EXCEPTIONS, &source.path, name))
    };
    let found = source.lines().filter(|(line, code)| {
        let stops = code.contains(".unwrap()") || code.contains(".expect(\"") || code.contains("panic!(");
        stops && !explained(*line) && !allowed(*line)
    });
    found.map(|(line, code)| format!("{}:{line}: no reason given for {}", source.path, code.trim())).collect()
}

#[test]
fn arrows_between_layers_never_turn() {
    none(production().iter().flat_map(upward_uses).collect());
}

#[test]
fn what_one_module_owns_no_other_names() {
    let sources = production();
    let found =
        OWNED.iter().flat_map(|owned| sources.iter().flat_map(move |source| trespasses(source, owned)));
    none(found.collect());
}

#[test]
fn only_db_contains_sql() {
    let sources = production();
    let elsewhere = sources.iter().filter(|source| !belongs(&source.path, "src/db"));
    let found = elsewhere.flat_map(|source| {
        let sql = source.literals.iter().filter(|literal| is_sql(&literal.text));
        sql.map(|literal| format!("{}:{}: SQL outside db", source.path, literal.line))
    });
    none(found.collect());
}

#[test]
fn pure_modules_do_no_io_and_hold_no_locks() {
    let sources = production();
    let pure = sources.iter().filter(|source| PURE.iter().any(|owner| belongs(&source.path, owner)));
    let found = pure.flat_map(|source| {
        source.lines().flat_map(move |(line, code)| {
            let named = IMPURE.iter().filter(move |needle| code.contains(**needle));
            let named = named.filter(|needle| !excepted(PURITY_EXCEPTIONS, &source.path, needle));
            named.map(move |needle| format!("{}:{line}: names {needle} in a pure module", source.path))
        })
    });
    none(found.collect());
}

#[test]
fn nothing_unwraps_without_saying_why() {
    none(production().iter().flat_map(unexplained_unwraps).collect());
}

#[test]
fn files_and_functions_fit_a_readers_head() {
    let long_file = |(name, text): &(String, String)| {
        let lines = text.lines().count();
        let is_long = lines > FILE_LINES_MAX && !LONG_TABLES.contains(&name.as_str());
        is_long.then(|| format!("{name}: {lines} lines, {FILE_LINES_MAX} at most"))
    };
    let mut found: Vec<String> = written_text().iter().filter_map(long_file).collect();
    for source in production() {
        let long = source.functions().into_iter().filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX);
        found.extend(long.map(|(name, line, lines)| {
            format!("{}:{line}: {name} has {lines} lines, {FUNCTION_LINES_MAX} at most", source.path)
        }));
    }
    none(found);
}

#[test]
fn modules_are_files_named_after_themselves() {
    let found = project_files().into_iter().filter(|name| name.ends_with("/mod.rs"));
    none(found.map(|name| format!("{name}: foo.rs and foo/ instead of mod.rs")).collect());
}

#[test]
fn the_text_speaks_of_the_project_alone() {
    // Written in two halves, so that this list does not find itself.
    let strange = [
        ("/wor", "k/"),
        ("/roo", "t/"),
        ("/ho", "me/"),
        ("/opt/", "train"),
        ("crates", ".io"),
        ("pypi", ".org"),
        ("npm", "js."),
        ("static.rust", "-lang"),
        ("sub", "agent"),
        ("clau", "de"),
        ("anthro", "pic"),
        ("chat", "gpt"),
    ]
    .map(|(first, second)| format!("{first}{second}"));
    let in_line = |name: &str, line: usize, text: &str| {
        let text = text.to_lowercase();
        let word = strange.iter().find(|word| text.contains(word.as_str()))?;
        Some(format!("{name}:{line}: speaks of {word}"))
    };
    let texts = written_text();
    let found = texts.iter().flat_map(|(name, text)| {
        (1..).zip(text.lines()).filter_map(move |(line, text)| in_line(name, line, text))
    });
    none(found.collect());
}

#[test]
fn a_planted_violation_is_seen() {
    let planted =
        Source::new("src/volume/planted.rs", "use crate::http::Server;\nfn f() { x.unwrap(); hyper::y() }\n");
    assert_eq!(upward_uses(&planted).len(), 1);
    assert_eq!(unexplained_unwraps(&planted).len(), 1);
    assert!(OWNED.iter().any(|owned| trespasses(&planted, owned).len() == 1));
    assert!(is_sql("select a, b from c") && !is_sql("select a study"));
}
