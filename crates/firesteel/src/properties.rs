//! Local properties: what a thread says of the jobs that it will submit to a Context. Spark: `setLocalProperty`.
//!
//! Kept by thread and Context. A job takes a copy when it is submitted ([`of_job`]), which its tasks can ask for
//! (`TaskContext::local_property`).

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use firesteel_scheduler::JobProperties;

/// The pool of a thread's jobs.
pub(crate) const POOL: &str = "spark.scheduler.pool";
/// The group of a thread's jobs.
pub(crate) const GROUP: &str = "spark.jobGroup.id";
/// What a thread's jobs are for.
pub(crate) const DESCRIPTION: &str = "spark.job.description";
/// The tags of a thread's jobs, with commas between.
pub(crate) const TAGS: &str = "spark.job.tags";

thread_local! {
    /// By the Context's serial number.
    static LOCAL: RefCell<BTreeMap<u64, LocalProperties>> = const { RefCell::new(BTreeMap::new()) };
}

/// The properties that a thread has set for its jobs: [`crate::Context::local_properties`] takes them out, so that another
/// thread can go on with them.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// let mut properties = sc.local_properties();
/// properties.set("spark.scheduler.pool", Some("reports"));
/// assert_eq!(properties.get("spark.scheduler.pool"), Some("reports"));
/// // They are a copy until the thread takes them over.
/// assert_eq!(sc.local_property("spark.scheduler.pool"), None);
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalProperties(Arc<BTreeMap<String, String>>);

impl LocalProperties {
    /// The value of a property, if it is set.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Sets a property, or removes it.
    pub fn set(&mut self, key: &str, value: Option<&str>) {
        // Jobs that run have those that were set when they were submitted.
        let properties = Arc::make_mut(&mut self.0);
        match value {
            Some(value) => properties.insert(key.to_owned(), value.to_owned()),
            None => properties.remove(key),
        };
    }
}

/// A number for a Context that no other of this process has.
pub(crate) fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Reads or changes this thread's properties for a Context.
pub(crate) fn edit<R>(context: u64, change: impl FnOnce(&mut LocalProperties) -> R) -> R {
    LOCAL.with_borrow_mut(|all| {
        let properties = all.entry(context).or_default();
        let result = change(properties);
        if properties.0.is_empty() {
            all.remove(&context);
        }
        result
    })
}

/// This thread needs a stopped Context's properties no more. When the thread itself ends there is nothing to forget.
pub(crate) fn forget(context: u64) {
    let _ = LOCAL.try_with(|all| all.borrow_mut().remove(&context));
}

/// The properties of a job that this thread submits now.
pub(crate) fn of_job(context: u64) -> JobProperties {
    edit(context, |p| JobProperties {
        pool: p.get(POOL).map(str::to_owned),
        group: p.get(GROUP).map(str::to_owned),
        tags: tags(p).map(str::to_owned).collect(),
        local: p.0.clone(),
    })
}

/// The tags among the properties.
pub(crate) fn tags(properties: &LocalProperties) -> impl Iterator<Item = &str> {
    properties.get(TAGS).into_iter().flat_map(|tags| tags.split(',')).filter(|tag| !tag.is_empty())
}
