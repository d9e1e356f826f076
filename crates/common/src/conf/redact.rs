//! Which values are never shown.

/// The value of a key as it may be shown: Spark's `spark.redaction.regex`, that is names with secret, password, token or
/// access key, give `*********(redacted)`.
pub fn redact<'a>(name: &str, value: &'a str) -> &'a str {
    if is_redacted(name) { "*********(redacted)" } else { value }
}

/// Whether the value of the key is never shown.
pub(super) fn is_redacted(name: &str) -> bool {
    let name = name.to_lowercase();
    // The name of a file with a secret is none, and people need it to find their mistake.
    let hidden = ["secret", "password", "token", "access.key", "accesskey", "access_key"];
    !name.ends_with(".file") && hidden.iter().any(|word| name.contains(word))
}

/// What was meant as `key=value`, as it may be shown.
pub(super) fn assignment(text: &str) -> String {
    match text.split_once('=') {
        Some((name, value)) => format!("{name}={}", redact(name, value)),
        None => text.to_owned(),
    }
}
