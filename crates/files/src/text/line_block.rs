//! [`LineBlock`]: many lines as one piece of text, so that a line costs no allocation. Made by `line_reader.rs`,
//! looked at by `rdd`'s operators of lines.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};
use serde::{Deserialize, Serialize};

/// Consecutive lines of a text file.
#[derive(Clone, Serialize, Deserialize)]
pub struct LineBlock {
    text: Text,
    /// The lines that are left where lines were filtered, as ranges of the text.
    kept: Option<Vec<Range<usize>>>,
}

/// Whole lines with their ends; the last one may be without.
#[derive(Clone, Serialize, Deserialize)]
enum Text {
    /// As they were read: nobody who only counts lines need look at more than their ends.
    Raw(Vec<u8>),
    /// As a text, and whether there is a `\r` without a `\n` in it: most texts need not be searched for it line by line.
    Checked(String, bool),
}

impl Text {
    /// As Spark's Text does, bytes that are no UTF-8 become replacement characters.
    fn checked(&mut self) -> (&str, bool) {
        if let Text::Raw(bytes) = self {
            let text = match simdutf8::basic::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => String::from_utf8_lossy(bytes).into_owned(),
            };
            let lone_returns = has_lone_returns(text.as_bytes());
            *self = Text::Checked(text, lone_returns);
        }
        match self {
            Text::Checked(text, lone_returns) => (text, *lone_returns),
            Text::Raw(_) => ("", false),
        }
    }
}

impl LineBlock {
    /// The lines of `bytes`.
    pub fn new(bytes: Vec<u8>) -> Self {
        LineBlock { text: Text::Raw(bytes), kept: None }
    }

    /// Hands each line from place `at` on to `f`, without its end (`\n`, `\r\n` or `\r`), until `f` says that it is enough.
    /// Returns the place to go on from, which is 0 for the first line; `None` at the end.
    #[inline]
    pub fn lines_from(&mut self, at: usize, mut f: impl FnMut(&str) -> bool) -> Option<usize> {
        let (text, lone_returns) = self.text.checked();
        match &self.kept {
            Some(kept) => kept.iter().skip(at).position(|range| !f(&text[range.clone()])).map(|i| at + i + 1),
            None => ranges_from(text.as_bytes(), lone_returns, at, |range| f(&text[range])),
        }
    }

    /// Leaves only the lines for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let (text, lone_returns) = self.text.checked();
        if let Some(kept) = &mut self.kept {
            return kept.retain(|range| keep(&text[range.clone()]));
        }
        let mut kept = Vec::new();
        ranges_from(text.as_bytes(), lone_returns, 0, |range| {
            if keep(&text[range.clone()]) {
                kept.push(range);
            }
            true
        });
        self.kept = Some(kept);
    }

    /// How many lines there are.
    pub fn count(&self) -> usize {
        let bytes = match (&self.kept, &self.text) {
            (Some(kept), _) => return kept.len(),
            (None, Text::Raw(bytes)) => bytes,
            (None, Text::Checked(text, _)) => text.as_bytes(),
        };
        let ends = match memchr(b'\r', bytes) {
            None => memchr_iter(b'\n', bytes).count(),
            Some(_) => ends_with_returns(bytes),
        };
        ends + usize::from(bytes.last().is_some_and(|last| !b"\n\r".contains(last)))
    }
}

/// Hands on where the lines are from `at` on, as [`LineBlock::lines_from`] does.
#[inline]
fn ranges_from(
    bytes: &[u8],
    lone_returns: bool,
    from: usize,
    mut f: impl FnMut(Range<usize>) -> bool,
) -> Option<usize> {
    if lone_returns {
        return ranges_with_lone_returns(bytes, from, f);
    }
    let mut at = from;
    for end in memchr_iter(b'\n', bytes.get(from..).unwrap_or_default()) {
        let end = from + end;
        let line = at..end - usize::from(end > at && bytes[end - 1] == b'\r');
        at = end + 1;
        if !f(line) {
            return Some(at);
        }
    }
    if at < bytes.len() && !f(at..bytes.len()) {
        return Some(bytes.len());
    }
    None
}

fn ranges_with_lone_returns(bytes: &[u8], mut at: usize, mut f: impl FnMut(Range<usize>) -> bool) -> Option<usize> {
    while at < bytes.len() {
        let end = memchr2(b'\n', b'\r', &bytes[at..]).map_or(bytes.len(), |i| at + i);
        let line = at..end;
        at = end + 1 + usize::from(bytes[end..].starts_with(b"\r\n"));
        if !f(line) {
            return Some(at);
        }
    }
    None
}

/// Whether there is a `\r` that ends a line by itself.
fn has_lone_returns(bytes: &[u8]) -> bool {
    let Some(first) = memchr(b'\r', bytes) else { return false };
    let lone = |byte, next| byte == b'\r' && next != b'\n';
    bytes.ends_with(b"\r") || counts_of_runs(&bytes[first..], lone).any(|lone| lone > 0)
}

/// How many line ends there are.
fn ends_with_returns(bytes: &[u8]) -> usize {
    let ends = counts_of_runs(bytes, |byte, next| byte == b'\n' || byte == b'\r' && next != b'\n');
    // The last byte has no next one.
    ends.map(usize::from).sum::<usize>() + usize::from(bytes.last().is_some_and(|last| b"\n\r".contains(last)))
}

/// For how many bytes, with the one after each, `counted` is true, run by run; the last byte has none after it. A run is so
/// short that its count fits into a byte, of which the compiler makes vector instructions.
#[inline]
fn counts_of_runs(bytes: &[u8], counted: impl Fn(u8, u8) -> bool) -> impl Iterator<Item = u8> {
    let next = bytes.get(1..).unwrap_or_default();
    bytes.chunks(255).zip(next.chunks(255)).map(move |(run, next)| {
        run.iter().zip(next).map(|(byte, next)| u8::from(counted(*byte, *next))).fold(0, u8::wrapping_add)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(block: &mut LineBlock) -> Vec<String> {
        let (mut lines, mut at) = (Vec::new(), Some(0));
        // One at a time, so that going on is tested as well.
        while let Some(from) = at {
            at = block.lines_from(from, |line| {
                lines.push(line.to_owned());
                false
            });
        }
        lines
    }

    #[test]
    fn lines_end_as_in_files() {
        let cases: [(&str, &[&str]); 10] = [
            ("", &[]),
            ("\n", &[""]),
            ("a\r\nb\n\nc", &["a", "b", "", "c"]),
            ("a\rb\r\r\nc\r", &["a", "b", "", "c"]),
            ("\r\n\r", &["", ""]),
            ("\r", &[""]),
            ("\n\r", &["", ""]),
            ("a\n\rb", &["a", "", "b"]),
            ("a\r\r\nb", &["a", "", "b"]),
            ("é\n", &["é"]),
        ];
        for (text, lines) in cases {
            let mut block = LineBlock::new(text.as_bytes().to_vec());
            assert_eq!(block.count(), lines.len(), "{text:?}");
            assert_eq!(all(&mut block), lines, "{text:?}");
            assert_eq!(block.count(), lines.len(), "{text:?}");
        }
    }

    #[test]
    fn lines_are_counted_as_they_are_handed_out() {
        // Lone returns from the start on, none, and one that comes late.
        let late = format!("{}b\r", "a\r\n".repeat(200));
        for text in ["a\rb\n\r\n".repeat(300), "ab\r\nc\n\r\n".repeat(200), late.repeat(2)] {
            for len in 0..text.len() {
                let mut block = LineBlock::new(text.as_bytes()[..len].to_vec());
                let lines = all(&mut block);
                assert_eq!(block.count(), lines.len(), "{len}");
                assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])), "{len}");
            }
        }
    }

    #[test]
    fn filters_work_one_after_the_other() {
        let mut block = LineBlock::new(b"one\ntwo\r\nthree\nfour".to_vec());
        block.retain(|line| line.contains('o'));
        assert_eq!(all(&mut block), ["one", "two", "four"]);
        block.retain(|line| line.len() == 3);
        assert_eq!(all(&mut block), ["one", "two"]);
        assert_eq!(block.count(), 2);
        block.retain(|_| false);
        assert!(block.count() == 0 && all(&mut block).is_empty());
    }

    #[test]
    fn what_is_no_utf8_is_replaced_line_by_line() {
        let bytes = b"a\xff\n\xe2\x82\nok\n\xf0\x9f\n";
        let expected: Vec<_> = bytes.split(|b| *b == b'\n').map(|l| String::from_utf8_lossy(l).into_owned()).collect();
        let mut block = LineBlock::new(bytes.to_vec());
        assert_eq!(block.count(), 4);
        assert_eq!(all(&mut block), expected[..4]);
    }
}
