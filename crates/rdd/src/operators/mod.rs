//! The operators on RDDs, one family a file.
//!
//! Each operator that takes a closure is declared once, with [`operators!`]: the declaration's body is the form on
//! [`With`](crate::With), whose closures get the environment first; the plain form on [`Rdd`](crate::Rdd) is generated,
//! with `()` as the environment. Those that shuffle are declared with [`shuffles!`] and [`shuffles_with!`], which make the
//! forms on [`Partitioned`](crate::Partitioned) as well.

/// Declares operators on `Rdd<T>` and `With<T, E>` from one body; with `on [handle] [handle with environment]` in place of
/// `impl[..] T`, on these two.
///
/// `fn name[generics,](plain: Args) { closure: F(x: Arg) -> R } -> Output = |rdd, env| body` becomes both
/// `rdd.name(plain, |x| ..)` and `rdd.with(env).name(plain, |env, x| ..)`. The declaration's attributes are those of the
/// plain form, whose documentation the other one names: so its example stands, and is run, once.
macro_rules! operators {
    (impl[$($g:tt)*] $T:ty; $($rest:tt)*) => {
        operators! { @ Rdd [$($g)*,] [$crate::Rdd<$T>] [$crate::With<$T, E>] $($rest)* }
    };
    (on [$Plain:ident] [$With:ty]; $($rest:tt)*) => {
        operators! { @ $Plain [] [$Plain] [$With] $($rest)* }
    };
    (
        @ $Handle:ident [$($g:tt)*] [$Plain:ty] [$With:ty]
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
                #[doc = concat!(
                    "As [`", stringify!($Handle), "::", stringify!($name), "`](crate::", stringify!($Handle), "::",
                    stringify!($name), "); the closure's first argument is the environment.",
                )]
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

/// Declares operators that shuffle and take no closure, on `Rdd<T>` and on `Partitioned<T, P>` from one body.
///
/// `fn name[generics](args) -> Output, by Key = |rdd, by| body` becomes `rdd.name(args)`, where `by` is `None`, and
/// `rdd.partitioned(p).name(args)`, where it is the [`Partitioning`](crate::Partitioning) of `Key`s.
macro_rules! shuffles {
    (
        impl[$($g:tt)*] $T:ty;
        $(
            $(#[$meta:meta])*
            fn $name:ident[$($ug:tt)*]($($arg:ident: $at:ty),*) -> $ret:ty, by $K:ty = |$rdd:ident, $by:ident| $body:expr;
        )*
    ) => {
        impl<$($g)*> $crate::Rdd<$T> {
            $(
                $(#[$meta])*
                #[track_caller]
                pub fn $name<$($ug)*>(&self, $($arg: $at),*) -> $ret {
                    let ($rdd, $by) = (self, None::<$crate::Partitioning<$K>>);
                    $body
                }
            )*
        }

        impl<$($g)*, P> $crate::Partitioned<$T, P> {
            $(
                #[doc = concat!(
                    "As [`Rdd::", stringify!($name), "`](crate::Rdd::", stringify!($name),
                    "), spread by what [`Rdd::partitioned`](crate::Rdd::partitioned) got.",
                )]
                #[track_caller]
                pub fn $name<$($ug)*>(&self, $($arg: $at),*) -> $ret
                where
                    P: firesteel_shuffle::Partitioner<$K> + firesteel_common::Env + Clone,
                {
                    let ($rdd, $by) = (&self.rdd, Some($crate::Partitioning::<$K>::of(self.by.clone())));
                    $body
                }
            )*
        }
    };
}

/// As [`shuffles!`], for operators that take closures: each becomes four methods, with and without an environment.
macro_rules! shuffles_with {
    (
        impl[$($g:tt)*] $T:ty;
        $(
            $(#[$meta:meta])*
            fn $name:ident[$($ug:tt)*]($($arg:ident: $at:ty),*) {
                $($f:ident: $F:ident($($x:ident: $xt:ty),*) -> $r:ty),+
            } -> $ret:ty, by $K:ty = |$rdd:ident, $by:ident, $env:ident| $body:expr;
        )*
    ) => {
        operators! {
            impl[$($g)*] $T;
            $(
                $(#[$meta])*
                fn $name[$($ug)*]($($arg: $at),*) { $($f: $F($($x: $xt),*) -> $r),+ } -> $ret = |$rdd, $env| {
                    let $by = None::<$crate::Partitioning<$K>>;
                    $body
                };
            )*
        }

        impl<$($g)*, P> $crate::Partitioned<$T, P> {
            $(
                #[doc = concat!(
                    "As [`Rdd::", stringify!($name), "`](crate::Rdd::", stringify!($name),
                    "), spread by what [`Rdd::partitioned`](crate::Rdd::partitioned) got.",
                )]
                #[track_caller]
                pub fn $name<$($ug)* $($F),+>(&self, $($arg: $at,)* $($f: $F),+) -> $ret
                where
                    P: firesteel_shuffle::Partitioner<$K> + firesteel_common::Env + Clone,
                    $($F: Fn($($xt),*) -> $r + Copy + Send + Sync + 'static),+
                {
                    $(firesteel_closure::require_zero_sized!($F);)+
                    self.with(()).$name($($arg,)* $(move |_: &(), $($x: $xt),*| $f($($x),*)),+)
                }
            )*
        }

        impl<$($g)*, P, E: firesteel_common::Env> $crate::PartitionedWith<$T, P, E> {
            $(
                #[doc = concat!(
                    "As [`Rdd::", stringify!($name), "`](crate::Rdd::", stringify!($name),
                    "), spread by what [`Rdd::partitioned`](crate::Rdd::partitioned) got; the closure's first argument is ",
                    "the environment.",
                )]
                #[track_caller]
                pub fn $name<$($ug)* $($F),+>(&self, $($arg: $at,)* $($f: $F),+) -> $ret
                where
                    P: firesteel_shuffle::Partitioner<$K> + firesteel_common::Env + Clone,
                    $($F: Fn(&E, $($xt),*) -> $r + Copy + Send + Sync + 'static),+
                {
                    $(firesteel_closure::require_zero_sized!($F);)+
                    let ($rdd, $env) = (&self.rdd, &self.env);
                    let $by = Some($crate::Partitioning::<$K>::of(self.by.clone()));
                    $body
                }
            )*
        }
    };
}

/// Makes a wrapper of the user's functions, its last parameters, `Copy` as they are. A derive would ask it of the other
/// parameters, too.
macro_rules! copy_as_functions {
    ($Op:ident<$($other:ident),*; $($F:ident),*>) => {
        impl<$($other,)* $($F: Copy),*> Clone for $Op<$($other,)* $($F),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($other,)* $($F: Copy),*> Copy for $Op<$($other,)* $($F),*> {}
    };
}

mod cartesian;
mod element;
mod emitter;
mod mem_sized;
mod numbered;
mod partition;
mod sample;
mod union;
mod zip;

pub use emitter::Emitter;
pub(crate) use sample::{check_fraction, generator};
