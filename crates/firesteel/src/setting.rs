//! Settings as the Context reads them.

use firesteel_common::conf::{Conf, ConfValue, Key};

use crate::{Error, Result};

/// The value of a key, its error in the Context's words.
pub(crate) fn get<T: ConfValue>(conf: &Conf, key: &Key<T>) -> Result<T> {
    conf.get(key).map_err(|e| Error::Start(e.to_string()))
}
