//! The process's table of open files.

use std::{fs::File, io};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::resource::{Resource, getrlimit, setrlimit},
};

/// As many descriptors get a place at once. The usual soft limit, so that it is hardly ever refused.
const ROOM: i32 = 1024;

/// Makes the kernel's table of this process's descriptors so large that it need not grow soon. It doubles when it is
/// full, and in a process with threads each time costs some 10 ms, in which the one who opens a file waits: a task, if
/// this has not been called. The call itself takes as long.
///
/// # Errors
/// That of the system call, for a process that may not have so many descriptors.
pub fn make_room() -> io::Result<()> {
    let highest = fcntl(File::open("/dev/null")?, FcntlArg::F_DUPFD_CLOEXEC(ROOM - 1))?;
    // The table does not shrink.
    Ok(nix::unistd::close(highest)?)
}

/// Raises how many descriptors this process may have to what the system allows at most, as a JVM does; what it starts
/// inherits that. The answer is the new limit. The usual soft limit of 1,024 is meant for programs that use `select`.
///
/// # Errors
/// Those of the system calls.
pub fn raise_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// How many descriptors this process may have.
///
/// # Errors
/// That of the system call.
pub fn limit() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_limit_is_what_the_system_allows_at_most() {
        let raised = super::raise_limit().unwrap();
        assert_eq!(super::limit().unwrap(), raised);
        let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((soft, hard), (raised, raised));
    }

    #[test]
    fn the_table_of_descriptors_grows_and_nothing_stays_open() {
        let size = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|l| l.starts_with("FDSize:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<i32>().unwrap()
        };
        super::make_room().unwrap();
        assert!(size() >= super::ROOM, "{}", size());
        assert!(!std::fs::exists(format!("/proc/self/fd/{}", super::ROOM - 1)).unwrap());
    }
}
