use super::*;
use crate::{
    PROTOCOL_VERSION, Role, Secret, Security,
    proto::auth::{Challenge, Hello, Proof},
};

const SERVICE: &str = "test.Service";

fn accepts(app_id: Option<&str>) -> Accepts {
    Accepts { service: SERVICE, roles: &[Role::Executor, Role::Driver], app_id: app_id.map(str::to_owned) }
}

fn key(text: &str) -> Security {
    Secret::from_bytes(text).into()
}

fn none() -> Security {
    Security::none()
}

/// Plays both sides against each other; each side's end, and the proof that was sent.
struct Played {
    client: Result<(), HandshakeError>,
    server: Result<Identity, HandshakeError>,
}

fn play(service: &'static str, role: Role, app_id: &str, client_key: Security, server: ServerHandshake) -> Played {
    let (mut client, mut to_server) = ClientHandshake::new(service, role, app_id, &client_key).unwrap();
    let mut server_machine = server;
    loop {
        let (to_client, server_end) = match server_machine.receive(to_server) {
            Ok(ServerStep::Send(message)) => (message, None),
            Ok(ServerStep::Finished { verdict, identity }) => (verdict, Some(Ok(identity))),
            Err(e) => (e.refusal(), Some(Err(e))),
        };
        match client.receive(to_client) {
            Ok(ClientStep::Send(message)) => to_server = message,
            Ok(ClientStep::Finished) => return Played { client: Ok(()), server: server_end.unwrap() },
            Err(e) => {
                let server = server_end.unwrap_or(Err(HandshakeError::Ended("client left".into())));
                return Played { client: Err(e), server };
            }
        }
    }
}

#[test]
fn equal_keys_are_accepted_and_the_server_learns_who_it_is() {
    for (client, server) in [(key("k"), key("k")), (none(), none())] {
        let played = play(SERVICE, Role::Executor, "app-1", client, ServerHandshake::new(accepts(None), &server));
        assert_eq!(played.client, Ok(()));
        assert_eq!(played.server, Ok(Identity { role: Role::Executor, app_id: "app-1".into() }));
    }
}

#[test]
fn a_server_of_all_applications_wants_the_key_of_the_one_that_is_named() {
    let cluster = key("s");
    for (shown, ok) in
        [(cluster.of_application("app-1"), true), (cluster.of_application("app-2"), false), (none(), false)]
    {
        let server = ServerHandshake::of_any_application(accepts(None), &cluster);
        let played = play(SERVICE, Role::Executor, "app-1", shown, server);
        assert_eq!(played.client.is_ok(), ok);
        assert_eq!(played.server.is_ok(), ok);
    }
    let open = ServerHandshake::of_any_application(accepts(None), &none());
    assert!(play(SERVICE, Role::Driver, "app-1", none(), open).server.is_ok());
}

#[test]
fn different_keys_are_refused_and_both_sides_say_so() {
    let server = ServerHandshake::new(accepts(None), &key("a"));
    let played = play(SERVICE, Role::Executor, "app-1", key("b"), server);
    assert_eq!(played.server, Err(HandshakeError::WrongSecret));
    assert!(
        matches!(&played.client, Err(HandshakeError::Refused(text)) if text.contains("secrets")),
        "{:?}",
        played.client
    );
}

#[test]
fn a_stranger_gets_nothing_that_a_guess_could_be_tried_against() {
    let mut server = ServerHandshake::new(accepts(None), &key("a"));
    let (mut client, hello) = ClientHandshake::new(SERVICE, Role::Executor, "", &key("guess")).unwrap();
    let Ok(ServerStep::Send(challenge)) = server.receive(hello) else { panic!("no challenge") };
    let Some(Step::Challenge(said)) = &challenge.step else { panic!("no challenge") };
    // The nonce is random, the rest is known to everybody: the same as from a server that has another secret.
    let nothing = Challenge { nonce: vec![0; 32], ..said.clone() };
    assert_eq!(nothing, Challenge { protocol_version: PROTOCOL_VERSION, nonce: vec![0; 32], authenticated: true });
    let Ok(ClientStep::Send(proof)) = client.receive(challenge) else { panic!("no proof") };
    let refusal = server.receive(proof).unwrap_err().refusal();
    let Some(Step::Verdict(Verdict { accepted: false, mac, .. })) = refusal.step else { panic!("no refusal") };
    assert!(mac.is_empty());
}

#[test]
fn a_client_that_ignores_the_servers_mac_still_cannot_prove_a_key_it_lacks() {
    let mut server = ServerHandshake::new(accepts(None), &key("a"));
    let (_, hello) = ClientHandshake::new(SERVICE, Role::Executor, "", &key("b")).unwrap();
    server.receive(hello).unwrap();
    for mac in [vec![], vec![0; 32], Secret::from_bytes("b").app_key("x").as_bytes().to_vec()] {
        let (_, hello) = ClientHandshake::new(SERVICE, Role::Executor, "", &key("b")).unwrap();
        let mut server = ServerHandshake::new(accepts(None), &key("a"));
        server.receive(hello).unwrap();
        assert_eq!(server.receive(step(Step::Proof(Proof { mac }))), Err(HandshakeError::WrongSecret));
    }
}

#[test]
fn a_side_without_a_key_is_refused_and_both_texts_say_what_to_set() {
    let server = ServerHandshake::new(accepts(None), &key("a"));
    let played = play(SERVICE, Role::Executor, "", none(), server);
    assert_eq!(played.server, Err(HandshakeError::OtherHasNoSecret));
    let text = played.client.unwrap_err().to_string();
    assert!(text.contains("the other side asks for a secret") && text.contains("spark.authenticate.secret"), "{text}");

    let played = play(SERVICE, Role::Executor, "", key("a"), ServerHandshake::new(accepts(None), &none()));
    assert_eq!(played.server, Err(HandshakeError::ThisHasNoSecret));
    assert!(played.client.unwrap_err().to_string().contains("the other has none"));
}

#[test]
fn a_server_without_the_key_cannot_pass_for_one_with_it() {
    let challenge = |authenticated| {
        step(Step::Challenge(Challenge { protocol_version: PROTOCOL_VERSION, nonce: vec![1; 32], authenticated }))
    };
    let verdict = |mac| step(Step::Verdict(Verdict { accepted: true, reason: String::new(), mac }));
    let client = || ClientHandshake::new(SERVICE, Role::Executor, "", &key("a")).unwrap().0;
    assert_eq!(client().receive(challenge(false)), Err(HandshakeError::OtherHasNoSecret));
    assert!(matches!(client().receive(verdict(vec![])), Err(HandshakeError::Protocol(_))));
    for mac in [vec![], vec![0; 32]] {
        let mut client = client();
        client.receive(challenge(true)).unwrap();
        assert_eq!(client.receive(verdict(mac)), Err(HandshakeError::WrongSecret));
    }
    let mut client = client();
    let Ok(ClientStep::Send(Handshake { step: Some(Step::Proof(proof)) })) = client.receive(challenge(true)) else {
        panic!("no proof")
    };
    assert_eq!(client.receive(verdict(proof.mac)), Err(HandshakeError::WrongSecret), "its own proof sent back");
}

#[test]
fn another_version_is_refused_and_both_versions_are_named() {
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION + 1,
        role: "executor".into(),
        nonce: vec![0; 32],
        ..Hello::default()
    };
    let e = ServerHandshake::new(accepts(None), &none()).receive(step(Step::Hello(hello))).unwrap_err();
    assert_eq!(e, HandshakeError::Version { ours: PROTOCOL_VERSION, theirs: PROTOCOL_VERSION + 1 });
    assert!(e.is_permanent());

    let (mut client, _) = ClientHandshake::new(SERVICE, Role::Executor, "", &none()).unwrap();
    let told = client.receive(e.refusal()).unwrap_err().to_string();
    assert!(told.contains(&format!("version {PROTOCOL_VERSION}, this one {}", PROTOCOL_VERSION + 1)), "{told}");
    let (mut client, _) = ClientHandshake::new(SERVICE, Role::Executor, "", &none()).unwrap();
    let challenge = Challenge { protocol_version: 99, nonce: vec![0; 32], ..Challenge::default() };
    assert!(matches!(
        client.receive(step(Step::Challenge(challenge))),
        Err(HandshakeError::Version { theirs: 99, .. })
    ));
}

#[test]
fn a_recorded_proof_does_not_open_another_connection() {
    let secret = key("a");
    let (mut client, hello) = ClientHandshake::new(SERVICE, Role::Executor, "", &secret).unwrap();
    let mut first = ServerHandshake::new(accepts(None), &secret);
    let Ok(ServerStep::Send(challenge)) = first.receive(hello.clone()) else { panic!("no challenge") };
    let Ok(ClientStep::Send(proof)) = client.receive(challenge) else { panic!("no proof") };
    assert!(matches!(first.receive(proof.clone()), Ok(ServerStep::Finished { .. })));

    let mut second = ServerHandshake::new(accepts(None), &secret);
    assert!(matches!(second.receive(hello), Ok(ServerStep::Send(_))));
    assert_eq!(second.receive(proof), Err(HandshakeError::WrongSecret));
}

#[test]
fn the_proof_of_a_server_is_no_proof_of_a_client() {
    // As sent by a server to whom the stranger has relayed a client's handshake.
    let secret = key("a");
    let (mut client, hello) = ClientHandshake::new(SERVICE, Role::Executor, "", &secret).unwrap();
    let mut server = ServerHandshake::new(accepts(None), &secret);
    let Ok(ServerStep::Send(challenge)) = server.receive(hello.clone()) else { panic!("no challenge") };
    let Ok(ClientStep::Send(proof)) = client.receive(challenge) else { panic!("no proof") };
    let Ok(ServerStep::Finished { verdict, .. }) = server.receive(proof) else { panic!("no verdict") };
    let Some(Step::Verdict(Verdict { mac, .. })) = verdict.step else { panic!("no verdict") };
    let mut other = ServerHandshake::new(accepts(None), &secret);
    other.receive(hello).unwrap();
    assert_eq!(other.receive(step(Step::Proof(Proof { mac }))), Err(HandshakeError::WrongSecret));
}

#[test]
fn a_proof_for_another_service_does_not_fit() {
    let server = ServerHandshake::new(accepts(None), &key("a"));
    let played = play("test.Other", Role::Executor, "", key("a"), server);
    assert_eq!(played.server, Err(HandshakeError::WrongSecret));
}

#[test]
fn the_wrong_role_or_application_is_refused() {
    let server = ServerHandshake::new(accepts(None), &none());
    let played = play(SERVICE, Role::Worker, "", none(), server);
    assert!(
        matches!(&played.server, Err(HandshakeError::NotAllowed(text)) if text.contains("worker")),
        "{:?}",
        played.server
    );
    assert!(matches!(played.client, Err(HandshakeError::Refused(_))));

    let server = ServerHandshake::new(accepts(Some("app-1")), &key("a"));
    let played = play(SERVICE, Role::Executor, "app-2", key("a"), server);
    assert!(matches!(&played.server, Err(HandshakeError::NotAllowed(text)) if text.contains("app-2")));
    assert!(matches!(&played.client, Err(HandshakeError::Refused(text)) if text.contains("app-1")));
}

#[test]
fn steps_out_of_order_are_a_protocol_error() {
    let mut server = ServerHandshake::new(accepts(None), &none());
    assert!(matches!(server.receive(step(Step::Proof(Proof::default()))), Err(HandshakeError::Protocol(_))));
    let mut server = ServerHandshake::new(accepts(None), &none());
    assert!(matches!(server.receive(Handshake { step: None }), Err(HandshakeError::Protocol(_))));
    let (_, hello) = ClientHandshake::new(SERVICE, Role::Executor, "", &none()).unwrap();
    let mut server = ServerHandshake::new(accepts(None), &none());
    server.receive(hello.clone()).unwrap();
    assert!(matches!(server.receive(hello), Err(HandshakeError::Protocol(_))));
    let short =
        Hello { protocol_version: PROTOCOL_VERSION, role: "executor".into(), nonce: vec![1], ..Hello::default() };
    let e = ServerHandshake::new(accepts(None), &none()).receive(step(Step::Hello(short))).unwrap_err();
    assert!(e.to_string().contains("nonce of 1 bytes"));
}

mod over_tcp {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn accepting(app_id: Option<&str>, security: &Security) -> Accepting {
        Accepting::new(ServerHandshake::new(accepts(app_id), security))
    }

    #[test]
    fn both_sides_of_a_plain_stream_finish() {
        let (mut client, mut server) = pair();
        let accepting = std::thread::spawn(move || accepting(Some("a"), &key("k")).advance(&mut server).unwrap());
        blocking::open(&mut client, SERVICE, Role::Executor, "a", &key("k")).unwrap();
        assert_eq!(accepting.join().unwrap().unwrap().app_id, "a");
    }

    #[test]
    fn the_opener_is_told_why_it_is_refused() {
        let (mut client, mut server) = pair();
        let accepting = std::thread::spawn(move || accepting(Some("a"), &none()).advance(&mut server));
        let e = blocking::open(&mut client, SERVICE, Role::Executor, &"b".repeat(900), &none()).unwrap_err();
        assert!(e.to_string().contains("application"), "{e}");
        assert!(accepting.join().unwrap().is_err());
    }

    #[test]
    fn an_opener_whose_accepter_is_silent_gives_up() {
        let (mut client, _server) = pair();
        client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let e = blocking::open(&mut client, SERVICE, Role::Executor, "a", &none()).unwrap_err();
        assert!(e.to_string().contains("did not answer in time"), "{e}");
    }

    #[test]
    fn what_comes_byte_by_byte_waits_without_holding_anything_up() {
        let (mut client, mut server) = pair();
        server.set_nonblocking(true).unwrap();
        let mut accepting = accepting(None, &none());
        assert_eq!(accepting.advance(&mut server).unwrap(), None);
        let (mut machine, hello) = ClientHandshake::new(SERVICE, Role::Executor, "a", &none()).unwrap();
        for byte in blocking::framed(&hello) {
            client.write_all(&[byte]).unwrap();
            assert_eq!(accepting.advance(&mut server).unwrap(), None);
        }
        // Loopback: what was written is there.
        let mut answer = [0; 1024];
        let n = std::io::Read::read(&mut client, &mut answer).unwrap();
        let challenge = crate::checked::decode(&answer[4..n]).unwrap();
        let Ok(ClientStep::Send(proof)) = machine.receive(challenge) else { panic!("no proof") };
        // What follows the last message is not the handshake's.
        client.write_all(&[blocking::framed(&proof), b"next".to_vec()].concat()).unwrap();
        assert_eq!(accepting.advance(&mut server).unwrap().unwrap().role, Role::Executor);
        let mut next = [0; 4];
        std::io::Read::read_exact(&mut server, &mut next).unwrap();
        assert_eq!(&next, b"next");
    }

    #[test]
    fn a_foreign_or_too_long_message_is_an_error_before_it_is_read() {
        for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 0], &[1, 4, 0, 0]] {
            let (mut client, mut server) = pair();
            client.write_all(first).unwrap();
            let e = accepting(None, &none()).advance(&mut server).unwrap_err();
            assert!(matches!(e, HandshakeError::Protocol(_)), "{e}");
        }
    }
}
