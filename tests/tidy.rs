//! The rules of the house that the compiler does not check.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which room may use which (`domain` and `clock` are for values; wiring may use anything).
const IMPORTS: [(&str, &[&str]); 16] = [
    ("domain", &[]),
    ("signature", &[]),
    ("clock", &["domain"]),
    ("api", &["domain"]),
    ("partner", &["domain"]),
    ("serve", &["clock", "domain"]),
    ("outbound", &["clock", "domain", "signature"]),
    ("sealing", &["clock", "domain"]),
    // signature: the service's own signing key is read and made with the other service keys.
    ("store", &["clock", "domain", "sealing", "signature"]),
    ("lifecycle", &["clock", "domain", "store"]),
    ("kyc", &["clock", "domain", "partner"]),
    ("screening", &["clock", "domain", "partner"]),
    ("telemetry", &["clock", "config", "domain", "serve"]),
    // kyc: who opens a verification link is led to the partner there and then, and callbacks are read by its rules.
    ("service", &["api", "clock", "domain", "kyc", "lifecycle", "signature", "store"]),
    ("worker", &["clock", "domain", "kyc", "lifecycle", "outbound", "screening", "signature", "store"]),
    ("http", &["api", "clock", "domain", "signature"]),
];

/// Rooms that put others together.
const WIRING: [&str; 5] = ["app", "cli", "config", "lib", "main"];

/// A Rust file: its path from the root, and its text.
struct File {
    path: String,
    text: String,
}

impl File {
    /// The room of a file under `src/`.
    fn room(&self) -> Option<&str> {
        let path = self.path.strip_prefix("src/")?;
        Some(path.split_once('/').map_or(path, |(room, _)| room).trim_end_matches(".rs"))
    }

    /// Whether it is compiled for tests only.
    fn is_test(&self) -> bool {
        !self.path.contains("src/") || self.path.contains("/tests/") || self.path.ends_with("tests.rs")
    }

    /// The lines that are shipped, with their numbers: without comments, and up to the module of tests.
    fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().take_while(|line| line.trim() != "mod tests {" && line.trim() != "mod tests;");
        lines.enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["target", "data", "node_modules"].contains(&name.as_str()) && !name.starts_with('.') {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn files() -> Vec<File> {
    let mut paths = Vec::new();
    walk(root(), &mut paths);
    let read = |path: PathBuf| File {
        path: path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(),
        text: fs::read_to_string(path).unwrap(),
    };
    paths.into_iter().map(read).collect()
}

/// Fails with everything that is wrong, not with the first of it.
#[track_caller]
fn none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n{}", faults.join("\n"));
}

/// The rooms that a line names, as `crate::room` or in `use crate::{room…}`.
fn rooms(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (_, rest) in line.match_indices("crate::").map(|(at, found)| line.split_at(at + found.len())) {
        let list = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or_default());
        let parts: Vec<&str> = if rest.starts_with('{') { list.split(',').collect() } else { vec![rest] };
        found.extend(parts.into_iter().map(|part| {
            let part = part.trim();
            &part[..part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len())]
        }));
    }
    found
}

#[test]
fn rooms_keep_to_the_import_table() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| !file.is_test()) {
        let Some(room) = file.room().filter(|room| !WIRING.contains(room)) else { continue };
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == room) else {
            faults.push(format!("{}: the room {room} is not in the table", file.path));
            continue;
        };
        for (number, line) in file.shipped() {
            for used in rooms(line).into_iter().filter(|used| *used != room && !allowed.contains(used)) {
                faults.push(format!("{}:{number}: {room} may not use {used}", file.path));
            }
        }
    }
    none("imports", &faults);
}

#[test]
fn files_are_short() {
    let mut lengths: Vec<(usize, String)> =
        files().into_iter().map(|file| (file.text.lines().count(), file.path)).collect();
    lengths.sort();
    let long: Vec<String> =
        lengths.iter().filter(|(lines, _)| *lines > 400).map(|(lines, path)| format!("{path}: {lines}")).collect();
    none("files have at most 400 lines", &long);
    let (median, _) = lengths[lengths.len() / 2];
    assert!(median <= 130, "the median file has {median} lines, more than 130");
}

#[test]
fn only_the_store_speaks_sql() {
    let verbs =
        ["\"SELECT ", "\"INSERT INTO ", "\"UPDATE ", "\"DELETE FROM ", "\"WITH ", "\"CREATE TABLE ", "sqlx::query"];
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| !file.is_test() && file.room() != Some("store")) {
        let spoken = file.shipped().filter(|(_, line)| verbs.iter().any(|verb| line.contains(verb)));
        faults.extend(spoken.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("SQL outside the store", &faults);
}

#[test]
fn only_the_lifecycle_appends_to_audit_chains() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| !file.is_test() && file.room() != Some("lifecycle")) {
        let appends =
            file.shipped().filter(|(_, line)| line.contains("chain.append(") || line.contains("events::insert("));
        faults.extend(appends.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("appends outside the lifecycle", &faults);
}

#[test]
fn the_edge_opens_no_database() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| ["http", "serve"].contains(&file.room().unwrap_or_default())) {
        let used = file.shipped().filter(|(_, line)| line.contains("sqlx") || line.contains("crate::store"));
        faults.extend(used.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("the edge and the store", &faults);
}

#[test]
fn nothing_shipped_panics_on_an_error() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| !file.is_test() && !file.path.contains("rest-bridge-tests")) {
        let lines: Vec<&str> = file.text.lines().collect();
        let found = file.shipped().filter(|(number, line)| {
            // Where clippy was told why, it was told a few lines above.
            let above = &lines[number.saturating_sub(5)..*number];
            let excused =
                above.iter().any(|line| line.contains("clippy::expect_used") || line.contains("clippy::panic"));
            !excused && [".unwrap()", ".expect(\"", "panic!(", "todo!("].iter().any(|call| line.contains(call))
        });
        faults.extend(found.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("unwrap and its like", &faults);
}

#[test]
fn exceptions_have_reasons_and_nothing_is_put_off() {
    // Written in parts, so that this file does not find itself.
    let put_off = [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["for ", "now,"]].map(|parts| parts.concat());
    let mut faults = Vec::new();
    for file in files() {
        for (at, line) in file.text.lines().enumerate() {
            let trimmed = line.trim();
            let begins =
                ["#[allow(", "#![allow(", "#[expect(", "#![expect("].iter().any(|start| trimmed.starts_with(start));
            // The reason may stand on a later line of the attribute.
            let rest: String = file.text.lines().skip(at).take(12).collect();
            let attribute = &rest[..rest.find(")]").unwrap_or(rest.len())];
            if begins && !attribute.contains("reason = \"") {
                faults.push(format!("{}:{}: no reason: {trimmed}", file.path, at + 1));
            }
            if put_off.iter().any(|word| line.contains(word.as_str())) {
                faults.push(format!("{}:{}: {trimmed}", file.path, at + 1));
            }
        }
    }
    none("exceptions and promises", &faults);
}

#[test]
fn rooms_have_names() {
    let vague: BTreeSet<&str> = ["util", "utils", "common", "helper", "helpers", "types", "misc"].into();
    let named = |file: &File| file.path.trim_end_matches(".rs").split('/').any(|part| vague.contains(part));
    let faults: Vec<String> = files().into_iter().filter(named).map(|file| file.path).collect();
    none("names that say nothing", &faults);
}

#[test]
fn the_map_shows_every_room() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mapped: BTreeSet<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")).map(|room| room.trim_end_matches(';')).collect();
    let files = files();
    let rooms: BTreeSet<&str> =
        files.iter().filter_map(File::room).filter(|room| !["lib", "main"].contains(room)).collect();
    assert_eq!(mapped, rooms);
    let known: BTreeSet<&str> = IMPORTS.iter().map(|(room, _)| *room).chain(WIRING).collect();
    assert!(rooms.is_subset(&known), "rooms without a rule: {:?}", rooms.difference(&known));
}

/// Every `path.rs` and `path.rs::function` of docs/security.md is there, and every promise names one.
#[test]
fn security_promises_have_tests() {
    let text = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let mut faults = Vec::new();
    let mut promises = false;
    for (line, number) in text.lines().zip(1..) {
        if line.starts_with("## ") {
            promises = line == "## Promises";
        }
        let named: Vec<&str> = line.split('`').filter(|part| part.contains(".rs")).collect();
        for name in &named {
            let (path, function) = name.split_once("::").unwrap_or((name, ""));
            let file = fs::read_to_string(root().join(path)).unwrap_or_default();
            // The parenthesis ends the name.
            if !file.contains(&format!("fn {function}{}", if function.is_empty() { "" } else { "(" })) {
                faults.push(format!("docs/security.md:{number}: no {name}"));
            }
        }
        // Tables of promises have two columns.
        let row = promises && line.starts_with("| ") && line.matches('|').count() == 3;
        if row && !line.starts_with("| promise |") && named.is_empty() {
            faults.push(format!("docs/security.md:{number}: a promise without a test"));
        }
    }
    none("docs/security.md", &faults);
}
