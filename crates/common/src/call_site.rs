//! [`CallSite`]: an operator or action, and where the user called it.

use std::{fmt, panic::Location, path::Path};

/// An operator or action, and where the user called it. Costs no allocation.
///
/// Shown as `count at src/main.rs:12`; `{:#}` leaves the directories out, as Spark's call sites do: `count at main.rs:12`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CallSite {
    /// The operator's or action's name.
    pub operator: &'static str,
    /// Where; None where nobody knows.
    pub location: Option<&'static Location<'static>>,
}

impl CallSite {
    /// `operator`, called where this function's caller was.
    #[track_caller]
    pub fn here(operator: &'static str) -> CallSite {
        CallSite { operator, location: Some(Location::caller()) }
    }
}

impl fmt::Display for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operator)?;
        let Some(at) = self.location else { return Ok(()) };
        let file = match Path::new(at.file()).file_name().and_then(|name| name.to_str()) {
            Some(name) if f.alternate() => name,
            _ => at.file(),
        };
        write!(f, " at {file}:{}", at.line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_with_or_without_directories() {
        let (site, line) = (CallSite::here("count"), line!());
        assert_eq!(site.to_string(), format!("count at {}:{line}", file!()));
        assert_eq!(format!("{site:#}"), format!("count at call_site.rs:{line}"));
        assert_eq!(CallSite { operator: "map", location: None }.to_string(), "map");
    }
}
