//! What the parties of the cluster are, one main type a file. Nothing here knows the [`Cluster`](crate::cluster::Cluster):
//! what its parties do stands in the files with `impl Cluster`.

pub(crate) mod driver;
pub(crate) mod executor;
pub(crate) mod faults;
pub(crate) mod features;
pub(crate) mod heard;
pub(crate) mod leaving;
pub(crate) mod master;
pub(crate) mod network;
pub(crate) mod partition;
pub(crate) mod served;
pub(crate) mod stage;
pub(crate) mod store;
pub(crate) mod stream;
pub(crate) mod worker;
