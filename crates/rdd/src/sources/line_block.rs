//! [`LineBlock`]: many lines as one piece of text, so that a line costs no allocation. Made by `text_file.rs`, looked at
//! by the operators of [`crate::Lines`].

use std::ops::Range;

use memchr::{memchr, memchr_iter};
use serde::{Deserialize, Serialize};

/// Consecutive lines of a text file.
#[derive(Clone, Serialize, Deserialize)]
pub struct LineBlock {
    /// Whole lines with their ends; the last one may be without.
    text: String,
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
        LineBlock { text, kept: None }
    }

    /// Hands each line from place `at` on to `f`, without its end (`\n` or `\r\n`), until `f` says that it is enough.
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
        while at < bytes.len() {
            let end = memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |i| at + i);
            let line = at..end - usize::from(end > at && bytes[end - 1] == b'\r');
            at = end + 1;
            if !f(line) {
                return Some(at);
            }
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
                let ends = memchr_iter(b'\n', self.text.as_bytes()).count();
                ends + usize::from(!self.text.is_empty() && !self.text.ends_with('\n'))
            }
        }
    }
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
        let cases: [(&str, &[&str]); 6] = [
            ("", &[]),
            ("\n", &[""]),
            ("a\r\nb\n\nc", &["a", "b", "", "c"]),
            ("a\rb\r\r\nc\r", &["a\rb\r", "c"]),
            ("\r\n\r", &["", ""]),
            ("é\n", &["é"]),
        ];
        for (text, lines) in cases {
            let block = LineBlock::new(text.as_bytes());
            assert_eq!(all(&block), lines, "{text:?}");
            assert_eq!(block.count(), lines.len(), "{text:?}");
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
