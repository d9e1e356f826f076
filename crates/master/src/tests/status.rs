//! What is shown of workers and applications.

use super::*;
use crate::{
    RecoveryState, WorkerState,
    status::{ApplicationState, MasterStatus},
};

impl Cluster {
    fn status(&self) -> MasterStatus {
        self.master.status(self.now)
    }
}

fn only_active(status: &MasterStatus) -> &crate::status::ApplicationStatus {
    assert_eq!(status.active_applications.len(), 1);
    &status.active_applications[0]
}

#[test]
fn an_application_waits_runs_and_is_over() {
    let (mut c, app_id) = one_executor(MasterRules::default());
    let shown = c.status();
    let app = only_active(&shown);
    assert_eq!((app.state, app.id.clone(), app.executors.len()), (ApplicationState::Waiting, app_id.clone(), 1));
    assert_eq!(app.registered_ms, 1_795_267_353_000);
    let worker = c.master.executors().values().next().unwrap().worker_id.clone();
    let from = c.master.workers()[&worker].connection.unwrap().0;
    c.state(from, &app_id, 0, ExecutorState::Running);
    c.pass(Duration::from_secs(2));
    let shown = c.status();
    let app = only_active(&shown);
    assert_eq!((app.state, app.duration_ms), (ApplicationState::Running, 2000));
    assert_eq!(app.executors[0].worker_id, worker);
    assert_eq!(shown.workers[0].cores_used, app.cores);

    let stream = c.master.applications()[&app_id].connection.unwrap().0;
    c.close(stream);
    assert_eq!(only_active(&c.status()).state, ApplicationState::Unknown);
    c.pass(Duration::from_secs(10));
    let shown = c.status();
    assert!(shown.active_applications.is_empty());
    let over = &shown.completed_applications[0];
    assert_eq!((over.state, over.executors.len()), (ApplicationState::Failed, 0));
    // What an application lasted does not grow any more.
    c.pass(Duration::from_secs(5));
    assert_eq!(c.status().completed_applications[0].duration_ms, over.duration_ms);
}

#[test]
fn a_driver_that_comes_back_to_an_application_that_was_over_is_shown_once() {
    let (mut c, app_id) = one_executor(MasterRules::default());
    let application = &c.master.applications()[&app_id];
    let (stream, token) = (application.connection.unwrap().0, application.token.0.clone());
    let description = application.description.clone();
    c.close(stream);
    c.pass(Duration::from_secs(10));
    assert_eq!(c.status().completed_applications.len(), 1);
    let to_master::Message::RegisterApplication(mut back) = register_application(description, &app_id) else {
        panic!("no registration")
    };
    back.token = token;
    c.say(77, to_master::Message::RegisterApplication(back));
    assert_eq!(only_active(&c.status()).id, app_id);
    assert!(c.status().completed_applications.is_empty());
}

#[test]
fn only_the_latest_applications_that_are_over_are_shown() {
    let mut c = Cluster::new(MasterRules { retained_applications: 2, ..MasterRules::default() });
    let ids: Vec<AppId> = (0..5u64)
        .map(|n| {
            let id = c.application(n, application(None, 512, None));
            c.close(n);
            c.pass(Duration::from_secs(10));
            id
        })
        .collect();
    let shown: Vec<AppId> = c.status().completed_applications.into_iter().map(|a| a.id).collect();
    assert_eq!(shown, ids[3..]);
}

#[test]
fn a_worker_is_shown_with_what_it_is_good_for() {
    let mut c = Cluster::default();
    c.worker(1, 4, 2048);
    let shown = c.status();
    assert_eq!((shown.state, shown.url.as_str()), (RecoveryState::Alive, "spark://m:7077"));
    assert_eq!(
        (shown.workers[0].state, shown.workers[0].cores, shown.workers[0].memory_mb),
        (WorkerState::Alive, 4, 2048)
    );
    let from = c.master.workers().values().next().unwrap().connection.unwrap().0;
    c.close(from);
    assert_eq!(c.status().workers[0].state, WorkerState::Unknown);
    c.event(MasterEvent::Deposed);
    let shown = c.status();
    assert_eq!(shown.state, RecoveryState::Standby);
    assert!(shown.workers.is_empty() && shown.completed_applications.is_empty());
}
