//! Each operation on an atomic that is not relaxed has a label, in all rooms, and each label a
//! partner.

#![cfg(not(loom))]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a label begins with. In two pieces, so that this line is none.
const MARK: &str = concat!("// ", "ORD ");

fn sources() -> Vec<PathBuf> {
    fn collect(folder: &Path, sources: &mut Vec<PathBuf>) {
        for entry in
            std::fs::read_dir(folder).expect("a source folder").map(|entry| entry.unwrap().path())
        {
            if entry.is_dir() {
                collect(&entry, sources);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                sources.push(entry);
            }
        }
    }
    let mut sources = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut sources);
    sources
}

/// `function:L`, or `None`.
fn as_label(word: &str) -> Option<&str> {
    let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let (name, letter) = word.split_once(':')?;
    let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let lettered = letter.len() == 1 && letter.chars().all(|c| c.is_ascii_uppercase());
    (named && lettered).then_some(word)
}

/// Each label with the labels that it says it pairs with.
fn labels() -> BTreeMap<String, Vec<String>> {
    let mut labels = BTreeMap::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).expect("a source file");
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some((_, comment)) = line.split_once(MARK) else { continue };
            let mut comment = comment.to_owned();
            while let Some(more) =
                lines.peek().and_then(|line| line.trim_start().strip_prefix("// "))
            {
                if lines.peek().is_some_and(|line| line.contains(MARK)) {
                    break;
                }
                comment = comment + " " + more;
                lines.next();
            }
            let (label, rest) =
                comment.split_once(',').unwrap_or_else(|| panic!("no comma in: {comment}"));
            let label = as_label(label).unwrap_or_else(|| panic!("no label in: {comment}"));
            let (_, pairs) =
                rest.split_once("pairs with ").unwrap_or_else(|| panic!("no pair in: {comment}"));
            let pairs = pairs.split(';').next().unwrap().split_whitespace();
            let pairs: Vec<_> = pairs.filter_map(as_label).map(str::to_owned).collect();
            assert!(!pairs.is_empty(), "no pair in: {comment}");
            let twice = labels.insert(label.to_owned(), pairs);
            assert_eq!(twice, None, "{label} is used twice, the second time in {}", path.display());
        }
    }
    labels
}

#[test]
fn each_ordering_label_is_unique_and_its_pairs_and_those_of_the_table_exist() {
    let labels = labels();
    let exists = |label: &str| labels.contains_key(label);
    assert!(labels.len() > 15, "the labels are found");
    for (label, pairs) in &labels {
        for pair in pairs {
            assert!(exists(pair), "{label} pairs with {pair}, which is nowhere");
        }
    }

    let table = include_str!("mod.rs").lines().skip_while(|line| *line != "//! # Pairs");
    let rows = table
        .take_while(|line| line.starts_with("//!"))
        .filter_map(|line| line.strip_prefix("//! | "));
    let mut found = 0;
    for row in rows.filter(|row| !row.starts_with("release side")) {
        let mut cells =
            row.split('|').map(|cell| as_label(cell.trim()).unwrap_or_else(|| panic!("{row}")));
        let (release, acquire) = (cells.next().unwrap(), cells.next().unwrap());
        assert!(exists(release) && exists(acquire), "a label of this row is nowhere: {row}");
        let names = |label: &str, other: &str| {
            let pairs = labels.get(label);
            pairs.is_some_and(|pairs| pairs.iter().any(|pair| pair == other))
        };
        assert!(
            names(release, acquire) || names(acquire, release),
            "neither names the other: {row}"
        );
        found += 1;
    }
    assert!(found > 8, "the table is found");
}

#[test]
fn each_operation_that_is_not_relaxed_has_a_label() {
    let orders = ["Acquire", "Release", "AcqRel", "SeqCst"];
    let mut without = Vec::new();
    for path in sources().into_iter().filter(|path| !is_of_tests(path)) {
        let text = std::fs::read_to_string(&path).expect("a source file");
        let code = text.split("#[cfg(test)]").next().expect("a first part");
        let mut is_labelled = false;
        for (line, number) in code.lines().map(str::trim).zip(1..) {
            if line.contains(MARK) {
                is_labelled = true;
            } else if !line.starts_with("//") && !line.contains("use ") {
                let words = line.split(|c: char| !c.is_ascii_alphanumeric());
                if words.filter(|word| orders.contains(word)).count() > 0 {
                    if !is_labelled {
                        without.push(format!("{}:{number}: {line}", path.display()));
                    }
                    // One operation may have two orders, on lines of their own.
                    is_labelled &= line.ends_with(',');
                }
            }
        }
    }
    assert!(without.is_empty(), "no label of its own:\n{}", without.join("\n"));
}

/// Whether it is a file, or one of a folder, of tests.
fn is_of_tests(path: &Path) -> bool {
    let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("a source file");
    let mut parts = path.iter().map(|part| part.to_str().expect("UTF-8").trim_end_matches(".rs"));
    parts.any(|part| part.ends_with("_tests") || part == "loom_models")
}
