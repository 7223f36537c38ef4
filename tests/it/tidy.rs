//! The house stays a house: arrows point downward only, every test file is run, every room says why it exists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floor of every room; the table in `src/lib.rs` for people.
const FLOORS: [(&str, u8); 17] = [
    ("cli", 5),
    ("daemon", 4),
    ("supervisor", 3),
    ("delivery", 3),
    ("mirror", 3),
    ("schedule", 3),
    ("slack", 3),
    ("store", 2),
    ("runtime", 2),
    ("tmux", 1),
    ("git", 1),
    ("files", 1),
    ("model", 0),
    ("config", 0),
    ("policy", 0),
    ("redact", 0),
    ("lib", 6),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The rooms that a line of code names by `crate::`, also within braces.
fn rooms_named(line: &str) -> Vec<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    line.split("crate::").skip(1).map(word).filter(|room| !room.is_empty()).collect()
}

#[test]
fn no_room_uses_a_higher_room_or_a_neighbour() {
    let floors: BTreeMap<&str, u8> = FLOORS.into();
    let mut arrows = 0;
    for file in rust_files(&root().join("src")) {
        let inside = file.strip_prefix(root().join("src")).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        if matches!(room, "lib.rs" | "main.rs") {
            continue;
        }
        let own = *floors.get(room).unwrap_or_else(|| panic!("{room} has no floor: add it to the table"));
        for line in fs::read_to_string(&file).unwrap().lines() {
            let code = line.split("//").next().unwrap_or_default();
            assert!(!code.contains("crate::{"), "{}: name one room a line: {line}", inside.display());
            for other in rooms_named(code).into_iter().filter(|other| other != room) {
                let Some(floor) = floors.get(other.as_str()) else { continue };
                // The checked configuration is made of the words of the model: the one arrow within the ground floor.
                let words = own == 0 && (other == "model" || room == "config");
                assert!(*floor < own || words, "{}: {room} must not use {other}: {line}", inside.display());
                arrows += 1;
            }
        }
    }
    assert!(arrows > 100, "the check sees no arrows any more: {arrows}");
}

#[test]
fn nothing_is_queued_for_slack_past_the_redaction() {
    for file in rust_files(&root().join("src/slack")) {
        let text = fs::read_to_string(&file).unwrap();
        let door = file.ends_with("outgoing.rs");
        assert_eq!(text.contains("insert_outbox"), door, "{}: queue it by `bridge.queue`", file.display());
    }
}

#[test]
fn no_test_file_is_forgotten() {
    let main = fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    for entry in fs::read_dir(root().join("tests/it")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name != "main" {
            assert!(main.contains(&format!("mod {name};")), "tests/it/{name} is not named in main.rs and never runs");
        }
    }
}

#[test]
fn every_file_says_why_it_exists_and_stays_readable() {
    for file in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} begins without a word on why it exists", file.display());
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        assert!(code <= 450, "{} has {code} lines: is it one room?", file.display());
    }
}

#[test]
fn every_trap_has_a_test_of_its_name() {
    let tests: Vec<String> = ["tests/it", "src"]
        .iter()
        .flat_map(|room| rust_files(&root().join(room)))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let tests = tests.concat();
    for file in ["traps_tmux", "traps_agents"] {
        let text = fs::read_to_string(root().join(format!("tests/it/{file}.rs"))).unwrap();
        let rows: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("//! | ")).skip(1).collect();
        let named = |row: &str| Some(row.strip_suffix("` |")?.rsplit_once("| `")?.1.to_owned());
        let names: Vec<String> =
            rows.iter().map(|row| named(row).unwrap_or_else(|| panic!("{file}: no test in {row:?}"))).collect();
        assert!(names.len() > 20, "{file}: the check sees no rows any more: {names:?}");
        for name in &names {
            assert!(tests.contains(&format!("fn {name}()")), "{file}: there is no test {name}");
        }
        for test in text.split("#[tokio::test").skip(1) {
            let name = test.split("async fn ").nth(1).and_then(|rest| rest.split("()").next()).unwrap();
            assert!(names.iter().any(|known| known == name), "{file}: the table does not name {name}");
        }
    }
}
