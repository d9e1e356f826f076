//! Properties files in the grammar of `java.util.Properties`, which is what Spark's `spark-defaults.conf` is written in:
//! `key value`, `key=value` or `key: value`; `#` and `!` start comments; a line that ends with a backslash goes on; `\t \n
//! \r \f \uXXXX` are escapes. The text is UTF-8.

use std::path::Path;

use super::{error::ConfError, source::Source};

/// One entry of a properties file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped, without blanks at its ends.
    pub value: String,
    /// The line at which the entry starts, counted from 1.
    pub line: usize,
}

/// Reads the text of a properties file; `path` is what errors call it.
pub fn parse(text: &str, path: &Path) -> Result<Vec<Entry>, ConfError> {
    // Editors of Windows begin a file with a byte order mark, which would belong to the first key.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut lines = text.split(['\n', '\r']).enumerate();
    let mut entries = Vec::new();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start_matches(BLANKS);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while continues(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start_matches(BLANKS)),
                None => break,
            }
        }
        let line = index + 1;
        let syntax = |reason| ConfError::Syntax { origin: Source::File { path: path.to_owned(), line }, reason };
        let (key, value) = split(&logical);
        let key = unescape(key).map_err(syntax)?;
        let value = unescape(value).map_err(syntax)?.trim_matches([' ', '\t']).to_owned();
        if key.is_empty() {
            return Err(syntax("a key is missing before the value".to_owned()));
        }
        entries.push(Entry { key, value, line });
    }
    Ok(entries)
}

/// Writes entries so that [`parse`] reads them back, except for blanks and tabs at the ends of values.
pub fn write<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (key, value) in entries {
        escape(key, true, &mut out);
        out.push('=');
        escape(value, false, &mut out);
        out.push('\n');
    }
    out
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// An odd number of backslashes at the end joins the next line.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

fn split(logical: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = logical
        .char_indices()
        .find(|(_, c)| {
            let ends = !escaped && (matches!(c, '=' | ':') || BLANKS.contains(c));
            escaped = !escaped && *c == '\\';
            ends
        })
        .map_or(logical.len(), |(at, _)| at);
    let (key, rest) = logical.split_at(end);
    let rest = rest.trim_start_matches(BLANKS);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    // Java writes characters beyond the basic plane as two \u escapes.
    let mut high: Option<u32> = None;
    while let Some(c) = chars.next() {
        let unit = if c != '\\' {
            u32::from(c)
        } else {
            match chars.next() {
                None => continue,
                Some('t') => u32::from('\t'),
                Some('n') => u32::from('\n'),
                Some('r') => u32::from('\r'),
                Some('f') => 0xc,
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                        return Err(format!("\\u{digits} is no character: write \\u and four hexadecimal digits"));
                    }
                    u32::from_str_radix(&digits, 16).map_err(|e| e.to_string())?
                }
                Some(other) => u32::from(other),
            }
        };
        match (high.take(), unit) {
            (None, 0xd800..0xdc00) => high = Some(unit),
            (Some(first), 0xdc00..0xe000) => {
                let code = 0x10000 + ((first - 0xd800) << 10) + (unit - 0xdc00);
                out.extend(char::from_u32(code));
            }
            (None, _) => match char::from_u32(unit) {
                Some(c) => out.push(c),
                None => return Err(format!("\\u{unit:04x} is half a character")),
            },
            (Some(first), _) => return Err(format!("\\u{first:04x} is half a character")),
        }
    }
    match high {
        Some(first) => Err(format!("\\u{first:04x} is half a character")),
        None => Ok(out),
    }
}

fn escape(text: &str, key: bool, out: &mut String) {
    for (at, c) in text.char_indices() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{c}' => out.push_str("\\f"),
            ' ' | '=' | ':' if key => out.extend(['\\', c]),
            // At a text's start it would be taken for the mark.
            '\u{feff}' if key && at == 0 => out.push_str("\\ufeff"),
            ' ' | '#' | '!' | '=' | ':' if at == 0 => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String, usize)> {
        let entries = parse(text, Path::new("p")).unwrap();
        entries.into_iter().map(|e| (e.key, e.value, e.line)).collect()
    }

    fn entry(key: &str, value: &str, line: usize) -> (String, String, usize) {
        (key.to_owned(), value.to_owned(), line)
    }

    #[test]
    fn the_three_separators_and_comments_are_read() {
        let text = "# c\n! c\n\n  a 1\nb=2\nc: 3 \n d \t = 4 = 5\ne\n";
        let want =
            [entry("a", "1", 4), entry("b", "2", 5), entry("c", "3", 6), entry("d", "4 = 5", 7), entry("e", "", 8)];
        assert_eq!(read(text), want);
    }

    #[test]
    fn lines_are_joined_after_an_odd_number_of_backslashes() {
        assert_eq!(
            read("a 1,\\\n   2\nb x\\\\\nc 3\\"),
            [entry("a", "1,2", 1), entry("b", "x\\", 3), entry("c", "3", 4)]
        );
        assert_eq!(read("\u{feff}a 1\r\n\r\n# c\r\nb\t2 \r\n"), [entry("a", "1", 1), entry("b", "2", 4)]);
        assert_eq!(read("a 1\r\nb 2\rc 3"), [entry("a", "1", 1), entry("b", "2", 2), entry("c", "3", 3)]);
    }

    #[test]
    fn escapes_are_read_and_bad_ones_name_the_line() {
        assert_eq!(read("a\\ b\\=c=\\u00e9\\ud83d\\ude00\\q"), [entry("a b=c", "\u{e9}\u{1f600}q", 1)]);
        let error = parse("x 1\ny \\u12g4", Path::new("conf/p")).unwrap_err().to_string();
        assert_eq!(error, "conf/p line 2: \\u12g4 is no character: write \\u and four hexadecimal digits");
        assert!(parse("y \\ud800", Path::new("p")).is_err());
        assert!(parse("= 3", Path::new("p")).is_err());
    }

    proptest! {
        #[test]
        fn entries_survive_writing_and_reading(entries in prop::collection::vec(("[^ ]\\PC{0,8}", "\\PC{0,12}|[ -~\\n\\r\u{c}]{0,12}"), 0..6)) {
            let text = write(entries.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            let back = read(&text);
            prop_assert_eq!(back.len(), entries.len());
            for ((key, value, _), (k, v)) in back.iter().zip(&entries) {
                prop_assert_eq!(key, k);
                prop_assert_eq!(value.as_str(), v.trim_matches([' ', '\t']));
            }
        }

        #[test]
        fn no_text_panics(text in "[ -~\\n\\\\=:#u\u{e9}]{0,60}") {
            let _ = parse(&text, Path::new("p"));
        }
    }
}
