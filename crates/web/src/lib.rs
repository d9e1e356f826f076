//! The web port of a daemon: read-only pages over HTTP/1.1, for browsers, scripts and monitors.
//!
//! ```text
//!  serve ──accept──▶ guests.rs   who is here, how many, and for how long
//!    └─ a request ─▶ answer.rs   refusal_of, or Pages::page ─▶ its response
//! ```
//!
//! * [`Pages`] is what a daemon shows. Master and worker implement it; they ask their machine through an
//!   [`Asker`](firesteel_machine::Asker), so a page costs the machine a view between two events.
//! * [`serve`] is the listener: bounded connections, each for one request and a bounded time. Nothing can be changed through it.
//!
//! hyper speaks the protocol; callers are `master` and `worker`.

mod answer;
mod guests;
mod page;
mod server;

pub use page::{Answer, Pages};
pub use server::{Limits, serve};
