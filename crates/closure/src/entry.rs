//! Where an executor process begins: instead of the user's `main`, which it never runs.
//!
//! ```text
//!  firesteel-executor (or a driver's own launcher) sets FIRESTEEL_EXECUTOR="<config_fd>,<lifeline_fd>", then execs
//!  _start ─▶ __libc_start_main (ours, from `enter!`) ─▶ takes and unsets the marker ─▶ libc's __libc_start_main
//!                 ├─ no marker: the user's main, untouched
//!                 └─ marker:    constructors run as always, then executor_main: a supervisor above it (`supervisor.rs`),
//!                               SIGPIPE ignored, stack overflows named, run() on a fresh thread; its result is the
//!                               exit status
//! ```
//!
//! Not a constructor on dynamic glibc: constructors of crates later in link order would not have run, and std's own
//! start-up has not either. A statically linked executable (musl, or `+crt-static`) has no libc to find behind ours, so
//! there a constructor has to serve: code that runs in an executor must then not rely on other constructors.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    os::fd::{FromRawFd, OwnedFd, RawFd},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use firesteel_common::say;

use crate::object::Object;

/// The environment variable that makes a process an executor.
pub const MARKER: &str = "FIRESTEEL_EXECUTOR";
const MARKER_C: &CStr = c"FIRESTEEL_EXECUTOR";

/// Type of a C `main`.
pub type Main = extern "C" fn(c_int, *const *const c_char, *const *const c_char) -> c_int;
type Start = unsafe extern "C" fn(
    Main,
    c_int,
    *const *const c_char,
    *const c_void,
    *const c_void,
    *const c_void,
    *const c_void,
) -> c_int;

struct Launch {
    config: RawFd,
    lifeline: RawFd,
    run: fn() -> i32,
    /// Whether memory may come in huge pages, which an allocator asks for as soon as it is used: one of them is more than all
    /// that the supervisor needs. So there are none until it stands.
    huge_pages: bool,
}

static LAUNCH: OnceLock<Launch> = OnceLock::new();

/// The descriptors that this executor process was started with, `(config, lifeline)`; None in any other process. The
/// first is a memory file that holds the launch message (seek to its start before reading), the second the lifeline's
/// read end.
pub fn marker() -> Option<(RawFd, RawFd)> {
    LAUNCH.get().map(|l| (l.config, l.lifeline))
}

/// The two descriptors of [`marker`], `(config, lifeline)`, to own. None in a process that is no executor, and after the
/// first call. Both are close-on-exec: children of tasks inherit neither the application's key nor the lifeline.
pub fn take_descriptors() -> Option<(OwnedFd, OwnedFd)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let (config, lifeline) = marker()?;
    if TAKEN.swap(true, Ordering::AcqRel) {
        return None;
    }
    // SAFETY: the parent opened both for this process to own, they are two, and this line is reached once.
    unsafe { Some((OwnedFd::from_raw_fd(config), OwnedFd::from_raw_fd(lifeline))) }
}

/// The text of the marker for a process that is to become an executor.
pub fn marker_value(config: RawFd, lifeline: RawFd) -> String {
    format!("{config},{lifeline}")
}

/// Takes the marker, if there is one, out of the environment. A marker that cannot be read ends the process: it was to
/// be an executor, so the user's `main` must not run.
fn take_marker(run: fn() -> i32) -> bool {
    // SAFETY: MARKER_C ends in a zero byte. Nothing else runs yet that could change the environment at the same time:
    // this is before the executable's constructors and before `main`.
    let value = unsafe { libc::getenv(MARKER_C.as_ptr()) };
    if value.is_null() {
        return false;
    }
    // SAFETY: getenv's result ends in a zero byte and stays valid until the environment is changed, below.
    let text = unsafe { CStr::from_ptr(value) }.to_str().unwrap_or_default();
    let parsed = text.split_once(',').and_then(|(c, l)| Some((c.parse().ok()?, l.parse().ok()?)));
    let Some((config, lifeline)) = parsed.filter(|(c, l): &(RawFd, RawFd)| *c >= 0 && *l >= 0 && c != l) else {
        say!("firesteel: {MARKER} is set, but is not two file descriptors: it is for executor processes, unset it");
        std::process::exit(2);
    };
    // SAFETY: as for getenv above; `text` is not used after this.
    unsafe { libc::unsetenv(MARKER_C.as_ptr()) };
    // SAFETY: asks for a flag of this process and sets it. Where the kernel refuses, memory comes as it comes.
    let huge_pages = unsafe {
        let huge_pages = libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) == 0;
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
        huge_pages
    };
    LAUNCH.set(Launch { config, lifeline, run, huge_pages }).is_ok()
}

/// What an executor process does: first acts, then `run` on a fresh thread. Its result is the exit status.
fn run_executor() -> c_int {
    let Some(launch) = LAUNCH.get() else { return 2 };
    if let Err(e) = crate::supervisor::supervise(launch.lifeline) {
        say!("firesteel: cannot start the executor below its supervisor: {e}");
        return 2;
    }
    if launch.huge_pages {
        // SAFETY: takes back what `take_marker` set.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 0, 0, 0, 0) };
    }
    // SAFETY: ignoring a signal installs no handler, so there is no code whose signal-safety could matter. std does
    // the same before a `main`; without it a write to a peer that is gone would end the process.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    crate::stack::name_overflows();
    for fd in [launch.config, launch.lifeline] {
        // SAFETY: sets a flag of a descriptor; on a number that is none it fails, and so will the first read from it.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    let run = launch.run;
    // A thread of its own, so that thread locals, a name and a stack are what std gives to any thread.
    match std::thread::Builder::new().name("executor".to_owned()).spawn(run).map(|t| t.join()) {
        Ok(Ok(code)) => code,
        // The panic hook has told the reason.
        Ok(Err(_)) => 101,
        Err(e) => {
            say!("firesteel: cannot start the executor's main thread: {e}");
            2
        }
    }
}

extern "C" fn executor_main(_: c_int, _: *const *const c_char, _: *const *const c_char) -> c_int {
    // Not by returning: std's exit also flushes what its standard output still holds.
    std::process::exit(run_executor())
}

/// What the `__libc_start_main` that [`enter!`](crate::enter) places calls; not for other use.
///
/// # Safety
/// To be called once, by `_start`, with the arguments that `_start` gives to `__libc_start_main`.
#[doc(hidden)]
#[allow(clippy::too_many_arguments)]
pub unsafe fn start(
    run: fn() -> i32,
    main: Main,
    argc: c_int,
    argv: *const *const c_char,
    init: *const c_void,
    fini: *const c_void,
    loader_fini: *const c_void,
    stack_end: *const c_void,
) -> c_int {
    // SAFETY: the name ends in a zero byte. The loader has relocated and initialised libc before `_start` runs.
    let real = unsafe { libc::dlsym(libc::RTLD_NEXT, c"__libc_start_main".as_ptr()) };
    if real.is_null() {
        say!("firesteel: this libc has no __libc_start_main behind the executable's: link with glibc");
        std::process::abort();
    }
    // SAFETY: the symbol of that name in libc has this type on every Linux architecture.
    let real: Start = unsafe { std::mem::transmute::<*mut c_void, Start>(real) };
    // A shared library that links firesteel may put its wrapper before libc's symbol; only the main executable's counts.
    let ours = Object::main().is_ok_and(|o| o.is_code(start as *const () as usize));
    let main = if ours && take_marker(run) { executor_main } else { main };
    // SAFETY: `_start`'s own arguments, with a `main` of the same type.
    unsafe { real(main, argc, argv, init, fini, loader_fini, stack_end) }
}

/// What the constructor that [`enter!`](crate::enter) places in static executables calls; not for other use.
#[doc(hidden)]
pub fn construct(run: fn() -> i32) {
    if take_marker(run) {
        std::process::exit(run_executor());
    }
}

/// Makes processes that carry the marker run `run: fn() -> i32` instead of `main`. For one place in a program: crate
/// `firesteel` has it, an application needs none.
#[macro_export]
macro_rules! enter {
    ($run:path) => {
        #[cfg(all(target_env = "gnu", not(target_feature = "crt-static")))]
        const _: () = {
            // SAFETY (no_mangle): this is meant to take the place of libc's symbol, has its type, and calls it.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn __libc_start_main(
                main: $crate::entry::Main,
                argc: ::std::ffi::c_int,
                argv: *const *const ::std::ffi::c_char,
                init: *const ::std::ffi::c_void,
                fini: *const ::std::ffi::c_void,
                loader_fini: *const ::std::ffi::c_void,
                stack_end: *const ::std::ffi::c_void,
            ) -> ::std::ffi::c_int {
                // SAFETY: called by `_start`, with its arguments handed on as they are.
                unsafe { $crate::entry::start($run, main, argc, argv, init, fini, loader_fini, stack_end) }
            }
        };
        #[cfg(not(all(target_env = "gnu", not(target_feature = "crt-static"))))]
        const _: () = {
            extern "C" fn construct() {
                $crate::entry::construct($run);
            }
            // SAFETY (link_section): an entry of .init_array is a function without arguments that it needs.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static CONSTRUCT: extern "C" fn() = construct;
        };
    };
}
