//! Executor processes under a driver of the test. The processes run this very test program, whose `main` (the test
//! harness) they never reach.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use bytes::Bytes;
use firesteel_common::{ExecutorId, TaskId};
use firesteel_os::ProcessEnd;
use firesteel_protocol::{KillTask, ToDriver, ToExecutor};
use firesteel_rpc::{Secret, proto::deploy::Parting};
use firesteel_testing::{alive, until_async};
use support::{
    End,
    cluster::{Cluster, next, next_end, next_updates, send},
    end_of, kind, launch, result,
};

mod support;

firesteel_closure::enter!(run);

fn run() -> i32 {
    register_kinds();
    firesteel_executor::backend::run()
}

/// What tasks of these tests do; the same in driver and executor.
fn register_kinds() {
    kind("double", |p, _| result(&[2 * p as u8]));
    kind("panic", |p, _| panic!("no luck with {p}"));
    kind("exit", |_, _| std::process::exit(3));
    kind("abort", |_, _| std::process::abort());
    kind("overflow", |_, _| result(&[deep(0)]));
    kind("forever", |_, ctx| {
        while ctx.kill().check().is_ok() {
            std::thread::yield_now();
        }
        result(&[])
    });
    kind("hide", |p, _| result(hide(p == 1).as_bytes()));
    kind("print", |p, _| {
        print(p);
        result(&[p as u8])
    });
    kind("hoard", |_, ctx| {
        let mut hoard = ctx.memory().reserve("hoard");
        assert!(hoard.resize(20 << 20));
        while ctx.kill().check().is_ok() {
            std::thread::yield_now();
        }
        // As where there is no memory.
        std::alloc::handle_alloc_error(std::alloc::Layout::new::<u64>())
    });
    kind("write to nobody", |_, _| {
        let (read, mut write) = std::io::pipe().unwrap();
        drop(read);
        result(format!("{:?}", std::io::Write::write(&mut write, b"x").map_err(|e| e.kind())).as_bytes())
    });
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "as user code does")]
fn print(partition: u32) {
    println!("so says {partition}, and much more: {}", "x".repeat(100_000));
    eprintln!("{partition} says so");
}

/// Starts something that does all to get away, and gives its process id. `linger`: its parent in the middle lives on.
fn hide(linger: bool) -> String {
    let wait = if linger { "& sleep 1000" } else { "&" };
    let inner = format!("sleep 1000 >/dev/null 2>&1 & echo $!; exec >/dev/null 2>&1; true {wait}");
    let script = format!("env -i setsid sh -c '{inner}' &");
    let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[allow(unconditional_recursion)]
fn deep(n: u8) -> u8 {
    std::hint::black_box(deep(std::hint::black_box(n))).wrapping_add(n)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_registers_with_its_build_runs_tasks_and_exits_when_it_is_stopped() {
    register_kinds();
    let key = Secret::from_bytes("secret").app_key("app-1");
    let mut cluster = Cluster::start(Some(key.clone()), Some(key));
    let (mut peer, registration) = cluster.registration().await;
    assert_eq!((registration.executor, registration.cores), (ExecutorId(4), 2));
    assert_eq!(parent_of(registration.pid), Some(cluster.child.pid()), "its supervisor is above it");
    let ours = firesteel_closure::binary::running_binary().unwrap();
    assert_eq!(ours.hash.check(&registration.build_hash), Ok(()));
    assert!(std::net::TcpStream::connect(&registration.block_address).is_ok(), "bound before it registers");
    send(&peer, ToExecutor::RegisteredExecutor(Default::default()));
    assert_eq!(cluster.told_worker().await, b"\n");

    send(&peer, launch(1, "double", [10]));
    assert_eq!(next_end(&mut peer).await, (10, End::Result(Bytes::from_static(&[0]))));
    send(&peer, launch(2, "panic", [11]));
    let (_, end) = next_end(&mut peer).await;
    let End::Panic(message, location) = end else { panic!("{end:?}") };
    assert!(message == "no luck with 0" && location.contains("tests/backend.rs:"), "{message} at {location}");
    send(&peer, launch(3, "write to nobody", [12]));
    assert_eq!(next_end(&mut peer).await, (12, End::Result(Bytes::from_static(b"Err(BrokenPipe)"))));

    send(&peer, ToExecutor::StopExecutor);
    let (end, text) = cluster.end().await;
    assert_eq!(end, ProcessEnd::Exited(0), "{text}");
    assert_eq!(cluster.told_worker().await, [Parting::InOrder as u8]);
    assert!(text.contains("no luck with 0"), "the usual lines of a panic are on standard error: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_beats_also_while_every_slot_is_busy() {
    register_kinds();
    let mut cluster = Cluster::start(None, None);
    let mut peer = cluster.registered().await;
    send(&peer, launch(1, "forever", [1, 2, 3]));
    for _ in 0..5 {
        assert_eq!(next(&mut peer).await, Some(ToDriver::Heartbeat));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_the_driver_is_gone_whatever_its_tasks_do() {
    register_kinds();
    let mut cluster = Cluster::start(None, None);
    let peer = cluster.registered().await;
    send(&peer, launch(1, "forever", [1]));
    drop(peer);
    let (end, text) = cluster.end().await;
    assert_eq!(end, ProcessEnd::Exited(1));
    assert_eq!(cluster.told_worker().await, [b'\n', Parting::DriverLost as u8]);
    assert!(text.contains("the connection to the driver at 127.0.0.1:"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_by_sigkill_when_its_owner_is_gone() {
    register_kinds();
    let mut cluster = Cluster::start(None, None);
    let peer = cluster.registered().await;
    send(&peer, launch(1, "forever", [1]));
    drop(cluster.lifeline.take());
    assert_eq!(cluster.end().await.0, ProcessEnd::Signalled(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_tasks_have_started_ends_with_it_however_it_hides() {
    register_kinds();
    let stopped = ToExecutor::StopExecutor;
    for (how, last) in [
        ("told", Some(stopped)),
        ("exits", Some(launch(2, "exit", [1]))),
        ("aborts", Some(launch(2, "abort", [1]))),
        ("owner gone", None),
        ("asked", None),
    ] {
        let mut cluster = Cluster::start(None, None);
        let mut peer = cluster.registered().await;
        send(&peer, launch(1, "hide", [0, 1]));
        let mut hidden = Vec::new();
        while hidden.len() < 2 {
            for update in next_updates(&mut peer).await.unwrap() {
                if let Some(End::Result(pid)) = end_of(&update) {
                    hidden.push(std::str::from_utf8(&pid).unwrap().parse::<u32>().unwrap());
                }
            }
        }
        for pid in &hidden {
            assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "{how}: it lives while the executor does");
        }
        match last {
            Some(message) => send(&peer, message),
            None if how == "asked" => firesteel_os::terminate_group(cluster.child.pid()).unwrap(),
            None => drop(cluster.lifeline.take()),
        }
        let (end, text) = cluster.end().await;
        let expected = match how {
            "told" => ProcessEnd::Exited(0),
            "exits" => ProcessEnd::Exited(3),
            "aborts" => ProcessEnd::Signalled(6),
            _ => ProcessEnd::Signalled(9),
        };
        assert_eq!(end, expected, "{how}: {text}");
        for pid in hidden {
            until_async("the process has not outlived its executor", || !alive(pid)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tasks_print_where_there_is_no_room_fails_none_and_is_counted() {
    register_kinds();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut cluster = Cluster::printing_to(full.into(), None, None);
    let mut peer = cluster.registered().await;
    for task in 1..4 {
        send(&peer, launch(task as u32, "print", [task]));
        assert!(matches!(next_end(&mut peer).await, (ended, End::Result(_)) if ended == task));
    }
    send(&peer, ToExecutor::StopExecutor);
    let (end, text) = cluster.end().await;
    assert_eq!(end, ProcessEnd::Exited(0), "{text}");
    assert!(text.contains(" says so\n"), "standard error has room: {text}");
    let note = text.lines().find(|line| line.contains("bytes of standard output could not be written")).unwrap();
    let count: u64 = note.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(count > 300_000 && note.contains("No space left on device"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_tasks_print_is_in_the_file_when_the_executor_has_ended() {
    register_kinds();
    let mut file = tempfile::tempfile().unwrap();
    let mut cluster = Cluster::printing_to(file.try_clone().unwrap().into(), None, None);
    let mut peer = cluster.registered().await;
    send(&peer, launch(1, "print", [1]));
    assert!(matches!(next_end(&mut peer).await, (1, End::Result(_))));
    send(&peer, launch(2, "exit", [2]));
    assert_eq!(cluster.end().await.0, ProcessEnd::Exited(3));
    let mut text = String::new();
    std::io::Seek::rewind(&mut file).unwrap();
    std::io::Read::read_to_string(&mut file, &mut text).unwrap();
    assert_eq!(text, format!("so says 0, and much more: {}\n", "x".repeat(100_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_held_memory_is_on_record_when_there_was_none_left() {
    register_kinds();
    let mut cluster = Cluster::start(None, None);
    let peer = cluster.registered().await;
    send(&peer, launch(5, "hoard", [7]));
    let noted = || firesteel_os::memory_record::read(&cluster.memory_record).filter(|text| text.contains("hoard"));
    until_async("the record names the hoard", || noted().is_some()).await;
    send(&peer, ToExecutor::KillTask(KillTask { task: TaskId(7), reason: "enough".to_owned() }));
    let (end, text) = cluster.end().await;
    assert_eq!(end, ProcessEnd::Signalled(6), "{text}");
    assert!(text.contains("memory allocation of 8 bytes failed"), "{text}");
    let record = firesteel_os::memory_record::read(&cluster.memory_record).unwrap();
    for part in
        ["task 7: hoard 20.0 MiB", "blocks hold 0 bytes", "the process takes ", "task 7 is partition 0 of stage 5"]
    {
        assert!(record.contains(part), "{part:?} is missing: {record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_with_the_drivers_reason() {
    register_kinds();
    let mut cluster = Cluster::start(None, None);
    let (peer, _) = cluster.registration().await;
    let reason = "it runs another build".to_owned();
    send(&peer, ToExecutor::RegisterExecutorFailed(reason));
    let (end, text) = cluster.end().await;
    assert_eq!(end, ProcessEnd::Exited(1));
    assert!(text.contains("refused executor 4: it runs another build"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_ends_it_with_a_reason() {
    register_kinds();
    let mut cluster = Cluster::start(Some(Secret::from_bytes("a")), Some(Secret::from_bytes("b")));
    let (end, text) = cluster.end().await;
    assert_eq!(end, ProcessEnd::Exited(1));
    assert!(text.contains("the handshake with 127.0.0.1:"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_abort_and_stack_overflow_of_user_code_end_the_process_as_what_they_are() {
    register_kinds();
    for (name, expected, said) in [
        ("exit", ProcessEnd::Exited(3), ""),
        ("abort", ProcessEnd::Signalled(6), ""),
        ("overflow", ProcessEnd::Signalled(6), "overflowed its stack"),
    ] {
        let mut cluster = Cluster::start(None, None);
        let mut peer = cluster.registered().await;
        send(&peer, launch(1, name, [1]));
        let (end, text) = cluster.end().await;
        assert_eq!(end, expected, "{name}: {text}");
        assert!(text.contains(said), "{name}: {text}");
        assert!(next_updates(&mut peer).await.is_none(), "{name}: the stream ends without news of the task");
    }
}
