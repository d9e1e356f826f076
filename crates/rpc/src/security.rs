//! What peers must prove to each other before anything else of their connection is read: nothing, or that they have the
//! cluster's secret or a key derived from it. Who wants TLS will say so here.
//!
//! Read once a process, from its configuration or what its parent handed to it, and given to whatever listens or connects,
//! within a [`Transport`](crate::Transport). Nobody else asks whether there is a secret.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use firesteel_common::conf::{Conf, ConfError, keys};
use hmac::Mac;

use crate::Secret;

/// What a peer must prove.
#[derive(Clone, Debug)]
pub struct Security(Demand);

#[derive(Clone, Debug)]
enum Demand {
    /// Nothing: everybody who reaches the port comes in.
    Nothing {
        /// That is wanted, also from other hosts.
        everywhere: bool,
    },
    Secret(Secret),
}

impl Default for Security {
    /// As [`Security::none`].
    fn default() -> Security {
        Security::none()
    }
}

impl From<Secret> for Security {
    fn from(secret: Secret) -> Security {
        Security(Demand::Secret(secret))
    }
}

impl From<Option<Secret>> for Security {
    /// Without a secret as [`Security::none`].
    fn from(secret: Option<Secret>) -> Security {
        secret.map_or_else(Security::none, Security::from)
    }
}

impl Security {
    /// Nothing is to be proved, and so only this host's processes may come.
    pub fn none() -> Security {
        Security(Demand::Nothing { everywhere: false })
    }

    /// Nothing is to be proved, and everybody may come (`spark.authenticate=false`, said explicitly).
    pub fn open() -> Security {
        Security(Demand::Nothing { everywhere: true })
    }

    /// What `spark.authenticate`, `spark.authenticate.secret` and the file of `spark.authenticate.secret.file` say. A secret
    /// that could be guessed, or whose file others can read, is warned of in the log.
    ///
    /// # Errors
    /// When a value or the file cannot be read, the secret is empty, or there is none though authentication is asked for.
    pub fn from_conf(conf: &Conf) -> Result<Security, ConfError> {
        let (security, warnings) = read(conf)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(security)
    }

    /// What the processes of one application prove to each other: they have its key only, not the cluster's secret.
    pub fn of_application(&self, app_id: &str) -> Security {
        match &self.0 {
            Demand::Secret(secret) => secret.app_key(app_id).into(),
            Demand::Nothing { .. } => self.clone(),
        }
    }

    /// The key of an application for the process that shall use it, see [`Security::handed_down`]; empty without a secret.
    pub fn application_key(&self, app_id: &str) -> Vec<u8> {
        match &self.0 {
            Demand::Secret(secret) => secret.app_key(app_id).as_bytes().to_vec(),
            Demand::Nothing { .. } => Vec::new(),
        }
    }

    /// Of a process that got its application's key from its worker; an empty one says that there is none. Who may listen
    /// where was decided by the worker then, which has bound such an address itself.
    pub fn handed_down(application_key: &[u8]) -> Security {
        match application_key {
            [] => Security::open(),
            key => Secret::from_bytes(key).into(),
        }
    }

    /// Whether peers must prove anything.
    pub fn is_authenticated(&self) -> bool {
        matches!(self.0, Demand::Secret(_))
    }

    /// Whether a port may be reached from other hosts: those who come must prove themselves, or all are welcome.
    pub fn admits_other_hosts(&self) -> bool {
        !matches!(self.0, Demand::Nothing { everywhere: false })
    }

    /// The key for proofs, if any are asked for.
    pub(crate) fn secret(&self) -> Option<&Secret> {
        match &self.0 {
            Demand::Secret(secret) => Some(secret),
            Demand::Nothing { .. } => None,
        }
    }

    /// The proof that covers these parts; empty where nothing is to be proved.
    pub(crate) fn prove(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.secret().map_or_else(Vec::new, |secret| secret.mac(parts).finalize().into_bytes().to_vec())
    }

    /// Checks a proof in constant time. Where nothing is to be proved any proof passes.
    pub(crate) fn verify(&self, parts: &[&[u8]], proof: &[u8]) -> bool {
        self.secret().is_none_or(|secret| secret.mac(parts).verify_slice(proof).is_ok())
    }
}

/// The configuration's word, and what the person who set it should know.
fn read(conf: &Conf) -> Result<(Security, Vec<String>), ConfError> {
    let wanted = conf.get(&keys::AUTHENTICATE)?;
    if wanted == Some(false) {
        return Ok((Security::open(), Vec::new()));
    }
    let mut warnings = Vec::new();
    let secret = if let Some(secret) = conf.get(&keys::AUTHENTICATE_SECRET)? {
        Some((secret.into_bytes(), keys::AUTHENTICATE_SECRET.name().to_owned()))
    } else if let Some(path) = conf.get(&keys::AUTHENTICATE_SECRET_FILE)? {
        let path = PathBuf::from(path);
        let mut secret = std::fs::read(&path).map_err(|error| ConfError::Read {
            what: "the file of spark.authenticate.secret.file,",
            path: path.clone(),
            error,
        })?;
        secret.truncate(secret.trim_ascii_end().len());
        warnings.extend(exposure(&path));
        Some((secret, path.display().to_string()))
    } else {
        None
    };
    match secret {
        Some((secret, place)) if secret.is_empty() => Err(ConfError::EmptySecret { place }),
        Some((secret, place)) => {
            warnings.extend(weakness(&secret, &place));
            Ok((Secret::from_bytes(secret).into(), warnings))
        }
        None if wanted == Some(true) => Err(ConfError::NoSecret),
        None => Ok((Security::none(), warnings)),
    }
}

/// A secret of fewer bytes can be guessed, unless it is random; and so can one of fewer different bytes.
const LEAST_BYTES: usize = 16;
const LEAST_DIFFERENT: usize = 8;

/// Why a secret is none to rely on.
fn weakness(secret: &[u8], place: &str) -> Option<String> {
    let different = secret.iter().collect::<std::collections::BTreeSet<_>>().len();
    let what = match secret.len() {
        bytes if bytes < LEAST_BYTES => format!("has only {bytes} bytes"),
        _ if different < LEAST_DIFFERENT => format!("has only {different} different bytes"),
        _ => return None,
    };
    Some(format!(
        "the secret of {place} {what} and could be guessed by somebody who pretends to be a master: take {LEAST_BYTES} \
         random bytes or more, such as `openssl rand -hex 32` gives"
    ))
}

/// Who else may read the file.
fn exposure(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        format!("the secret in {0} can be read by others (its mode is {mode:03o}): chmod 600 {0}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use firesteel_common::conf::Source;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<(Security, Vec<String>), ConfError> {
        super::read(&Conf::from_pairs(pairs.iter().copied(), Source::Code))
    }

    #[test]
    fn without_a_secret_only_an_explicit_no_allows_strangers() {
        assert!(!read(&[]).unwrap().0.admits_other_hosts());
        assert!(read(&[("spark.authenticate", "false")]).unwrap().0.admits_other_hosts());
        assert!(matches!(read(&[("spark.authenticate", "true")]), Err(ConfError::NoSecret)));
    }

    #[test]
    fn a_secret_that_can_be_guessed_or_read_by_others_is_warned_of() {
        let of = |secret: &str| read(&[("spark.authenticate.secret", secret)]).unwrap().1;
        assert!(matches!(&of("hunter2")[..], [w] if w.contains("7 bytes") && !w.contains("hunter2")));
        assert!(matches!(&of(&"ab".repeat(20))[..], [w] if w.contains("2 different")));
        assert!(of("9f3c2a71e05bd846").is_empty());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "9f3c2a71e05bd846\n").unwrap();
        for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o644, true), (0o601, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let warnings = read(&[("spark.authenticate.secret.file", path.to_str().unwrap())]).unwrap().1;
            assert_eq!(warnings.iter().any(|w| w.contains("chmod 600")), warned, "{mode:o}: {warnings:?}");
        }
    }

    fn secret(pairs: &[(&str, &str)]) -> Vec<u8> {
        read(pairs).unwrap().0.secret().unwrap().as_bytes().to_vec()
    }

    #[test]
    fn the_secret_comes_from_its_key_or_its_file() {
        assert_eq!(secret(&[("spark.authenticate.secret", "s3")]), b"s3");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "from file\n").unwrap();
        let key = "spark.authenticate.secret.file";
        assert_eq!(secret(&[(key, path.to_str().unwrap())]), b"from file");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(read(&[(key, path.to_str().unwrap())]), Err(ConfError::EmptySecret { .. })));
        let error = read(&[(key, "/no/such/file")]).unwrap_err().to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
