//! `docs/conformance.md` is right: each row has its answer, and each test that a row names is one that
//! runs. Whether it shows what the row says is for people to read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The reference system's tests.
const REFERENCE: std::ops::RangeInclusive<u32> = 1..=45;

/// The answers that a row may begin with, and whether one needs a test.
const ANSWERS: [(&str, bool); 5] = [
    ("**Yes.**", true),
    ("**Otherwise.**", true),
    ("**Not ours.**", false),
    ("**In part.**", true),
    ("**No.**", false),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folders with tests.
const FOLDERS: [&str; 5] = ["src", "core/src", "pg_test", "tests/src", "tests/tests"];

/// The tests that there are, by the names that a row may give them; and the isolation specs.
fn tests() -> BTreeSet<String> {
    let mut found = Vec::new();
    let mut tests = BTreeSet::new();
    for folder in FOLDERS.map(|folder| root().join(folder)) {
        for file in files(&folder) {
            let source = fs::read_to_string(&file).expect("a source");
            let path = file.strip_prefix(&folder).expect("a file of the folder");
            let path = path.with_extension("");
            let functions = functions(&source).into_iter();
            found.extend(functions.map(|function| (path.display().to_string(), function)));
            tests.extend(specs(&source).into_iter().filter(|spec| {
                let file = root().join("tests/isolation/specs").join(spec);
                file.is_file()
            }));
        }
    }
    tests.extend(names(&found));
    tests
}

/// The names of tests that are in files with these paths: the function, behind the file's path or an end of it. A
/// function that no other test is called like is found behind any file, so a row outlives a file that is moved.
fn names(tests: &[(String, String)]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut times = BTreeMap::<&str, usize>::new();
    for (path, function) in tests {
        *times.entry(function).or_default() += 1;
        let path = path.trim_end_matches("/mod");
        let ends = path.match_indices('/').map(|(at, _)| &path[at + 1..]);
        let ends = ends.chain([path]);
        names.extend(ends.map(|end| format!("{end}::{function}")));
    }
    let unique = times.into_iter().filter(|(_, times)| *times == 1);
    names.extend(unique.map(|(function, _)| format!("::{function}")));
    names
}

/// Whether `name` is one of `tests`.
fn is_there(name: &str, tests: &BTreeSet<String>) -> bool {
    let function = name.rfind("::").map_or(name, |at| &name[at..]);
    tests.contains(name) || tests.contains(function)
}

/// All sources below `folder`; none if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The tests in `source` that aren't ignored.
fn functions(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut is_test, mut is_ignored) = (false, false);
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[pg_test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_ignored = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or(rest);
            if is_test && !is_ignored {
                found.push(name.to_owned());
            }
            (is_test, is_ignored) = (false, false);
        }
    }
    found
}

/// The specs that `runner` runs, by the names of their files.
fn specs(runner: &str) -> Vec<String> {
    let list = runner.split("\nspecs! {").nth(1).unwrap_or_default();
    let list = list.split('}').next().unwrap_or_default();
    let names = list.split_whitespace();
    names.map(|name| format!("{name}.spec")).collect()
}

/// What is wrong with the rows of `page`, where `tests` are the tests that there are.
fn mistakes(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut rows = BTreeMap::<&str, usize>::new();
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        if cells[0] == "#" || cells[0].starts_with("--") {
            continue;
        }
        let [id, what, answer, shown] = cells[..] else {
            mistakes.push(format!("{} has {} cells", cells[0], cells.len()));
            continue;
        };
        *rows.entry(id).or_default() += 1;
        if what.is_empty() {
            mistakes.push(format!("{id} doesn't say what it is"));
        }
        let named: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        match ANSWERS.iter().find(|(word, _)| answer.starts_with(word)) {
            None => mistakes.push(format!("{id} has no answer")),
            Some((_, true)) if named.is_empty() => mistakes.push(format!("{id} has no test")),
            Some(_) => {}
        }
        let unknown = named.into_iter().filter(|test| !is_there(test, tests));
        mistakes.extend(unknown.map(|test| format!("{id}: there is no {test}")));
    }
    let doubled = rows.iter().filter(|(_, times)| **times > 1);
    mistakes.extend(doubled.map(|(id, _)| format!("{id} is doubled")));
    let missing = REFERENCE.filter(|number| !rows.contains_key(number.to_string().as_str()));
    mistakes.extend(missing.map(|number| format!("{number} is missing")));
    mistakes
}

#[test]
fn every_row_has_its_answer_and_every_test_that_it_names_is_there() {
    let page = fs::read_to_string(root().join("docs/conformance.md")).expect("the page");
    assert_eq!(mistakes(&page, &tests()), Vec::<String>::new());
}

#[test]
fn a_mistake_in_a_row_is_found() {
    let tests = BTreeSet::from(["file::there".to_owned()]);
    let right: Vec<_> = REFERENCE
        .map(|number| format!("| {number} | what | **Yes.** So | `file::there` |"))
        .collect();
    let page = |change: &dyn Fn(&mut Vec<String>)| {
        let mut rows = right.clone();
        change(&mut rows);
        mistakes(&rows.join("\n"), &tests)
    };
    assert_eq!(page(&|_| ()), Vec::<String>::new());
    assert_eq!(page(&|rows| drop(rows.remove(6))), ["7 is missing"]);
    let double = |rows: &mut Vec<String>| rows.push(rows[6].clone());
    assert_eq!(page(&double), ["7 is doubled"]);
    for (from, to, found) in [
        ("there", "gone", "7: there is no file::gone"),
        ("`file::there`", "", "7 has no test"),
        ("Yes", "Perhaps", "7 has no answer"),
        ("what", "", "7 doesn't say what it is"),
    ] {
        let change = |rows: &mut Vec<String>| rows[6] = rows[6].replace(from, to);
        assert_eq!(page(&change), [found]);
    }
    let open = |rows: &mut Vec<String>| rows[6] = "| 7 | what | **No.** | |".to_owned();
    assert_eq!(page(&open), Vec::<String>::new());
    let broken = |rows: &mut Vec<String>| rows[6] += " more |";
    assert_eq!(page(&broken), ["7 has 5 cells", "7 is missing"]);
}

#[test]
fn a_test_is_found_by_its_file_and_by_its_name_alone() {
    let test = |path: &str, function: &str| (path.to_owned(), function.to_owned());
    let tests = names(&[
        test("tokens/token/tests", "round_trip"),
        test("statuses", "twice"),
        test("events/mod", "twice"),
    ]);
    for name in [
        "token/tests::round_trip",
        "moved::round_trip",
        "statuses::twice",
        "events::twice",
    ] {
        assert!(is_there(name, &tests), "{name}");
    }
    for name in ["moved::twice", "statuses::gone", "round_trip"] {
        assert!(!is_there(name, &tests), "{name}");
    }
}

#[test]
fn only_what_runs_is_a_test() {
    let source = "
        #[test]
        /// Some words.
        #[should_panic]
        fn first() {}
        fn helper() {}
        // #[test]
        fn commented_out() {}
        #[test]
        #[ignore = \"slow\"]
        fn ignored() {}
        #[pg_test(error = \"no\")]
        fn second() {}
        #[test]
        fn third(token in any_token()) {}
    ";
    assert_eq!(functions(source), ["first", "second", "third"]);
    let runner = "macro_rules! specs { ($($name:ident)*) => {} }\nspecs! {\n    one\n    two\n}\n";
    assert_eq!(specs(runner), ["one.spec", "two.spec"]);
}
