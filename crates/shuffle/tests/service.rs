//! A shuffle service: each application sees its own files, with its own key, whoever wrote them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{net::TcpListener, sync::Arc};

use common::{SHUFFLE, executor_with};
use firesteel_common::TaskId;
use firesteel_rpc::{Role, Secret, Transport};
use firesteel_shuffle::{Abort, ApplicationShuffles, ReadBounds, ServedOutputs, ShuffleConfig};
use firesteel_storage::{ApplicationSources, BlockClient, BlockError, BlockId, BlockServer, Served};

struct One(Arc<ApplicationShuffles>);

impl ApplicationSources for One {
    fn source(&self, app_id: &str) -> Option<Served> {
        (app_id == "app-1").then(|| self.0.served())
    }
}

#[test]
fn outputs_of_executors_that_are_gone_are_served_to_their_application_alone_until_they_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let locals = [dir.path().join("a/app-1"), dir.path().join("b/app-1")];
    let of = |id: u32| {
        let dirs = locals.iter().map(|local| local.join(id.to_string())).collect();
        move |c: &mut ShuffleConfig| {
            c.dirs = dirs;
            c.outlived_by_files = true;
        }
    };
    for id in [1, 2] {
        let executor = executor_with(id, of(id));
        drop(executor.map(u64::from(id), 2, &[(0, u64::from(id)), (1, 7)]));
    }
    let served =
        Arc::new(ApplicationShuffles::new(locals.to_vec(), Arc::new(ServedOutputs::new(ReadBounds::default()))));
    let cluster = Transport::new(Secret::from_bytes("s"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = BlockServer::of_applications(listener, Arc::new(One(served)), cluster.clone()).unwrap();
    let address = server.local_addr().to_string();
    let client = |app: &str, shown: Transport| BlockClient::new(shown, app, Role::Executor);
    let driver = |app: &str| BlockClient::new(cluster.of_application(app), app, Role::Driver);
    let block = |task| BlockId::Shuffle { shuffle: SHUFFLE, map_task: TaskId(task), reduce: 1 };

    let ours = client("app-1", cluster.of_application("app-1"));
    let never = Abort::never();
    let (first, second) = (ours.fetch_one(&address, block(1), &never), ours.fetch_one(&address, block(2), &never));
    assert_eq!(first.unwrap(), second.unwrap());
    let unknown = ours.fetch_one(&address, block(3), &never).unwrap_err();
    assert!(matches!(unknown, BlockError::Remote { .. }), "{unknown}");

    let other = client("app-2", cluster.of_application("app-2")).fetch_one(&address, block(1), &never).unwrap_err();
    assert!(matches!(other, BlockError::Remote { .. }), "{other}");
    let thief = client("app-1", cluster.of_application("app-2")).fetch_one(&address, block(1), &never).unwrap_err();
    assert!(matches!(thief, BlockError::Handshake { .. }), "{thief}");
    let other = driver("app-2").remove_shuffle(&address, SHUFFLE, &never).unwrap_err();
    assert!(matches!(other, BlockError::NotRemoved { .. }), "{other}");
    let executor = ours.remove_shuffle(&address, SHUFFLE, &never).unwrap_err();
    assert!(executor.to_string().contains("only the role driver"), "{executor}");

    driver("app-1").remove_shuffle(&address, SHUFFLE, &never).unwrap();
    assert!(ours.fetch_one(&address, block(1), &never).is_err());
    for local in &locals {
        for executor in std::fs::read_dir(local).unwrap() {
            assert_eq!(std::fs::read_dir(executor.unwrap().path()).unwrap().count(), 0);
        }
    }
}
