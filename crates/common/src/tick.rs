//! The time of the state machines: a number, so that a simulation can invent it from a seed.

use std::time::Duration;

/// Nanoseconds since an origin that the owner of the clock chose. Only differences mean anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// The origin.
    pub const ZERO: Tick = Tick(0);

    /// The time that passed from `earlier` to `self`; zero when `earlier` is the later one.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Tick {
    type Output = Tick;

    /// Saturates: a deadline beyond the end of time never comes.
    fn add(self, d: Duration) -> Tick {
        Tick(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// `yyyyMMddHHmmss` in UTC of a wall clock in seconds since 1970: the date in names of applications and workers.
pub fn utc_digits(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let time = seconds % 86_400;
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", time / 3600, time / 60 % 60, time % 60)
}

/// The same for people, in the form of Java's `Date`: `Sat Nov 21 13:22:33 UTC 2026`.
pub fn date_text(seconds: u64) -> String {
    // 1 January 1970 was a Thursday.
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (week_day, month) = (DAYS[(days % 7) as usize], MONTHS[month as usize - 1]);
    format!("{week_day} {month} {day:02} {:02}:{:02}:{:02} UTC {year}", time / 3600, time / 60 % 60, time % 60)
}

/// Year, month and day of so many days after 1 January 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    // In eras of 400 years that begin on 1 March 0000 (H. Hinnant, "chrono-compatible low-level date algorithms").
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{date_text, utc_digits};

    #[test]
    fn dates_are_civil_and_leap_years_are_known() {
        assert_eq!(utc_digits(0), "19700101000000");
        assert_eq!(utc_digits(951_827_696), "20000229123456");
        assert_eq!(utc_digits(1_795_267_353), "20261121132233");
        assert_eq!(date_text(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(date_text(951_827_696), "Tue Feb 29 12:34:56 UTC 2000");
        assert_eq!(date_text(1_795_267_353), "Sat Nov 21 13:22:33 UTC 2026");
    }
}
