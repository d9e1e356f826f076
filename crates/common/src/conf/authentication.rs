//! Who may talk to a process: the cluster's secret, from its key or its file.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Conf, ConfError, keys};

/// The cluster's secret, or that there is none and whether that was said on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Authentication {
    /// The secret; None when peers are not asked for one.
    pub secret: Option<Vec<u8>>,
    /// `spark.authenticate=false` was said explicitly: listening beyond loopback without a secret is allowed.
    pub allow_unauthenticated: bool,
    /// What the person who set it should know: the secret could be guessed, or others can read its file.
    pub warnings: Vec<String>,
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

impl Authentication {
    /// Reads `spark.authenticate`, `spark.authenticate.secret` and the file of `spark.authenticate.secret.file`.
    pub fn from_conf(conf: &Conf) -> Result<Authentication, ConfError> {
        let wanted = conf.get(&keys::AUTHENTICATE)?;
        if wanted == Some(false) {
            return Ok(Authentication { secret: None, allow_unauthenticated: true, warnings: Vec::new() });
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
                Ok(Authentication { secret: Some(secret), allow_unauthenticated: false, warnings })
            }
            None if wanted == Some(true) => Err(ConfError::NoSecret),
            None => Ok(Authentication { secret: None, allow_unauthenticated: false, warnings }),
        }
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication")
            .field("secret", &self.secret.as_ref().map(|_| "*********(redacted)"))
            .field("allow_unauthenticated", &self.allow_unauthenticated)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Authentication, ConfError> {
        Authentication::from_conf(&Conf::from_pairs(pairs.iter().copied(), super::super::Source::Code))
    }

    #[test]
    fn without_a_secret_only_an_explicit_no_allows_strangers() {
        assert!(!read(&[]).unwrap().allow_unauthenticated);
        assert!(read(&[("spark.authenticate", "false")]).unwrap().allow_unauthenticated);
        assert!(matches!(read(&[("spark.authenticate", "true")]), Err(ConfError::NoSecret)));
    }

    #[test]
    fn a_secret_that_can_be_guessed_or_read_by_others_is_warned_of() {
        let of = |secret: &str| read(&[("spark.authenticate.secret", secret)]).unwrap().warnings;
        assert!(matches!(&of("hunter2")[..], [w] if w.contains("7 bytes") && !w.contains("hunter2")));
        assert!(matches!(&of(&"ab".repeat(20))[..], [w] if w.contains("2 different")));
        assert!(of("9f3c2a71e05bd846").is_empty());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "9f3c2a71e05bd846\n").unwrap();
        for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o644, true), (0o601, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let warnings = read(&[("spark.authenticate.secret.file", path.to_str().unwrap())]).unwrap().warnings;
            assert_eq!(warnings.iter().any(|w| w.contains("chmod 600")), warned, "{mode:o}: {warnings:?}");
        }
    }

    #[test]
    fn the_secret_comes_from_its_key_or_its_file() {
        assert_eq!(read(&[("spark.authenticate.secret", "s3")]).unwrap().secret.as_deref(), Some(&b"s3"[..]));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "from file\n").unwrap();
        let key = "spark.authenticate.secret.file";
        assert_eq!(read(&[(key, path.to_str().unwrap())]).unwrap().secret.as_deref(), Some(&b"from file"[..]));
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(read(&[(key, path.to_str().unwrap())]), Err(ConfError::EmptySecret { .. })));
        let error = read(&[(key, "/no/such/file")]).unwrap_err().to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
