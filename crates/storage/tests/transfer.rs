//! Blocks over real sockets: two block managers, and peers that misbehave.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use firesteel_common::{RddId, TaskId};
use firesteel_rpc::{
    Role, Secret, Transport,
    handshake::{Accepting, Accepts},
};
use firesteel_storage::{
    Abort, BlockBuffer, BlockClient, BlockError, BlockId, BlockManager, BlockServer, ClientConfig, Retries, ScratchFile,
};

const APP: &str = "app-1";

fn secret(text: &str) -> Transport {
    Transport::new(Secret::from_bytes(text)).of_application(APP)
}

fn serve(blocks: &Arc<BlockManager>, transport: Transport) -> (BlockServer, String) {
    let server = BlockServer::start(TcpListener::bind("127.0.0.1:0").unwrap(), blocks.clone(), transport, APP).unwrap();
    let address = server.local_addr().to_string();
    (server, address)
}

fn client(transport: Transport) -> BlockClient {
    BlockClient::new(transport, APP, Role::Executor)
}

fn result(n: u64) -> BlockId {
    BlockId::TaskResult(TaskId(n))
}

fn content(n: u64) -> Bytes {
    Bytes::from((0..n * 1000).map(|i| (i * n) as u8).collect::<Vec<u8>>())
}

/// A block manager with results 0 to 99, of up to 99 KB.
fn manager() -> Arc<BlockManager> {
    let blocks = Arc::new(BlockManager::new(1 << 30));
    (0..100).for_each(|n| blocks.put_bytes(result(n), content(n)).unwrap());
    blocks
}

#[test]
fn two_block_managers_fetch_from_each_other() {
    let (a, b) = (manager(), manager());
    let (_server_a, address_a) = serve(&a, secret("k"));
    let (_server_b, address_b) = serve(&b, secret("k"));
    let ids: Vec<BlockId> = (0..100).map(result).collect();
    thread::scope(|scope| {
        for address in [&address_a, &address_b] {
            let ids = &ids;
            scope.spawn(move || {
                let client = client(secret("k"));
                for _ in 0..3 {
                    let mut seen = 0;
                    client.fetch(address, ids, &Abort::never(), &mut |i, block| {
                        assert_eq!((i, block.unwrap()), (seen, content(i as u64)));
                        seen += 1;
                    });
                    assert_eq!(seen, 100);
                }
            });
        }
    });
}

#[test]
fn a_missing_block_is_named_and_does_not_disturb_the_others() {
    let (_server, address) = serve(&manager(), Transport::default());
    let ids = [result(1), BlockId::Rdd { rdd: RddId(3), partition: 4 }, result(2)];
    let mut got = Vec::new();
    client(Transport::default()).fetch(&address, &ids, &Abort::never(), &mut |_, block| got.push(block));
    assert!(got[0].is_ok() && got[2].is_ok());
    let text = got[1].as_ref().unwrap_err().to_string();
    assert!(text.contains("rdd_3_4") && text.contains(&address), "{text}");
}

#[test]
fn a_wrong_key_is_refused_and_a_right_one_is_not() {
    let (_server, address) = serve(&manager(), secret("right"));
    for (shown, app) in [(secret("wrong"), APP), (Transport::default(), APP), (secret("right"), "app-2")] {
        let client = BlockClient::new(shown, app, Role::Executor);
        let e = client.fetch_one(&address, result(1), &Abort::never()).unwrap_err();
        assert!(matches!(e, BlockError::Handshake { .. }), "{e}");
        assert!(e.to_string().contains(&address), "{e}");
    }
    assert!(client(secret("right")).fetch_one(&address, result(1), &Abort::never()).is_ok());
}

#[test]
fn nobody_listening_is_an_error_that_names_the_address() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let e = client(Transport::default()).fetch_one(&address, result(1), &Abort::never()).unwrap_err();
    assert!(matches!(e, BlockError::Connect { .. }) && e.to_string().contains(&address), "{e}");
}

fn serve_file(bytes: &[u8], claimed: u64) -> (tempfile::TempDir, PathBuf, Arc<BlockManager>, BlockId) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app");
    std::fs::write(&path, bytes).unwrap();
    let blocks = manager();
    let id = BlockId::Binary([7; 32]);
    blocks.serve_file(id, Arc::new(std::fs::File::open(&path).unwrap()), path.clone(), claimed);
    (dir, path, blocks, id)
}

#[test]
fn a_file_is_copied_whole_and_within_the_limit_only() {
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let (dir, _, blocks, id) = serve_file(&bytes, bytes.len() as u64);
    let (_server, address) = serve(&blocks, Transport::default());
    let (client, never) = (client(Transport::default()), Abort::never());
    let copy = dir.path().join("copy");
    assert_eq!(client.fetch_to_file(&address, id, &copy, 3_000_000, &never).unwrap(), 3_000_000);
    assert_eq!(std::fs::read(&copy).unwrap(), bytes);
    assert_eq!(client.fetch_one(&address, id, &never).unwrap(), bytes);

    let other = dir.path().join("other");
    let e = client.fetch_to_file(&address, id, &other, 2_999_999, &never).unwrap_err();
    assert!(matches!(e, BlockError::TooLarge { .. }), "{e}");
    assert!(!other.exists());
    let e = client.fetch_to_file(&address, result(1000), &other, 10, &never).unwrap_err();
    assert!(matches!(e, BlockError::Remote { .. }) && !other.exists(), "{e}");
    assert!(blocks.remove(&id));
    assert!(client.fetch_one(&address, id, &never).is_err());
}

#[test]
fn a_file_that_was_cut_off_is_named() {
    let (_dir, path, blocks, id) = serve_file(&[1; 100], 200);
    let (_server, address) = serve(&blocks, Transport::default());
    let e = client(Transport::default()).fetch_one(&address, id, &Abort::never()).unwrap_err();
    assert!(e.to_string().contains(path.to_str().unwrap()), "{e}");
}

#[test]
fn a_server_that_came_back_is_reached_over_a_new_connection() {
    let blocks = manager();
    let (server, address) = serve(&blocks, Transport::default());
    let client = client(Transport::default());
    assert!(client.fetch_one(&address, result(5), &Abort::never()).is_ok());
    // Ends with an idle connection open.
    drop(server);
    let listener = TcpListener::bind(&address).unwrap();
    let _server = BlockServer::start(listener, blocks, Transport::default(), APP).unwrap();
    assert_eq!(client.fetch_one(&address, result(5), &Abort::never()).unwrap(), content(5));
}

/// A peer that shakes hands and then does as `behave` says; counts its connections.
fn peer(behave: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let (counter, behave) = (count.clone(), Arc::new(behave));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, behave) = (stream.unwrap(), behave.clone());
            let number = counter.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                let accepts = Accepts { service: "firesteel.blocks", roles: &[Role::Executor], app_id: None };
                Accepting::new(Transport::default().handshake(accepts)).advance(&mut stream).unwrap().unwrap();
                behave(number, stream);
            });
        }
    });
    (address, count)
}

fn answer(stream: &mut TcpStream, payload: &[u8], crc: u32) {
    let mut request = [0; 9];
    stream.read_exact(&mut request).unwrap();
    let mut out = vec![0];
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
    stream.write_all(&out).unwrap();
}

/// Until the other side closes, which is what ends these peers.
fn wait_for_close(mut stream: TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

#[test]
fn a_peer_that_dies_within_a_block_is_found_at_once_and_tried_once_more() {
    let (address, connections) = peer(|_, mut stream| {
        let mut out = vec![0];
        out.extend_from_slice(&1000u64.to_le_bytes());
        out.extend_from_slice(&[0; 4 + 500]);
        let mut request = [0; 9];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(&out).unwrap();
    });
    let start = Instant::now();
    let e = client(Transport::default()).fetch_one(&address, result(1), &Abort::never()).unwrap_err();
    assert!(matches!(e, BlockError::Lost { .. }) && e.to_string().contains(&address), "{e}");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_block_that_comes_corrupt_is_fetched_once_more() {
    let right = crc32c::crc32c(b"block");
    let (address, connections) = peer(move |number, mut stream| {
        answer(&mut stream, b"block", if number == 0 { !right } else { right });
        wait_for_close(stream);
    });
    assert_eq!(client(Transport::default()).fetch_one(&address, result(1), &Abort::never()).unwrap(), "block");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_block_that_stays_corrupt_is_an_error() {
    let (address, connections) = peer(|_, mut stream| {
        answer(&mut stream, b"block", 1);
        wait_for_close(stream);
    });
    let e = client(Transport::default()).fetch_one(&address, result(9), &Abort::never()).unwrap_err();
    assert!(matches!(e, BlockError::Corrupt { .. }) && e.to_string().contains("taskresult_9"), "{e}");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_peer_that_hangs_is_an_error_after_the_network_timeout() {
    let (address, _) = peer(|_, stream| wait_for_close(stream));
    let impatient = Transport::default().answered_within(Duration::from_millis(150));
    let client = BlockClient::new(impatient, APP, Role::Executor);
    let e = client.fetch_one(&address, result(1), &Abort::never()).unwrap_err();
    assert!(matches!(e, BlockError::Silent { .. }), "{e}");
}

#[test]
fn a_wait_for_a_peer_ends_when_the_task_is_killed() {
    let (address, _) = peer(|_, stream| wait_for_close(stream));
    let asked = AtomicUsize::new(0);
    let abort = Abort::new(move || (asked.fetch_add(1, Ordering::SeqCst) >= 2).then(|| "job cancelled".to_owned()));
    let e = client(Transport::default()).fetch_one(&address, result(1), &abort).unwrap_err();
    assert!(matches!(&e, BlockError::Aborted { reason } if reason == "job cancelled"), "{e}");
}

#[test]
fn a_peer_that_speaks_something_else_is_an_error() {
    let (address, _) = peer(|_, mut stream| {
        stream.write_all(&[9; 100]).unwrap();
        wait_for_close(stream);
    });
    let e = client(Transport::default()).fetch_one(&address, result(1), &Abort::never()).unwrap_err();
    assert!(matches!(e, BlockError::Protocol { .. }), "{e}");
}

/// Answers once it is connected to for the `nth` time, and breaks the connection before.
fn answers_at(nth: usize) -> (String, Arc<AtomicUsize>) {
    peer(move |number, mut stream| {
        if number + 1 >= nth {
            answer(&mut stream, b"block", crc32c::crc32c(b"block"));
            wait_for_close(stream);
        }
    })
}

fn patient(max: u32, wait: Duration) -> BlockClient {
    let config = ClientConfig { retries: Retries { max, wait }, ..ClientConfig::default() };
    BlockClient::with_config(Transport::default(), APP, Role::Executor, config)
}

#[test]
fn a_connection_that_breaks_is_tried_as_often_as_is_said_and_no_more() {
    // The first connection, one at once, and the retries.
    let (address, connections) = answers_at(4);
    let client = patient(2, Duration::from_millis(1));
    assert_eq!(client.fetch_one(&address, result(1), &Abort::never()).unwrap(), "block");
    assert_eq!(connections.load(Ordering::SeqCst), 4);
    let (address, connections) = answers_at(5);
    let e = client.fetch_one(&address, result(1), &Abort::never()).unwrap_err();
    assert!(matches!(e, BlockError::Lost { .. }), "{e}");
    assert_eq!(connections.load(Ordering::SeqCst), 4);
}

#[test]
fn the_wait_before_a_retry_ends_when_the_task_is_killed() {
    let (address, _) = answers_at(usize::MAX);
    let asked = AtomicUsize::new(0);
    let abort = Abort::new(move || (asked.fetch_add(1, Ordering::SeqCst) >= 3).then(|| "job cancelled".to_owned()));
    let e = patient(3, Duration::from_secs(3600)).fetch_one(&address, result(1), &abort).unwrap_err();
    assert!(matches!(&e, BlockError::Aborted { reason } if reason == "job cancelled"), "{e}");
}

#[test]
fn where_nobody_listens_there_is_no_waiting() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    // It would be an hour.
    let e = patient(3, Duration::from_secs(3600)).fetch_one(&address, result(1), &Abort::never()).unwrap_err();
    assert!(matches!(e, BlockError::Connect { refused: true, .. }), "{e}");
}

#[test]
fn a_large_block_goes_to_a_file_and_small_ones_to_memory() {
    let (_server, address) = serve(&manager(), Transport::default());
    let dir = tempfile::tempdir().unwrap();
    let mut stream = client(Transport::default()).open(&address, Abort::never());
    (1..100).for_each(|n| stream.request(result(n)));
    let (mut memory, mut files) = (BlockBuffer::new(), 0);
    for n in 1..100u64 {
        let mut make = |bytes: u64| {
            assert_eq!(bytes, n * 1000);
            let path = dir.path().join(n.to_string());
            let file = std::fs::File::create_new(&path).unwrap();
            Ok(ScratchFile { file, path })
        };
        match stream.next_or_file(&mut memory, 50_000, &mut make).unwrap() {
            Some(file) => {
                assert!(n > 50);
                files += 1;
                assert_eq!(std::fs::read(file.path).unwrap(), content(n));
            }
            None => assert_eq!((&*memory, n <= 50), (&content(n)[..], true)),
        }
    }
    assert_eq!(files, 49);
    assert!(memory.capacity() <= 64 * 1024);
}

#[test]
fn a_large_block_that_comes_corrupt_is_fetched_once_more_into_a_new_file() {
    let payload = vec![7; 100_000];
    let right = crc32c::crc32c(&payload);
    let sent = payload.clone();
    let (address, connections) = peer(move |number, mut stream| {
        answer(&mut stream, &sent, if number == 0 { !right } else { right });
        wait_for_close(stream);
    });
    let dir = tempfile::tempdir().unwrap();
    let mut made = 0;
    let mut make = |_: u64| {
        made += 1;
        let path = dir.path().join(made.to_string());
        Ok(ScratchFile { file: std::fs::File::create_new(&path).unwrap(), path })
    };
    let mut stream = client(Transport::default()).open(&address, Abort::never());
    stream.request(result(1));
    let file = stream.next_or_file(&mut BlockBuffer::new(), 10, &mut make).unwrap().unwrap();
    assert_eq!(std::fs::read(file.path).unwrap(), payload);
    assert_eq!((made, connections.load(Ordering::SeqCst)), (2, 2));
}

#[test]
fn blocks_of_all_sizes_follow_each_other_from_memory_and_from_files() {
    let sizes = [1, 16 << 10, 3 << 20, 0, (16 << 10) + 1, 256 << 10, 13, (256 << 10) + 1, 65_536, (1 << 20) + 7, 5];
    let blocks = Arc::new(BlockManager::new(1 << 30));
    let mut files = Vec::new();
    let mut expected = Vec::new();
    for (n, size) in (0u64..).zip(sizes) {
        let bytes: Vec<u8> = (0..size as u64).map(|i| (i * (n + 3) / 7) as u8).collect();
        blocks.put_bytes(result(n), Bytes::from(bytes.clone())).unwrap();
        let (dir, _, in_file, id) = serve_file(&bytes, size as u64);
        files.push((dir, serve(&in_file, Transport::default()), id));
        expected.push(bytes);
    }
    let (_server, address) = serve(&blocks, Transport::default());
    let ids: Vec<BlockId> = (0..3).flat_map(|_| (0..sizes.len() as u64).map(result)).collect();
    let mut came = 0;
    client(Transport::default()).fetch(&address, &ids, &Abort::never(), &mut |at, bytes| {
        assert!(bytes.unwrap() == expected[at % sizes.len()], "block {at}");
        came += 1;
    });
    assert_eq!(came, ids.len());
    for ((_dir, (_server, address), id), expected) in files.iter().zip(&expected) {
        client(Transport::default())
            .fetch(address, &[*id; 3], &Abort::never(), &mut |_, bytes| assert!(bytes.unwrap() == *expected));
    }
}

#[test]
fn a_block_that_does_not_fit_the_checksum_after_it_is_fetched_once_more() {
    let payload = vec![7; 100_000];
    let right = crc32c::crc32c(&payload);
    let sent = payload.clone();
    let (address, connections) = peer(move |number, mut stream| {
        let mut text = vec![3];
        text.extend_from_slice(&(sent.len() as u64).to_le_bytes());
        text.extend_from_slice(&[0; 4]);
        text.extend_from_slice(&sent);
        text.extend_from_slice(&if number == 0 { !right } else { right }.to_le_bytes());
        stream.write_all(&text).unwrap();
        wait_for_close(stream);
    });
    assert!(client(Transport::default()).fetch_one(&address, result(1), &Abort::never()).unwrap() == payload);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}
