//! The cluster's secret and the keys derived from it. Called by the handshake, and by whoever starts an executor.

use std::{fmt, sync::Arc};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Key material: the cluster's secret, or the key of one application that was derived from it. Never printed.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Takes the bytes as they are. An empty secret is none: pass no [`Secret`] instead.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(bytes.into().into())
    }

    /// The key of one application: an executor holds this one only, and so cannot speak for another application.
    pub fn app_key(&self, app_id: &str) -> Secret {
        Secret(self.mac(&[b"firesteel application key", app_id.as_bytes()]).finalize().into_bytes().to_vec().into())
    }

    /// The bytes, to hand a derived key to the process that shall use it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// HMAC-SHA256 over the parts, each with its length before it so that no two lists of parts give the same input.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        // HMAC's own rule for keys: hash what is longer than a block, fill up what is shorter with zeros.
        let mut block = [0; 64];
        if self.0.len() > block.len() {
            block[..32].copy_from_slice(&Sha256::digest(&self.0));
        } else {
            block[..self.0.len()].copy_from_slice(&self.0);
        }
        let mut mac = Hmac::<Sha256>::new(&block.into());
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_keys_differ_by_application_and_from_the_secret() {
        let secret = Secret::from_bytes("s3cret");
        let (a, b) = (secret.app_key("app-1"), secret.app_key("app-2"));
        assert_ne!(a.as_bytes(), b.as_bytes());
        assert_ne!(a.as_bytes(), secret.as_bytes());
        assert_eq!(a.as_bytes(), Secret::from_bytes("s3cret").app_key("app-1").as_bytes());
        assert_eq!(a.as_bytes().len(), 32);
    }

    #[test]
    fn debug_output_does_not_show_the_secret() {
        assert_eq!(format!("{:?}", Secret::from_bytes("s3cret")), "Secret(..)");
    }
}
