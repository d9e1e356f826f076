//! Which files and directories a pattern names, as Hadoop's globs do: `*`, `?`, `[a-z]`, `[^a-z]` or `[!a-z]`, `{one,other}`,
//! and a backslash that takes the next character as it is.
//!
//! ```text
//!  pattern ──braces with a slash──▶ paths ──each component──▶ a name, or an expression for names ──▶ what is there
//! ```

use std::ffi::OsStr;

use regex::Regex;

use crate::{
    FilePath, FileStatus, FileSystem,
    error::{Error, Result},
    file_system::is_missing,
};

/// What one component of a path stands for.
enum Component {
    /// A file of this very name.
    Name(String),
    /// Every file whose name matches.
    Names(Regex),
}

/// What the components so far name; its status, where it was listed.
struct Candidate {
    path: FilePath,
    status: Option<FileStatus>,
}

/// Everything that `pattern` names in `system`, each once, in the order of the paths. A link that leads nowhere names
/// nothing.
pub(crate) fn find(pattern: &FilePath, system: &dyn FileSystem) -> Result<Vec<FileStatus>> {
    let invalid = |e: String| Error::Invalid(format!("{pattern}: {e}"));
    let text = pattern.path().to_str().ok_or_else(|| invalid("not UTF-8".to_owned()))?;
    let mut found = Vec::new();
    for path in expand(text) {
        // A URL begins with the name of what holds the files, such as a bucket, where no pattern can stand.
        let (top, below) = if pattern.is_local() { ("/", &*path) } else { path.split_once('/').unwrap_or((&path, "")) };
        let mut candidates = vec![Candidate { path: pattern.of_same_system(top), status: None }];
        for component in below.split('/').filter(|component| !component.is_empty()) {
            candidates = match compile(component).map_err(invalid)? {
                Component::Name(name) => {
                    let named = |dir: Candidate| Candidate { path: dir.path.join(&name), status: None };
                    candidates.into_iter().map(named).collect()
                }
                Component::Names(names) => {
                    let mut matches = Vec::new();
                    for dir in candidates {
                        matching(&dir.path, &names, system, &mut matches)?;
                    }
                    matches
                }
            };
        }
        for Candidate { path, status } in candidates {
            match status.map_or_else(|| system.status(&path), Ok) {
                Ok(status) => found.push(status),
                Err(e) if is_missing(&e) => {}
                Err(e) => return Err(Error::io(&path, e)),
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

/// Adds what lies in `dir` under a matching name; nothing when it is no directory.
fn matching(dir: &FilePath, names: &Regex, system: &dyn FileSystem, found: &mut Vec<Candidate>) -> Result<()> {
    // A name that is no UTF-8 is matched with a replacement character for what cannot be read.
    match system.list(dir, &|name: &OsStr| names.is_match(&name.to_string_lossy())) {
        Ok(listed) => {
            found.extend(listed.into_iter().map(|s| Candidate { path: s.path.clone(), status: Some(s) }));
            Ok(())
        }
        Err(e) if is_missing(&e) => Ok(()),
        Err(e) => Err(Error::io(dir, e)),
    }
}

/// The parts between commas, but for those in braces.
pub(crate) fn outside_braces(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0u32;
    list.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// `a{b/c,d}e` as `ab/ce` and `ade`: braces with a slash in them choose between paths. Others are left as they are.
fn expand(pattern: &str) -> Vec<String> {
    let Some((open, close)) = braces_with_slash(pattern) else { return vec![pattern.to_owned()] };
    let (before, inner, after) = (&pattern[..open], &pattern[open + 1..close], &pattern[close + 1..]);
    outside_braces(inner).flat_map(|choice| expand(&format!("{before}{choice}{after}"))).collect()
}

/// Where the first outermost pair of braces with a slash in it opens and closes.
fn braces_with_slash(pattern: &str) -> Option<(usize, usize)> {
    let (mut depth, mut open, mut slash) = (0u32, 0, false);
    let mut chars = pattern.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => _ = chars.next(),
            '{' => {
                if depth == 0 {
                    (open, slash) = (at, false);
                }
                depth += 1;
            }
            '/' => slash = true,
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 && slash {
                    return Some((open, at));
                }
            }
            _ => {}
        }
    }
    None
}

/// The meaning of a component; the error says what cannot be understood.
fn compile(component: &str) -> std::result::Result<Component, String> {
    let (mut expression, mut name) = (String::from(r"(?s)\A"), String::new());
    let (mut braces, mut class, mut wildcard) = (0u32, false, false);
    let literal = |c: char, name: &mut String| {
        name.push(c);
        regex::escape(c.encode_utf8(&mut [0; 4]))
    };
    let mut before = None;
    let mut chars = component.chars();
    while let Some(c) = chars.next() {
        wildcard |= matches!(c, '*' | '?' | '[' | '{');
        match c {
            '\\' => {
                let next = chars.next().ok_or("a character is missing after the backslash")?;
                expression.push_str(&literal(next, &mut name));
            }
            '[' if class => return Err("a class of characters has no end: write ] after it, or \\[".to_owned()),
            '!' if class && before == Some('[') => expression.push('^'),
            '^' | '-' if class => expression.push(c),
            ']' => {
                class = false;
                expression.push(c);
                name.push(c);
            }
            _ if class => expression.push_str(&literal(c, &mut name)),
            '[' => {
                class = true;
                expression.push(c);
            }
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '{' => {
                braces += 1;
                expression.push_str("(?:");
            }
            ',' if braces > 0 => expression.push('|'),
            '}' if braces > 0 => {
                braces -= 1;
                expression.push(')');
            }
            c => expression.push_str(&literal(c, &mut name)),
        }
        before = Some(c);
    }
    if class {
        return Err("a class of characters has no end: write ] after it, or \\[ for the bracket itself".to_owned());
    }
    if braces > 0 {
        return Err("a brace has no end: write } after it, or \\{ for the brace itself".to_owned());
    }
    if !wildcard {
        return Ok(Component::Name(name));
    }
    expression.push_str(r"\z");
    Regex::new(&expression).map(Component::Names).map_err(|e| format!("{component} is no pattern: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        match compile(pattern).unwrap() {
            Component::Name(own) => own == name,
            Component::Names(names) => names.is_match(name),
        }
    }

    #[test]
    fn braces_are_choices() {
        let parts = |s| outside_braces(s).collect::<Vec<_>>();
        assert_eq!(parts("a,{b,c}/d,e"), ["a", "{b,c}/d", "e"]);
        assert_eq!(parts(""), [""]);
        assert_eq!(expand("a{b/x,c{d,e}}f{,g}"), ["ab/xf{,g}", "ac{d,e}f{,g}"]);
        assert_eq!(expand("{a,b}/{c/d,e}"), ["{a,b}/c/d", "{a,b}/e"]);
        assert_eq!(expand("{a/b,c/{d,e/f}}"), ["a/b", "c/d", "c/e/f"]);
        assert_eq!(expand("a}b/\\{c/d}"), ["a}b/\\{c/d}"]);
    }

    #[test]
    fn patterns_mean_what_they_mean_in_hadoop() {
        for (pattern, yes, no) in [
            ("a*b", &["ab", "axb", "a\nb"][..], &["a", "abc", "xab"][..]),
            ("?", &["a", "é", "\u{fffd}"], &["", "ab"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x"]),
            ("[^12]", &["3", "^"], &["1", "2"]),
            ("[!12]", &["3", "!"], &["1", "2"]),
            ("[a!^]", &["a", "!", "^"], &["b"]),
            ("[]x]", &["]", "x"], &["a"]),
            ("[.*+&|]", &[".", "*", "+", "&", "|"], &["a", "ab"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("{a,b*,{c,d}e}.t", &["a.t", "bx.t", "ce.t", "de.t"], &["c.t", "axt", "e.t"]),
            ("x{,1}", &["x", "x1"], &["x2"]),
            ("a.b", &["a.b"], &["axb"]),
            ("(a|b)$+^!", &["(a|b)$+^!"], &["a"]),
            ("\\[run\\]", &["[run]"], &["r"]),
            ("\\*\\{*", &["*{", "*{x"], &["x"]),
            ("a}b,c]", &["a}b,c]"], &["a"]),
            ("{a\\,b,c}", &["a,b", "c"], &["a", "b"]),
        ] {
            for (names, expected) in [(yes, true), (no, false)] {
                for name in names {
                    assert_eq!(matches(pattern, name), expected, "{pattern} and {name:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for (pattern, part) in
            [("a{b", "brace"), ("[a", "class"), ("[[a]", "class"), ("a\\", "backslash"), ("[b-a]", "[b-a]")]
        {
            let error = compile(pattern).err().unwrap();
            assert!(error.contains(part), "{pattern}: {error}");
        }
    }
}
