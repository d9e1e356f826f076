//! The door of every process: what comes from another one is decoded here and nowhere else, and each field of it is held
//! against a rule before anybody sees the message.
//!
//! ```text
//!  bytes ─▶ decode::<M> ─▶ prost ─▶ Checked::check ─▶ a message whose names, addresses, paths and numbers are in bounds
//!                                     auth.rs, deploy.rs, executor.rs: a rule for each field, or they do not compile
//! ```
//!
//! `decode` of prost itself is forbidden by a lint outside of this module and the handshake. What breaks a rule ends the
//! stream that it came from, with the message's and the field's name in the log. Only the registrations are let through
//! unchecked by the envelope that carries them: whoever answers them calls [`Checked::check`] and answers with the reason.
//!
//! A rule is about the form. What a value means (whether an executor is known, how many cores are believed) is the
//! business of who gets the message.

use bytes::Buf;
use firesteel_common::{
    AppId, ExecutorId, WorkerId,
    names::{BadName, BlockName, Host},
};

mod auth;
mod deploy;
mod executor;
#[cfg(test)]
mod tests;

/// A field of a message holds what it must not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field} of a {message} is not in order: {reason}")]
pub struct BadField {
    /// Name of the message type.
    pub message: &'static str,
    /// Name of the field.
    pub field: &'static str,
    /// What is wrong with it; what it quotes is escaped and short.
    pub reason: String,
}

impl BadField {
    /// A message lacks a field without which it means nothing.
    pub(crate) fn missing(message: &'static str, field: &'static str) -> BadField {
        BadField { message, field, reason: "it is missing".to_owned() }
    }
}

/// Bytes that are no message that may be let in.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// They are no message at all.
    #[error("{0}")]
    Encoding(#[from] prost::DecodeError),
    /// A field breaks its rule.
    #[error("{0}")]
    Field(#[from] BadField),
}

/// A message that comes from another process.
pub trait Checked {
    /// Whether each field, and all that is nested in it, keeps its rule.
    fn check(&self) -> Result<(), BadField>;
}

/// The message that these bytes are, when every field of it is in order.
pub fn decode<M: prost::Message + Default + Checked>(bytes: impl Buf) -> Result<M, DecodeError> {
    #[expect(clippy::disallowed_methods, reason = "this is the place from which messages come checked")]
    let message = M::decode(bytes)?;
    message.check()?;
    Ok(message)
}

/// Whether a text is an address of the form `host:port`; the error says what is wrong with it. For what travels in no
/// message: the requests of block connections, and the answers that name block servers.
pub fn check_address(text: &str) -> Result<(), String> {
    address(&text).map_err(|fault| match fault {
        Fault::Value(reason) => reason,
        Fault::Nested(inner) => inner.to_string(),
    })
}

/// Stands for an address where driver and executor are one process, as with `local[N]`: nobody can connect to it.
pub const IN_PROCESS: &str = "in-process";

/// Bytes of a path, as the system has it.
const LONGEST_PATH: usize = 4096;

/// The largest number of a process that Linux gives.
const LAST_PID: u32 = 1 << 22;

/// Why a rule is broken.
enum Fault {
    /// By the value itself.
    Value(String),
    /// By a field of the message that it is.
    Nested(BadField),
}

type Verdict = Result<(), Fault>;

impl Fault {
    fn of(self, message: &'static str, field: &'static str) -> BadField {
        match self {
            Fault::Value(reason) => BadField { message, field, reason },
            Fault::Nested(inner) => inner,
        }
    }
}

impl From<BadName> for Fault {
    fn from(bad: BadName) -> Fault {
        Fault::Value(bad.to_string())
    }
}

fn fault(reason: impl Into<String>) -> Verdict {
    Err(Fault::Value(reason.into()))
}

/// A number that is counted, compared or looked up and nothing else; every one of them may come.
fn number<T>(_: &T) -> Verdict {
    Ok(())
}

/// What is said to a person, or bytes that only the application understands: as long as a message may be, and escaped where
/// it is logged.
fn said<T>(_: &T) -> Verdict {
    Ok(())
}

fn nested<M: Checked>(message: &M) -> Verdict {
    message.check().map_err(Fault::Nested)
}

fn each<T>(rule: impl Fn(&T) -> Verdict) -> impl Fn(&Vec<T>) -> Verdict {
    move |values| values.iter().try_for_each(&rule)
}

fn optional<T>(rule: impl Fn(&T) -> Verdict) -> impl Fn(&Option<T>) -> Verdict {
    move |value| value.as_ref().map_or(Ok(()), &rule)
}

fn optional_box<T>(rule: impl Fn(&T) -> Verdict) -> impl Fn(&Option<Box<T>>) -> Verdict {
    move |value| value.as_deref().map_or(Ok(()), &rule)
}

fn or_none<T: AsRef<str>>(rule: impl Fn(&T) -> Verdict) -> impl Fn(&T) -> Verdict {
    move |text| if text.as_ref().is_empty() { Ok(()) } else { rule(text) }
}

fn app_id<T: AsRef<str>>(text: &T) -> Verdict {
    Ok(AppId::check(text.as_ref())?)
}

fn worker_id<T: AsRef<str>>(text: &T) -> Verdict {
    Ok(WorkerId::check(text.as_ref())?)
}

fn host<T: AsRef<str>>(text: &T) -> Verdict {
    Ok(Host::check(text.as_ref())?)
}

fn block_id<T: AsRef<str>>(text: &T) -> Verdict {
    Ok(BlockName::check(text.as_ref())?)
}

/// `host:port`.
fn address<T: AsRef<str>>(text: &T) -> Verdict {
    if text.as_ref() == IN_PROCESS {
        return Ok(());
    }
    let text = text.as_ref();
    let Some((host, port)) = text.rsplit_once(':') else {
        let shown: String = text.chars().take(64).collect();
        return fault(format!("{shown:?} is no address of the form host:port"));
    };
    Host::check(host)?;
    match port.parse::<u16>() {
        Ok(_) => Ok(()),
        Err(_) => fault(format!("{:?} is no port", port.chars().take(16).collect::<String>())),
    }
}

/// An absolute path: an operator's, who may write it with `..` and put it anywhere. What a peer has a say in is joined to
/// such a path as an id, which is one part of it.
fn path<T: AsRef<str>>(text: &T) -> Verdict {
    let text = text.as_ref();
    if text.len() > LONGEST_PATH {
        return fault(format!("a path of {} bytes: at most {LONGEST_PATH} are taken", text.len()));
    }
    if !text.starts_with('/') || text.contains('\0') {
        let shown: String = text.chars().take(64).collect();
        return fault(format!("{shown:?} is no absolute path"));
    }
    Ok(())
}

/// A short text, such as a user's name.
fn at_most<T: AsRef<[u8]>>(bytes: usize) -> impl Fn(&T) -> Verdict {
    move |value| match value.as_ref().len() {
        length if length > bytes => fault(format!("it has {length} bytes: at most {bytes} are taken")),
        _ => Ok(()),
    }
}

/// So many bytes, or none.
fn none_or<T: AsRef<[u8]>>(bytes: usize) -> impl Fn(&T) -> Verdict {
    move |value| match value.as_ref().len() {
        length if length != 0 && length != bytes => fault(format!("it has {length} bytes instead of {bytes}")),
        _ => Ok(()),
    }
}

fn up_to<T: Copy + Into<u64>>(most: u64) -> impl Fn(&T) -> Verdict {
    move |value| match (*value).into() {
        value if value > most => fault(format!("it is {value}: at most {most} is taken")),
        _ => Ok(()),
    }
}

fn executor_id(id: &u32) -> Verdict {
    up_to(ExecutorId::LAST.0.into())(id)
}

fn port(port: &u32) -> Verdict {
    up_to(u16::MAX.into())(port)
}

fn descriptor(fd: &i32) -> Verdict {
    if *fd < 0 { fault(format!("{fd} is no descriptor")) } else { Ok(()) }
}

fn one_of<E: TryFrom<i32>>(value: &i32) -> Verdict {
    match E::try_from(*value) {
        Ok(_) => Ok(()),
        Err(_) => fault(format!("{value} is none of its values")),
    }
}

/// Rules for messages: every field has to have one. In tests also the list of the messages.
macro_rules! rules {
    ($($message:ident { $($field:ident: $rule:expr),* $(,)? })*) => {
        $(impl $crate::checked::Checked for $message {
            fn check(&self) -> Result<(), $crate::checked::BadField> {
                // All of its fields, and without names of them that would hide the rules.
                let $message { $($field: _),* } = self;
                $(($rule)(&self.$field).map_err(|fault: $crate::checked::Fault| {
                    fault.of(stringify!($message), stringify!($field))
                })?;)*
                Ok(())
            }
        })*

        /// Decodes as each of the messages of this file.
        #[cfg(test)]
        pub(super) const DECODERS: &[fn(&[u8]) -> bool] =
            &[$(|bytes| $crate::checked::decode::<$message>(bytes).is_ok()),*];
    };
}

use rules;
