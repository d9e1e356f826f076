//! [`ReadTask`]: through what a task reads files, so that what it reads is counted and what fails is named.

use std::{
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    Codec, FilePath, FileSystems, InputFile,
    codec::{check_plain, codec_of, explain},
    error::{Error, Result},
};

/// A task that reads a split.
#[derive(Clone, Debug)]
pub struct ReadTask {
    systems: FileSystems,
    read: Arc<AtomicU64>,
}

impl ReadTask {
    /// A task that knows these file systems.
    pub fn new(systems: FileSystems) -> ReadTask {
        ReadTask { systems, read: Arc::default() }
    }

    /// The file systems.
    pub fn systems(&self) -> &FileSystems {
        &self.systems
    }

    /// Bytes that were read of its files, as they lie there.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// A file, from its start.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&self, path: &FilePath) -> Result<TaskInput<Box<dyn InputFile>>> {
        let file = self.systems.of(path)?.open(path).map_err(|e| Error::io(path, e))?;
        Ok(TaskInput { file, read: self.read.clone(), path: path.clone() })
    }

    /// The bytes `range` of a file; fewer where it ends before.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_range(&self, path: &FilePath, range: Range<u64>) -> Result<TaskInput<Box<dyn Read + Send>>> {
        let file = self.systems.of(path)?.open_range(path, range).map_err(|e| Error::io(path, e))?;
        Ok(TaskInput { file, read: self.read.clone(), path: path.clone() })
    }

    /// A plain file, from the byte `start` on.
    ///
    /// # Errors
    /// When it cannot be opened, or begins as packed files do.
    pub fn open_plain(&self, path: &FilePath, start: u64) -> Result<TaskInput<Box<dyn InputFile>>> {
        let mut file = self.open(path)?;
        let plain = check_plain(&mut file.file).and_then(|()| file.file.seek(SeekFrom::Start(start)));
        plain.map_err(|e| Error::io(path, e))?;
        Ok(file)
    }

    /// What is in a file that may be packed: its name says how.
    ///
    /// # Errors
    /// When it cannot be opened, or is packed in a way that cannot be read or that its name does not say.
    pub fn open_unpacked(&self, path: &FilePath) -> Result<Box<dyn Read + Send>> {
        let Some(codec) = codec_of(path)? else { return Ok(Box::new(self.open_plain(path, 0)?)) };
        let system = self.systems.of(path)?;
        let open = || {
            let packed = Counted { file: system.open(path)?, read: self.read.clone() };
            codec.decoder(Box::new(packed))
        };
        Ok(Box::new(Unpacked { file: open().map_err(|e| Error::io(path, e))?, path: path.clone(), codec }))
    }
}

/// An open file of a task. Its errors name it.
pub struct TaskInput<R> {
    file: R,
    read: Arc<AtomicU64>,
    path: FilePath,
}

impl<R> TaskInput<R> {
    /// The file.
    pub fn path(&self) -> &FilePath {
        &self.path
    }
}

impl<R: Read> Read for TaskInput<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer).map_err(|e| named(&self.path, &e, e.to_string()))?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read(buffer) {
                Ok(0) => {
                    let e = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(named(&self.path, &e, format!("it ends {} bytes too early", buffer.len())));
                }
                Ok(n) => buffer = buffer.split_at_mut(n).1,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl<R: Seek> Seek for TaskInput<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to).map_err(|e| named(&self.path, &e, e.to_string()))
    }
}

/// A packed file that counts what is read of it.
struct Counted<R> {
    file: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// What is in a packed file.
struct Unpacked {
    file: Box<dyn Read + Send>,
    path: FilePath,
    codec: &'static dyn Codec,
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|e| named(&self.path, &e, explain(self.codec, &e)))
    }
}

/// An error of the same kind that names the file.
fn named(path: &FilePath, e: &io::Error, reason: String) -> io::Error {
    io::Error::new(e.kind(), format!("{path}: {reason}"))
}
