use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> MasterClientConfig {
    MasterClientConfig {
        rounds: 3,
        connect_timeout: 5 * SECOND,
        register_timeout: 10 * SECOND,
        backoff: SECOND,
        backoff_max: 4 * SECOND,
    }
}

/// A client on a clock of its own.
struct Run {
    client: MasterClient,
    now: Tick,
    out: Vec<Effect>,
}

impl Run {
    fn new(url: &str) -> Run {
        Run::with_seed(url, 7)
    }

    fn with_seed(url: &str, seed: u64) -> Run {
        let client = MasterClient::new(&url.parse().unwrap(), config(), seed);
        Run { client, now: Tick::ZERO, out: Vec::new() }
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        self.client.handle(self.now, event, &mut self.out);
        std::mem::take(&mut self.out)
    }

    /// Goes to the next deadline.
    fn wake(&mut self) -> Vec<Effect> {
        self.now = self.client.next_deadline().expect("a deadline");
        self.event(Event::Wake)
    }

    fn current(&self) -> Attempt {
        self.client.attempt()
    }

    fn fail(&mut self) -> Vec<Effect> {
        let attempt = self.current();
        self.event(Event::ConnectFailed { attempt, error: "connection refused".into(), permanent: false })
    }

    fn connect(&mut self) -> Vec<Effect> {
        let attempt = self.current();
        self.event(Event::Connected { attempt })
    }

    fn register(&mut self) {
        assert_eq!(self.connect(), [Effect::Register { attempt: self.current() }]);
        let attempt = self.current();
        assert_eq!(self.event(Event::Registered { attempt }), []);
        assert!(self.client.registered_with().is_some());
    }
}

fn connect(attempt: u64, address: &str) -> Effect {
    Effect::Connect { attempt: Attempt(attempt), address: address.into() }
}

#[test]
fn the_first_master_that_accepts_is_registered_with() {
    let mut run = Run::new("spark://a:1,b:2");
    assert_eq!(run.event(Event::Start), [connect(1, "a:1")]);
    assert_eq!(run.event(Event::Start), []);
    assert_eq!(run.fail(), [connect(2, "b:2")]);
    run.register();
    assert_eq!(run.client.registered_with(), Some("b:2"));
    assert_eq!(run.client.next_deadline(), None);
}

#[test]
fn a_standby_is_left_for_the_next_master() {
    let mut run = Run::new("spark://a:1,b:2");
    run.event(Event::Start);
    run.connect();
    let standby = Event::Standby { attempt: Attempt(1) };
    assert_eq!(run.event(standby), [Effect::Disconnect { attempt: Attempt(1) }, connect(2, "b:2")]);
}

#[test]
fn rounds_are_bounded_the_waits_grow_and_the_error_names_every_master() {
    let mut run = Run::new("spark://a:1,b:2");
    run.event(Event::Start);
    let mut waits = Vec::new();
    let effects = loop {
        run.fail();
        let effects = run.fail();
        if !effects.is_empty() {
            break effects;
        }
        waits.push(run.client.next_deadline().unwrap().since(run.now));
        assert!(matches!(run.wake()[..], [Effect::Connect { .. }]));
    };
    assert_eq!(waits.len(), 2);
    assert!(waits[0] >= SECOND / 2 && waits[0] <= SECOND * 3 / 2, "{waits:?}");
    assert!(waits[1] >= SECOND && waits[1] <= SECOND * 3, "{waits:?}");
    let [Effect::GiveUp { error }] = &effects[..] else { panic!("{effects:?}") };
    let text = error.to_string();
    assert!(text.contains("a:1: connection refused") && text.contains("b:2: ") && text.contains("3 attempt"), "{text}");
    assert_eq!(run.client.next_deadline(), None);
    assert_eq!(run.event(Event::Wake), []);
}

#[test]
fn waits_stay_below_their_bound_and_differ_by_seed_alone() {
    let waits = |seed| {
        let mut backoff = Backoff::new(SECOND, 4 * SECOND, seed);
        (0..20).map(|_| backoff.next()).collect::<Vec<_>>()
    };
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
    assert!(waits(1).iter().all(|wait| *wait <= 6 * SECOND));
}

#[test]
fn a_master_that_says_nothing_is_given_up_in_time() {
    let mut run = Run::new("spark://a:1,b:2");
    run.event(Event::Start);
    assert_eq!(run.wake(), [Effect::Disconnect { attempt: Attempt(1) }, connect(2, "b:2")]);
    assert_eq!(run.now, Tick::ZERO + 5 * SECOND);
    run.connect();
    assert_eq!(run.wake(), [Effect::Disconnect { attempt: Attempt(2) }]);
    assert_eq!(run.now, Tick::ZERO + 15 * SECOND);
    assert!(run.client.masters[1].ended.contains("registration within 10s"));
}

#[test]
fn waking_too_early_changes_nothing() {
    let mut run = Run::new("spark://a:1");
    run.event(Event::Start);
    assert_eq!(run.event(Event::Wake), []);
    assert_eq!(run.client.next_deadline(), Some(Tick::ZERO + 5 * SECOND));
}

#[test]
fn news_of_an_attempt_that_was_given_up_is_ignored_and_its_connection_dropped() {
    let mut run = Run::new("spark://a:1,b:2");
    run.event(Event::Start);
    run.wake();
    let late = Attempt(1);
    assert_eq!(run.event(Event::Connected { attempt: late }), [Effect::Disconnect { attempt: late }]);
    assert_eq!(run.event(Event::Registered { attempt: late }), []);
    assert_eq!(run.event(Event::Rejected { attempt: late, reason: "no".into() }), []);
    assert_eq!(run.event(Event::StreamClosed { attempt: late, reason: "gone".into() }), []);
    assert_eq!(run.current(), Attempt(2));
    run.register();
    assert_eq!(run.client.registered_with(), Some("b:2"));
}

#[test]
fn after_a_loss_the_other_masters_come_first_and_all_rounds_are_to_be_had_again() {
    let mut run = Run::new("spark://a:1,b:2");
    run.event(Event::Start);
    run.register();
    let closed = Event::StreamClosed { attempt: Attempt(1), reason: "the connection was lost".into() };
    assert_eq!(
        run.event(closed.clone()),
        [Effect::Lost { address: "a:1".into(), reason: "the connection was lost".into() }]
    );
    assert_eq!(run.event(closed), []);
    assert!(run.client.next_deadline().unwrap().since(run.now) <= SECOND * 3 / 2);
    assert_eq!(run.wake(), [connect(2, "b:2")]);
    assert_eq!(run.fail(), [connect(3, "a:1")]);
    for _ in 0..2 {
        assert_eq!(run.fail(), []);
        run.wake();
        run.fail();
    }
    assert!(matches!(run.fail()[..], [Effect::GiveUp { .. }]));
}

#[test]
fn a_leader_that_becomes_a_standby_is_left() {
    let mut run = Run::new("spark://a:1,b:2");
    run.event(Event::Start);
    run.register();
    let effects = run.event(Event::Standby { attempt: Attempt(1) });
    assert!(matches!(&effects[..], [Effect::Disconnect { .. }, Effect::Lost { .. }]), "{effects:?}");
    assert_eq!(run.wake(), [connect(2, "b:2")]);
}

#[test]
fn a_rejection_is_the_end_and_says_why() {
    let mut run = Run::new("spark://a:1,b:2");
    run.event(Event::Start);
    run.connect();
    let effects = run.event(Event::Rejected { attempt: Attempt(1), reason: "duplicate worker id".into() });
    let [Effect::Disconnect { .. }, Effect::GiveUp { error }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(error.to_string(), "the master at a:1 refused the registration: duplicate worker id");
}

#[test]
fn a_place_that_another_holds_is_asked_for_again_for_a_while() {
    let client = MasterClient::new(&"spark://a:1".parse().unwrap(), MasterClientConfig::default(), 7);
    let mut run = Run { client, now: Tick::ZERO, out: Vec::new() };
    run.event(Event::Start);
    let held = |attempt| Event::Held { attempt: Attempt(attempt), reason: "h:1 is worker w1's".into() };
    for attempt in 1..HELD {
        run.connect();
        assert_eq!(run.event(held(attempt.into())), [Effect::Disconnect { attempt: Attempt(attempt.into()) }]);
        assert_eq!(run.wake(), [connect(u64::from(attempt) + 1, "a:1")]);
    }
    run.connect();
    let effects = run.event(held(HELD.into()));
    let [Effect::Disconnect { .. }, Effect::GiveUp { error }] = &effects[..] else { panic!("{effects:?}") };
    assert!(error.to_string().contains("h:1 is worker w1's"), "{error}");
    // Long enough for a master to have seen that a host is gone.
    assert!(run.now >= Tick::ZERO + Duration::from_secs(60), "{:?}", run.now);
}

#[test]
fn when_every_master_refuses_for_good_no_further_round_is_tried() {
    let mut run = Run::new("spark://a:1,b:2");
    run.event(Event::Start);
    let refused = |attempt| Event::ConnectFailed {
        attempt: Attempt(attempt),
        error: format!("the handshake with master {attempt} failed"),
        permanent: true,
    };
    run.event(refused(1));
    assert!(matches!(
        run.event(refused(2))[..],
        [Effect::GiveUp { error: MasterError::Unreachable { rounds: 1, .. } }]
    ));

    let mut run = Run::new("spark://a:1,b:2");
    run.event(Event::Start);
    run.event(refused(1));
    assert_eq!(run.fail(), []);
    assert!(run.client.next_deadline().is_some(), "one of them may still come back");
}

#[test]
fn a_master_that_has_forgotten_us_is_registered_with_again() {
    let mut run = Run::new("spark://a:1");
    run.event(Event::Start);
    run.register();
    let forgotten = Event::Forgotten { attempt: Attempt(1) };
    assert_eq!(run.event(forgotten.clone()), [Effect::Register { attempt: Attempt(1) }]);
    assert_eq!(run.event(forgotten), [], "one registration is under way");
    assert_eq!(run.event(Event::Registered { attempt: Attempt(1) }), []);
    assert!(run.client.registered_with().is_some());
}

#[test]
fn after_stop_nothing_happens() {
    let mut run = Run::new("spark://a:1");
    run.event(Event::Start);
    run.register();
    assert_eq!(run.event(Event::Stop), [Effect::Disconnect { attempt: Attempt(1) }]);
    assert_eq!(run.event(Event::StreamClosed { attempt: Attempt(1), reason: "x".into() }), []);
    assert_eq!(run.event(Event::Start), []);
    assert_eq!(run.client.next_deadline(), None);
}

#[test]
fn one_seed_gives_one_run() {
    let trace = |seed| {
        let mut run = Run::with_seed("spark://a:1,b:2", seed);
        let mut trace = vec![(run.now, run.event(Event::Start))];
        while run.client.next_deadline().is_some() {
            let effects = run.wake();
            trace.push((run.now, effects));
        }
        trace
    };
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}
