//! Who may talk to a process: the cluster's secret, from its key or its file.

use std::fmt;
use std::path::PathBuf;

use super::{Conf, ConfError, keys};

/// The cluster's secret, or that there is none and whether that was said on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Authentication {
    /// The secret; None when peers are not asked for one.
    pub secret: Option<Vec<u8>>,
    /// `spark.authenticate=false` was said explicitly: listening beyond loopback without a secret is allowed.
    pub allow_unauthenticated: bool,
}

impl Authentication {
    /// Reads `spark.authenticate`, `spark.authenticate.secret` and the file of `spark.authenticate.secret.file`.
    pub fn from_conf(conf: &Conf) -> Result<Authentication, ConfError> {
        let wanted = conf.get(&keys::AUTHENTICATE)?;
        if wanted == Some(false) {
            return Ok(Authentication { secret: None, allow_unauthenticated: true });
        }
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
            Some((secret, path.display().to_string()))
        } else {
            None
        };
        match secret {
            Some((secret, place)) if secret.is_empty() => Err(ConfError::EmptySecret { place }),
            Some((secret, _)) => Ok(Authentication { secret: Some(secret), allow_unauthenticated: false }),
            None if wanted == Some(true) => Err(ConfError::NoSecret),
            None => Ok(Authentication { secret: None, allow_unauthenticated: false }),
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
