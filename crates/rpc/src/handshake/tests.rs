use super::*;
use crate::proto::auth::{Challenge, Hello, Proof};
use crate::{PROTOCOL_VERSION, Role, Secret};

const SERVICE: &str = "test.Service";

fn accepts(app_id: Option<&str>) -> Accepts {
    Accepts { service: SERVICE, roles: &[Role::Executor, Role::Driver], app_id: app_id.map(str::to_owned) }
}

fn key(text: &str) -> Option<Secret> {
    Some(Secret::from_bytes(text))
}

/// Plays both sides against each other; each side's end, and the proof that was sent.
struct Played {
    client: Result<(), HandshakeError>,
    server: Result<Identity, HandshakeError>,
}

fn play(
    service: &'static str,
    role: Role,
    app_id: &str,
    client_key: Option<Secret>,
    server: ServerHandshake,
) -> Played {
    let (mut client, mut to_server) = ClientHandshake::new(service, role, app_id, client_key.as_ref()).unwrap();
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
    for (client, server) in [(key("k"), key("k")), (None, None)] {
        let played =
            play(SERVICE, Role::Executor, "app-1", client, ServerHandshake::new(accepts(None), server.as_ref()));
        assert_eq!(played.client, Ok(()));
        assert_eq!(played.server, Ok(Identity { role: Role::Executor, app_id: "app-1".into() }));
    }
}

#[test]
fn a_server_of_all_applications_wants_the_key_of_the_one_that_is_named() {
    let secret = Secret::from_bytes("s");
    for (shown, ok) in [(Some(secret.app_key("app-1")), true), (Some(secret.app_key("app-2")), false), (None, false)] {
        let server = ServerHandshake::of_any_application(accepts(None), Some(&secret));
        let played = play(SERVICE, Role::Executor, "app-1", shown, server);
        assert_eq!(played.client.is_ok(), ok);
        assert_eq!(played.server.is_ok(), ok);
    }
    let open = ServerHandshake::of_any_application(accepts(None), None);
    assert!(play(SERVICE, Role::Driver, "app-1", None, open).server.is_ok());
}

#[test]
fn different_keys_are_refused_before_the_client_has_proved_anything() {
    let server = ServerHandshake::new(accepts(None), key("a").as_ref());
    let played = play(SERVICE, Role::Executor, "app-1", key("b"), server);
    assert_eq!(played.client, Err(HandshakeError::WrongSecret));
    assert!(played.server.is_err());
}

#[test]
fn a_client_that_ignores_the_servers_mac_still_cannot_prove_a_key_it_lacks() {
    let mut server = ServerHandshake::new(accepts(None), key("a").as_ref());
    let (_, hello) = ClientHandshake::new(SERVICE, Role::Executor, "", key("b").as_ref()).unwrap();
    server.receive(hello).unwrap();
    for mac in [vec![], vec![0; 32], Secret::from_bytes("b").app_key("x").as_bytes().to_vec()] {
        let (_, hello) = ClientHandshake::new(SERVICE, Role::Executor, "", key("b").as_ref()).unwrap();
        let mut server = ServerHandshake::new(accepts(None), key("a").as_ref());
        server.receive(hello).unwrap();
        assert_eq!(server.receive(step(Step::Proof(Proof { mac }))), Err(HandshakeError::WrongSecret));
    }
}

#[test]
fn a_side_without_a_key_is_refused_and_both_texts_say_what_to_set() {
    let server = ServerHandshake::new(accepts(None), key("a").as_ref());
    let played = play(SERVICE, Role::Executor, "", None, server);
    assert_eq!(played.server, Err(HandshakeError::OtherHasNoSecret));
    let text = played.client.unwrap_err().to_string();
    assert!(text.contains("the other side asks for a secret") && text.contains("spark.authenticate.secret"), "{text}");

    let played = play(SERVICE, Role::Executor, "", key("a"), ServerHandshake::new(accepts(None), None));
    assert_eq!(played.server, Err(HandshakeError::ThisHasNoSecret));
    assert!(played.client.unwrap_err().to_string().contains("the other has none"));
}

#[test]
fn a_server_without_a_key_cannot_pass_for_one_with_it() {
    let (mut client, _) = ClientHandshake::new(SERVICE, Role::Executor, "", key("a").as_ref()).unwrap();
    let challenge =
        Challenge { protocol_version: PROTOCOL_VERSION, nonce: vec![1; 32], mac: vec![], authenticated: false };
    assert_eq!(client.receive(step(Step::Challenge(challenge.clone()))), Err(HandshakeError::OtherHasNoSecret));
    let (mut client, _) = ClientHandshake::new(SERVICE, Role::Executor, "", key("a").as_ref()).unwrap();
    let challenge = Challenge { authenticated: true, ..challenge };
    assert_eq!(client.receive(step(Step::Challenge(challenge))), Err(HandshakeError::WrongSecret));
    let (mut client, _) = ClientHandshake::new(SERVICE, Role::Executor, "", key("a").as_ref()).unwrap();
    let verdict = Verdict { accepted: true, reason: String::new() };
    assert!(matches!(client.receive(step(Step::Verdict(verdict))), Err(HandshakeError::Protocol(_))));
}

#[test]
fn another_version_is_refused_and_both_versions_are_named() {
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION + 1,
        role: "executor".into(),
        nonce: vec![0; 32],
        ..Hello::default()
    };
    let e = ServerHandshake::new(accepts(None), None).receive(step(Step::Hello(hello))).unwrap_err();
    assert_eq!(e, HandshakeError::Version { ours: PROTOCOL_VERSION, theirs: PROTOCOL_VERSION + 1 });
    assert!(e.is_permanent());

    let (mut client, _) = ClientHandshake::new(SERVICE, Role::Executor, "", None).unwrap();
    let told = client.receive(e.refusal()).unwrap_err().to_string();
    assert!(told.contains(&format!("version {PROTOCOL_VERSION}, this one {}", PROTOCOL_VERSION + 1)), "{told}");
    let (mut client, _) = ClientHandshake::new(SERVICE, Role::Executor, "", None).unwrap();
    let challenge = Challenge { protocol_version: 99, nonce: vec![0; 32], ..Challenge::default() };
    assert!(matches!(
        client.receive(step(Step::Challenge(challenge))),
        Err(HandshakeError::Version { theirs: 99, .. })
    ));
}

#[test]
fn a_recorded_proof_does_not_open_another_connection() {
    let secret = key("a");
    let (mut client, hello) = ClientHandshake::new(SERVICE, Role::Executor, "", secret.as_ref()).unwrap();
    let mut first = ServerHandshake::new(accepts(None), secret.as_ref());
    let Ok(ServerStep::Send(challenge)) = first.receive(hello.clone()) else { panic!("no challenge") };
    let Ok(ClientStep::Send(proof)) = client.receive(challenge) else { panic!("no proof") };
    assert!(matches!(first.receive(proof.clone()), Ok(ServerStep::Finished { .. })));

    let mut second = ServerHandshake::new(accepts(None), secret.as_ref());
    assert!(matches!(second.receive(hello), Ok(ServerStep::Send(_))));
    assert_eq!(second.receive(proof), Err(HandshakeError::WrongSecret));
}

#[test]
fn the_servers_own_mac_sent_back_is_no_proof() {
    let secret = key("a");
    let (_, hello) = ClientHandshake::new(SERVICE, Role::Executor, "", secret.as_ref()).unwrap();
    let mut server = ServerHandshake::new(accepts(None), secret.as_ref());
    let Ok(ServerStep::Send(Handshake { step: Some(Step::Challenge(challenge)) })) = server.receive(hello) else {
        panic!("no challenge")
    };
    assert_eq!(server.receive(step(Step::Proof(Proof { mac: challenge.mac }))), Err(HandshakeError::WrongSecret));
}

#[test]
fn a_proof_for_another_service_does_not_fit() {
    let server = ServerHandshake::new(accepts(None), key("a").as_ref());
    let played = play("test.Other", Role::Executor, "", key("a"), server);
    assert_eq!(played.client, Err(HandshakeError::WrongSecret));
}

#[test]
fn the_wrong_role_or_application_is_refused() {
    let server = ServerHandshake::new(accepts(None), None);
    let played = play(SERVICE, Role::Worker, "", None, server);
    assert!(
        matches!(&played.server, Err(HandshakeError::NotAllowed(text)) if text.contains("worker")),
        "{:?}",
        played.server
    );
    assert!(matches!(played.client, Err(HandshakeError::Refused(_))));

    let server = ServerHandshake::new(accepts(Some("app-1")), key("a").as_ref());
    let played = play(SERVICE, Role::Executor, "app-2", key("a"), server);
    assert!(matches!(&played.server, Err(HandshakeError::NotAllowed(text)) if text.contains("app-2")));
    assert!(matches!(&played.client, Err(HandshakeError::Refused(text)) if text.contains("app-1")));
}

#[test]
fn steps_out_of_order_are_a_protocol_error() {
    let mut server = ServerHandshake::new(accepts(None), None);
    assert!(matches!(server.receive(step(Step::Proof(Proof::default()))), Err(HandshakeError::Protocol(_))));
    let mut server = ServerHandshake::new(accepts(None), None);
    assert!(matches!(server.receive(Handshake { step: None }), Err(HandshakeError::Protocol(_))));
    let (_, hello) = ClientHandshake::new(SERVICE, Role::Executor, "", None).unwrap();
    let mut server = ServerHandshake::new(accepts(None), None);
    server.receive(hello.clone()).unwrap();
    assert!(matches!(server.receive(hello), Err(HandshakeError::Protocol(_))));
    let short =
        Hello { protocol_version: PROTOCOL_VERSION, role: "executor".into(), nonce: vec![1], ..Hello::default() };
    let e = ServerHandshake::new(accepts(None), None).receive(step(Step::Hello(short))).unwrap_err();
    assert!(e.to_string().contains("nonce of 1 bytes"));
}

mod over_tcp {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn both_sides_of_a_plain_stream_finish() {
        let (mut client, mut server) = pair();
        let accepting =
            std::thread::spawn(move || blocking::accept(&mut server, accepts(Some("a")), key("k").as_ref()));
        blocking::open(&mut client, SERVICE, Role::Executor, "a", key("k").as_ref()).unwrap();
        assert_eq!(accepting.join().unwrap().unwrap().app_id, "a");
    }

    #[test]
    fn the_opener_is_told_why_it_is_refused() {
        let (mut client, mut server) = pair();
        let accepting = std::thread::spawn(move || blocking::accept(&mut server, accepts(Some("a")), None));
        let e = blocking::open(&mut client, SERVICE, Role::Executor, "b", None).unwrap_err();
        assert!(e.to_string().contains("application"), "{e}");
        assert!(accepting.join().unwrap().is_err());
    }

    #[test]
    fn a_silent_or_foreign_peer_is_an_error() {
        let (client, mut server) = pair();
        server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let e = blocking::accept(&mut server, accepts(None), None).unwrap_err();
        assert!(e.to_string().contains("did not answer in time"), "{e}");
        drop(client);

        let (mut client, mut server) = pair();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let e = blocking::accept(&mut server, accepts(None), None).unwrap_err();
        assert!(matches!(e, HandshakeError::Protocol(_)), "{e}");
    }
}
