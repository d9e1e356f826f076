//! How a closure travels from the driver to its executors: both run the same executable file, so code is named by
//! where it lies in that file, and a closure that captures nothing has no bytes to send.
//!
//! ```text
//!  driver                                              executor (same file, other addresses)
//!  closure value f ─▶ Func::new(f)  (zero-sized, or     Table::decode ─▶ for each node, in order:
//!                     an error of `cargo build`)          CodeRef::resolve ─▶ &'static OpDesc ─▶ decode(parents, env)
//!  describe::<O>(&func) ─▶ &'static OpDesc                  ─▶ Op::decode(Func<F>, parents, env) ─▶ AnyNode
//!  CodeRef::of(desc) ─▶ TableNode{code, parents, env}     the last node is the stage's output
//!  Table::encode ─▶ bytes ──────────────────────────▶
//! ```
//!
//! * [`OpDesc`], [`Op`], [`describe`]: one static descriptor for each monomorphised operator.
//! * [`CodeRef`]: its place relative to the load base, checked before use.
//! * [`Func`], [`require_zero_sized!`]: closures without state.
//! * [`table`]: a stage's lineage as a flat table.
//! * [`binary`]: the executable that runs, by descriptor and hash; two builds never mix.
//! * [`entry`], [`enter!`]: an executor process never runs the user's `main`.
//! * `supervisor`: an executor ends with all that it has started.
//! * [`stack`]: a stack overflow is named as such where std's own handler is not installed.
//!
//! Called by `rdd` (operators), `executor` (decoding, entry) and `firesteel` (places [`enter!`]); calls `common::codec`.
//! With `os`, one of the two crates that may hold unsafe code.

pub mod binary;
mod code_ref;
mod desc;
pub mod entry;
mod error;
mod func;
mod object;
mod printed;
pub mod stack;
mod supervisor;
pub mod table;

pub use code_ref::CodeRef;
pub use desc::{AnyNode, DecodeFn, Op, OpDesc, describe, parent};
pub use error::{CodeRefError, DecodeError};
pub use func::{Func, ZeroSized, assert_zero_sized};
pub use table::{Table, TableNode};
