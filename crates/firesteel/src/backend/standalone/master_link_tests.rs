//! Masters that are nothing but their streams.

use std::net::TcpListener;

use firesteel_rpc::proto::deploy::{ExecutorAdded, MasterInStandby, RegisteredApplication};
use tokio::{sync::oneshot, task::JoinHandle};

use super::*;

type Peer = Duplex<ToMaster, FromMaster>;

struct Master {
    peers: mpsc::UnboundedReceiver<Peer>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn serve(listener: TcpListener) -> Master {
    let (sender, peers) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let on_peer = move |peer| _ = sender.send(peer);
    let shutdown = async { _ = stopped.await };
    let server =
        tokio::spawn(async move { Transport::default().serve_master(listener, on_peer, shutdown).await.unwrap() });
    Master { peers, stop, server }
}

impl Master {
    async fn peer(&mut self) -> Peer {
        tokio::time::timeout(Duration::from_secs(20), self.peers.recv()).await.unwrap().unwrap()
    }
}

async fn received(peer: &mut Peer) -> to_master::Message {
    tokio::time::timeout(Duration::from_secs(20), peer.rx.recv()).await.unwrap().unwrap().message.unwrap()
}

async fn registration(peer: &mut Peer) -> RegisterApplication {
    match received(peer).await {
        to_master::Message::RegisterApplication(register) => register,
        other => panic!("{other:?}"),
    }
}

fn send(peer: &Peer, message: from_master::Message) {
    peer.tx.send(FromMaster { message: Some(message) }).unwrap();
}

fn accept(peer: &Peer) {
    let registered =
        RegisteredApplication { app_id: "app-1".to_owned(), master_url: "spark://m".to_owned(), token: vec![7; 48] };
    send(peer, from_master::Message::RegisteredApplication(registered));
}

fn link(listeners: &[&TcpListener], rounds: u32, limit: Option<u32>) -> MasterLink {
    let hosts = listeners.iter().map(|l| ("127.0.0.1".to_owned(), l.local_addr().unwrap().port())).collect();
    let backoff = Duration::from_millis(20);
    let patience = MasterClientConfig { rounds, backoff, ..MasterClientConfig::default() };
    let beat = Duration::from_millis(30);
    MasterLink::start(
        MasterUrl { hosts },
        patience,
        Transport::default(),
        ApplicationDescription::default(),
        beat,
        limit,
    )
}

/// Lets the link work and gives its news as they come.
fn run(mut link: MasterLink) -> (mpsc::UnboundedReceiver<News>, oneshot::Sender<()>, JoinHandle<()>) {
    let (sender, news) = mpsc::unbounded_channel();
    let (leave, mut leaving) = oneshot::channel();
    let task = tokio::spawn(async move {
        loop {
            tokio::select! {
                news = link.next() => sender.send(news).unwrap(),
                _ = &mut leaving => break,
            }
        }
        link.leave().await;
    });
    (news, leave, task)
}

#[tokio::test]
async fn a_standby_is_passed_over_and_the_leader_gets_heartbeats_and_a_goodbye() {
    let (a, b) = (listener(), listener());
    let link = link(&[&a, &b], 3, None);
    let (mut standby, mut leader) = (serve(a), serve(b));
    let (mut news, leave, task) = run(link);
    let mut peer = standby.peer().await;
    assert_eq!(registration(&mut peer).await.app_id, "");
    send(&peer, from_master::Message::MasterInStandby(MasterInStandby {}));
    let mut peer = leader.peer().await;
    registration(&mut peer).await;
    accept(&peer);
    assert!(matches!(news.recv().await, Some(News::Registered { app_id, .. }) if app_id == "app-1"));
    for _ in 0..3 {
        assert!(
            matches!(received(&mut peer).await, to_master::Message::ApplicationHeartbeat(b) if b.app_id == "app-1")
        );
    }
    leave.send(()).unwrap();
    loop {
        match received(&mut peer).await {
            to_master::Message::ApplicationHeartbeat(_) => {}
            to_master::Message::UnregisterApplication(u) => break assert_eq!(u.app_id, "app-1"),
            other => panic!("{other:?}"),
        }
    }
    assert!(peer.rx.recv().await.is_none());
    task.await.unwrap();
}

#[tokio::test]
async fn after_a_loss_the_application_comes_back_under_its_id_and_no_executor_id_is_used_twice() {
    let first = listener();
    let addr = first.local_addr().unwrap();
    let link = link(&[&first], 1, None);
    let mut master = serve(first);
    let (mut news, _leave, _task) = run(link);
    let mut peer = master.peer().await;
    registration(&mut peer).await;
    accept(&peer);
    let (worker_id, host) = ("worker-1".to_owned(), "h".to_owned());
    let added = ExecutorAdded { executor_id: 4, worker_id, host, ..ExecutorAdded::default() };
    send(&peer, from_master::Message::ExecutorAdded(added));
    assert!(matches!(news.recv().await, Some(News::Registered { .. })));
    assert!(matches!(news.recv().await, Some(News::Executors(firesteel_backend::News::Granted(_)))));
    master.stop.send(()).unwrap();
    drop(peer);
    master.server.await.unwrap();

    let mut master = serve(TcpListener::bind(addr).unwrap());
    let mut peer = master.peer().await;
    let again = registration(&mut peer).await;
    // Also those that it had not heard of have their numbers.
    assert_eq!((again.app_id.as_str(), again.next_executor_id), ("app-1", 105));
    accept(&peer);
    assert!(matches!(news.recv().await, Some(News::Registered { .. })));
}

#[tokio::test]
async fn executors_that_are_asked_for_while_the_registration_is_on_its_way_are_asked_for_again() {
    let a = listener();
    let mut link = link(&[&a], 3, Some(0));
    let mut master = serve(a);
    let mut peer = tokio::select! {
        _ = link.next() => panic!("nobody has answered"),
        peer = master.peer() => peer,
    };
    let registered = tokio::select! {
        _ = link.next() => panic!("nobody has answered"),
        registered = registration(&mut peer) => registered,
    };
    assert_eq!(registered.executor_limit, Some(0));
    link.request_total(3);
    accept(&peer);
    assert!(matches!(link.next().await, News::Registered { .. }));
    let total = loop {
        tokio::select! {
            news = link.next() => panic!("{}", matches!(news, News::Failed(_))),
            message = received(&mut peer) => match message {
                to_master::Message::ApplicationHeartbeat(_) => {}
                to_master::Message::RequestExecutors(m) => break m.total,
                other => panic!("{other:?}"),
            },
        }
    };
    assert_eq!(total, 3);
}

#[tokio::test]
async fn where_no_master_is_the_error_names_every_address_after_bounded_attempts() {
    let (a, b) = (listener(), listener());
    let addresses = [a.local_addr().unwrap().to_string(), b.local_addr().unwrap().to_string()];
    let mut link = link(&[&a, &b], 2, None);
    drop((a, b));
    match link.next().await {
        News::Failed(reason) => {
            assert!(addresses.iter().all(|addr| reason.contains(addr)), "{reason}");
            assert!(reason.contains("2 attempt"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
