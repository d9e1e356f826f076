//! The operators on RDDs, one family a file.
//!
//! Each operator that takes a closure is declared once, with [`operators!`]: the declaration's body is the form on
//! [`With`](crate::With), whose closures get the environment first; the plain form on [`Rdd`](crate::Rdd) is generated,
//! with `()` as the environment.

/// Declares operators on `Rdd<T>` and `With<T, E>` from one body; with `on [handle] [handle with environment]` in place of
/// `impl[..] T`, on these two.
///
/// `fn name[generics,](plain: Args) { closure: F(x: Arg) -> R } -> Output = |rdd, env| body` becomes both
/// `rdd.name(plain, |x| ..)` and `rdd.with(env).name(plain, |env, x| ..)`.
macro_rules! operators {
    (impl[$($g:tt)*] $T:ty; $($rest:tt)*) => {
        operators! { @ [$($g)*,] [$crate::Rdd<$T>] [$crate::With<$T, E>] $($rest)* }
    };
    (on [$Plain:ty] [$With:ty]; $($rest:tt)*) => {
        operators! { @ [] [$Plain] [$With] $($rest)* }
    };
    (
        @ [$($g:tt)*] [$Plain:ty] [$With:ty]
        $(
            $(#[$meta:meta])*
            fn $name:ident[$($ug:tt)*]($($arg:ident: $at:ty),*) {
                $($f:ident: $F:ident($($x:ident: $xt:ty),*) -> $r:ty),+
            } -> $ret:ty = |$rdd:ident, $env:ident| $body:expr;
        )*
    ) => {
        impl<$($g)*> $Plain {
            $(
                $(#[$meta])*
                #[track_caller]
                pub fn $name<$($ug)* $($F),+>(&self, $($arg: $at,)* $($f: $F),+) -> $ret
                where
                    $($F: Fn($($xt),*) -> $r + Copy + Send + Sync + 'static),+
                {
                    $(firesteel_closure::require_zero_sized!($F);)+
                    self.with(()).$name($($arg,)* $(move |_: &(), $($x: $xt),*| $f($($x),*)),+)
                }
            )*
        }

        impl<$($g)* E: firesteel_common::Env> $With {
            $(
                $(#[$meta])*
                ///
                /// The closure's first argument is the environment.
                #[track_caller]
                pub fn $name<$($ug)* $($F),+>(&self, $($arg: $at,)* $($f: $F),+) -> $ret
                where
                    $($F: Fn(&E, $($xt),*) -> $r + Copy + Send + Sync + 'static),+
                {
                    $(firesteel_closure::require_zero_sized!($F);)+
                    let ($rdd, $env) = (&self.rdd, &self.env);
                    $body
                }
            )*
        }
    };
}

/// Makes a wrapper of the user's functions, its last parameters, `Copy` as they are. A derive would ask it of the other
/// parameters, too.
macro_rules! copy_as_functions {
    ($Op:ident<$($other:ident),*; $($F:ident),+>) => {
        impl<$($other,)* $($F: Copy),+> Clone for $Op<$($other,)* $($F),+> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($other,)* $($F: Copy),+> Copy for $Op<$($other,)* $($F),+> {}
    };
}

mod element;
mod emitter;
mod mem_sized;
mod partition;
mod union;

pub use emitter::Emitter;
