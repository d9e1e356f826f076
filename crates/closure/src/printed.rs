//! What an executor and its tasks print: through pipes that the supervisor reads, to where the worker wants it.
//!
//! ```text
//!  println!, eprintln!, log lines, children of tasks ─▶ pipe ─▶ supervisor ─▶ <work>/<application>/<executor>/stdout, stderr
//! ```
//!
//! `println!` panics where it cannot write, so a full disk under the file would fail a task. A pipe that is read always
//! takes it. What has no room in the file is dropped and counted, and the count is said there when writing works again; at
//! the end, in whichever of the two files takes it. Spark's `FileAppender` likewise. Called by [`supervisor`](crate::supervisor).

use std::{ffi::c_int, io, os::fd::RawFd};

/// What is carried at once.
const PART: usize = 64 * 1024;

/// The pipes before the fork: of standard output and of standard error, each (read, write).
pub(crate) struct Pipes([(RawFd, RawFd); 2]);

impl Pipes {
    /// Two pipes, which programs that the executor starts do not inherit.
    pub(crate) fn new() -> io::Result<Pipes> {
        let mut pipes = [(-1, -1); 2];
        for made in &mut pipes {
            let mut ends = [-1; 2];
            // SAFETY: room for two descriptors, of this frame.
            if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
                return Err(io::Error::last_os_error());
            }
            *made = (ends[0], ends[1]);
        }
        Ok(Pipes(pipes))
    }

    /// In the executor: they become its standard output and standard error.
    pub(crate) fn become_standard(self) {
        for ((read, write), standard) in self.0.into_iter().zip([libc::STDOUT_FILENO, libc::STDERR_FILENO]) {
            // SAFETY: system calls on descriptors that `new` has opened and nobody else has.
            unsafe {
                libc::dup2(write, standard);
                libc::close(read);
                libc::close(write);
            }
        }
    }

    /// In the supervisor, whose own standard output and standard error are the files.
    pub(crate) fn into_printed(self) -> Printed {
        let [out, err] = self.0.map(|(read, write)| {
            // SAFETY: as above. Who reads never waits; who writes does, as the flag is that of the reading end.
            unsafe {
                libc::close(write);
                libc::fcntl(read, libc::F_SETFL, libc::O_NONBLOCK);
            }
            read
        });
        // SAFETY: ignoring a signal installs no handler. A file may have reached the largest size, a pipe have lost its
        // reader: both are errors here.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        }
        Printed {
            streams: [
                Stream::new("standard output", out, libc::STDOUT_FILENO),
                Stream::new("standard error", err, libc::STDERR_FILENO),
            ],
            part: vec![0; PART],
        }
    }
}

/// Both streams, in the supervisor.
pub(crate) struct Printed {
    streams: [Stream; 2],
    part: Vec<u8>,
}

impl Printed {
    /// What is to be waited for; -1 where a stream has ended.
    pub(crate) fn descriptors(&self) -> [RawFd; 2] {
        [self.streams[0].from, self.streams[1].from]
    }

    /// Carries some of what is there, of each stream one part.
    pub(crate) fn carry(&mut self) -> bool {
        let mut some = false;
        for stream in &mut self.streams {
            some |= stream.carry(&mut self.part);
        }
        some
    }

    /// Carries all that is there, when nobody prints any more.
    pub(crate) fn end(&mut self) {
        while self.carry() {}
        let others = [self.streams[1].to, self.streams[0].to];
        for (lossy, other) in self.streams.iter_mut().zip(others) {
            if let Some(note) = lossy.note()
                && lossy.put(note.as_bytes()).is_err()
                && let Err(unsaid) = write_all(other, note.as_bytes())
            {
                // Neither file takes a line: there is nobody left to tell.
                drop(unsaid);
            }
        }
    }
}

/// One of the two.
struct Stream {
    name: &'static str,
    from: RawFd,
    to: RawFd,
    /// Bytes that found no room since the last that did, and why.
    lost: u64,
    reason: Option<io::Error>,
    /// What was written last does not end a line.
    torn: bool,
}

impl Stream {
    fn new(name: &'static str, from: RawFd, to: RawFd) -> Stream {
        Stream { name, from, to, lost: 0, reason: None, torn: false }
    }

    /// Reads once; false when there is nothing.
    fn carry(&mut self, part: &mut [u8]) -> bool {
        if self.from < 0 {
            return false;
        }
        // SAFETY: room for so many bytes, which the caller lends.
        let read = unsafe { libc::read(self.from, part.as_mut_ptr().cast(), part.len()) };
        match usize::try_from(read) {
            Ok(0) => {
                self.from = -1;
                false
            }
            Ok(n) => {
                self.print(&part[..n]);
                true
            }
            Err(_) => io::Error::last_os_error().kind() == io::ErrorKind::Interrupted,
        }
    }

    fn print(&mut self, bytes: &[u8]) {
        let said = self.note().is_none_or(|note| self.put(note.as_bytes()).is_ok());
        let result = if said { self.put(bytes) } else { Err(bytes.len()) };
        if let Err(left) = result {
            self.lost += left as u64;
        }
    }

    /// The line about what is lost.
    fn note(&self) -> Option<String> {
        let reason = self.reason.as_ref()?;
        let start = if self.torn { "\n" } else { "" };
        let (n, name) = (self.lost, self.name);
        Some(format!("{start}firesteel: {n} bytes of {name} could not be written: {reason}\n"))
    }

    /// Writes; the error is how many bytes are left.
    fn put(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let (written, failed) = match write_all(self.to, bytes) {
            Ok(()) => (bytes.len(), None),
            Err((written, error)) => (written, Some(error)),
        };
        if let Some(last) = bytes[..written].last() {
            self.torn = *last != b'\n';
        }
        match failed {
            None => {
                (self.lost, self.reason) = (0, None);
                Ok(())
            }
            Some(error) => {
                self.reason = Some(error);
                Err(bytes.len() - written)
            }
        }
    }
}

/// Writes all; the error says how much was written.
fn write_all(to: c_int, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut at = 0;
    while at < bytes.len() {
        // SAFETY: the rest of the caller's bytes.
        let n = unsafe { libc::write(to, bytes[at..].as_ptr().cast(), bytes.len() - at) };
        match usize::try_from(n) {
            Ok(0) => return Err((at, io::ErrorKind::WriteZero.into())),
            Ok(n) => at += n,
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err((at, e)),
            },
        }
    }
    Ok(())
}
