//! [`Listener`]: who hears what happens in an application.

use crate::AppEvent;

/// Hears what happens in an application. Spark: `SparkListener`.
///
/// It runs on a thread of its own, gets events one at a time in the order in which they happened, and nothing waits for
/// it. One that is slower than what happens loses the newest events once 10,000 wait (as in Spark,
/// `spark.scheduler.listenerbus.eventqueue.capacity`); they are counted in
/// [`ListenerHandle::lost`](crate::ListenerHandle::lost) and said in a warning. One that panics is removed with a warning.
///
/// Every function of a matching type is a listener.
///
/// ```
/// use firesteel_events::{AppEvent, Listener};
///
/// #[derive(Default)]
/// struct Failures(u32);
///
/// impl Listener for Failures {
///     fn on_event(&mut self, event: &AppEvent) {
///         if let AppEvent::TaskEnd { end: firesteel_events::TaskEnd::Failed(_), .. } = event {
///             self.0 += 1;
///         }
///     }
/// }
/// ```
#[doc(alias = "SparkListener")]
pub trait Listener: Send + 'static {
    /// Something happened.
    fn on_event(&mut self, event: &AppEvent);

    /// What warnings call it.
    fn name(&self) -> &str {
        std::any::type_name::<Self>()
    }
}

impl<F: FnMut(&AppEvent) + Send + 'static> Listener for F {
    fn on_event(&mut self, event: &AppEvent) {
        self(event);
    }
}
