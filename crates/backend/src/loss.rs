//! Why an executor is gone, in the schedulers' words.

use firesteel_os::ProcessEnd;
use firesteel_rpc::proto::deploy::{ExecutorState, ExecutorUpdated, Parting};

use crate::Loss;

/// Signals that a process draws on itself: illegal instruction, abort, bus error, arithmetic, segment violation.
const OWN_SIGNALS: [i32; 5] = [4, 6, 7, 8, 11];

const KILL: i32 = 9;

/// What the master's news means; `None` while the executor lives.
pub fn of(update: &ExecutorUpdated) -> Option<Loss> {
    let state = update.state();
    if !state.is_finished() {
        return None;
    }
    let end = update.exit_code.map(ProcessEnd::Exited).or_else(|| update.signal.map(ProcessEnd::Signalled));
    let own = match end {
        // With whatever status: it is the user code's.
        Some(ProcessEnd::Exited(_)) => update.parting() != Parting::DriverLost,
        Some(ProcessEnd::Signalled(signal)) => OWN_SIGNALS.contains(&signal),
        None => false,
    };
    Some(Loss {
        message: describe(update, end),
        by_application: own && matches!(state, ExecutorState::Exited | ExecutorState::Failed),
        node_lost: update.worker_lost,
    })
}

fn describe(update: &ExecutorUpdated, end: Option<ProcessEnd>) -> String {
    let said = update.message.trim();
    let mut text = match end.map(|end| end.to_string()) {
        Some(end) if said.contains(&end) => said.to_owned(),
        Some(end) if said.is_empty() => format!("the executor's process ended with {end}"),
        Some(end) => format!("the executor's process ended with {end}: {said}"),
        None if said.is_empty() => match update.state() {
            ExecutorState::Killed => "it was killed by its worker".to_owned(),
            ExecutorState::Lost => "it was lost".to_owned(),
            _ => "it failed".to_owned(),
        },
        None => said.to_owned(),
    };
    if end == Some(ProcessEnd::Signalled(KILL)) && update.state() == ExecutorState::Exited {
        text.push_str(", sent by somebody, or by the kernel because memory ran out");
    }
    let tail = update.stderr_tail.trim();
    if !tail.is_empty() {
        text.push_str("; the end of its standard error:\n");
        text.push_str(tail);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(state: ExecutorState, exit_code: Option<i32>, signal: Option<i32>) -> ExecutorUpdated {
        ExecutorUpdated { state: state.into(), exit_code, signal, ..ExecutorUpdated::default() }
    }

    #[test]
    fn an_executor_that_lives_is_not_lost() {
        assert_eq!(of(&update(ExecutorState::Running, None, None)), None);
        assert_eq!(of(&update(ExecutorState::Launching, None, None)), None);
        assert_eq!(of(&update(ExecutorState::Decommissioned, None, None)), None);
    }

    #[test]
    fn exits_and_crashes_are_the_applications_doing_and_kills_are_not() {
        for (code, signal, by_application) in [
            (Some(3), None, true),
            (Some(0), None, true),
            (Some(56), None, true),
            (None, Some(6), true),
            (None, Some(11), true),
            (None, Some(9), false),
            (None, Some(15), false),
            (None, None, false),
        ] {
            let loss = of(&update(ExecutorState::Exited, code, signal)).unwrap();
            assert_eq!(loss.by_application, by_application, "{code:?} {signal:?}");
        }
        let mut lost = update(ExecutorState::Exited, Some(1), None);
        lost.parting = Parting::DriverLost.into();
        assert!(!of(&lost).unwrap().by_application, "it said that it lost its driver");
        assert!(!of(&update(ExecutorState::Killed, None, Some(9))).unwrap().by_application);
        assert!(!of(&update(ExecutorState::Killed, Some(1), None)).unwrap().by_application, "its own end came first");
        assert!(!of(&update(ExecutorState::Lost, None, None)).unwrap().by_application);
    }

    #[test]
    fn the_message_has_code_or_signal_and_the_end_of_stderr_once() {
        let mut u = update(ExecutorState::Exited, Some(3), None);
        u.message = "the executor's process ended with exit code 3".to_owned();
        u.stderr_tail = "something broke\n".to_owned();
        let message = of(&u).unwrap().message;
        assert_eq!(message.matches("exit code 3").count(), 1, "{message}");
        assert!(message.ends_with(":\nsomething broke"), "{message}");
        let message = of(&update(ExecutorState::Exited, None, Some(9))).unwrap().message;
        assert!(message.contains("signal 9") && message.contains("memory"), "{message}");
        let mut lost = update(ExecutorState::Lost, None, None);
        lost.worker_lost = true;
        assert!(of(&lost).unwrap().node_lost);
    }
}
