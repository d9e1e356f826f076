//! Panics of user code: caught with message and place. One hook for the process, which calls the one before it, so
//! that the user's own hook, and the usual lines on standard error, stay.

use std::{
    any::Any,
    cell::RefCell,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook},
    sync::{Arc, Once},
};

use firesteel_common::TaskFailure;
use firesteel_task::TaskAbort;

/// Called on the panicking thread, with the failure, when the process will abort and nobody will be able to catch.
pub(crate) type BeforeAbort = Arc<dyn Fn(TaskFailure) + Send + Sync>;

#[derive(Default)]
struct Watch {
    last: Option<(String, String)>,
    before_abort: Option<BeforeAbort>,
}

thread_local! {
    /// Set while the thread runs a task.
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Installs the hook, once a process.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |info| {
            let before_abort = note(info);
            previous(info);
            if let Some((before_abort, failure)) = before_abort {
                before_abort(failure);
            }
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) -> Option<(BeforeAbort, TaskFailure)> {
    let message = text_of(info.payload());
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    WATCH.with(|watch| {
        // The thread does not hold the cell here, unless the panic came from this very module.
        let mut watch = watch.try_borrow_mut().ok()?;
        let watch = watch.as_mut()?;
        watch.last = Some((message.clone(), location.clone()));
        let failure = TaskFailure::Exception { message, location, panic: true };
        watch.before_abort.clone().map(|f| (f, failure))
    })
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    if let Some(s) = payload.downcast_ref::<&str>() {
        (*s).to_owned()
    } else if let Some(s) = payload.downcast_ref::<String>() {
        s.clone()
    } else {
        "a panic with a value that is no text".to_owned()
    }
}

/// Runs `f`; an unwinding, be it a panic or the end of a task's input, becomes the failure that it stands for.
pub(crate) fn catch<R>(before_abort: Option<BeforeAbort>, f: impl FnOnce() -> R) -> Result<R, TaskFailure> {
    WATCH.set(Some(Watch { last: None, before_abort }));
    // What `f` may leave half done belongs to the task alone, which ends.
    let result = catch_unwind(AssertUnwindSafe(f));
    let watch = WATCH.take().unwrap_or_default();
    result.map_err(|payload| match payload.downcast::<TaskAbort>() {
        Ok(abort) => abort.0.into_failure(),
        Err(payload) => {
            let thrown = text_of(&*payload);
            // Its Drop is the user's and could panic again.
            std::mem::forget(payload);
            // What the hook saw last is what ended the task, unless it was thrown without a hook (`resume_unwind`).
            let location = match watch.last {
                Some((message, location)) if message == thrown => location,
                _ => String::new(),
            };
            TaskFailure::Exception { message: thrown, location, panic: true }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    };

    use firesteel_task::TaskError;

    use super::*;

    fn failure(message: &str, location: &str) -> TaskFailure {
        TaskFailure::Exception { message: message.into(), location: location.into(), panic: true }
    }

    /// One test, as the hook is the process's.
    #[test]
    fn a_panic_is_caught_with_message_and_place_and_the_users_hook_is_called() {
        static USERS: AtomicU32 = AtomicU32::new(0);
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if info.payload().is::<String>() || info.payload().is::<u8>() {
                USERS.fetch_add(1, Ordering::SeqCst);
            } else {
                usual(info);
            }
        }));
        install_hook();
        install_hook();

        let n = std::hint::black_box(3);
        let line = line!() + 1;
        let caught = catch(None, || assert!(n == 0, "{n} apples")).unwrap_err();
        let TaskFailure::Exception { message, location, panic: true } = caught else { panic!("{caught:?}") };
        assert_eq!(message, "3 apples");
        assert!(location.starts_with(&format!("{}:{line}:", file!())), "{location}");
        assert_eq!(USERS.load(Ordering::SeqCst), 1);

        let caught = catch(None, || std::panic::panic_any(7u8));
        assert!(matches!(&caught, Err(TaskFailure::Exception { location, .. }) if location.contains("panics.rs")));

        let thrown = catch(None, || std::panic::resume_unwind(Box::new("thrown")));
        assert_eq!(thrown, Err(failure("thrown", "")));

        let killed = TaskFailure::Killed { reason: "cancelled".into() };
        let abort = TaskAbort(TaskError::from(killed.clone()));
        assert_eq!(catch(None, || std::panic::resume_unwind(Box::new(abort))), Err(killed));
        assert_eq!(USERS.load(Ordering::SeqCst), 2, "an abort of a task is no panic");

        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let before: BeforeAbort = Arc::new(move |failure| sink.lock().unwrap().push(failure));
        let caught = catch(Some(before), || panic!("{}", "last words")).unwrap_err();
        assert_eq!(*seen.lock().unwrap(), [caught], "reported before the stack unwound");
        assert!(catch_unwind(|| panic!("{}", "outside")).is_err());
        assert_eq!(seen.lock().unwrap().len(), 1, "a panic outside of a task is nobody's failure");
    }
}
