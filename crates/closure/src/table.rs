//! A stage's lineage on the wire: a flat table in topological order, not a recursion, so that its depth costs no stack.
//! Encoded by `rdd` in the driver, decoded by `executor`.

use serde::{Deserialize, Serialize};

use crate::{code_ref::CodeRef, desc::AnyNode, error::DecodeError};

/// One operator of a lineage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableNode {
    /// Its code.
    pub code: CodeRef,
    /// Indexes of the nodes it reads, each smaller than its own.
    pub parents: Vec<u32>,
    /// Its environment, encoded.
    #[serde(with = "raw_bytes")]
    pub env: Vec<u8>,
}

/// A lineage in topological order: parents before children, the output last. A node that several others read stands
/// in it once.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Table {
    /// The nodes.
    pub nodes: Vec<TableNode>,
}

impl Table {
    /// Appends a node and returns its index.
    pub fn push(&mut self, node: TableNode) -> u32 {
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    /// The bytes of the table.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        Ok(firesteel_common::codec::encode(self)?)
    }

    /// The table from its bytes, with the order of its nodes checked.
    pub fn decode(bytes: &[u8]) -> Result<Table, DecodeError> {
        let table: Table = firesteel_common::codec::decode(bytes)?;
        table.check()?;
        Ok(table)
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.nodes.is_empty() {
            return Err(DecodeError::Empty);
        }
        for (node, n) in self.nodes.iter().enumerate() {
            if let Some(&parent) = n.parents.iter().find(|p| **p as usize >= node) {
                return Err(DecodeError::ParentOrder { node, parent });
            }
        }
        Ok(())
    }

    /// Makes every node, parents first, and returns the last. The others live on as far as it refers to them.
    pub fn instantiate(&self) -> Result<AnyNode, DecodeError> {
        self.check()?;
        let mut made = Nodes(Vec::with_capacity(self.nodes.len()));
        let mut parents: Vec<AnyNode> = Vec::new();
        for (node, n) in self.nodes.iter().enumerate() {
            let desc = n.code.resolve()?;
            parents.clear();
            parents.extend(n.parents.iter().map(|p| AnyNode::clone(&made.0[*p as usize])));
            let decoded = desc.decode(&parents, &n.env).map_err(|source| DecodeError::Node {
                node,
                type_name: desc.type_name(),
                source: Box::new(source),
            })?;
            made.0.push(decoded);
        }
        made.0.last().cloned().ok_or(DecodeError::Empty)
    }
}

/// Drops children before parents: a node then never drops the last handle of its parent, so that giving up halfway
/// through a long lineage needs no deep stack.
struct Nodes(Vec<AnyNode>);

impl Drop for Nodes {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}

/// Bytes as one block; serde's own form for a Vec is one call a byte.
mod raw_bytes {
    use std::fmt;

    use serde::{
        Deserializer, Serializer,
        de::{Error, Visitor},
    };

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        struct Raw;
        impl Visitor<'_> for Raw {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, v: &[u8]) -> Result<Vec<u8>, E> {
                Ok(v.to_vec())
            }

            fn visit_byte_buf<E: Error>(self, v: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(v)
            }
        }
        d.deserialize_byte_buf(Raw)
    }
}

#[cfg(test)]
mod tests {
    use std::{marker::PhantomData, sync::Arc};

    use firesteel_common::codec;
    use proptest::prelude::*;

    use super::*;
    use crate::{Func, Op, ZeroSized, describe, parent};

    struct Source;
    impl Op for Source {
        type Func = ();
        fn decode(_: Func<()>, _: &[AnyNode], env: &[u8]) -> Result<AnyNode, DecodeError> {
            Ok(Arc::new(codec::decode::<u64>(env)?))
        }
    }

    /// Adds its parents and its environment, through a function.
    struct Fold<F>(PhantomData<F>);
    impl<F: Fn(u64, u64) -> u64 + ZeroSized> Op for Fold<F> {
        type Func = F;
        fn decode(f: Func<F>, parents: &[AnyNode], env: &[u8]) -> Result<AnyNode, DecodeError> {
            let mut sum = codec::decode::<u64>(env)?;
            for i in 0..parents.len() {
                sum = f.get()(sum, *parent::<u64>(parents, i)?);
            }
            Ok(Arc::new(sum))
        }
    }

    fn source(value: u64) -> TableNode {
        let code = CodeRef::of(describe::<Source>(&Func::new(()))).unwrap();
        TableNode { code, parents: vec![], env: codec::encode(&value).unwrap() }
    }

    fn fold<F: Fn(u64, u64) -> u64 + ZeroSized>(f: F, parents: Vec<u32>, env: u64) -> TableNode {
        let code = CodeRef::of(describe::<Fold<F>>(&Func::new(f))).unwrap();
        TableNode { code, parents, env: codec::encode(&env).unwrap() }
    }

    fn sample() -> Table {
        let mut t = Table::default();
        let a = t.push(source(5));
        let b = t.push(source(7));
        let c = t.push(fold(|x, y| x * 10 + y, vec![a, b], 1));
        t.push(fold(|x, y| x + y, vec![c, c, a], 1000));
        t
    }

    #[test]
    fn a_table_gives_the_last_node_with_shared_parents() {
        let node = Table::decode(&sample().encode().unwrap()).unwrap().instantiate().unwrap();
        assert_eq!(node.downcast_ref::<u64>(), Some(&(1000 + 157 + 157 + 5)));
    }

    #[test]
    fn a_chain_of_100_000_nodes_needs_no_stack() {
        let mut t = Table::default();
        let mut last = t.push(source(0));
        for _ in 0..100_000 {
            last = t.push(fold(|x, y| x + y, vec![last], 1));
        }
        let bytes = t.encode().unwrap();
        let node = Table::decode(&bytes).unwrap().instantiate().unwrap();
        assert_eq!(node.downcast_ref::<u64>(), Some(&100_000));
        assert!(bytes.len() < 100_000 * 20, "a node takes {} bytes", bytes.len() / 100_000);
    }

    #[test]
    fn a_parent_of_another_type_is_an_error_that_names_node_and_type() {
        struct Text;
        impl Op for Text {
            type Func = ();
            fn decode(_: Func<()>, _: &[AnyNode], _: &[u8]) -> Result<AnyNode, DecodeError> {
                Ok(Arc::new(String::new()))
            }
        }
        let mut t = Table::default();
        let code = CodeRef::of(describe::<Text>(&Func::new(()))).unwrap();
        let a = t.push(TableNode { code, parents: vec![], env: vec![] });
        t.push(fold(|x, _| x, vec![a], 0));
        let error = t.instantiate().unwrap_err().to_string();
        assert!(error.starts_with("node 1 ") && error.ends_with("is not a u64"), "{error}");
    }

    #[test]
    fn bad_structure_is_an_error() {
        assert!(matches!(Table::default().instantiate(), Err(DecodeError::Empty)));
        let mut t = sample();
        t.nodes[2].parents[1] = 2;
        assert!(matches!(t.instantiate(), Err(DecodeError::ParentOrder { node: 2, parent: 2 })));
        assert!(matches!(Table::decode(&t.encode().unwrap()), Err(DecodeError::ParentOrder { node: 2, parent: 2 })));
        let mut t = sample();
        t.nodes[0].env.push(9);
        assert!(matches!(t.instantiate(), Err(DecodeError::Node { node: 0, .. })));
    }

    proptest! {
        #[test]
        fn a_damaged_table_is_a_node_or_an_error(at: prop::sample::Index, bits in 1u8.., cut: Option<prop::sample::Index>) {
            let mut bytes = sample().encode().unwrap();
            let i = at.index(bytes.len());
            bytes[i] ^= bits;
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            // Damage in an offset may by chance name the other descriptor, so a result is allowed; a crash is not.
            let _ = Table::decode(&bytes).and_then(|t| t.instantiate());
        }

        #[test]
        fn random_bytes_are_no_crash(bytes: Vec<u8>) {
            let _ = Table::decode(&bytes).and_then(|t| t.instantiate());
        }

        #[test]
        fn tables_survive_the_wire(nodes in prop::collection::vec((any::<u64>(), any::<Vec<u8>>()), 1..20)) {
            let nodes: Vec<TableNode> = nodes
                .into_iter()
                .enumerate()
                .map(|(i, (offset, env))| TableNode {
                    code: CodeRef { object: 0, offset },
                    parents: (0..i as u32).collect(),
                    env,
                })
                .collect();
            let table = Table { nodes };
            prop_assert_eq!(&Table::decode(&table.encode().unwrap()).unwrap(), &table);
        }
    }
}
