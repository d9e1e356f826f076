//! Executors that are nothing but their streams.

use std::sync::{
    atomic::{AtomicU32, Ordering},
    mpsc,
};

use firesteel_backend::{Grant, Loss, News};
use firesteel_closure::binary::BuildHash;
use firesteel_common::{RddId, TaskId};
use firesteel_machine::serve;
use firesteel_protocol::{LaunchTasks, PartitionData, Payload, TaskDescription, TaskOutcome, TaskUpdate};
use firesteel_rpc::{Secret, Transport};
use firesteel_scheduler::DriverEvent;
use tokio::sync::{mpsc as async_mpsc, watch};

use super::{
    super::{
        manager::{self, Manager},
        service::{Parts, Service},
    },
    *,
};
use crate::driver::ExecutorRequest;

const APP: &str = "app-1";
const BUILD: BuildHash = BuildHash([7; 32]);

/// Says what it is told to say, and passes on what it is asked for.
struct Cluster {
    news: async_mpsc::UnboundedReceiver<News>,
    kills: async_mpsc::UnboundedSender<ExecutorId>,
    totals: async_mpsc::UnboundedSender<u32>,
}

impl Manager for Cluster {
    async fn next(&mut self) -> manager::News {
        match self.news.recv().await {
            Some(news) => manager::News::Executors(news),
            None => std::future::pending().await,
        }
    }

    fn request_total(&mut self, total: u32) {
        self.totals.send(total).unwrap();
    }

    fn kill(&mut self, executor: ExecutorId) {
        self.kills.send(executor).unwrap();
    }

    async fn leave(self) {}
}

struct Driver {
    addr: String,
    transport: Transport,
    news: async_mpsc::UnboundedSender<News>,
    requests: async_mpsc::UnboundedSender<ExecutorRequest>,
    totals: async_mpsc::UnboundedReceiver<u32>,
    messages: mpsc::Receiver<Message>,
    kills: async_mpsc::UnboundedReceiver<ExecutorId>,
    cores: Arc<AtomicU32>,
    /// The service lives as long as this.
    _stop: watch::Sender<bool>,
}

type Client = Duplex<proto::ToExecutor, proto::ToDriver>;

fn driver(network_timeout: Duration) -> Driver {
    let transport = Transport::new(Secret::from_bytes("key"));
    let listener = transport.bind("127.0.0.1", 0).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (sender, messages) = mpsc::channel();
    let (news, told) = async_mpsc::unbounded_channel();
    let (kill, kills) = async_mpsc::unbounded_channel();
    let (total, totals) = async_mpsc::unbounded_channel();
    let (requests, requested) = async_mpsc::unbounded_channel();
    let (stop, stopping) = watch::channel(false);
    let cores = Arc::new(AtomicU32::new(0));
    let (reception, reports) = Reception::new(BUILD, sender.clone());
    let reception = Arc::new(reception);
    let conf = BTreeMap::from([("spark.mine".to_owned(), "1".to_owned())]);
    let terms = Arc::new(Terms { conf, network_timeout });
    let on_peer = move |duplex| _ = tokio::spawn(attend(reception.clone(), terms.clone(), duplex));
    let served = transport.clone();
    let server = tokio::spawn(async move { served.serve_driver(listener, APP, on_peer, std::future::pending()).await });
    let parts = Parts {
        app_id: APP.to_owned(),
        reports,
        requests: requested,
        messages: sender,
        cores: cores.clone(),
        floor: 2,
        server,
        stopping,
    };
    let mut service = Service::new(Cluster { news: told, kills: kill, totals: total }, parts);
    tokio::spawn(async move { serve(&mut service).await });
    Driver { addr, transport, news, requests, totals, messages, kills, cores, _stop: stop }
}

impl Driver {
    /// The cluster says this, and it is taken.
    async fn told(&mut self, news: News) {
        self.news.send(news).unwrap();
        // Served after the news.
        self.requests.send(ExecutorRequest::Total(1)).unwrap();
        assert_eq!(self.totals.recv().await, Some(1));
    }

    async fn add(&mut self, executor_id: u32) {
        self.told(News::Granted(grant(executor_id, "w"))).await;
    }

    async fn ended(&mut self, executor_id: u32) {
        self.told(News::Ended { executor: ExecutorId(executor_id), loss: exited() }).await;
    }

    async fn connect(&self) -> Client {
        self.transport.connect_driver(&self.addr, APP).await.unwrap()
    }

    async fn register(&self, executor: u32) -> (Client, ToExecutor) {
        self.register_as(RegisterExecutor { executor: ExecutorId(executor), ..registration() }).await
    }

    async fn register_as(&self, register: RegisterExecutor) -> (Client, ToExecutor) {
        let mut client = self.connect().await;
        send(&client, ToDriver::RegisterExecutor(Box::new(register)));
        let answer = hear(&mut client).await;
        (client, answer)
    }

    async fn refusal(&self, register: RegisterExecutor) -> String {
        match self.register_as(register).await.1 {
            ToExecutor::RegisterExecutorFailed(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    async fn message(&mut self) -> Message {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            match self.messages.try_recv() {
                Ok(message) => return message,
                Err(e) => assert!(std::time::Instant::now() < deadline, "{e}"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn link(&mut self) -> Box<dyn Link> {
        match self.message().await {
            Message::Connected { link, .. } => link,
            _ => panic!("not connected"),
        }
    }
}

fn registration() -> RegisterExecutor {
    RegisterExecutor {
        protocol_version: PROTOCOL_VERSION,
        host: "h".to_owned(),
        block_address: "h:1".to_owned(),
        cores: 3,
        build_hash: BUILD.0.to_vec(),
        ..RegisterExecutor::default()
    }
}

fn send(client: &Client, message: ToDriver) {
    client.tx.send(message.into()).unwrap();
}

async fn hear(client: &mut Client) -> ToExecutor {
    client.rx.recv().await.unwrap().try_into().unwrap()
}

fn status(task: u64) -> ToDriver {
    ToDriver::StatusUpdates(vec![TaskUpdate::of(TaskId(task), TaskOutcome::GivenBack)])
}

fn grant(executor: u32, node: &str) -> Grant {
    Grant { executor: ExecutorId(executor), node: node.to_owned(), host: "h".to_owned(), cores: 3 }
}

fn exited() -> Loss {
    Loss { message: "exit code 1".to_owned(), by_application: true, node_lost: false }
}

#[tokio::test]
async fn an_executor_that_is_faster_than_the_masters_word_waits_for_it() {
    let mut driver = driver(Duration::from_secs(60));
    let mut early = driver.connect().await;
    let register = RegisterExecutor { executor: ExecutorId(1), ..registration() };
    send(&early, ToDriver::RegisterExecutor(Box::new(register)));
    driver.add(0).await;
    assert!(matches!(driver.register(0).await.1, ToExecutor::RegisteredExecutor(conf) if conf.len() == 1));
    driver.add(1).await;
    assert!(matches!(hear(&mut early).await, ToExecutor::RegisteredExecutor(_)));
    assert_eq!(driver.cores.load(Ordering::Relaxed), 6);
    for _ in 0..2 {
        // The first one's stream has ended already, which comes in between.
        while !matches!(driver.message().await, Message::Connected { register, .. } if register.cores == 3) {}
    }
}

#[tokio::test]
async fn who_does_not_belong_here_is_told_why() {
    let mut driver = driver(Duration::from_secs(60));
    driver.add(0).await;
    driver.add(1).await;
    let other = driver.refusal(RegisterExecutor { protocol_version: 99, ..registration() }).await;
    assert!(other.contains("99"), "{other}");
    let other = driver.refusal(RegisterExecutor { build_hash: vec![8; 32], ..registration() }).await;
    assert!(other.contains("another build"), "{other}");
    let _first = driver.register(0).await;
    let again = driver.refusal(registration()).await;
    assert!(again.contains("registered before"), "{again}");
    driver.ended(1).await;
    let removed = driver.refusal(RegisterExecutor { executor: ExecutorId(1), ..registration() }).await;
    assert!(removed.contains("removed"), "{removed}");
    assert_eq!(driver.cores.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_silent_executor_is_given_up_and_one_that_beats_is_not() {
    let timeout = Duration::from_millis(400);
    let mut driver = driver(timeout);
    driver.add(0).await;
    let (mut client, _) = driver.register(0).await;
    let _link = driver.link().await;
    let began = Instant::now();
    while began.elapsed() < 3 * timeout {
        send(&client, ToDriver::Heartbeat);
        tokio::time::sleep(timeout / 8).await;
    }
    assert!(driver.messages.try_recv().is_err(), "it lives");
    match driver.message().await {
        Message::Event(DriverEvent::ExecutorRemoved { message, by_application, .. }) => {
            assert!(message.contains("spark.network.timeout") && !by_application, "{message}");
        }
        _ => panic!("not removed"),
    }
    assert_eq!(driver.kills.recv().await, Some(ExecutorId(0)));
    assert!(client.rx.recv().await.is_none());
}

#[tokio::test]
async fn what_an_executor_had_sent_comes_before_the_news_of_its_end() {
    let mut driver = driver(Duration::from_secs(60));
    driver.add(0).await;
    let (client, _) = driver.register(0).await;
    let _link = driver.link().await;
    // The master's word is the first to arrive.
    driver.ended(0).await;
    send(&client, status(5));
    drop(client);
    assert!(matches!(driver.message().await, Message::Heard { .. }));
    assert!(matches!(driver.message().await, Message::Event(DriverEvent::ExecutorDisconnected { .. })));
    let end = driver.message().await;
    assert!(matches!(end, Message::Event(DriverEvent::ExecutorRemoved { by_application: true, .. })));
}

#[tokio::test]
async fn an_executor_that_the_driver_dropped_has_not_failed() {
    let mut driver = driver(Duration::from_secs(60));
    driver.add(0).await;
    let (mut client, _) = driver.register(0).await;
    drop(driver.link().await);
    assert!(client.rx.recv().await.is_none());
    driver.ended(0).await;
    assert!(matches!(driver.message().await, Message::Event(DriverEvent::ExecutorDisconnected { .. })));
    let end = driver.message().await;
    assert!(matches!(end, Message::Event(DriverEvent::ExecutorRemoved { by_application: false, .. })));
}

#[tokio::test]
async fn the_executors_of_a_worker_that_leaves_are_told_together_and_their_end_is_nobodys_fault() {
    let mut driver = driver(Duration::from_secs(60));
    for (executor_id, worker) in [(0, "w1"), (1, "w2"), (2, "w1")] {
        driver.told(News::Granted(grant(executor_id, worker))).await;
    }
    let (client, _) = driver.register(0).await;
    let _link = driver.link().await;
    for executor in [0, 2, 0, 7] {
        let (executor, message) = (ExecutorId(executor), "its worker leaves".to_owned());
        driver.told(News::NodeLeaves { executor, message }).await;
    }
    assert_eq!(driver.cores.load(Ordering::Relaxed), 3, "its cores are on their way out");
    let Message::WorkerLeaves { executors, .. } = driver.message().await else { panic!("another message") };
    assert_eq!(executors, [ExecutorId(0), ExecutorId(2)]);
    assert!(driver.messages.try_recv().is_err(), "once, and nothing of strangers");
    drop(client);
    driver.ended(0).await;
    assert!(matches!(driver.message().await, Message::Event(DriverEvent::ExecutorDisconnected { .. })));
    let end = driver.message().await;
    assert!(matches!(end, Message::Event(DriverEvent::ExecutorRemoved { by_application: false, .. })));
}

#[tokio::test]
async fn the_loss_of_a_worker_takes_all_executors_along_that_it_ever_ran() {
    let mut driver = driver(Duration::from_secs(60));
    for (executor_id, worker) in [(0, "w1"), (1, "w2"), (2, "w1")] {
        driver.told(News::Granted(grant(executor_id, worker))).await;
    }
    driver.ended(0).await;
    assert!(matches!(driver.message().await, Message::Event(DriverEvent::ExecutorRemoved { .. })));
    for worker in ["w3", "w1", "w1", "w2"] {
        driver.told(News::NodeLost { node: worker.to_owned(), message: "gone".to_owned() }).await;
    }
    // Of 2 and 1 it was not said that they are lost: a new master may not know them.
    for (unsaid, ids) in [(2, vec![0, 2]), (1, vec![1])] {
        let Message::Event(DriverEvent::ExecutorRemoved { executor, worker_lost: true, .. }) = driver.message().await
        else {
            panic!("another message")
        };
        assert_eq!(executor, ExecutorId(unsaid));
        let Message::Event(DriverEvent::WorkerRemoved { executors, .. }) = driver.message().await else {
            panic!("another message")
        };
        assert_eq!(executors, ids.into_iter().map(ExecutorId).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_launch_larger_than_a_message_goes_in_parts() {
    let mut driver = driver(Duration::from_secs(60));
    driver.add(0).await;
    let (mut client, _) = driver.register(0).await;
    let link = driver.link().await;
    let task = |task| {
        let data = Payload::Inline(vec![0; 500_000].into());
        let inputs = vec![PartitionData { rdd: RddId(0), partition: 0, data }];
        TaskDescription { task: TaskId(task), inputs, ..TaskDescription::default() }
    };
    let tasks: Vec<_> = (0..20).map(task).collect();
    const { assert!(20 * 500_000 > 2 * MAX_MESSAGE_BYTES) };
    link.send(ToExecutor::LaunchTasks(LaunchTasks { tasks, ..LaunchTasks::default() })).unwrap();
    let mut got = Vec::new();
    while got.len() < 20 {
        match hear(&mut client).await {
            ToExecutor::LaunchTasks(launch) => got.extend(launch.tasks.into_iter().map(|t| t.task.0)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_executor_that_sends_what_makes_no_sense_is_given_up() {
    let mut driver = driver(Duration::from_secs(60));
    driver.add(0).await;
    let (client, _) = driver.register(0).await;
    let _link = driver.link().await;
    let updates = vec![proto::StatusUpdate { task_id: 5, ..proto::StatusUpdate::default() }];
    let message = Some(to_driver::Message::StatusUpdates(proto::StatusUpdates { updates }));
    client.tx.send(proto::ToDriver { message }).unwrap();
    match driver.message().await {
        Message::Event(DriverEvent::ExecutorRemoved { message, .. }) => {
            assert!(message.contains("outcome of a StatusUpdate"), "{message}");
        }
        _ => panic!("not removed"),
    }
    assert_eq!(driver.kills.recv().await, Some(ExecutorId(0)));
}
