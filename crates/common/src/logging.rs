//! How log lines look, for every process of ours: one event, one line, whatever its texts hold.
//!
//! ```text
//!  to_stderr(filter) ─▶ tracing-subscriber's format, fields by OneLine ─▶ console::stderr()
//! ```
//!
//! Names, addresses and reasons come from peers and from user code. Written as they are, a line end in one would begin a
//! line that nobody of ours has written, and an escape sequence would move the cursor of whoever reads the log. So
//! [`OneLine`] escapes in every value and message what ends a line, controls a terminal or turns the direction of text,
//! and cuts values at [`LONGEST_VALUE`].
//!
//! That holds for our own texts, too: the end of an executor's standard error stands in one line, with `\n` where it had
//! line ends. A line can then be found, counted and cut off as one, and no rule has to know who wrote which text. What is said
//! to a person instead of logged (the error with which a program ends) keeps its lines: see [`console::say`].

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    EnvFilter,
    field::{MakeVisitor, VisitFmt, VisitOutput},
    fmt::{
        SubscriberBuilder,
        format::{Format, Writer},
    },
};

use crate::console::{self, Stderr};

/// Bytes of a value or message as written; of a longer one the beginning is.
pub const LONGEST_VALUE: usize = 16 << 10;

/// A subscriber's builder that writes to standard error what the filter admits, without colours, fields by [`OneLine`].
pub fn to_stderr(filter: EnvFilter) -> SubscriberBuilder<OneLine, Format, EnvFilter, fn() -> Stderr> {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .fmt_fields(OneLine)
        .with_env_filter(filter)
        .with_writer(console::stderr as fn() -> Stderr)
}

/// Formats the fields of events and spans as tracing-subscriber does by itself, each value within its line.
#[derive(Clone, Copy, Debug)]
pub struct OneLine;

impl<'a> MakeVisitor<Writer<'a>> for OneLine {
    type Visitor = Fields<'a>;

    fn make_visitor(&self, writer: Writer<'a>) -> Fields<'a> {
        Fields { writer, is_first: true, result: Ok(()) }
    }
}

/// Writes one field after the other.
#[derive(Debug)]
pub struct Fields<'a> {
    writer: Writer<'a>,
    is_first: bool,
    result: fmt::Result,
}

impl Fields<'_> {
    fn field(&mut self, name: &str, value: &dyn Debug) -> fmt::Result {
        if !std::mem::replace(&mut self.is_first, false) {
            self.writer.write_char(' ')?;
        }
        if name != "message" {
            write!(self.writer, "{}=", name.strip_prefix("r#").unwrap_or(name))?;
        }
        let mut line = Escaping { out: &mut self.writer, keep: |_| false, left: LONGEST_VALUE, cut: 0 };
        write!(line, "{value:?}")?;
        line.finish()
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // The place of an event that came from the `log` crate is its metadata's.
        if self.result.is_ok() && !field.name().starts_with("log.") {
            self.result = self.field(field.name(), value);
        }
    }
}

impl VisitOutput<fmt::Result> for Fields<'_> {
    fn finish(self) -> fmt::Result {
        self.result
    }
}

impl VisitFmt for Fields<'_> {
    fn writer(&mut self) -> &mut dyn Write {
        &mut self.writer
    }
}

/// A text in which nothing can end a line or control a terminal, but for line ends and tabulators.
pub(crate) fn without_controls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut escaping = Escaping { out: &mut out, keep: |c| matches!(c, '\n' | '\t'), left: usize::MAX, cut: 0 };
    // A String takes everything.
    let _ = escaping.write_str(text);
    out
}

/// Whether a character must not get into a log as it is.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        // The separators of lines and paragraphs, and what is not seen or turns the direction of what follows.
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Passes text on with what is unsafe escaped, up to a number of bytes.
struct Escaping<'a, W> {
    out: &'a mut W,
    /// What passes although it is unsafe.
    keep: fn(char) -> bool,
    left: usize,
    /// Bytes of text that were left out.
    cut: usize,
}

impl<W: Write> Escaping<'_, W> {
    fn put(&mut self, text: &str, of: usize) -> fmt::Result {
        if self.cut > 0 || text.len() > self.left {
            self.cut += of;
            return Ok(());
        }
        self.left -= text.len();
        self.out.write_str(text)
    }

    fn finish(self) -> fmt::Result {
        match self.cut {
            0 => Ok(()),
            bytes => write!(self.out, "… ({bytes} bytes more)"),
        }
    }
}

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c) && !(self.keep)(*c)) {
            self.run(&rest[..at])?;
            let escaped: String = c.escape_default().collect();
            self.put(&escaped, c.len_utf8())?;
            rest = &rest[at + c.len_utf8()..];
        }
        self.run(rest)
    }
}

impl<W: Write> Escaping<'_, W> {
    /// A text without anything unsafe: as much of it as there is room for.
    fn run(&mut self, text: &str) -> fmt::Result {
        let room = if self.cut > 0 { 0 } else { text.floor_char_boundary(self.left) };
        let (fits, beyond) = text.split_at(room);
        self.put(fits, fits.len())?;
        self.cut += beyond.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged meanwhile, as every process of ours formats it.
    fn logged(work: impl FnOnce()) -> String {
        let (log, filter) = (Log::default(), EnvFilter::new("trace"));
        let writer = log.clone();
        let subscriber = to_stderr(filter).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = log.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_end_in_a_value_a_message_or_a_span_begins_no_line() {
        let evil = "a\nINFO fake\r\u{85}\u{2028}\x1b[2J\u{9b}1m\u{202e}\0";
        let text = logged(|| {
            tracing::info!(shown = %evil, debug = ?evil, text = evil, "message {evil}");
            let span = tracing::info_span!("span", of = %evil, later = tracing::field::Empty);
            span.record("later", evil);
            span.in_scope(|| tracing::warn!("within"));
        });
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(text.matches('\n').count(), 2);
        assert!(text.chars().all(|c| c == '\n' || !is_unsafe(c)), "{text:?}");
        // It can still be read what it was.
        let escaped = r"a\nINFO fake\r\u{85}\u{2028}\u{1b}[2J\u{9b}1m\u{202e}\u{0}";
        for part in [format!("shown={escaped} "), format!("message {escaped} "), format!("span{{of={escaped} ")] {
            assert!(text.contains(&part), "{text} lacks {part}");
        }
    }

    #[test]
    fn values_are_written_as_ever() {
        let text = logged(|| tracing::info!(id = 7, name = "a b", path = %"/tmp/ä", r#type = ?Some(1), "it's there"));
        let from = text.find("it's").unwrap();
        assert_eq!(&text[from..], "it's there id=7 name=\"a b\" path=/tmp/ä type=Some(1)\n");
    }

    #[test]
    fn a_long_value_is_cut_between_its_characters_and_says_so() {
        for c in ["ä", "\n", "x"] {
            let long = c.repeat(LONGEST_VALUE);
            let text = logged(|| tracing::info!(long = %long, after = 1, "message"));
            assert!(text.len() < LONGEST_VALUE + 200, "{}", text.len());
            assert_eq!(text.lines().count(), 1);
            assert!(text.ends_with(" bytes more) after=1\n") || c == "x", "{}", &text[text.len() - 100..]);
        }
        let fits = "x".repeat(LONGEST_VALUE);
        assert!(logged(|| tracing::info!(%fits)).ends_with("xx\n"));
    }

    #[test]
    fn what_is_said_to_a_person_keeps_its_lines_and_controls_no_terminal() {
        assert_eq!(without_controls("one\n\ttwo\x1b[31m\r"), "one\n\ttwo\\u{1b}[31m\\r");
    }
}
