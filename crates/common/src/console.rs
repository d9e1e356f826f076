//! What our processes say on standard error: log lines, warnings and errors. The place may be a full disk, a pipe whose
//! reader has left or closed; then lines are dropped and counted, and nothing else happens. The count is said when
//! writing works again.
//!
//! ```text
//!  tracing's subscriber of daemon, executor, driver ─▶ stderr() ─┐
//!  say!(..)                                          ─▶ say() ────┴▶ LossyWriter ─▶ standard error
//! ```
//!
//! `println!` and `eprintln!` panic where this does not; a lint forbids them outside of tests and programs.

use std::{
    fmt,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

/// Prints a line to standard error as `eprintln!` does, but never panics: see [`console`](crate::console).
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::console::say(::std::format_args!($($text)*)) };
}

static STANDARD_ERROR: LossyWriter<StandardError> = LossyWriter::new(StandardError);

/// A line to standard error, or several; [`say!`](crate::say) is shorter. What would control a terminal is escaped: errors
/// quote texts of others.
pub fn say(line: fmt::Arguments<'_>) {
    let text = crate::logging::without_controls(&format!("{line}\n"));
    STANDARD_ERROR.write(text.as_bytes());
}

/// Standard error as a writer that never fails, for whole log lines: each `write` is one.
pub fn stderr() -> Stderr {
    Stderr
}

/// See [`stderr`].
#[derive(Clone, Copy, Debug)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        STANDARD_ERROR.write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The process's own, which is not buffered.
struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines as far as they can be written, and counts the others.
struct LossyWriter<W>(Mutex<State<W>>);

struct State<W> {
    out: W,
    lost: u64,
    /// Why the last one was lost.
    reason: Option<io::Error>,
    /// A part of a line is there, without its end.
    torn: bool,
}

impl<W: Write> LossyWriter<W> {
    const fn new(out: W) -> LossyWriter<W> {
        LossyWriter(Mutex::new(State { out, lost: 0, reason: None, torn: false }))
    }

    fn write(&self, line: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(line);
    }
}

impl<W: Write> State<W> {
    fn write(&mut self, line: &[u8]) {
        if let Err(e) = self.try_write(line) {
            self.lost += 1;
            self.reason = Some(e);
        }
    }

    fn try_write(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(reason) = &self.reason {
            let (start, n) = (if self.torn { "\n" } else { "" }, self.lost);
            let lines = if n == 1 { "line" } else { "lines" };
            let said = format!("{start}firesteel: {n} log {lines} could not be written: {reason}\n");
            self.put(said.as_bytes())?;
            (self.lost, self.reason) = (0, None);
        }
        self.put(line)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    rest = &rest[n..];
                    self.torn = !rest.is_empty();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Not waited for, either: whoever gave us a pipe that does not block may never read it.
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, as a disk does that is nearly full.
    struct Disk {
        room: usize,
        text: Vec<u8>,
        interrupt: bool,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if std::mem::take(&mut self.interrupt) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let n = bytes.len().min(self.room);
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= n;
            self.text.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_without_room_are_counted_and_the_count_is_said_once_there_is_room() {
        let disk = Disk { room: 8, text: Vec::new(), interrupt: true };
        let mut log = State { out: disk, lost: 0, reason: None, torn: false };
        for line in ["first\n", "second\n", "third\n", "fourth\n"] {
            log.write(line.as_bytes());
        }
        assert_eq!(log.lost, 3);
        log.out.room = 3;
        log.write(b"fifth\n");
        assert_eq!(log.lost, 4, "the count itself had no room");
        log.out.room = 1000;
        log.write(b"sixth\n");
        log.write(b"seventh\n");
        let text = String::from_utf8(log.out.text.clone()).unwrap();
        let (start, rest) = text.split_at("first\nse\nfi".len());
        assert_eq!(start, "first\nse\nfi", "what was begun stands on a line of its own");
        let reason = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(rest, format!("\nfiresteel: 4 log lines could not be written: {reason}\nsixth\nseventh\n"));
        log.out.room = 0;
        log.write(b"eighth\n");
        log.out.room = 1000;
        log.write(b"ninth\n");
        let end = format!("seventh\nfiresteel: 1 log line could not be written: {reason}\nninth\n");
        assert!(String::from_utf8(log.out.text).unwrap().ends_with(&end));
    }
}
