//! Former names of what [`Rdd::partitioned`] says now.

use firesteel_common::{Data, Env, Key};

use crate::{Rdd, With};

impl<K: Key, V: Data> Rdd<(K, V)> {
    #[doc(hidden)]
    #[deprecated(note = "write rdd.partitioned(partitions).group_by_key()")]
    #[track_caller]
    pub fn group_by_key_n(&self, partitions: u32) -> Rdd<(K, Vec<V>)> {
        self.partitioned(partitions).group_by_key()
    }

    #[doc(hidden)]
    #[deprecated(note = "write rdd.partitioned(partitions).reduce_by_key(f)")]
    #[track_caller]
    pub fn reduce_by_key_n<F>(&self, partitions: u32, f: F) -> Rdd<(K, V)>
    where
        F: Fn(V, V) -> V + Copy + Send + Sync + 'static,
    {
        self.partitioned(partitions).reduce_by_key(f)
    }
}

impl<K: Key, V: Data, E: Env> With<(K, V), E> {
    #[doc(hidden)]
    #[deprecated(note = "write rdd.with(env).partitioned(partitions).reduce_by_key(f)")]
    #[track_caller]
    pub fn reduce_by_key_n<F>(&self, partitions: u32, f: F) -> Rdd<(K, V)>
    where
        F: Fn(&E, V, V) -> V + Copy + Send + Sync + 'static,
    {
        self.partitioned(partitions).reduce_by_key(f)
    }
}
