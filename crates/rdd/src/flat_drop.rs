//! Dropping a lineage of any depth without recursion.
//!
//! A node owns its parents; dropping the last handle of a lineage of 10,000 steps would recurse 10,000 frames deep on
//! whatever thread the user is on. [`Parent`] takes the drop of its node into a worklist of the thread instead.

use std::{any::Any, cell::RefCell, mem, ops::Deref, sync::Arc};

thread_local! {
    /// `Some` while a drop further up this thread's stack works through the list.
    static PENDING: RefCell<Option<Vec<Arc<dyn Any + Send + Sync>>>> = const { RefCell::new(None) };
}

fn flat_drop(node: Arc<dyn Any + Send + Sync>) {
    let mut node = Some(node);
    let nested = PENDING.try_with(|p| match p.borrow_mut().as_mut() {
        Some(list) => {
            list.extend(node.take());
            true
        }
        None => false,
    });
    // While the thread ends its locals are gone; then dropping in place is all that is left.
    if nested != Ok(false) {
        return;
    }
    let _ = PENDING.try_with(|p| *p.borrow_mut() = Some(Vec::new()));
    while let Some(next) = node {
        drop(next);
        node = PENDING.try_with(|p| p.borrow_mut().as_mut().and_then(Vec::pop)).ok().flatten();
    }
    let _ = PENDING.try_with(|p| mem::take(&mut *p.borrow_mut()));
}

/// A node's hold on a parent node.
pub struct Parent<N: Any + Send + Sync>(Option<Arc<N>>);

impl<N: Any + Send + Sync> Parent<N> {
    /// Holds `node`.
    pub fn new(node: Arc<N>) -> Self {
        Parent(Some(node))
    }
}

impl<N: Any + Send + Sync> Clone for Parent<N> {
    fn clone(&self) -> Self {
        Parent(self.0.clone())
    }
}

impl<N: Any + Send + Sync> Deref for Parent<N> {
    type Target = Arc<N>;

    fn deref(&self) -> &Arc<N> {
        match &self.0 {
            Some(node) => node,
            None => unreachable!("only drop takes the node out"),
        }
    }
}

impl<N: Any + Send + Sync> Drop for Parent<N> {
    fn drop(&mut self) {
        if let Some(node) = self.0.take() {
            flat_drop(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Link {
        _parent: Option<Parent<Link>>,
    }

    #[test]
    fn a_chain_of_a_million_links_drops_on_a_small_stack() {
        let chain = || {
            let mut tip = Arc::new(Link { _parent: None });
            for _ in 0..1_000_000 {
                tip = Arc::new(Link { _parent: Some(Parent::new(tip)) });
            }
            drop(Parent::new(tip));
        };
        std::thread::Builder::new().stack_size(128 << 10).spawn(chain).unwrap().join().unwrap();
    }

    #[test]
    fn a_shared_parent_lives_until_its_last_child_goes() {
        let root = Arc::new(Link { _parent: None });
        let a = Parent::new(Arc::new(Link { _parent: Some(Parent::new(root.clone())) }));
        let b = Parent::new(Arc::new(Link { _parent: Some(Parent::new(root.clone())) }));
        drop(a);
        assert_eq!(Arc::strong_count(&root), 2);
        drop(b);
        assert_eq!(Arc::strong_count(&root), 1);
    }
}
