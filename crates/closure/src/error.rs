//! What can go wrong between a table's bytes and the nodes decoded from them.

use firesteel_common::codec::CodecError;

/// A [`CodeRef`](crate::CodeRef) could not be made, or names nothing that may be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeRefError {
    /// The descriptor is not in the main executable but in a shared library.
    #[error(
        "operator {type_name} is not part of the main executable: link the application statically, without \
         `-C prefer-dynamic` and without `crate-type = [\"dylib\"]`"
    )]
    NotInExecutable {
        /// Rust's name of the operator's type.
        type_name: &'static str,
    },
    /// No object has this number.
    #[error("code reference names object {object}, but only object 0, the main executable, holds code")]
    UnknownObject {
        /// The number it names.
        object: u32,
    },
    /// The place is outside of what the executable loads.
    #[error("code reference to offset {offset:#x} lies outside the loaded segments of the executable")]
    OutsideSegments {
        /// Distance from the load base.
        offset: u64,
    },
    /// The place is not where a descriptor can begin.
    #[error("code reference to offset {offset:#x} is not aligned to {align} bytes")]
    Unaligned {
        /// Distance from the load base.
        offset: u64,
        /// What it should be a multiple of.
        align: usize,
    },
    /// There is no descriptor at the place.
    #[error(
        "there is no operator descriptor at offset {offset:#x} of the executable; was the table made by another build?"
    )]
    NotADescriptor {
        /// Distance from the load base.
        offset: u64,
    },
    /// The executable's program headers were not found.
    #[error("the program headers of the running executable cannot be read")]
    NoProgramHeaders,
}

/// A lineage table, or one node of it, could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A node's code reference is not usable.
    #[error(transparent)]
    Code(#[from] CodeRefError),
    /// Bytes of the table or of an environment are not what they should be.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A table without nodes has no last node.
    #[error("the lineage table is empty")]
    Empty,
    /// A node names a parent that does not come before it.
    #[error("node {node} of the lineage table names node {parent} as its parent, which does not come before it")]
    ParentOrder {
        /// Index of the node.
        node: usize,
        /// Index it names.
        parent: u32,
    },
    /// A node has fewer parents than its operator needs.
    #[error("an operator asks for parent {index}, but has {count} parents")]
    MissingParent {
        /// Which it asked for, from 0.
        index: usize,
        /// How many it has.
        count: usize,
    },
    /// A parent is not of the type that the operator was compiled for.
    #[error("parent {index} of an operator is not a {expected}")]
    ParentType {
        /// Which parent, from 0.
        index: usize,
        /// Rust's name of the type it should have.
        expected: &'static str,
    },
    /// Decoding one node failed.
    #[error("node {node} of the lineage table, {type_name}: {source}")]
    Node {
        /// Index of the node.
        node: usize,
        /// Rust's name of the operator's type.
        type_name: &'static str,
        /// What went wrong.
        #[source]
        source: Box<DecodeError>,
    },
    /// An operator's own reason.
    #[error("{0}")]
    Custom(String),
}
