//! Bytes that a child inherits as a descriptor: they appear neither in its argv, nor in its environment, nor on disk.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::fd::{FromRawFd, OwnedFd, RawFd},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};

/// An anonymous file in memory that holds `bytes`, positioned at its start. `name` shows in `/proc`.
pub fn memfd(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC)?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

/// All bytes of a descriptor that can be positioned, from its start.
pub fn read_all(fd: OwnedFd) -> io::Result<Vec<u8>> {
    let mut file = File::from(fd);
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Takes over a descriptor that this process was started with, and keeps it from its own children.
///
/// # Errors
/// When `fd` is not open, is one of the three standard ones, or was not inherited (or is taken already).
pub fn take_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("descriptor {fd} {why}"));
    if fd <= 2 {
        return Err(wrong("is a standard one"));
    }
    // SAFETY: only used for the two fcntl calls below, which fail with EBADF when it is not open and change nothing of
    // what its owner, if there is one, could observe before it is known to have none.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    let flags = fcntl(borrowed, FcntlArg::F_GETFD).map_err(|e| wrong(&format!("cannot be used: {e}")))?;
    if FdFlag::from_bits_truncate(flags).contains(FdFlag::FD_CLOEXEC) {
        return Err(wrong("was not inherited, or is taken already"));
    }
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open and nobody else owns it: std sets close-on-exec on everything that it opens, so one without
    // it came from the parent process; and it was set above, so this function gives it away once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_is_put_in_is_read_from_the_start_wherever_the_position_is() {
        let fd = memfd("test", b"hello").unwrap();
        let mut file = File::from(fd);
        file.seek(SeekFrom::End(0)).unwrap();
        assert_eq!(read_all(file.into()).unwrap(), b"hello");
    }

    #[test]
    fn only_an_inherited_descriptor_is_taken_and_only_once() {
        let own = memfd("own", b"").unwrap();
        assert!(take_inherited(own.as_raw_fd()).unwrap_err().to_string().contains("not inherited"));
        assert!(take_inherited(1).is_err());
        assert!(take_inherited(1 << 20).unwrap_err().to_string().contains("cannot be used"));

        let fd = std::os::fd::IntoRawFd::into_raw_fd(own);
        // SAFETY: open, and owned by this test.
        let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
        fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let taken = take_inherited(fd).unwrap();
        assert!(take_inherited(fd).is_err());
        drop(taken);
    }
}
