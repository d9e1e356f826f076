//! Spark's keys that ask for protection which Firesteel does not give. To go on without it would leave a cluster open that
//! its owner believes to be closed: what asks is an error, what asks for nothing (`false`, `NONE`, a default) is not.

use super::{ConfError, redact, source::Source};

/// When a value asks for the protection.
#[derive(Clone, Copy)]
enum Asks {
    /// When it is not `false`.
    UnlessFalse,
    /// When there is any.
    WhenSet,
    /// When it is not `NONE`.
    UnlessNone,
    /// When it is not what Spark has by default.
    UnlessDefault(&'static [&'static str]),
}

/// Names, when their values ask, and what to do. A name that ends with a dot stands for everything below it that ends with
/// `enabled`.
static PROTECTIVE: &[(&str, Asks, &str)] = &[
    ("spark.network.crypto.enabled", Asks::UnlessFalse, ENCRYPTION),
    ("spark.authenticate.enableSaslEncryption", Asks::UnlessFalse, ENCRYPTION),
    ("spark.network.sasl.serverAlwaysEncrypt", Asks::UnlessFalse, ENCRYPTION),
    ("spark.ssl.", Asks::UnlessFalse, ENCRYPTION),
    ("spark.io.encryption.enabled", Asks::UnlessFalse, FILES),
    ("spark.acls.enable", Asks::UnlessFalse, LISTS),
    ("spark.ui.acls.enable", Asks::UnlessFalse, LISTS),
    ("spark.history.ui.acls.enable", Asks::UnlessFalse, LISTS),
    ("spark.authenticate.secret.driver.file", Asks::WhenSet, SECRET_FILES),
    ("spark.authenticate.secret.executor.file", Asks::WhenSet, SECRET_FILES),
    ("spark.deploy.recoveryMode", Asks::UnlessNone, RECOVERY),
    ("spark.deploy.recoveryMode.factory", Asks::WhenSet, RECOVERY),
    (
        "spark.redaction.regex",
        Asks::UnlessDefault(&["(?i)secret|password|token|access[.]?key", "(?i)secret|password|token|access[.]key"]),
        REDACTION,
    ),
    ("spark.redaction.string.regex", Asks::WhenSet, STRINGS),
];

const ENCRYPTION: &str = "Firesteel does not encrypt connections yet: keep the cluster within a network that strangers cannot \
    listen to (spark.authenticate keeps them from connecting), and set it to false";
const FILES: &str = "Firesteel does not encrypt its local files yet: put spark.local.dir and the work directories on an \
    encrypted disk, and set it to false";
const LISTS: &str =
    "Firesteel has no access lists yet: who has the cluster's secret may do everything; set it to false";
const SECRET_FILES: &str = "executors get a key of their application from their worker, and no secret file of their own: \
    set spark.authenticate.secret.file on driver, master and workers instead";
const RECOVERY: &str = "the master does not keep its state yet: running applications register again with one that was \
    restarted; set it to NONE";
const REDACTION: &str = "what is blacked out cannot be chosen: values of keys with secret, password, token or access key in \
    their name are; remove it";
const STRINGS: &str = "texts within values, plans and output are not searched for what should be blacked out: keep secrets out of \
    them, and remove it";

/// The error for a key that asks for protection.
pub(super) fn refuse(name: &str, value: &str, source: &Source) -> Result<(), ConfError> {
    let Some(&(_, asks, what)) = PROTECTIVE.iter().find(|(known, ..)| is_meant(known, name)) else { return Ok(()) };
    let value = value.trim();
    let asked = match asks {
        Asks::UnlessFalse => !value.eq_ignore_ascii_case("false") && !value.is_empty(),
        Asks::WhenSet => !value.is_empty(),
        Asks::UnlessNone => !value.eq_ignore_ascii_case("none") && !value.is_empty(),
        Asks::UnlessDefault(defaults) => !defaults.contains(&value) && !value.is_empty(),
    };
    match asked {
        true => Err(ConfError::Unprotected {
            key: name.to_owned(),
            value: redact(name, value).to_owned(),
            origin: source.clone(),
            what,
        }),
        false => Ok(()),
    }
}

fn is_meant(known: &str, name: &str) -> bool {
    match known.strip_suffix('.') {
        Some(_) => name.starts_with(known) && name.ends_with("enabled"),
        None => name == known,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conf::Conf;

    #[test]
    fn what_asks_for_protection_that_is_not_there_is_an_error_with_key_value_file_and_remedy() {
        for (key, value) in [
            ("spark.network.crypto.enabled", "true"),
            ("spark.authenticate.enableSaslEncryption", "true"),
            ("spark.network.sasl.serverAlwaysEncrypt", "TRUE"),
            ("spark.ssl.enabled", "true"),
            ("spark.ssl.ui.enabled", "yes"),
            ("spark.io.encryption.enabled", "true"),
            ("spark.acls.enable", "true"),
            ("spark.ui.acls.enable", "true"),
            ("spark.history.ui.acls.enable", "true"),
            ("spark.authenticate.secret.driver.file", "/etc/secret"),
            ("spark.authenticate.secret.executor.file", "/etc/secret"),
            ("spark.deploy.recoveryMode", "ZOOKEEPER"),
            ("spark.deploy.recoveryMode", "FILESYSTEM"),
            ("spark.redaction.regex", "(?i)salary"),
            ("spark.redaction.string.regex", "salary=[0-9]+"),
        ] {
            let text = format!("# one line\n{key} {value}\n");
            let mut conf = Conf::from_properties(&text, Path::new("conf/spark-defaults.conf")).unwrap();
            let error = conf.check().unwrap_err().to_string();
            for part in [key, value, "conf/spark-defaults.conf line 2"] {
                assert!(error.contains(part), "{error}");
            }
            // Whoever handed it over: it counts in the program, too.
            let mut handed = Conf::from_pairs([(key, value)], Source::Submit);
            assert!(matches!(handed.check(), Err(ConfError::Unprotected { .. })), "{key}");
        }
    }

    #[test]
    fn what_asks_for_nothing_is_none() {
        for (key, value) in [
            ("spark.network.crypto.enabled", "false"),
            ("spark.network.crypto.keyLength", "128"),
            ("spark.ssl.enabled", "False"),
            ("spark.ssl.keyStore", "/etc/store"),
            ("spark.io.encryption.enabled", " false "),
            ("spark.io.encryption.keySizeBits", "128"),
            ("spark.acls.enable", "false"),
            ("spark.ui.view.acls", "somebody"),
            ("spark.deploy.recoveryMode", "NONE"),
            ("spark.deploy.recoveryMode", "none"),
            ("spark.deploy.recoveryDirectory", "/var/spark"),
            ("spark.redaction.regex", "(?i)secret|password|token|access[.]?key"),
        ] {
            assert!(Conf::from_pairs([(key, value)], Source::Code).check().is_ok(), "{key}={value}");
        }
    }
}
