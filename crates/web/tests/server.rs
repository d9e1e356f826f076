//! The web port with raw clients: good ones, bad ones, slow ones and many.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use firesteel_web::{Answer, Limits, Pages, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

const LONG: Duration = Duration::from_secs(20);

struct Greeting;

impl Pages for Greeting {
    async fn page(&self, path: &str) -> Answer {
        match path {
            "/json" => Answer::json(&serde_json::json!({"greeting": "hello", "large": "x".repeat(8 << 20)})),
            "/small" => Answer::json(&serde_json::json!({"greeting": "hello"})),
            "/ending" => Answer::Unavailable,
            "/never" => std::future::pending().await,
            _ => Answer::NotFound,
        }
    }
}

struct Server {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    fn start(limits: Limits) -> Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { match serve(listener, Greeting, limits).await.unwrap() {} });
        Server { addr, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// The whole answer to these bytes, until the server closes.
    async fn answer_to(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        rest_of(&mut stream).await
    }
}

/// What comes until the server closes; a reset is an end, too.
async fn rest_of(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = async {
        let mut piece = vec![0; 64 << 10];
        while let Ok(n @ 1..) = stream.read(&mut piece).await {
            answer.extend_from_slice(&piece[..n]);
        }
    };
    tokio::time::timeout(LONG, read).await.expect("the server closes in time");
    String::from_utf8(answer).unwrap()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_page_is_served_with_its_type_and_is_not_kept_by_caches() {
    let server = Server::start(Limits::default());
    let answer = server.answer_to(&get("/small?pretty")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for header in [
        "content-type: application/json",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "connection: close",
    ] {
        assert!(head.contains(header), "{head}");
    }
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap(), serde_json::json!({"greeting": "hello"}));
}

#[tokio::test]
async fn a_head_request_gets_the_headers_alone() {
    let server = Server::start(Limits::default());
    let answer = server.answer_to(b"HEAD /small HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn what_is_not_there_and_what_would_change_something_is_refused() {
    let server = Server::start(Limits::default());
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET /json/../secret HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET /ending HTTP/1.1\r\nHost: x\r\n\r\n", "503"),
        ("POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nkill", "405"),
        ("DELETE /small HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("this is no HTTP\r\n\r\n", "400"),
    ] {
        let answer = server.answer_to(request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let server = Server::start(Limits::default());
    let mut request = b"GET /small HTTP/1.1\r\n".to_vec();
    for n in 0..2000 {
        request.extend_from_slice(format!("X-{n}: y\r\n").as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    let mut stream = server.connect().await;
    // It may close before it has taken everything.
    let _ = stream.write_all(&request).await;
    let answer = rest_of(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(server.answer_to(&get("/small")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn one_that_sends_its_headers_too_slowly_is_closed() {
    let limits = Limits { header_patience: Duration::from_millis(50), ..Limits::default() };
    let server = Server::start(limits);
    let began = Instant::now();
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /small HTTP/1.1\r\nHost:").await.unwrap();
    assert_eq!(rest_of(&mut silent).await, "");
    // hyper says why (408) or not.
    assert!(!rest_of(&mut slow).await.contains("greeting"));
    assert!(began.elapsed() < limits.patience);
}

#[tokio::test]
async fn one_that_does_not_read_its_answer_is_closed() {
    let server = Server::start(Limits { patience: Duration::from_millis(300), ..Limits::default() });
    let mut deaf = server.connect().await;
    deaf.write_all(&get("/json")).await.unwrap();
    // More than the buffers of two sockets hold is left unwritten, so that the server cannot have finished.
    let closed = async {
        while deaf.write(b"x").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, closed).await.expect("the server closes in time");
    assert!(server.answer_to(&get("/small")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn one_whose_page_does_not_come_is_closed() {
    let server = Server::start(Limits { patience: Duration::from_millis(50), ..Limits::default() });
    assert_eq!(server.answer_to(&get("/never")).await, "");
}

#[tokio::test]
async fn of_too_many_the_oldest_goes_and_the_newest_is_served() {
    let server = Server::start(Limits { connections: 8, ..Limits::default() });
    let mut first = server.connect().await;
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(server.connect().await);
    }
    assert_eq!(rest_of(&mut first).await, "");
    let newest = others.last_mut().unwrap();
    newest.write_all(&get("/small")).await.unwrap();
    assert!(rest_of(newest).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_that_have_ended_make_room() {
    let server = Server::start(Limits { connections: 2, ..Limits::default() });
    let mut waiting = server.connect().await;
    for _ in 0..20 {
        assert!(server.answer_to(&get("/small")).await.starts_with("HTTP/1.1 200"));
    }
    waiting.write_all(&get("/small")).await.unwrap();
    assert!(rest_of(&mut waiting).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn all_connections_end_with_the_server() {
    let server = Server::start(Limits::default());
    let mut waiting = server.connect().await;
    waiting.write_all(&get("/never")).await.unwrap();
    assert!(server.answer_to(&get("/small")).await.starts_with("HTTP/1.1 200"));
    server.task.abort();
    assert_eq!(rest_of(&mut waiting).await, "");
    assert!(TcpStream::connect(server.addr).await.is_err());
}
