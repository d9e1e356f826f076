//! Operator descriptors: what a [`CodeRef`](crate::CodeRef) points to. Made by [`describe`] for `rdd`'s operators,
//! used by [`table`](crate::table).

use std::{any::Any, marker::PhantomData, sync::Arc};

use crate::{
    error::DecodeError,
    func::{Func, ZeroSized},
};

/// A decoded node of a lineage; what it is, only its children know.
pub type AnyNode = Arc<dyn Any + Send + Sync>;

/// Makes a node from its decoded parents and the bytes of its environment.
pub type DecodeFn = fn(parents: &[AnyNode], env: &[u8]) -> Result<AnyNode, DecodeError>;

/// Marks the start of a descriptor in memory; any 64 bits that are unlikely elsewhere.
pub(crate) const MAGIC: u64 = 0xf17e_57ee_1de5_c0de;

/// The static descriptor of one monomorphised operator.
///
/// Only [`describe`] makes one, and only for who holds the operator's [`Func`]: so whoever finds a descriptor knows
/// that a value of its closure's type was at hand.
#[repr(C)]
pub struct OpDesc {
    pub(crate) magic: u64,
    pub(crate) type_name: fn() -> &'static str,
    pub(crate) decode: DecodeFn,
}

impl OpDesc {
    /// Rust's name of the operator's type, for messages.
    pub fn type_name(&self) -> &'static str {
        (self.type_name)()
    }

    /// Makes a node; see [`Op::decode`].
    pub fn decode(&self, parents: &[AnyNode], env: &[u8]) -> Result<AnyNode, DecodeError> {
        (self.decode)(parents, env)
    }
}

/// An operator whose nodes can be encoded as a code reference, parents and an environment.
pub trait Op: 'static {
    /// The zero-sized function it applies; `()` for an operator that applies none, a tuple for several.
    type Func: ZeroSized;

    /// Makes a node in the process that runs it. `parents` are in the order of the table's node; take them with
    /// [`parent`]. `env` are the bytes that the driver encoded.
    fn decode(func: Func<Self::Func>, parents: &[AnyNode], env: &[u8]) -> Result<AnyNode, DecodeError>;
}

struct Descriptor<O>(PhantomData<O>);

impl<O: Op> Descriptor<O> {
    const DESC: &'static OpDesc =
        &OpDesc { magic: MAGIC, type_name: std::any::type_name::<O>, decode: decode_with_func::<O> };
}

fn decode_with_func<O: Op>(parents: &[AnyNode], env: &[u8]) -> Result<AnyNode, DecodeError> {
    O::decode(Func::from_descriptor(), parents, env)
}

/// The descriptor of operator `O`. The [`Func`] is the witness that a value of its closure's type exists; equal code may
/// share a descriptor, so it is no identity.
///
/// ```
/// use std::sync::Arc;
/// use firesteel_closure::{describe, AnyNode, CodeRef, DecodeError, Func, Op, Table, TableNode, ZeroSized};
///
/// struct Source;
/// impl Op for Source {
///     type Func = ();
///     fn decode(_: Func<()>, _: &[AnyNode], env: &[u8]) -> Result<AnyNode, DecodeError> {
///         Ok(Arc::new(firesteel_common::codec::decode::<u64>(env)?))
///     }
/// }
/// struct Map<F>(std::marker::PhantomData<F>);
/// impl<F: Fn(u64) -> u64 + ZeroSized> Op for Map<F> {
///     type Func = F;
///     fn decode(f: Func<F>, parents: &[AnyNode], _: &[u8]) -> Result<AnyNode, DecodeError> {
///         Ok(Arc::new(f.get()(*firesteel_closure::parent::<u64>(parents, 0)?)))
///     }
/// }
/// fn map_desc<F: Fn(u64) -> u64 + ZeroSized>(f: F) -> &'static firesteel_closure::OpDesc {
///     firesteel_closure::require_zero_sized!(F);
///     describe::<Map<F>>(&Func::new(f))
/// }
///
/// let source = CodeRef::of(describe::<Source>(&Func::new(())))?;
/// let double = CodeRef::of(map_desc(|x| x * 2))?;
/// let mut table = Table::default();
/// let a = table.push(TableNode { code: source, parents: vec![], env: firesteel_common::codec::encode(&21u64)? });
/// table.push(TableNode { code: double, parents: vec![a], env: vec![] });
/// let node = Table::decode(&table.encode()?)?.instantiate()?;
/// assert_eq!(node.downcast_ref::<u64>(), Some(&42));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn describe<O: Op>(_witness: &Func<O::Func>) -> &'static OpDesc {
    Descriptor::<O>::DESC
}

/// Parent `index` as the type that it must have.
pub fn parent<T: Any + Send + Sync>(parents: &[AnyNode], index: usize) -> Result<Arc<T>, DecodeError> {
    let node = parents.get(index).ok_or(DecodeError::MissingParent { index, count: parents.len() })?;
    Arc::clone(node).downcast().map_err(|_| DecodeError::ParentType { index, expected: std::any::type_name::<T>() })
}
