//! [`LineBlock`]: many lines as one piece of text, so that a line costs no allocation. Made by `text_file.rs`, looked at
//! by the operators of [`crate::Lines`].

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};
use serde::{Deserialize, Serialize};

/// Consecutive lines of a text file.
#[derive(Clone, Serialize, Deserialize)]
pub struct LineBlock {
    /// Whole lines with their ends; the last one may be without.
    text: String,
    /// Whether there is a `\r` in the text: most texts have none, and need not be searched for it line by line.
    returns: bool,
    /// The lines that are left where lines were filtered, as ranges of `text`.
    kept: Option<Vec<Range<usize>>>,
}

impl LineBlock {
    /// The lines of `bytes`. As Spark's Text does, bytes that are no UTF-8 become replacement characters.
    pub fn new(bytes: &[u8]) -> Self {
        let text = match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => String::from_utf8_lossy(bytes).into_owned(),
        };
        let returns = memchr(b'\r', text.as_bytes()).is_some();
        LineBlock { text, returns, kept: None }
    }

    /// Hands each line from place `at` on to `f`, without its end (`\n`, `\r\n` or `\r`), until `f` says that it is enough.
    /// Returns the place to go on from, which is 0 for the first line; `None` at the end.
    #[inline]
    pub fn lines_from(&self, at: usize, mut f: impl FnMut(&str) -> bool) -> Option<usize> {
        self.ranges_from(at, |range| f(&self.text[range]))
    }

    #[inline]
    fn ranges_from(&self, mut at: usize, mut f: impl FnMut(Range<usize>) -> bool) -> Option<usize> {
        if let Some(kept) = &self.kept {
            let more = kept.iter().enumerate().skip(at).find(|(_, range)| !f((*range).clone()));
            return more.map(|(i, _)| i + 1);
        }
        let bytes = self.text.as_bytes();
        if self.returns {
            return ranges_with_returns(bytes, at, f);
        }
        let from = at;
        for end in memchr_iter(b'\n', bytes.get(from..).unwrap_or_default()) {
            let line = at..from + end;
            at = from + end + 1;
            if !f(line) {
                return Some(at);
            }
        }
        if at < bytes.len() && !f(at..bytes.len()) {
            return Some(bytes.len());
        }
        None
    }

    /// Leaves only the lines for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let mut kept = Vec::new();
        self.ranges_from(0, |range| {
            if keep(&self.text[range.clone()]) {
                kept.push(range);
            }
            true
        });
        self.kept = Some(kept);
    }

    /// How many lines there are.
    pub fn count(&self) -> usize {
        match &self.kept {
            Some(kept) => kept.len(),
            None => {
                let bytes = self.text.as_bytes();
                let ends = if self.returns { ends_with_returns(bytes) } else { memchr_iter(b'\n', bytes).count() };
                ends + usize::from(bytes.last().is_some_and(|last| !b"\n\r".contains(last)))
            }
        }
    }
}

/// As [`LineBlock::ranges_from`] for a text with `\r` in it.
#[inline]
fn ranges_with_returns(bytes: &[u8], mut at: usize, mut f: impl FnMut(Range<usize>) -> bool) -> Option<usize> {
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

/// How many line ends there are. Written so that the compiler makes vector instructions of it, each of whose bytes counts
/// to 255 at most.
fn ends_with_returns(bytes: &[u8]) -> usize {
    let next = bytes.get(1..).unwrap_or_default();
    let pairs = bytes.chunks(255).zip(next.chunks(255));
    let ends: usize = pairs
        .map(|(bytes, next)| {
            let ends = bytes.iter().zip(next);
            let ends =
                ends.map(|(byte, next)| u8::from(*byte == b'\n') | u8::from(*byte == b'\r') & u8::from(*next != b'\n'));
            usize::from(ends.fold(0u8, u8::wrapping_add))
        })
        .sum();
    // The last byte has no next one.
    ends + usize::from(bytes.last().is_some_and(|last| b"\n\r".contains(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(block: &LineBlock) -> Vec<String> {
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
            let block = LineBlock::new(text.as_bytes());
            assert_eq!(all(&block), lines, "{text:?}");
            assert_eq!(block.count(), lines.len(), "{text:?}");
        }
    }

    #[test]
    fn lines_are_counted_as_they_are_handed_out() {
        let text = "a\rb\n\r\n".repeat(300);
        for len in 0..text.len() {
            let block = LineBlock::new(&text.as_bytes()[..len]);
            assert_eq!(block.count(), all(&block).len(), "{len}");
        }
    }

    #[test]
    fn filters_work_one_after_the_other() {
        let mut block = LineBlock::new(b"one\ntwo\r\nthree\nfour");
        block.retain(|line| line.contains('o'));
        assert_eq!(all(&block), ["one", "two", "four"]);
        block.retain(|line| line.len() == 3);
        assert_eq!(all(&block), ["one", "two"]);
        assert_eq!(block.count(), 2);
        block.retain(|_| false);
        assert!(block.count() == 0 && all(&block).is_empty());
    }

    #[test]
    fn what_is_no_utf8_is_replaced_line_by_line() {
        let bytes = b"a\xff\n\xe2\x82\nok\n\xf0\x9f\n";
        let expected: Vec<_> = bytes.split(|b| *b == b'\n').map(|l| String::from_utf8_lossy(l).into_owned()).collect();
        assert_eq!(all(&LineBlock::new(bytes)), expected[..4]);
    }
}
