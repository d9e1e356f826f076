//! Listeners of a Context, and the events that are its own: the application's start, settings and end.

use std::time::Duration;

use firesteel_common::conf::{Conf, keys, redact};
use firesteel_events::{AppEvent, Bus, Listener, ListenerHandle};

use crate::{Context, Error, Result, driver::since_1970, setting::get};

/// Listeners have this long to hear what waits for them when the Context stops.
const FAREWELL: Duration = Duration::from_secs(10);

impl Context {
    /// Adds a listener: it hears what happens in this Context from now on, on a thread of its own. See [`Listener`] for the
    /// order and for what a slow or panicking one has to expect. Jobs that this thread submits afterwards are heard from
    /// their start; of what runs already no end is told. When the Context stops, listeners get what waits for them, for at
    /// most ten seconds; Spark waits without a bound.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
    /// use firesteel::{events::AppEvent, prelude::*};
    ///
    /// let sc = Context::builder().master("local[2]").build()?;
    /// let tasks = Arc::new(AtomicU32::new(0));
    /// let ended = tasks.clone();
    /// sc.add_listener(move |event: &AppEvent| {
    ///     if let AppEvent::TaskEnd { .. } = event {
    ///         ended.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// })?;
    /// sc.partitioned(4).range(0..100u64).count()?;
    /// sc.stop();
    /// assert_eq!(tasks.load(Ordering::Relaxed), 4);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Stopped`], and when no thread can be started.
    #[doc(alias = "addSparkListener")]
    pub fn add_listener(&self, listener: impl Listener) -> Result<ListenerHandle> {
        if self.is_stopped() {
            return Err(Error::Stopped);
        }
        let capacity = get(self.conf(), &keys::EVENT_QUEUE_CAPACITY)? as usize;
        let added = self.bus().add(listener, capacity);
        added.map_err(|e| Error::Start(format!("cannot start a listener's thread: {e}")))
    }
}

/// What listeners hear first.
pub(crate) fn beginning(conf: &Conf, app_id: &str) -> Result<Vec<AppEvent>> {
    let properties = conf.iter().map(|(key, value)| (key.to_owned(), redact(key, value).to_owned())).collect();
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).ok().flatten();
    let start = AppEvent::ApplicationStart {
        name: get(conf, &keys::APP_NAME)?.unwrap_or_default(),
        id: app_id.to_owned(),
        user: user.map_or_else(|| nix::unistd::Uid::effective().to_string(), |user| user.name),
        time: since_1970(),
    };
    Ok(vec![AppEvent::EnvironmentUpdate { properties }, start])
}

/// What listeners hear last.
pub(crate) fn end(bus: &Bus) {
    if bus.is_active() {
        let _logging = crate::logging::on_this_thread();
        bus.post(AppEvent::ApplicationEnd { time: since_1970() });
        bus.close(FAREWELL);
    }
}
