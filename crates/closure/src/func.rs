//! Zero-sized functions: closures that capture nothing, which therefore travel as a type. Used by the operators of
//! `rdd`; the check that a closure is one happens at compile time, in [`require_zero_sized!`](crate::require_zero_sized).

use std::{marker::PhantomData, ptr::NonNull};

/// The bounds on a function that travels. Blanket: a user implements nothing. That its size is 0 cannot be said in a
/// bound; [`Func::new`] checks it at compile time.
pub trait ZeroSized: Copy + Send + Sync + 'static {}
impl<F: Copy + Send + Sync + 'static> ZeroSized for F {}

/// Fails to compile, when used in a constant, for a type that holds anything.
pub const fn assert_zero_sized<F>() {
    assert!(
        size_of::<F>() == 0,
        "this closure captures a value, but closures run in other processes and travel without captured values: pass \
         what it needs with `.with(env)`, as in `rdd.with(env).map(|env, x| ..)`"
    );
}

/// Makes a closure type that captures something an error of `cargo build` (not of `cargo check`), reported at the
/// line where the public operator that holds this macro was called.
#[macro_export]
macro_rules! require_zero_sized {
    ($f:ty) => {
        const { $crate::assert_zero_sized::<$f>() }
    };
}

/// A function that captures nothing, by its type: proof that a value of `F` was at hand when it was made.
pub struct Func<F>(PhantomData<fn() -> F>);

impl<F> Clone for Func<F> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<F> Copy for Func<F> {}

impl<F: ZeroSized> Func<F> {
    /// Keeps the function. Put [`require_zero_sized!`](crate::require_zero_sized) into the public operator as well, so
    /// that the first error names the user's line; here it catches the operator that forgot.
    pub fn new(_f: F) -> Func<F> {
        require_zero_sized!(F);
        Func(PhantomData)
    }

    /// For descriptors alone: the process that named the descriptor held a `Func<F>`, see [`describe`](crate::describe).
    pub(crate) fn from_descriptor() -> Func<F> {
        Func(PhantomData)
    }

    /// The function.
    #[inline(always)]
    pub fn get(self) -> F {
        // A constant condition; `new` has refused others when compiling. Here it is not one more error for one mistake.
        assert!(size_of::<F>() == 0);
        // SAFETY: F has size 0, as the line above has checked, so any aligned pointer that is not null may be read for one,
        // and a dangling one is both. A value of F existed: `new` took one, and `from_descriptor` runs only for a
        // descriptor that `describe` gave out in exchange for a Func<F> in a process of this very build. As F is Copy,
        // another value of it takes nothing away from that one; as it is Send, Sync and 'static, it may be made on any
        // thread at any time.
        unsafe { NonNull::<F>::dangling().read() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_had_back_by_its_type() {
        let f = Func::new(|a: u64, b: u64| a * 10 + b);
        let (g, h) = Func::new((|x: u32| x + 1, str::len)).get();
        assert_eq!(f.get()(4, 2), 42);
        assert_eq!((g(1), h("abc")), (2, 3));
        assert_eq!(size_of_val(&f), 0);
    }
}
