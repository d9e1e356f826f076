//! Proof that an application's id was given by a master. A master forgets everything when it is restarted; a driver that
//! comes back under its id shows the token that came with it.
//!
//! ```text
//!  token = salt ‖ mac        salt: from a key that no other process has     mac: over id and salt, with the cluster's secret
//! ```
//!
//! The mac convinces every master of the cluster. The salt makes the token more than the secret: who holds the secret alone
//! cannot compute the token of an application that its master still knows. Called by the master's machine, which has no
//! random numbers of its own.

use firesteel_common::AppId;
use hmac::Mac;

use crate::{Secret, Security};

const SALT_BYTES: usize = 16;

/// Bytes of a token.
pub const TOKEN_BYTES: usize = SALT_BYTES + 32;

/// Where an application's id comes from, as its token says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Provenance {
    /// This master gave it, or one with the same secret.
    Issued,
    /// No master with this secret gave it.
    Forged,
    /// There is no secret, and this master has not given it: an earlier one may have.
    Unknown,
}

/// A token as those keep it who know it: it is shown to nobody, and so to no log.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Token(pub Vec<u8>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Makes and checks tokens.
#[derive(Clone)]
pub struct Issuer {
    cluster: Security,
    own: Secret,
}

impl Issuer {
    /// `own` is 32 random bytes that nobody else has; `cluster` what the masters of the cluster have in common.
    pub fn new(cluster: impl Into<Security>, own: [u8; 32]) -> Issuer {
        Issuer { cluster: cluster.into(), own: Secret::from_bytes(own) }
    }

    /// An issuer with a random key of its own.
    ///
    /// # Errors
    /// When this host has no random numbers to give.
    pub fn random(cluster: impl Into<Security>) -> Result<Issuer, getrandom::Error> {
        let mut own = [0; 32];
        getrandom::fill(&mut own)?;
        Ok(Issuer::new(cluster, own))
    }

    /// The token of an id that is given now.
    pub fn token(&self, app_id: &AppId) -> Vec<u8> {
        let salt = self.own.mac(&[b"firesteel application salt", app_id.as_bytes()]).finalize().into_bytes();
        let salt = &salt[..SALT_BYTES];
        let mac = self.mac(app_id, salt).finalize().into_bytes();
        [salt, &mac].concat()
    }

    /// What a token says of the id that it comes with.
    pub fn provenance(&self, app_id: &AppId, token: &[u8]) -> Provenance {
        let proved = match token.split_at_checked(SALT_BYTES) {
            Some((salt, mac)) => self.mac(app_id, salt).verify_slice(mac).is_ok(),
            None => false,
        };
        match &self.cluster {
            _ if proved => Provenance::Issued,
            cluster if cluster.is_authenticated() => Provenance::Forged,
            _ => Provenance::Unknown,
        }
    }

    /// Whether two tokens are the same, in a time that says nothing of where they differ.
    pub fn same(&self, one: &[u8], other: &[u8]) -> bool {
        let tag = self.own.mac(&[one]).finalize().into_bytes();
        self.own.mac(&[other]).verify_slice(&tag).is_ok()
    }

    fn mac(&self, app_id: &AppId, salt: &[u8]) -> impl Mac {
        let key = self.cluster.secret().unwrap_or(&self.own);
        key.mac(&[b"firesteel application token", app_id.as_bytes(), salt])
    }
}

impl PartialEq for Issuer {
    fn eq(&self, other: &Issuer) -> bool {
        let bytes = |cluster: &Security| cluster.secret().map(|s| s.as_bytes().to_vec());
        bytes(&self.cluster) == bytes(&other.cluster) && self.own.as_bytes() == other.own.as_bytes()
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> AppId {
        AppId::parse(text).unwrap()
    }

    fn issuer(secret: Option<&str>, own: u8) -> Issuer {
        Issuer::new(secret.map(Secret::from_bytes), [own; 32])
    }

    #[test]
    fn every_master_of_the_cluster_knows_what_one_of_them_gave() {
        let token = issuer(Some("s"), 1).token(&id("app-1"));
        assert_eq!(token.len(), TOKEN_BYTES);
        assert_eq!(issuer(Some("s"), 2).provenance(&id("app-1"), &token), Provenance::Issued);
        assert_eq!(issuer(Some("s"), 2).provenance(&id("app-2"), &token), Provenance::Forged);
        assert_eq!(issuer(Some("other"), 1).provenance(&id("app-1"), &token), Provenance::Forged);
    }

    #[test]
    fn a_token_that_is_changed_anywhere_is_forged() {
        let (issuer, app) = (issuer(Some("s"), 1), id("app-1"));
        let token = issuer.token(&app);
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1;
            assert_eq!(issuer.provenance(&app, &changed), Provenance::Forged);
            assert!(!issuer.same(&token, &changed) && issuer.same(&token, &token));
        }
        for length in 0..token.len() {
            assert_eq!(issuer.provenance(&app, &token[..length]), Provenance::Forged);
        }
    }

    #[test]
    fn the_secret_alone_does_not_give_the_token_of_another_master() {
        let app = id("app-1");
        assert_ne!(issuer(Some("s"), 1).token(&app), issuer(Some("s"), 2).token(&app));
    }

    #[test]
    fn without_a_secret_only_the_same_master_is_sure() {
        let token = issuer(None, 1).token(&id("app-1"));
        assert_eq!(issuer(None, 1).provenance(&id("app-1"), &token), Provenance::Issued);
        assert_eq!(issuer(None, 2).provenance(&id("app-1"), &token), Provenance::Unknown);
    }
}
