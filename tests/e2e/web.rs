//! What a live cluster shows on its web ports.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use firesteel_testing::wait_for;
use serde_json::{Value, json};

use crate::cluster::{Cluster, executor_pids};

impl Cluster {
    /// Where a daemon (`master`, `worker-0`, ..) has said that its web port is.
    pub fn web(&self, daemon: &str) -> String {
        let log = self.dir.path().join(format!("{daemon}.log"));
        wait_for(&format!("the web port of {daemon}"), || {
            let log = fs::read_to_string(&log).unwrap();
            let line = log.lines().find(|line| line.contains("web port"))?;
            let (_, url) = line.split_once("http://")?;
            Some(url.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect())
        })
    }
}

/// The state that is shown at this address.
fn state(addr: &str) -> Value {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET /json/ HTTP/1.1\r\nHost: {addr}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("application/json"), "{head}");
    serde_json::from_str(body).unwrap()
}

#[test]
fn master_and_workers_show_an_application_while_it_runs_and_after_its_end() {
    let cluster = Cluster::start(2, 1);
    let (master, worker) = (cluster.web("master"), cluster.web("worker-0"));
    let shown = state(&master);
    assert_eq!((&shown["url"], &shown["status"]), (&json!(cluster.url), &json!("ALIVE")));
    assert_eq!(["aliveworkers", "cores", "coresused"].map(|name| shown[name].as_u64().unwrap()), [2, 2, 0]);

    let sc = cluster.context().build().unwrap();
    executor_pids(&sc, &cluster.board("board"), 2);
    let shown = state(&master);
    assert_eq!(shown["coresused"], 2);
    let app = &shown["activeapps"][0];
    assert_eq!((&app["name"], &app["state"], &app["cores"]), (&json!("e2e"), &json!("RUNNING"), &json!(2)));
    assert_eq!(app["executors"].as_array().unwrap().len(), 2);
    let at_worker = state(&worker);
    assert_eq!(at_worker["masterurl"], cluster.url.as_str());
    assert_eq!(
        (&at_worker["executors"][0]["appid"], &at_worker["executors"][0]["state"]),
        (&app["id"], &json!("RUNNING"))
    );

    let id = app["id"].clone();
    sc.stop();
    wait_for("the end of the executors", || (state(&master)["coresused"] == 0).then_some(()));
    let shown = state(&master);
    assert_eq!((&shown["activeapps"], &shown["completedapps"][0]["id"]), (&json!([]), &id));
    assert_eq!(shown["completedapps"][0]["state"], "FINISHED");
    wait_for("the worker's word of it", || (state(&worker)["finishedexecutors"][0]["appid"] == id).then_some(()));
}
