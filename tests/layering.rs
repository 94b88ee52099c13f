//! A file names only what stands below it, and the disk is reached in one place only.
//!
//! Read are the source files themselves, without comments, texts and tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may name. `fuzzing` is there for the fuzz targets only.
///
/// `batch` and `options` stand above `format`: a batch is in the form in which frames store it
/// before the log sees it, and the limits of some options are the format's own.
const MAY_NAME: [(&str, &[&str]); 13] = [
    ("error", &["ids"]),
    ("ids", &[]),
    ("sync", &[]),
    ("format", &["error", "ids"]),
    ("batch", &["format", "error", "ids"]),
    ("options", &["format", "error", "ids"]),
    ("storage", &["sync", "error", "ids"]),
    ("segment", &["format", "storage", "batch", "options", "sync", "error", "ids"]),
    ("log", &["segment", "format", "storage", "batch", "options", "sync", "error", "ids"]),
    ("hub", &["log", "batch", "options", "sync", "error", "ids"]),
    ("ingest", &["hub", "log", "storage", "batch", "options", "sync", "error", "ids"]),
    ("check", &["ingest", "log", "segment", "format", "storage", "batch", "options", "error", "ids"]),
    ("fuzzing", &["format"]),
];

#[test]
fn a_file_names_only_what_stands_below_it() {
    let exports = exports();
    for source in sources() {
        let Some(module) = source.module() else { continue };
        let allowed = MAY_NAME.iter().find(|(name, _)| *name == module).map(|(_, below)| *below);
        let allowed =
            allowed.unwrap_or_else(|| panic!("{}: give {module} its place in MAY_NAME", source.name));
        for named in source.named_modules() {
            let named = exports.get(&named).unwrap_or(&named);
            assert!(
                *named == module || allowed.contains(&named.as_str()),
                "{} names `{named}`, which does not stand below `{module}`",
                source.name
            );
        }
    }
}

#[test]
fn the_order_of_layers_has_no_circle() {
    for (module, below) in MAY_NAME {
        for named in below {
            let back = MAY_NAME.iter().find(|(name, _)| name == named).unwrap().1;
            assert!(!back.contains(&module), "{module} and {named} may name each other");
        }
    }
}

#[test]
fn only_the_storage_reaches_the_disk_and_the_clock() {
    let words = ["std::fs", "std::os::unix::fs", "memmap2", "rustix", "SystemTime", "RandomState"];
    for source in sources().iter().filter(|source| source.module().is_some_and(|module| module != "storage"))
    {
        source.assert_without(&words, "goes through `storage`");
    }
}

#[test]
fn what_a_scheduler_takes_over_comes_through_one_seam() {
    let words = ["parking_lot", "use std::thread", "use std::sync::atomic", "std::thread::sleep"];
    let scheduled = ["segment", "log", "hub"];
    let scheduled = |source: &Source| source.module().is_some_and(|m| scheduled.contains(&m.as_str()));
    for source in sources().iter().filter(|s| scheduled(s) || s.name == "storage/memory.rs") {
        source.assert_without(&words, "comes from `sync`");
        let clocks = ["std::time::Instant", "std::time::{Duration, Instant}"];
        source.assert_without(&clocks, "comes from `sync`");
    }
}

#[test]
fn only_the_storage_is_unsafe() {
    for source in sources().iter().filter(|source| source.module().as_deref() != Some("storage")) {
        source.assert_without(&["unsafe", "unsafe_code"], "belongs to `storage`");
    }
}

#[test]
fn product_code_does_not_panic_on_purpose() {
    for source in sources() {
        let words = [".unwrap()", ".expect(", "panic!", "todo!", "unimplemented!", "unreachable!"];
        source.assert_without(&words, "is for tests");
    }
}

#[test]
fn the_format_knows_no_file_lock_thread_or_clock() {
    let words =
        ["std::io", "std::time", "std::sync", "std::thread", "parking_lot", "Mutex", "RwLock", "Instant"];
    for source in sources().iter().filter(|source| source.module().as_deref() == Some("format")) {
        source.assert_without(&words, "has no place in `format`");
    }
}

struct Source {
    /// Path below `src`.
    name: String,
    /// Without comments, texts and tests.
    code: String,
}

impl Source {
    /// The top-level module; `None` for the command and for `lib.rs`, which names everything.
    fn module(&self) -> Option<String> {
        let first = self.name.split('/').next()?.trim_end_matches(".rs");
        (first != "bin" && first != "lib").then(|| first.to_owned())
    }

    /// What stands behind every `crate::`, and behind a `super::` that leads to the same place.
    fn named_modules(&self) -> Vec<String> {
        let deep = self.name.split('/').count() - usize::from(self.name.ends_with("/mod.rs"));
        let roots = ["crate::".to_owned(), "super::".repeat(deep)];
        let mut named = Vec::new();
        for root in &roots {
            for (at, _) in self.code.match_indices(root.as_str()) {
                if word_ends_before(&self.code, at) {
                    named.extend(names(&self.code[at + root.len()..]));
                }
            }
        }
        named
    }

    fn assert_without(&self, words: &[&str], why: &str) {
        for word in words {
            for (at, _) in self.code.match_indices(word) {
                let whole = !word.starts_with(char::is_alphabetic) || word_ends_before(&self.code, at);
                let whole = whole
                    && !self.code[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
                let line = self.code[..at].matches('\n').count() + 1;
                assert!(!whole, "{} line {line}: `{word}` {why}", self.name);
            }
        }
    }
}

fn word_ends_before(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$')
}

/// `a` of `a::b`, or `a` and `c` of `{a::b, c}`.
fn names(path: &str) -> Vec<String> {
    let name = |path: &str| path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut found) = (0, vec![name(group.trim_start())]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.push(name(group[at + 1..].trim_start())),
            _ => {}
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// What `lib.rs` shows of its modules: `SeqId` is `ids`.
fn exports() -> BTreeMap<String, String> {
    let code = code_of(&fs::read_to_string("src/lib.rs").unwrap());
    let mut exports = BTreeMap::new();
    for item in code.split(';').filter_map(|item| item.split_once("pub use ")) {
        let (module, path) = item.1.split_once("::").unwrap();
        exports.extend(names(path).into_iter().map(|name| (name, module.to_owned())));
    }
    assert_eq!(exports.get("SeqId").map(String::as_str), Some("ids"));
    exports
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files);
    assert!(files.len() > 30, "{files:?}");
    let read = |path: &PathBuf| Source {
        name: path.strip_prefix("src").unwrap().to_str().unwrap().to_owned(),
        code: code_of(&fs::read_to_string(path).unwrap()),
    };
    files.iter().map(read).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let test = path.file_stem().is_some_and(|name| name == "tests");
        if path.is_dir() && !test {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !test {
            files.push(path);
        }
    }
}

/// The code without comments, without what stands in texts, and without the tests at its foot.
fn code_of(source: &str) -> String {
    let code = without_texts(source);
    let tests = code.match_indices("#[cfg(test)]").find(|(at, mark)| {
        let mut item = code[at + mark.len()..].trim_start();
        while let Some((_, after)) = item.strip_prefix("#[").and_then(|attribute| attribute.split_once(']')) {
            item = after.trim_start();
        }
        item.starts_with("mod ") && item.lines().next().is_some_and(|line| line.ends_with('{'))
    });
    code[..tests.map_or(code.len(), |(at, _)| at)].to_owned()
}

fn without_texts(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let raw = ["r##\"", "r#\"", "r\""].into_iter().find(|open| rest.starts_with(open));
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(open) = raw.filter(|_| !out.ends_with(|c: char| c.is_alphanumeric() && c != 'b')) {
            let close = format!("\"{}", &open[1..open.len() - 1]);
            open.len() + rest[open.len()..].find(&close).unwrap() + close.len()
        } else if c == '"' {
            1 + text_len(&rest[1..])
        } else if let Some(literal) =
            ["'\"'", "'\\''", "'\\\\'"].into_iter().find(|open| rest.starts_with(open))
        {
            literal.len()
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        // Lines stay counted.
        out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        rest = &rest[skipped..];
    }
    out
}

/// Bytes up to and with the quote that ends a text.
fn text_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    panic!("a text without an end")
}

#[test]
fn what_this_test_reads_is_code_alone() {
    let source = "let a = \"unsafe \\\" crate::log\"; // crate::log\nuse crate::{ids::SeqId, log};\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n}";
    let code = code_of(source);
    assert_eq!(code, "let a = ; \nuse crate::{ids::SeqId, log};\n");
    let source = Source { name: "segment/view.rs".into(), code };
    assert_eq!(source.named_modules(), ["ids", "log"]);
}
