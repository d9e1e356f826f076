use std::{io::Read, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};
use tonic::{codegen::http::uri::PathAndQuery, transport::Endpoint};

use super::{codec::FrameCodec, *};
use crate::{
    MAX_MESSAGE_BYTES, Secret, SendError,
    proto::{
        auth::handshake::Step,
        deploy::{self, from_master, to_master},
    },
};

type MasterSide = Duplex<ToMaster, FromMaster>;
type WorkerSide = Duplex<FromMaster, ToMaster>;

const LONG: Duration = Duration::from_secs(20);

/// A served master port; stops with `stop`, or when dropped.
struct Served {
    addr: String,
    peers: tokio::sync::mpsc::UnboundedReceiver<MasterSide>,
    stop: Option<oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<Result<(), RpcError>>,
}

fn transport(secret: Option<&Secret>) -> Transport {
    Transport::new(secret.cloned()).connecting_within(LONG)
}

async fn connect_master(
    addr: &str,
    role: Role,
    secret: Option<&Secret>,
) -> Result<Duplex<FromMaster, ToMaster>, RpcError> {
    transport(secret).connect_master(addr, role, "").await
}

/// One that knows everybody who is let in.
fn served(secret: Option<Secret>) -> Served {
    serving(secret, true)
}

fn serving(secret: Option<Secret>, knows: bool) -> Served {
    let listener = Transport::default().bind("127.0.0.1", 0).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (on_peer, peers) = tokio::sync::mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let on_peer = move |duplex: MasterSide| {
        duplex.tx.set_known(knows);
        on_peer.send(duplex).unwrap();
    };
    let transport = transport(secret.as_ref());
    let ended = tokio::spawn(async move {
        let stopped = async move { _ = stopped.await };
        transport.serve_master(listener, on_peer, stopped).await
    });
    Served { addr, peers, stop: Some(stop), ended }
}

async fn connected(served: &mut Served) -> (WorkerSide, MasterSide) {
    let worker = connect_master(&served.addr, Role::Worker, None).await.unwrap();
    (worker, within(served.peers.recv()).await.unwrap())
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("nothing happened in time")
}

fn news(text: &str) -> ToMaster {
    let (app_id, message) = ("a".to_owned(), text.to_owned());
    let news = deploy::ExecutorStateChanged { app_id, message, ..Default::default() };
    ToMaster { message: Some(to_master::Message::ExecutorStateChanged(news)) }
}

fn refused(reason: &str) -> FromMaster {
    let refused = deploy::RegisterApplicationFailed { reason: reason.to_owned() };
    FromMaster { message: Some(from_master::Message::RegisterApplicationFailed(refused)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_pass_both_ways_in_order() {
    let secret = Some(Secret::from_bytes("k"));
    let mut served = served(secret.clone());
    let mut worker = connect_master(&served.addr, Role::Worker, secret.as_ref()).await.unwrap();
    let mut master = within(served.peers.recv()).await.unwrap();
    assert_eq!((master.peer.role, worker.peer.role), (Role::Worker, Role::Master));
    assert!(master.peer.addr.parse::<SocketAddr>().is_ok());
    for i in 0..500 {
        worker.tx.send(news(&i.to_string())).unwrap();
        master.tx.send(refused(&i.to_string())).unwrap();
    }
    for i in 0..500 {
        assert_eq!(within(master.rx.recv()).await.unwrap(), news(&i.to_string()));
        assert_eq!(within(worker.rx.recv()).await.unwrap(), refused(&i.to_string()));
    }
}

#[tokio::test]
async fn each_side_learns_that_the_other_has_ended_and_gets_what_was_queued() {
    let mut served = served(None);
    let (worker, mut master) = connected(&mut served).await;
    worker.tx.send(news("last words")).unwrap();
    drop(worker);
    assert_eq!(within(master.rx.recv()).await, Some(news("last words")));
    assert_eq!(within(master.rx.recv()).await, None);
    assert!(matches!(master.tx.send(refused("x")), Err(SendError::Closed { .. })));

    let (mut worker, master) = connected(&mut served).await;
    master.tx.send(refused("last words")).unwrap();
    drop(master);
    assert_eq!(within(worker.rx.recv()).await, Some(refused("last words")));
    assert_eq!(within(worker.rx.recv()).await, None);
    let e = worker.tx.send(news("x")).unwrap_err();
    assert!(e.to_string().contains(&served.addr) && e.to_string().contains("ended"), "{e}");
}

#[tokio::test]
async fn closing_sends_what_is_queued_and_refuses_more() {
    let mut served = served(None);
    let (mut worker, master) = connected(&mut served).await;
    master.tx.send(refused("a")).unwrap();
    master.tx.close("no room");
    assert!(master.tx.send(refused("b")).unwrap_err().to_string().contains("no room"));
    assert_eq!(within(worker.rx.recv()).await, Some(refused("a")));
    assert_eq!(within(worker.rx.recv()).await, None);
    within(worker.tx.closed()).await;
}

#[tokio::test]
async fn dropping_the_receiver_alone_ends_the_connection() {
    let mut served = served(None);
    let (worker, mut master) = connected(&mut served).await;
    let tx = worker.tx.clone();
    drop(worker);
    assert_eq!(within(master.rx.recv()).await, None);
    within(tx.closed()).await;
}

#[tokio::test]
async fn a_peer_whose_process_is_gone_is_noticed() {
    let mut served = served(None);
    let addr = served.addr.clone();
    // A runtime of its own: shutting it down drops the sockets at once, as the end of a process does.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let worker = runtime.spawn(async move { connect_master(&addr, Role::Worker, None).await.unwrap() });
    let mut worker = worker.await.unwrap();
    let mut master = within(served.peers.recv()).await.unwrap();
    runtime.shutdown_background();
    assert_eq!(within(master.rx.recv()).await, None);
    assert_eq!(within(worker.rx.recv()).await, None);
    assert!(master.tx.is_closed());
}

#[tokio::test]
async fn a_full_queue_closes_the_connection_instead_of_growing() {
    let mut served = served(None);
    let (mut worker, master) = connected(&mut served).await;
    let mut sent = 0usize;
    let e = loop {
        // The worker takes nothing, so that its queue, the windows and at last this queue fill up.
        match master.tx.send(refused(&"x".repeat(60_000))) {
            Ok(()) => sent += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(e, SendError::Full { .. }), "{e}");
    assert!(sent * 60_000 > QUEUE_BYTES / 2 && sent * 60_000 < 2 * QUEUE_BYTES, "{sent}");
    assert!(matches!(master.tx.send(refused("x")), Err(SendError::Closed { .. })));
    while within(worker.rx.recv()).await.is_some() {}
}

#[tokio::test]
async fn as_much_fits_into_the_queue_as_a_driver_with_all_executors_is_told_at_once() {
    let mut served = served(None);
    let (mut worker, master) = connected(&mut served).await;
    let told = 2 << 16;
    for i in 0..told {
        master.tx.send(refused(&i.to_string())).unwrap();
    }
    for i in 0..told {
        assert_eq!(within(worker.rx.recv()).await, Some(refused(&i.to_string())));
    }
}

#[tokio::test]
async fn too_large_a_message_is_refused_and_the_connection_stays() {
    let mut served = served(None);
    let (worker, mut master) = connected(&mut served).await;
    let e = worker.tx.send(news(&"x".repeat(MAX_MESSAGE_BYTES))).unwrap_err();
    assert!(matches!(e, SendError::TooLarge { limit: MAX_MESSAGE_BYTES, .. }), "{e}");
    let largest = news(&"x".repeat(MAX_MESSAGE_BYTES - 40));
    worker.tx.send(largest.clone()).unwrap();
    assert_eq!(within(master.rx.recv()).await, Some(largest));
}

#[tokio::test]
async fn the_wrong_secret_role_or_application_does_not_come_in_and_is_told_so() {
    let mut served = served(Some(Secret::from_bytes("right")));
    let wrong = Secret::from_bytes("wrong");
    let e = connect_master(&served.addr, Role::Worker, Some(&wrong)).await.unwrap_err();
    assert!(e.is_permanent() && e.to_string().contains(&served.addr) && e.to_string().contains("differ"), "{e}");
    let e = connect_master(&served.addr, Role::Worker, None).await.unwrap_err();
    assert!(e.to_string().contains("asks for a secret"), "{e}");
    let right = Secret::from_bytes("right");
    let e = connect_master(&served.addr, Role::Executor, Some(&right)).await.unwrap_err();
    assert!(e.to_string().contains("executor"), "{e}");
    assert!(served.peers.try_recv().is_err());

    let listener = Transport::default().bind("127.0.0.1", 0).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let of_app = |app_id| Transport::new(right.clone()).of_application(app_id).connecting_within(LONG);
    let driver = of_app("app-1");
    tokio::spawn(async move { driver.serve_driver(listener, "app-1", drop, std::future::pending()).await });
    let e = of_app("app-2").connect_driver(&addr, "app-2").await.unwrap_err();
    assert!(e.to_string().contains("app-2"), "{e}");
    of_app("app-1").connect_driver(&addr, "app-1").await.unwrap();
    let e = transport(Some(&right)).connect_driver(&addr, "app-1").await.unwrap_err();
    assert!(e.to_string().contains("differ"), "{e}");
}

/// A client that sends what it likes; the reasons for which it was refused.
async fn raw(addr: &str, first: Vec<ToMaster>) -> Vec<String> {
    let channel = Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let (tx, rx) = tokio::sync::mpsc::channel(8);
    for message in first {
        tx.send(message).await.unwrap();
    }
    let request = tonic::Request::new(tokio_stream::wrappers::ReceiverStream::new(rx));
    let path = PathAndQuery::from_static(Deploy::PATH);
    let mut inbound = grpc.streaming(request, path, FrameCodec::<ToMaster>::new()).await.unwrap().into_inner();
    let mut reasons = Vec::new();
    while let Ok(handshake) = pump::next_step(&mut inbound).await {
        if let Some(Step::Verdict(verdict)) = handshake.step {
            reasons.push(verdict.reason);
        }
    }
    reasons
}

#[tokio::test]
async fn nothing_but_the_handshake_is_decoded_before_it_has_refused() {
    let mut served = served(None);
    let reasons = within(raw(&served.addr, vec![news("w")])).await;
    assert!(matches!(&reasons[..], [reason] if reason.contains("before the handshake")), "{reasons:?}");
    let reasons = within(raw(&served.addr, vec![news(&"w".repeat(5_000))])).await;
    assert!(matches!(&reasons[..], [reason] if reason.contains("message of 5")), "{reasons:?}");
    assert!(served.peers.try_recv().is_err());
}

#[tokio::test]
async fn a_client_that_stays_silent_is_let_go() {
    let served = served(None);
    let reasons = within(raw(&served.addr, vec![])).await;
    assert!(matches!(&reasons[..], [reason] if reason.contains("no handshake within")), "{reasons:?}");
}

/// What a connection gets until the server closes it.
async fn until_closed(stream: &mut tokio::net::TcpStream) -> usize {
    let mut got = 0;
    loop {
        match within(stream.read(&mut [0; 4096])).await {
            Ok(0) | Err(_) => return got,
            Ok(n) => got += n,
        }
    }
}

#[tokio::test]
async fn connections_that_stay_silent_are_closed_and_when_many_come_the_oldest_go() {
    for secret in [None, Some(Secret::from_bytes("k"))] {
        let mut served = served(secret.clone());
        let mut silent = Vec::new();
        for _ in 0..400 {
            silent.push(tokio::net::TcpStream::connect(&served.addr).await.unwrap());
        }
        let _worker = connect_master(&served.addr, Role::Worker, secret.as_ref()).await.unwrap();
        let master = within(served.peers.recv()).await.unwrap();
        // The oldest go for those who came after them, the others when their time is over.
        for stream in silent.iter_mut().rev() {
            until_closed(stream).await;
        }
        assert!(!master.tx.is_closed());
    }
}

#[tokio::test]
async fn who_is_let_in_and_never_registers_is_closed_when_many_come_and_in_time() {
    firesteel_os::descriptors::raise_limit().unwrap();
    for secret in [None, Some(Secret::from_bytes("k"))] {
        let mut served = serving(secret.clone(), false);
        let known = connect_master(&served.addr, Role::Worker, secret.as_ref()).await.unwrap();
        let registered = within(served.peers.recv()).await.unwrap();
        registered.tx.set_known(true);
        let mut idle = Vec::new();
        for _ in 0..300 {
            idle.push(connect_master(&served.addr, Role::Client, secret.as_ref()).await.unwrap());
            // Its side is dropped with the test, not here: that would close the stream.
            std::mem::forget(within(served.peers.recv()).await.unwrap());
        }
        let most = crate::StrangerLimits::of_this_process().most;
        for early in &idle[..idle.len() - most] {
            within(early.tx.closed()).await;
        }
        for late in &idle {
            within(late.tx.closed()).await;
        }
        assert!(!registered.tx.is_closed() && !known.tx.is_closed());
        // Its worker is forgotten: it has no more right to be idle than others.
        registered.tx.set_known(false);
        within(known.tx.closed()).await;
    }
}

#[tokio::test]
async fn what_a_newcomer_may_send_is_little_and_who_is_known_sends_what_it_likes() {
    for knows in [false, true] {
        let mut served = serving(None, knows);
        let worker = connect_master(&served.addr, Role::Worker, None).await.unwrap();
        let mut master = within(served.peers.recv()).await.unwrap();
        let mut arrived = 0;
        for _ in 0..10 {
            let sent = worker.tx.send(news(&"w".repeat(100_000)));
            if sent.is_err() || within(master.rx.recv()).await.is_none() {
                break;
            }
            arrived += 1;
        }
        assert_eq!(arrived == 10, knows, "{arrived} large messages");
    }
}

#[tokio::test]
async fn what_a_connection_may_send_before_its_handshake_is_little() {
    let served = served(None);
    let mut stream = tokio::net::TcpStream::connect(&served.addr).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // Small frames that HTTP/2 allows without end: the server reads and answers each.
    let ping = b"\0\0\x08\x06\0\0\0\0\x0012345678";
    let mut sent = 0;
    let pings = async {
        while stream.write_all(ping).await.is_ok() {
            sent += ping.len();
            let _ = tokio::time::timeout(Duration::from_micros(1), stream.read(&mut [0; 4096])).await;
        }
    };
    // Long before its time is over.
    tokio::time::timeout(HANDSHAKE / 2, pings).await.expect("the connection is closed after some bytes");
    // The server's system takes some that the server never reads.
    assert!(sent < 1 << 20, "{sent}");
}

#[tokio::test]
async fn a_server_that_never_answers_times_out_and_one_that_is_not_there_says_so() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let impatient = Transport::default().connecting_within(Duration::from_millis(100));
    let e = impatient.connect_master(&addr, Role::Worker, "").await.unwrap_err();
    assert!(matches!(&e, RpcError::Timeout { .. }) && e.to_string().contains(&addr), "{e}");
    assert!(!e.is_permanent());
    drop(silent);
    let e = connect_master(&addr, Role::Worker, None).await.unwrap_err();
    assert!(matches!(&e, RpcError::Connect { .. }) && e.to_string().contains("refused"), "{e}");
    let e = connect_master("nonsense", Role::Worker, None).await.unwrap_err();
    assert!(matches!(e, RpcError::BadAddress { .. }), "{e}");
}

#[tokio::test]
async fn a_server_that_speaks_something_else_is_an_error() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _ = stream.read(&mut [0; 64]);
    });
    let e = connect_master(&addr, Role::Worker, None).await.unwrap_err();
    assert!(e.to_string().contains(&addr), "{e}");
    thread.join().unwrap();
}

#[tokio::test]
async fn a_message_whose_field_breaks_its_rule_ends_the_connection_and_is_named() {
    let mut served = served(None);
    let (worker, mut master) = connected(&mut served).await;
    worker.tx.send(news("first")).unwrap();
    let evil = deploy::UnregisterApplication { app_id: "../../etc\nINFO fake".to_owned() };
    worker.tx.send(ToMaster { message: Some(to_master::Message::UnregisterApplication(evil)) }).unwrap();
    assert_eq!(within(master.rx.recv()).await, Some(news("first")));
    assert_eq!(within(master.rx.recv()).await, None);
    let reason = master.tx.close_reason().unwrap();
    assert!(reason.contains("app_id of a UnregisterApplication") && !reason.contains('\n'), "{reason}");
}

#[tokio::test]
async fn shutdown_sends_what_is_queued_closes_every_connection_and_returns() {
    let mut served = served(None);
    let (mut worker, master) = connected(&mut served).await;
    master.tx.send(refused("bye")).unwrap();
    served.stop.take().unwrap().send(()).unwrap();
    assert_eq!(within(worker.rx.recv()).await, Some(refused("bye")));
    assert_eq!(within(worker.rx.recv()).await, None);
    within(served.ended).await.unwrap().unwrap();
    assert!(master.tx.is_closed());
    assert!(connect_master(&served.addr, Role::Worker, None).await.is_err());
}
