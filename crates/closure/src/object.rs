//! Where the main executable lies in memory. Read once from its program headers; it is never unloaded.

use std::{
    ffi::{c_int, c_void},
    sync::OnceLock,
};

use crate::error::CodeRefError;

/// A loaded part of an object, as absolute addresses.
#[derive(Debug, Clone, Copy)]
struct Segment {
    start: usize,
    /// End of what comes from the file and is therefore initialised data or code.
    end: usize,
    readable: bool,
    executable: bool,
}

/// A loaded object: its base address and its PT_LOAD segments.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) base: usize,
    segments: Vec<Segment>,
}

impl Object {
    /// The main executable.
    pub(crate) fn main() -> Result<&'static Object, CodeRefError> {
        static MAIN: OnceLock<Option<Object>> = OnceLock::new();
        MAIN.get_or_init(read_main).as_ref().ok_or(CodeRefError::NoProgramHeaders)
    }

    /// Whether `len` bytes from `address` are readable and come from the object's file.
    pub(crate) fn holds(&self, address: usize, len: usize) -> bool {
        self.segments
            .iter()
            .any(|s| s.readable && address >= s.start && address.checked_add(len).is_some_and(|end| end <= s.end))
    }

    /// Whether there is code at `address`.
    pub(crate) fn is_code(&self, address: usize) -> bool {
        self.segments.iter().any(|s| s.executable && (s.start..s.end).contains(&address))
    }

    #[cfg(test)]
    pub(crate) fn span(&self) -> (usize, usize) {
        (self.segments.iter().map(|s| s.start).min().unwrap(), self.segments.iter().map(|s| s.end).max().unwrap())
    }
}

fn read_main() -> Option<Object> {
    let mut found: Option<Object> = None;
    // SAFETY: `first_object` has the type that dl_iterate_phdr asks for, and `data` points to `found`, which outlives
    // the call and is not otherwise used during it.
    unsafe { libc::dl_iterate_phdr(Some(first_object), (&raw mut found).cast()) };
    found
}

/// Called with the first object, which is the main executable; a result that is not 0 ends the iteration.
unsafe extern "C" fn first_object(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: the loader passes a valid `info` for the time of the call, and `data` is what `read_main` passed: an
    // exclusive pointer to its local.
    let (info, found) = unsafe { (&*info, &mut *data.cast::<Option<Object>>()) };
    if info.dlpi_phdr.is_null() {
        return 1;
    }
    // SAFETY: the loader says that `dlpi_phnum` headers lie at `dlpi_phdr`; they stay mapped with the object.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let base = info.dlpi_addr as usize;
    let segments = headers.iter().filter(|h| h.p_type == libc::PT_LOAD).map(|h| {
        let start = base.wrapping_add(h.p_vaddr as usize);
        Segment {
            start,
            end: start.saturating_add(h.p_filesz as usize),
            readable: h.p_flags & libc::PF_R != 0,
            executable: h.p_flags & libc::PF_X != 0,
        }
    });
    *found = Some(Object { base, segments: segments.collect() });
    1
}
