use std::path::{Component, Path};

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::proto::{
    deploy::*,
    executor::{ExecutorFiles, RegisterExecutor, ToDriver, ToExecutor},
};

/// Texts that lead elsewhere, break a line or have no end, among some that are in order.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("app-1".to_owned()),
        Just("h:1".to_owned()),
        Just("/tmp/blocks".to_owned()),
        Just("rdd_1_2".to_owned()),
        Just(String::new()),
        Just("..".to_owned()),
        Just("../../etc".to_owned()),
        Just("/tmp/../etc".to_owned()),
        Just("/".to_owned()),
        Just("a/b".to_owned()),
        Just("a\nINFO fake".to_owned()),
        Just("a\0b".to_owned()),
        Just("\x1b[2J".to_owned()),
        Just("h:65536".to_owned()),
        Just("x".repeat(5000)),
        "[a-z./:\\n\\x00-]{0,12}",
    ]
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// An encoded field of any number and kind, up to three messages deep.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let delimited = |tag: u64, body: &[u8]| {
        let mut out = Vec::new();
        varint(tag << 3 | 2, &mut out);
        varint(body.len() as u64, &mut out);
        out.extend_from_slice(body);
        out
    };
    let numbers = prop_oneof![Just(0), Just(1), Just(65_536), Just(u64::from(u32::MAX)), Just(u64::MAX), any::<u64>()];
    let number = (1..23u64, numbers).prop_map(|(tag, value)| {
        let mut out = Vec::new();
        varint(tag << 3, &mut out);
        varint(value, &mut out);
        out
    });
    let plain = prop_oneof![
        number,
        (1..23u64, text()).prop_map(move |(tag, text)| delimited(tag, text.as_bytes())),
        (1..23u64, prop::collection::vec(any::<u8>(), 0..70)).prop_map(move |(tag, body)| delimited(tag, &body)),
    ];
    plain.prop_recursive(3, 8, 2, move |inner| {
        (1..23u64, prop::collection::vec(inner, 0..3)).prop_map(move |(tag, parts)| delimited(tag, &parts.concat()))
    })
}

fn binary() -> ApplicationBinary {
    ApplicationBinary { build_hash: vec![7; 32], block_address: "h:7".into(), ..Default::default() }
}

fn description() -> ApplicationDescription {
    ApplicationDescription {
        name: "n".into(),
        driver_address: "d:1".into(),
        binary: Some(binary()),
        ..Default::default()
    }
}

fn launch() -> ExecutorLaunch {
    ExecutorLaunch {
        app_id: "app-1".into(),
        worker_id: "w".into(),
        host: "h".into(),
        driver_address: "[::1]:80".into(),
        local_dirs: vec!["/tmp/a".into()],
        binary: Some(binary()),
        binary_cache_dir: "/tmp/cache".into(),
        bind_host: "0.0.0.0".into(),
        registered_path: "/tmp/fifo".into(),
        ..Default::default()
    }
}

fn is_beneath(name: &str) {
    let base = Path::new("/base");
    let parts: Vec<Component<'_>> = Path::new(name).components().collect();
    assert!(matches!(parts[..], [Component::Normal(part)] if part == name), "{name:?}");
    assert_eq!(base.join(name).parent(), Some(base));
}

fn is_path(path: &str) {
    assert!(path.starts_with('/') && path.len() <= LONGEST_PATH && !path.contains('\0'), "{path:?}");
}

fn is_address(address: &str) {
    if address.is_empty() {
        return;
    }
    let (host, port) = address.rsplit_once(':').unwrap();
    assert!(port.parse::<u16>().is_ok() && !host.is_empty() && host.len() < 256, "{address:?}");
    assert!(!host.contains(|c: char| c.is_control() || c.is_whitespace() || c == '/'), "{address:?}");
}

fn check_binary(binary: &Option<ApplicationBinary>) {
    let Some(binary) = binary else { return };
    is_address(&binary.block_address);
    assert!(matches!(binary.build_hash.len(), 0 | 32) && binary.driver_fd >= 0 && binary.driver_pid <= 1 << 22);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_whatever_make_the_decoding_of_a_message_panic(fields in prop::collection::vec(field(), 0..6), noise: Vec<u8>) {
        for decoders in [auth::DECODERS, deploy::DECODERS, executor::DECODERS] {
            for decode in decoders {
                decode(&fields.concat());
                decode(&noise);
            }
        }
    }

    #[test]
    fn what_is_let_in_names_one_directory_addresses_of_hosts_and_absolute_paths(fields in prop::collection::vec(field(), 0..3)) {
        let changed = |message: &dyn Fn() -> Vec<u8>| [message(), fields.concat()].concat();
        let sample = LaunchExecutor { app_id: "app-1".into(), application: Some(description()), ..Default::default() };
        if let Ok(m) = decode::<LaunchExecutor>(&*changed(&|| sample.encode_to_vec())) {
            is_beneath(&m.app_id);
            prop_assert!(m.executor_id <= ExecutorId::LAST.0);
            if let Some(application) = m.application {
                is_address(&application.driver_address);
                check_binary(&application.binary);
                prop_assert!(application.port_max_retries <= 65535 && application.block_manager_port <= 65535);
            }
        }
        if let Ok(m) = decode::<ExecutorLaunch>(&*changed(&|| launch().encode_to_vec())) {
            is_beneath(&m.app_id);
            [&m.driver_address, &m.shuffle_service_address].into_iter().for_each(|address| is_address(address));
            m.local_dirs.iter().for_each(|dir| is_path(dir));
            [&m.binary_cache_dir, &m.registered_path].into_iter().filter(|path| !path.is_empty()).for_each(|path| is_path(path));
            check_binary(&m.binary);
        }
        let sample = WorkerLatestState { worker_id: "w".into(), ..Default::default() };
        if let Ok(m) = decode::<WorkerLatestState>(&*changed(&|| sample.encode_to_vec())) {
            m.applications.iter().chain(m.executors.iter().map(|e| &e.app_id)).for_each(|id| is_beneath(id));
            prop_assert!(m.executors.iter().all(|e| e.executor_id <= ExecutorId::LAST.0));
        }
        let sample = RegisterExecutor { host: "h".into(), block_address: "h:1".into(), ..Default::default() };
        if let Ok(m) = decode::<RegisterExecutor>(&*changed(&|| sample.encode_to_vec())) {
            [&m.block_address, &m.shuffle_service_address].into_iter().for_each(|address| is_address(address));
            m.local_dirs.iter().for_each(|dir| is_path(dir));
        }
        if let Ok(m) = decode::<ExecutorFiles>(&*changed(&Vec::new)) {
            m.local_dirs.iter().for_each(|dir| is_path(dir));
        }
    }
}

#[test]
fn what_is_in_order_is_let_in() {
    let added = ExecutorAdded { worker_id: "w-[::1]-7".into(), host: "[::1]".into(), ..Default::default() };
    let message = FromMaster { message: Some(from_master::Message::ExecutorAdded(added)) };
    assert_eq!(decode::<FromMaster>(&*message.encode_to_vec()).unwrap(), message);
    assert_eq!(decode::<ExecutorLaunch>(&*launch().encode_to_vec()).unwrap(), launch());
    assert_eq!(description().check(), Ok(()));
}

/// Each change breaks one field, and the error names it.
#[test]
fn what_breaks_a_rule_is_named_by_message_and_field() {
    let broken = |field: &str, change: &dyn Fn(&mut ExecutorLaunch)| {
        let mut message = launch();
        change(&mut message);
        let error = decode::<ExecutorLaunch>(&*message.encode_to_vec()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{field} of a ")), "{error}");
        assert!(error.len() < 400 && !error.contains(['\n', '\0', '\x1b']), "{error}");
    };
    for evil in ["../x", "a/b", "a\nb", "", "\0"] {
        broken("app_id", &|m| m.app_id = evil.into());
        broken("host", &|m| m.host = evil.into());
        broken("worker_id", &|m| m.worker_id = evil.into());
        broken("local_dirs", &|m| m.local_dirs.push(evil.into()));
        broken("driver_address", &|m| m.driver_address = evil.into());
    }
    for evil in ["x", "/a\0", &"/a".repeat(3000)] {
        broken("binary_cache_dir", &|m| m.binary_cache_dir = evil.into());
        broken("registered_path", &|m| m.registered_path = evil.into());
    }
    let of_binary = |field: &str, change: fn(&mut ApplicationBinary)| {
        broken(field, &|m| m.binary.iter_mut().for_each(change));
    };
    of_binary("block_address", |b| b.block_address = "h:65536".into());
    of_binary("build_hash", |b| b.build_hash.truncate(31));
    of_binary("boot_id", |b| b.boot_id = "b".repeat(65));
    of_binary("driver_pid", |b| b.driver_pid = u32::MAX);
    of_binary("driver_fd", |b| b.driver_fd = -1);
    broken("executor_id", &|m| m.executor_id = u32::MAX);
    broken("port_max_retries", &|m| m.port_max_retries = 65_536);
    broken("block_manager_port", &|m| m.block_manager_port = 65_536);
}

#[test]
fn pieces_without_their_checksums_are_none() {
    use crate::proto::executor::{BroadcastRef, Payload, payload::Place};
    for (size, piece_bytes, checksums, good) in [
        (0, 0, 0, true),
        (10, 4, 3, true),
        (8, 4, 2, true),
        (8, 0, 0, false),
        (10, 4, 2, false),
        (u64::MAX, 1, 3, false),
    ] {
        let place = BroadcastRef { size, piece_bytes, checksums: vec![0; checksums], ..Default::default() };
        let payload = Payload { place: Some(Place::Broadcast(place)) };
        assert_eq!(payload.check().is_ok(), good, "{payload:?}");
    }
}

#[test]
fn registrations_are_let_through_for_their_answer_and_nothing_else_is() {
    let worker = RegisterWorker { host: "a b".into(), ..Default::default() };
    assert_eq!(worker.check().unwrap_err().field, "worker_id");
    let message = ToMaster { message: Some(to_master::Message::RegisterWorker(worker)) };
    assert_eq!(message.check(), Ok(()));
    let beat = ToMaster { message: Some(to_master::Message::Heartbeat(WorkerHeartbeat { worker_id: "a b".into() })) };
    assert!(beat.check().is_err());
    assert!(ToDriver::default().check().is_ok() && ToExecutor::default().check().is_ok());
}

#[test]
fn addresses_are_host_and_port() {
    for good in ["h:1", "10.0.0.1:65535", "[::1]:80", "driver0:4040"] {
        assert!(address(&good).is_ok(), "{good}");
    }
    for bad in ["h", ":1", "h:", "h:65536", "h:-1", "h\n:1", "h/..:1", "http://h:1", &"h".repeat(400)] {
        assert!(
            matches!(address(&bad), Err(Fault::Value(reason)) if !reason.contains('\n') && reason.len() < 200),
            "{bad:?}"
        );
    }
}

#[test]
fn what_proves_who_somebody_is_gets_into_no_log() {
    let hidden = b"hidden".to_vec();
    let shown = format!("{hidden:?}");
    let register = RegisterApplication { token: hidden.clone(), incarnation: hidden.clone(), ..Default::default() };
    let registered = RegisteredApplication { token: hidden.clone(), app_id: "app-1".into(), ..Default::default() };
    let worker = RegisterWorker { incarnation: hidden.clone(), worker_id: "w".into(), ..Default::default() };
    let launch = ExecutorLaunch { app_key: hidden, ..launch() };
    for text in [format!("{register:?}"), format!("{registered:?}"), format!("{worker:?}"), format!("{launch:?}")] {
        assert!(!text.contains(&shown) && text.len() > 10, "{text}");
    }
}
