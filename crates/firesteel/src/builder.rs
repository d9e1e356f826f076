//! Starts a [`Context`]: gathers its configuration and the backend that `spark.master` names.

use std::{
    io::{self, IsTerminal},
    path::Path,
};

use firesteel_common::conf::{Conf, Environment, Source, keys, submit};
use firesteel_events::{Bus, Listener};

use crate::{
    Context, Error, Result, backend,
    progress::ConsoleProgress,
    setting::get,
    summary::{self, JobSummaries},
};

/// Sets up a [`Context`]. What is set here goes before what `firesteel-submit` hands over.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// use firesteel::{events::AppEvent, prelude::*};
///
/// let builder = Context::builder().app_name("squares").master("local[2]").set("spark.default.parallelism", 4);
/// let builder = builder.add_listener(|event: &AppEvent| {
///     if let AppEvent::ApplicationStart { name, .. } = event {
///         assert_eq!(name, "squares");
///     }
/// });
/// let sc = builder.build()?;
/// let squares = sc.range(1..5u64).map(|x| x * x);
/// assert_eq!((squares.num_partitions(), squares.collect()?), (4, vec![1, 4, 9, 16]));
/// # Ok(()) }
/// ```
#[doc(alias = "SparkConf")]
#[derive(Default)]
pub struct ContextBuilder {
    conf: Conf,
    listeners: Vec<Box<dyn FnOnce(&Bus, usize) -> std::io::Result<()> + Send>>,
}

impl ContextBuilder {
    /// The application's name, `spark.app.name`.
    #[doc(alias = "setAppName")]
    pub fn app_name(self, name: &str) -> Self {
        self.set(keys::APP_NAME.name(), name)
    }

    /// Where the application runs, `spark.master`: leave it to `firesteel-submit --master` in a program for clusters.
    #[doc(alias = "setMaster")]
    pub fn master(self, master: &str) -> Self {
        self.set(keys::MASTER.name(), master)
    }

    /// Sets a configuration key.
    pub fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.conf.set(key, value);
        self
    }

    /// Adds a listener that hears all from the application's start on: see [`Context::add_listener`]. Spark:
    /// `spark.extraListeners`, which names classes.
    #[doc(alias = "extraListeners")]
    pub fn add_listener(mut self, listener: impl Listener) -> Self {
        self.listeners.push(Box::new(move |bus, capacity| bus.add(listener, capacity).map(|_| ())));
        self
    }

    /// Adds the library's own listeners, as far as anybody sees what they show.
    fn add_own(&self, bus: &Bus, capacity: usize) -> Result<()> {
        let failed = |e: io::Error| Error::Start(format!("cannot start a listener's thread: {e}"));
        if get(&self.conf, &keys::SHOW_CONSOLE_PROGRESS)? && io::stderr().is_terminal() {
            let progress = ConsoleProgress::on_stderr().map_err(failed)?;
            bus.add(progress, capacity).map_err(failed)?;
        }
        let _logging = crate::logging::on_this_thread();
        if tracing::enabled!(target: summary::TARGET, tracing::Level::INFO) {
            bus.add(JobSummaries::default(), capacity).map_err(failed)?;
        }
        Ok(())
    }

    /// Starts the Context.
    ///
    /// # Errors
    /// A key with a bad value, a master that cannot be parsed or reached, a directory or port that cannot be had.
    pub fn build(mut self) -> Result<Context> {
        let environment = Environment::of_process();
        let handed = submit::handed_over(&environment).map_err(|e| Error::Start(e.to_string()))?;
        let withheld = handed.and_then(|handed| {
            self.conf.inherit(&handed.conf);
            handed.warning
        });
        let warnings = self.conf.check().map_err(|e| Error::Start(e.to_string()))?;
        let logging = crate::logging::on_this_thread();
        for warning in withheld.into_iter().chain(warnings) {
            tracing::warn!("{warning}");
        }
        drop(logging);
        if !self.conf.contains(keys::APP_NAME.name()) {
            let program = std::env::current_exe().ok();
            let name =
                program.as_deref().and_then(Path::file_name).map_or("application".into(), |n| n.to_string_lossy());
            self.conf.set_from(keys::APP_NAME.name(), name.into_owned(), Source::Driver);
        }
        let master = get(&self.conf, &keys::MASTER)?.unwrap_or_else(|| "local[*]".to_owned());
        let capacity = get(&self.conf, &keys::EVENT_QUEUE_CAPACITY)? as usize;
        let bus = Bus::entering(|| Box::new(crate::logging::on_this_thread()));
        for add in std::mem::take(&mut self.listeners) {
            add(&bus, capacity).map_err(|e| Error::Start(format!("cannot start a listener's thread: {e}")))?;
        }
        self.add_own(&bus, capacity)?;
        let master = master.parse().map_err(|why| Error::Start(format!("spark.master={master}: {why}")))?;
        Context::start(self.conf, backend::of(master), bus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_asks_for_protection_which_is_not_there_does_not_start() {
        let built = ContextBuilder::default().master("local[1]").set("spark.io.encryption.enabled", true).build();
        let error = built.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("spark.io.encryption.enabled") && error.contains("application's code"), "{error}");
    }
}
