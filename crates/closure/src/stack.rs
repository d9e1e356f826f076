//! Names stack overflows in executor processes. std does this for programs that begin in its `main`; an executor does
//! not, so without this an overflow in user code would be a bare SIGSEGV that could be anything.
//!
//! The handler is installed by [`entry`](crate::entry); `executor` calls [`guard_this_thread`] on each task thread.

use std::{
    cell::Cell,
    ffi::{c_int, c_void},
    sync::atomic::{AtomicBool, Ordering},
};

static INSTALLED: AtomicBool = AtomicBool::new(false);

const ALTERNATE_STACK: usize = 64 << 10;

thread_local! {
    /// Addresses below this thread's stack whose touch means an overflow; empty when not guarded. Const and without a
    /// destructor, so that a signal handler can read it.
    static GUARD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// Installs the handler for the process; called by the entry, where no handler of std's is.
pub(crate) fn name_overflows() {
    // SAFETY: a zeroed sigaction is valid (no flags, empty mask). The handler does only what is signal-safe.
    let ok = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()) == 0
            && libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) == 0
    };
    INSTALLED.store(ok, Ordering::Release);
}

/// Lets the handler run on this thread when its stack is used up. Does nothing where std's handler does it already.
/// The few pages it maps live as long as the process, so it is for threads that are kept.
pub fn guard_this_thread() {
    if !INSTALLED.load(Ordering::Acquire) || GUARD.get() != (0, 0) {
        return;
    }
    let Some(guard) = guard_range() else { return };
    // SAFETY: maps new private memory, which nothing else refers to, and hands it to the kernel as this thread's
    // signal stack. It is never unmapped, so the kernel cannot be left with a stack that is gone.
    unsafe {
        let memory = libc::mmap(
            std::ptr::null_mut(),
            ALTERNATE_STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if memory == libc::MAP_FAILED {
            return;
        }
        let stack = libc::stack_t { ss_sp: memory, ss_flags: 0, ss_size: ALTERNATE_STACK };
        if libc::sigaltstack(&stack, std::ptr::null_mut()) == 0 {
            GUARD.set(guard);
        }
    }
}

/// The guard pages of the current thread. Whether glibc counts them into the stack's size depends on its version, so both
/// places are taken, as std does.
fn guard_range() -> Option<(usize, usize)> {
    // SAFETY: the attributes are initialised by pthread_getattr_np before they are read, and destroyed after.
    unsafe {
        let mut attr: libc::pthread_attr_t = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attr) != 0 {
            return None;
        }
        let (mut lowest, mut size, mut guard) = (std::ptr::null_mut(), 0, 0);
        let known = libc::pthread_attr_getstack(&attr, &mut lowest, &mut size) == 0
            && libc::pthread_attr_getguardsize(&attr, &mut guard) == 0;
        libc::pthread_attr_destroy(&mut attr);
        let lowest = lowest as usize;
        known.then(|| (lowest.saturating_sub(guard), lowest + guard))
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO, and a fault has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    let (from, to) = GUARD.get();
    // SAFETY: write, signal and abort are signal-safe; the message is a constant.
    unsafe {
        if (from..to).contains(&address) {
            let message =
                b"\nfiresteel: a task's thread has overflowed its stack\nfatal runtime error: stack overflow\n";
            libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
            libc::abort();
        }
        // Any other fault: back to what would have happened without us, by faulting again on return.
        libc::signal(signal, libc::SIG_DFL);
    }
}
