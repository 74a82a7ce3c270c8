//! How the source must look: every module says what it is, and no file is long.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Where modules are: each begins with `//!`.
const MODULES: [&str; 3] = ["src", "core/src", "broker/src"];
/// Where there is other Rust code, which is only held to the length.
const OTHERS: [&str; 4] = ["tests", "core/tests", "core/benches", "broker/tests"];
/// The most lines of a file. Most have fewer than 180; a longer one hides a concept that wants a name.
const LONGEST: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file below a folder of the repository; none if the folder is not there.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The files that a rule finds fault with, and why.
fn faults(folders: &[&str], rule: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let files = folders.iter().flat_map(|folder| rust_files(folder));
    files
        .filter_map(|path| {
            let why = rule(&fs::read_to_string(&path).unwrap())?;
            Some(format!("{}: {why}", path.strip_prefix(root()).unwrap().display()))
        })
        .collect()
}

#[test]
fn every_module_says_what_it_is() {
    let silent = |text: &str| (!text.starts_with("//! ")).then(|| "does not begin with //!".to_owned());
    assert_eq!(faults(&MODULES, silent), Vec::<String>::new());
}

#[test]
fn no_file_is_long() {
    let long = |text: &str| {
        let lines = text.lines().count();
        (lines > LONGEST).then(|| format!("{lines} lines, at most {LONGEST}: split it"))
    };
    assert_eq!(faults(&[MODULES.as_slice(), &OTHERS].concat(), long), Vec::<String>::new());
    assert!(MODULES.iter().all(|folder| !rust_files(folder).is_empty()), "the folders are where they are looked for");
}
