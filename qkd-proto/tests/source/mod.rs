//! Rust source as text: without comments, strings and inline tests.

use std::fs;
use std::path::{Path, PathBuf};

/// One file's code, line by line.
pub(crate) struct Source(Vec<String>);

impl Source {
    /// Cuts comments, the content of strings, and everything from the inline tests on.
    pub(crate) fn new(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let tests = lines.windows(2).position(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].starts_with("mod "));
        Self(lines[..tests.unwrap_or(lines.len())].iter().map(|line| code(line)).collect())
    }

    /// Lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.iter().enumerate().map(|(at, line)| (at + 1, line.as_str()))
    }

    /// Number of lines without tests.
    pub(crate) fn length(&self) -> usize {
        self.0.len()
    }

    /// The first module of every path from the crate's root, with its line: `crate::x`,
    /// `crate::{x, y}`, and as many `super::` as lead there from `module`.
    pub(crate) fn crate_paths(&self, module: &[&str]) -> Vec<(usize, String)> {
        let text = self.0.join("\n");
        let root = "super::".repeat(module.len());
        let mut found = Vec::new();
        for prefix in ["crate::", root.as_str()] {
            for (at, _) in text.match_indices(prefix) {
                let before = &text[..at];
                if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
                    continue;
                }
                let line = before.matches('\n').count() + 1;
                found.extend(heads(&text[at + prefix.len()..]).into_iter().map(|head| (line, head)));
            }
        }
        found
    }
}

/// First names of a path or of a group of paths.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let (mut depth, mut start, mut found) = (0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && !c.is_whitespace() => {
                found.push(word(&group[at..]));
                start = false;
            }
            _ => {}
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// A line without its comment and without what stands in its strings.
fn code(line: &str) -> String {
    let (mut out, mut quoted, mut chars) = (String::new(), false, line.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => drop(chars.next()),
            '\'' if !quoted && chars.peek() == Some(&'"') => drop(chars.next()),
            '"' => quoted = !quoted,
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            c if !quoted => out.push(c),
            _ => {}
        }
    }
    out
}

/// True if `line` has `name` as a whole word.
pub(crate) fn names(line: &str, name: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

/// Every `.rs` file below `folder`, in order.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    let below = entries.into_iter().flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    below.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}
