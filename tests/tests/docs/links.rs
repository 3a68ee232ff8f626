//! The pages hold together: links lead somewhere, what the code cites is there, the README is short, and what was
//! released stays as it was. No server is needed.

use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The most words that the README may have.
const MAX_WORDS: usize = 1200;

/// Where a page may be cited: by `docs/NAME.md` or `docs/NAME.md#heading`.
const CITING: [&str; 8] = [
    "src", "core", "sql", "pg_test", "tests", "bench", "scripts", "examples",
];

/// Folders where no comment may cite a rule by a section's number: headings have names. Beside all pages.
const WITHOUT_NUMBERS: [&str; 5] = ["src", "core", "sql", "tests", "bench"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What `name` in the repository says.
fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files below `folder` of the repository, by their path in it; none if there is no such folder.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(root().join(folder)) else {
        return found;
    };
    for entry in entries {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        let path = format!("{folder}/{name}");
        if entry.path().is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The pages: all Markdown of the repository that people read.
fn pages() -> Vec<String> {
    let top = ["README", "CONTRIBUTING", "CHANGELOG", "SECURITY"];
    let mut pages: Vec<_> = top.iter().map(|name| format!("{name}.md")).collect();
    let below = ["docs", "examples"].into_iter().flat_map(files);
    pages.extend(below.filter(|name| name.ends_with(".md")));
    pages
}

/// The lines of `page` outside of blocks of code.
fn prose(page: &str) -> Vec<&str> {
    let mut inside = false;
    let lines = page.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence
    });
    lines.collect()
}

/// `line` without `code`.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// What `[words](target)`, `src="target"` and `srcset="target"` in `page` lead to.
fn targets(page: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(page) {
        let line = without_code(line);
        for (open, close) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
            let found = line.split(open).skip(1);
            targets.extend(found.filter_map(|rest| rest.split(close).next().map(str::to_owned)));
        }
    }
    targets
}

/// The anchors of the headings of `page`, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    let mut anchors = BTreeSet::new();
    for line in prose(page) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let heading = words_of_links(heading.trim());
        let kept = heading.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => c.to_lowercase().next(),
            _ => None,
        });
        let anchor: String = kept.collect();
        let count = counts.entry(anchor.clone()).or_default();
        anchors.insert(match *count {
            0 => anchor,
            again => format!("{anchor}-{again}"),
        });
        *count += 1;
    }
    anchors
}

/// `text` with the words of its links and pictures, and without their targets.
fn words_of_links(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        shown += before;
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    shown + rest
}

/// The path in the repository that `target` on the page `from` means.
fn resolved(from: &str, target: &str) -> String {
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    let mut parts: Vec<String> = Vec::new();
    for part in folder.join(target).components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            _ => {}
        }
    }
    parts.join("/")
}

/// What is wrong with `path`, or with `anchor` on it; none if both are there.
fn missing(path: &str, anchor: Option<&str>) -> Option<String> {
    if !root().join(path).exists() {
        return Some(format!("there is no {path}"));
    }
    let anchor = anchor?;
    let is_there = path.ends_with(".md") && anchors(&text(path)).contains(anchor);
    (!is_there).then(|| format!("{path} has no #{anchor}"))
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for page in pages() {
        for target in targets(&text(&page)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (path, anchor) = match target.split_once('#') {
                Some((path, anchor)) => (path, Some(anchor)),
                None => (target.as_str(), None),
            };
            let path = match path {
                "" => page.clone(),
                path => resolved(&page, path),
            };
            broken.extend(missing(&path, anchor).map(|what| format!("{page}: {what}")));
        }
    }
    assert_eq!(broken, Vec::<String>::new());
    assert!(checked > 50, "{checked}");
}

/// The citations in `source`: the page, and the heading if one is named.
fn citations(source: &str) -> Vec<(String, Option<String>)> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let is_anchor = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let mut found = Vec::new();
    for (at, _) in source.match_indices("docs/") {
        if source[..at].ends_with(|c: char| is_path(c)) && !source[..at].ends_with("../") {
            continue;
        }
        let end = source[at..].find(|c| !is_path(c));
        let path = &source[at..end.map_or(source.len(), |end| at + end)];
        let Some(name) = path.split_inclusive(".md").next() else {
            continue;
        };
        if !name.ends_with(".md") {
            continue;
        }
        let anchor = source[at + name.len()..].strip_prefix('#');
        let anchor = anchor.and_then(|rest| rest.split(|c| !is_anchor(c)).next());
        found.push((name.to_owned(), anchor.map(str::to_owned)));
    }
    found
}

/// The sources in `folders`, with what they say: neither what was released, nor what is no text, nor this file,
/// whose examples cite what isn't there.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let frozen = frozen();
    let names = folders.iter().flat_map(|folder| files(folder));
    let names =
        names.filter(|name| !frozen.contains_key(name) && name != "tests/tests/docs/links.rs");
    let sources = names.filter_map(|name| {
        let source = fs::read_to_string(root().join(&name)).ok()?;
        Some((name, source))
    });
    sources.collect()
}

#[test]
fn every_page_that_the_code_cites_is_there() {
    let mut broken = Vec::new();
    for (name, source) in sources(&CITING) {
        for (path, anchor) in citations(&source) {
            let what = missing(&path, anchor.as_deref());
            broken.extend(what.map(|what| format!("{name}: {what}")));
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn rules_are_cited_by_their_headings() {
    let pages = pages().into_iter().map(|page| (page.clone(), text(&page)));
    let texts = pages.chain(sources(&WITHOUT_NUMBERS));
    let numbered = texts.filter(|(_, text)| cites_a_number(text));
    let numbered: Vec<_> = numbered.map(|(name, _)| name).collect();
    assert_eq!(numbered, Vec::<String>::new());
}

/// Whether `text` cites a section of the design by its number, on one line or two.
fn cites_a_number(text: &str) -> bool {
    let is_mark = |c: char| c.is_whitespace() || "/!-#".contains(c);
    let words: Vec<_> = text
        .split(is_mark)
        .filter(|word| !word.is_empty())
        .collect();
    let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    words
        .windows(3)
        .any(|words| words[0].ends_with("design's") && words[1] == "section" && is_number(words[2]))
}

/// The words of `page` as it is rendered: what stands between spaces and has a letter or a digit. Blocks of code, tables,
/// headings and the words that stand for a picture count; targets of links, tags, and the frames of tables don't.
fn words(page: &str) -> usize {
    let mut shown = String::new();
    for line in page.lines() {
        if !line.starts_with("```") {
            shown += &words_of_links(line);
            shown.push('\n');
        }
    }
    let mut text = String::new();
    let mut rest = shown.as_str();
    while let Some((before, tag)) = rest.split_once('<') {
        text += before;
        rest = match tag.split_once('>') {
            Some((_, after)) if tag.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') => {
                after
            }
            _ => tag,
        };
    }
    text += rest;
    let words = text.split_whitespace();
    words
        .filter(|word| word.contains(char::is_alphanumeric))
        .count()
}

#[test]
fn the_readme_is_short() {
    let words = words(&text("README.md"));
    assert!(words <= MAX_WORDS, "{words} words");
}

/// What has been released, by its path, with its hash.
fn frozen() -> BTreeMap<String, String> {
    let list = text("tests/upgrade/SHA256SUMS");
    let lines = list.lines().map(|line| {
        let (hash, name) = line.split_once("  ").expect("a line of sha256sum");
        (name.to_owned(), hash.to_owned())
    });
    lines.collect()
}

#[test]
fn what_was_released_stays_as_it_was() {
    let frozen = frozen();
    for (name, expected) in &frozen {
        let mut hash = String::new();
        for byte in Sha256::digest(text(name).as_bytes()) {
            write!(hash, "{byte:02x}").expect("a string takes it");
        }
        assert_eq!(
            hash, *expected,
            "{name} was released, and is changed no more"
        );
    }
    let install = files("tests/upgrade");
    let install = install.iter().filter(|name| name.ends_with(".sql"));
    let mut released = BTreeSet::new();
    for name in install {
        assert!(frozen.contains_key(name), "{name} is not in SHA256SUMS");
        let version = name.trim_end_matches(".sql").rsplit("--").next();
        released.insert(version.expect("a version").to_owned());
    }
    assert!(released.len() > 2);
    for name in files("sql") {
        let parts: Vec<_> = name.trim_end_matches(".sql").split("--").collect();
        if let [_, _, to] = parts[..] {
            let is_frozen = frozen.contains_key(&name);
            assert_eq!(is_frozen, released.contains(to), "{name}");
        }
    }
}

/// The messages that `source` declares for errors, cut where a value stands, in pieces that are long enough to tell.
fn messages(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in source.split("#[error(").skip(1) {
        let rest = rest.trim_start();
        let Some(rest) = rest.strip_prefix('"') else {
            continue;
        };
        let rest = rest.replace("\\\"", "\u{1}");
        let message = rest.split('"').next().unwrap_or_default();
        let message = message.replace('\u{1}', "\"");
        let pieces = message.split(['{', '}']).step_by(2).map(str::trim);
        found.extend(pieces.filter(|piece| piece.len() > 8).map(str::to_owned));
    }
    found
}

#[test]
fn every_error_is_in_the_reference() {
    let reference = text("docs/reference.md");
    let section = reference.split("\n## Errors\n").nth(1).expect("a section");
    let section = section.split("\n## ").next().expect("a section");
    let messages = messages(&text("src/error.rs"));
    assert!(messages.len() > 15);
    let unknown: Vec<_> = messages
        .iter()
        .filter(|message| !section.contains(*message))
        .collect();
    assert_eq!(unknown, Vec::<&String>::new());
}

#[test]
fn a_link_is_found_and_code_is_none() {
    let page =
        "[a](b.md#c) `[no](d.md)` ![picture](e.svg)\n```\n[no](f.md)\n```\n<img src=\"g.svg\">";
    assert_eq!(targets(page), ["b.md#c", "e.svg", "g.svg"]);
    assert_eq!(resolved("docs/a.md", "../b/c.md"), "b/c.md");
    assert_eq!(resolved("README.md", "docs/a.md"), "docs/a.md");
}

#[test]
fn an_anchor_is_what_github_makes_of_a_heading() {
    let page = "# What can't be had\n## `code`, too\n```\n# none\n```\n### Twice\n## Twice\n#none\n## [Link](to)";
    let expected = ["code-too", "link", "twice", "twice-1", "what-cant-be-had"];
    let anchors = anchors(page);
    assert!(
        anchors.iter().map(String::as_str).eq(expected),
        "{anchors:?}"
    );
}

#[test]
fn a_citation_is_found_in_a_comment() {
    let source = "/// See docs/design.md#order-of-locks, (docs/fast_path.md). Not other_docs/x.md, docs/y.txt.";
    let expected = [
        ("docs/design.md", Some("order-of-locks")),
        ("docs/fast_path.md", None),
    ];
    let found = citations(source);
    let found = found
        .iter()
        .map(|(path, anchor)| (path.as_str(), anchor.as_deref()));
    assert!(found.eq(expected));
}

#[test]
fn a_number_is_found_across_lines() {
    assert!(cites_a_number("the record (the design's section 7)"));
    assert!(cites_a_number("/// is (the design's\n/// section 5)."));
    assert!(!cites_a_number("the design's words, RFC 6749, section 6"));
}

#[test]
fn words_are_counted_as_they_are_read() {
    assert_eq!(
        words(
            "# One [two](three four) `five`\n\n| six | - |\n|---|---|\n```sql\nSELECT 7;\n```\n<br>eight"
        ),
        7
    );
}
