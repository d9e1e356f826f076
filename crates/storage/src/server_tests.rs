//! Strangers at a block server: floods of them, and what is left for those who belong here.

use std::{
    io::{Read, Write},
    time::Duration,
};

use bytes::Bytes;
use firesteel_common::TaskId;
use firesteel_rpc::{Secret, Security, handshake::blocking};

use super::*;
use crate::{Abort, BlockClient};

struct One;

const BLOCK: BlockId = BlockId::TaskResult(TaskId(1));

impl BlockSource for One {
    fn open(&self, _: &BlockId) -> Result<BlockData, BlockError> {
        Ok(BlockData::Bytes(Bytes::from_static(b"content")))
    }
}

fn server(key: Option<&Secret>, most: usize, patience: Duration) -> BlockServer {
    server_of(key, StrangerLimits { most, patience }, MAX_CONNECTIONS)
}

fn server_of(key: Option<&Secret>, limits: StrangerLimits, connections: usize) -> BlockServer {
    let guests =
        Guests::Of { app_id: "app".to_owned(), transport: Transport::new(key.cloned()), served: Arc::new(One).into() };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    BlockServer::serve(listener, guests, limits, connections).unwrap()
}

const LONG: Duration = Duration::from_secs(60);

fn fetched(server: &BlockServer, key: Option<&Secret>) -> Bytes {
    let client = BlockClient::new(Transport::new(key.cloned()), "app", Role::Executor);
    client.fetch_one(&server.local_addr().to_string(), BLOCK, &Abort::never()).unwrap()
}

/// Waits until the server has closed it.
fn closed(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(LONG)).unwrap();
    // What it says before is a refusal.
    loop {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(e) => return assert_eq!(e.kind(), io::ErrorKind::ConnectionReset, "{e}"),
        }
    }
}

#[test]
fn six_hundred_strangers_get_no_thread_and_do_not_keep_others_out() {
    let secret = Secret::from_bytes("secret");
    for key in [Some(&secret), None] {
        let server = server(key, 50, LONG);
        let open = || {
            let mut stream = TcpStream::connect(server.local_addr()).unwrap();
            // The first byte of a message, after which nothing follows.
            stream.write_all(&[100]).unwrap();
            stream
        };
        let strangers: Vec<TcpStream> = (0..600).map(|_| open()).collect();
        assert_eq!(&fetched(&server, key)[..], b"content");
        // All but those for whom there is room have gone.
        strangers[..550].iter().for_each(closed);
        let threads = server.shared.connections().open.values().filter(|open| open.thread.is_some()).count();
        assert!(threads <= 1, "{threads} threads for strangers");
        assert_eq!(&fetched(&server, key)[..], b"content");
    }
}

#[test]
fn a_connection_that_says_little_or_nothing_is_closed_in_time() {
    let server = server(None, 50, Duration::from_millis(300));
    let silent = TcpStream::connect(server.local_addr()).unwrap();
    let mut slow = TcpStream::connect(server.local_addr()).unwrap();
    // Each byte comes in time, the message never.
    slow.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    slow.write_all(&[200, 0, 0, 0]).unwrap();
    let alive = |slow: &mut TcpStream| match slow.read(&mut [0; 64]) {
        Ok(n) => n > 0,
        Err(e) => matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    };
    while alive(&mut slow) && slow.write_all(&[1]).is_ok() {}
    closed(&silent);
    assert_eq!(&fetched(&server, None)[..], b"content");
}

#[test]
fn a_peer_that_has_asked_once_may_be_idle_for_as_long_as_it_likes() {
    let server = server(None, 1, Duration::from_millis(50));
    let mut guest = opened(&server);
    ask(&mut guest);
    for _ in 0..2 {
        closed(&TcpStream::connect(server.local_addr()).unwrap());
        closed(&opened(&server));
    }
    ask(&mut guest);
}

#[test]
fn those_who_ask_for_nothing_get_no_thread_and_go_when_they_are_too_many_or_take_too_long() {
    let server = server(None, 50, LONG);
    let idle: Vec<TcpStream> = (0..300).map(|_| opened(&server)).collect();
    idle[..250].iter().for_each(closed);
    assert_eq!(server.shared.connections().open.len(), 0);
    assert_eq!(&fetched(&server, None)[..], b"content");
    ask(&mut idle.last().unwrap().try_clone().unwrap());
}

#[test]
fn the_quietest_connection_makes_room_for_one_that_asks() {
    let server = server_of(None, StrangerLimits { most: 50, patience: LONG }, 8);
    let mut guests: Vec<TcpStream> = (0..8).map(|_| opened(&server)).collect();
    guests.iter_mut().for_each(ask);
    // Half a request is none.
    guests[0].write_all(&[0, 1]).unwrap();
    ask(&mut guests[1]);
    for round in 0..100 {
        let mut guest = opened(&server);
        ask(&mut guest);
        guests.push(guest);
        assert_eq!(&fetched(&server, None)[..], b"content", "round {round}");
    }
    guests[..80].iter().for_each(closed);
    let closed_all = || (server.shared.connections().open.len() <= 9).then_some(());
    let deadline = Instant::now() + LONG;
    while closed_all().is_none() {
        assert!(Instant::now() < deadline, "threads of those who had to go stay");
        thread::yield_now();
    }
}

/// A connection that is through its handshake.
fn opened(server: &BlockServer) -> TcpStream {
    let mut guest = TcpStream::connect(server.local_addr()).unwrap();
    blocking::open(&mut guest, wire::SERVICE, Role::Executor, "app", &Security::none()).unwrap();
    guest
}

/// Asks for the block and gets it.
fn ask(guest: &mut TcpStream) {
    let mut request = Vec::new();
    wire::encode_request(&BLOCK, &mut request);
    guest.write_all(&request).unwrap();
    let mut answer = [0; wire::HEADER_BYTES + 7];
    guest.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[wire::HEADER_BYTES..], b"content");
}

#[test]
fn what_only_a_driver_or_an_executor_may_ask_for_is_refused_to_others() {
    let server = server(None, 50, LONG);
    let address = server.local_addr().to_string();
    let client = |role| BlockClient::new(Transport::default(), "app", role);
    let remove = |role| {
        client(role).remove_shuffle(&address, firesteel_common::ShuffleId(1), &Abort::never()).unwrap_err().to_string()
    };
    let adopt = |role| {
        let shuffle = firesteel_common::ShuffleId(1);
        client(role).adopt(&address, shuffle, TaskId(1), "127.0.0.1:1", &Abort::never()).unwrap_err().to_string()
    };
    assert!(remove(Role::Executor).contains("only the role driver may"), "{}", remove(Role::Executor));
    assert!(adopt(Role::Driver).contains("only the role executor may"), "{}", adopt(Role::Driver));
    // One who may is told that this server does not do it.
    assert!(
        remove(Role::Driver).contains("this process removes no shuffle files of others"),
        "{}",
        remove(Role::Driver)
    );
    assert!(adopt(Role::Executor).contains("this process takes no map outputs"), "{}", adopt(Role::Executor));
}
