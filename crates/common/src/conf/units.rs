//! Spark's grammar for byte sizes (`512m`) and durations (`10s`): a whole number and an optional suffix, case and outer
//! blanks ignored. A number alone is in the key's own unit.

use std::{fmt, time::Duration};

/// The unit of a number without suffix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Not a size or duration.
    None,
    /// Bytes.
    Bytes,
    /// 1,024 bytes.
    KiB,
    /// 1,048,576 bytes.
    MiB,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// How the documentation writes it; empty for [`Unit::None`].
    pub const fn label(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Bytes => "B",
            Unit::KiB => "KiB",
            Unit::MiB => "MiB",
            Unit::Millis => "ms",
            Unit::Seconds => "s",
        }
    }
}

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Whole mebibytes, rounded down.
    pub const fn mib(self) -> u64 {
        self.0 >> 20
    }

    /// As a length in memory; sizes beyond the address space become the largest length.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    /// The shortest text that [`parse_bytes`] reads back as the same number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, suffix) in [(50, "p"), (40, "t"), (30, "g"), (20, "m"), (10, "k")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{suffix}", self.0 >> shift);
            }
        }
        write!(f, "{}b", self.0)
    }
}

/// Reads a byte size: `b`, `k`/`kb`, `m`/`mb`, `g`/`gb`, `t`/`tb`, `p`/`pb`, all powers of 1,024.
pub fn parse_bytes(text: &str, unit: Unit) -> Result<ByteSize, String> {
    let (number, suffix) = split(text, "a size such as 512m or 2g")?;
    let shift = match suffix.as_str() {
        "" => match unit {
            Unit::KiB => 10,
            Unit::MiB => 20,
            _ => 0,
        },
        "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        "p" | "pb" => 50,
        other => return Err(format!("'{other}' is no unit of size: write b, k, m, g, t or p")),
    };
    number
        .checked_mul(1u64 << shift)
        .filter(|bytes| *bytes <= i64::MAX as u64)
        .map(ByteSize)
        .ok_or_else(|| "the size is too large: it must stay below 8192p".to_owned())
}

/// Reads a duration: `us`, `ms`, `s`, `m`/`min`, `h`, `d`.
pub fn parse_duration(text: &str, unit: Unit) -> Result<Duration, String> {
    let (number, suffix) = split(text, "a duration such as 10s or 500ms")?;
    let micros = match suffix.as_str() {
        "" => match unit {
            Unit::Seconds => 1_000_000,
            _ => 1_000,
        },
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" | "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        other => return Err(format!("'{other}' is no unit of time: write us, ms, s, m, h or d")),
    };
    // The clock of the state machines counts nanoseconds in 64 bits.
    number
        .checked_mul(micros)
        .filter(|micros| *micros <= u64::MAX / 1_000)
        .map(Duration::from_micros)
        .ok_or_else(|| "the duration is too long: it must stay below 500 years".to_owned())
}

/// Writes a duration so that [`parse_duration`] reads it back, rounded down to microseconds.
pub fn format_duration(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    match micros {
        0 => "0s".to_owned(),
        m if m % 1_000_000 == 0 => format!("{}s", m / 1_000_000),
        m if m % 1_000 == 0 => format!("{}ms", m / 1_000),
        m => format!("{m}us"),
    }
}

fn split(text: &str, what: &str) -> Result<(u64, String), String> {
    let text = text.trim().to_lowercase();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    if number.is_empty() {
        return Err(if text.starts_with('-') {
            format!("it must not be negative: write {what}")
        } else {
            format!("write {what}")
        });
    }
    if suffix.starts_with('.') {
        return Err(format!("fractions are not allowed: write {what}, in a smaller unit if need be"));
    }
    if !suffix.bytes().all(|b| b.is_ascii_lowercase()) {
        return Err(format!("write {what}"));
    }
    let number = number.parse().map_err(|_| "the number is too large".to_owned())?;
    Ok((number, suffix.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_follow_sparks_grammar() {
        for (text, unit, bytes) in [
            ("1", Unit::Bytes, 1),
            ("1", Unit::KiB, 1 << 10),
            ("512", Unit::MiB, 512 << 20),
            ("512m", Unit::Bytes, 512 << 20),
            (" 2G ", Unit::MiB, 2 << 30),
            ("3kb", Unit::MiB, 3 << 10),
            ("4b", Unit::MiB, 4),
            ("1tb", Unit::MiB, 1 << 40),
            ("1P", Unit::MiB, 1 << 50),
            ("0", Unit::MiB, 0),
        ] {
            assert_eq!(parse_bytes(text, unit), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "m", "1.5g", "-1", "1 g", "1x", "1gib", "99999999999999999999", "9000p", "1g!"] {
            assert!(parse_bytes(text, Unit::Bytes).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_follow_sparks_grammar() {
        for (text, unit, millis) in [
            ("10", Unit::Millis, 10),
            ("10", Unit::Seconds, 10_000),
            ("10s", Unit::Millis, 10_000),
            ("500MS", Unit::Seconds, 500),
            ("2m", Unit::Millis, 120_000),
            ("2min", Unit::Millis, 120_000),
            ("1h", Unit::Millis, 3_600_000),
            ("1d", Unit::Millis, 86_400_000),
        ] {
            assert_eq!(parse_duration(text, unit), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_duration("7us", Unit::Millis), Ok(Duration::from_micros(7)));
        for text in ["", "s", "1.5s", "-1s", "1 s", "1y", "1000000d"] {
            assert!(parse_duration(text, Unit::Millis).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn sizes_survive_writing_and_reading(bytes in 0..=i64::MAX as u64) {
            prop_assert_eq!(parse_bytes(&ByteSize(bytes).to_string(), Unit::MiB), Ok(ByteSize(bytes)));
        }

        #[test]
        fn durations_survive_writing_and_reading(micros in 0..=u64::MAX / 1_000) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&format_duration(duration), Unit::Millis), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = (parse_bytes(&text, Unit::MiB), parse_duration(&text, Unit::Seconds));
        }
    }
}
