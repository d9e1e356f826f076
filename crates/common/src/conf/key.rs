//! A typed key: its name, default, unit and meaning in one constant. The constants are in [`keys`](super::keys).

use std::{marker::PhantomData, time::Duration};

use super::units::{self, ByteSize, Unit};

/// A type that a configuration value can have.
pub trait ConfValue: Sized {
    /// How the documentation calls it.
    const KIND: &'static str;

    /// Reads the text of a value; the error says what was expected.
    fn parse(text: &str, unit: Unit) -> Result<Self, String>;

    /// The value of a key that is neither set nor has a default; None means that this is an error.
    fn absent() -> Option<Self> {
        None
    }

    /// The value as a number (bytes, milliseconds), for bounds; None when it has none.
    fn magnitude(&self) -> Option<f64> {
        None
    }
}

impl ConfValue for String {
    const KIND: &'static str = "text";
    fn parse(text: &str, _: Unit) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl ConfValue for bool {
    const KIND: &'static str = "true or false";
    fn parse(text: &str, _: Unit) -> Result<Self, String> {
        match text.trim().to_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("write true or false".to_owned()),
        }
    }
}

macro_rules! whole_number {
    ($($t:ty),+) => {$(
        impl ConfValue for $t {
            const KIND: &'static str = "whole number";
            fn parse(text: &str, _: Unit) -> Result<Self, String> {
                text.trim().parse().map_err(|_| format!("write a whole number from {} to {}", <$t>::MIN, <$t>::MAX))
            }
            fn magnitude(&self) -> Option<f64> {
                Some(*self as f64)
            }
        }
    )+};
}
whole_number!(u16, u32, u64, i32);

impl ConfValue for f64 {
    const KIND: &'static str = "number";
    fn parse(text: &str, _: Unit) -> Result<Self, String> {
        match text.trim().parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err("write a number such as 0.6".to_owned()),
        }
    }
    fn magnitude(&self) -> Option<f64> {
        Some(*self)
    }
}

impl ConfValue for ByteSize {
    const KIND: &'static str = "size";
    fn parse(text: &str, unit: Unit) -> Result<Self, String> {
        units::parse_bytes(text, unit)
    }
    fn magnitude(&self) -> Option<f64> {
        Some(self.0 as f64)
    }
}

impl ConfValue for Duration {
    const KIND: &'static str = "duration";
    fn parse(text: &str, unit: Unit) -> Result<Self, String> {
        units::parse_duration(text, unit)
    }
    fn magnitude(&self) -> Option<f64> {
        Some(self.as_secs_f64() * 1e3)
    }
}

impl<V: ConfValue> ConfValue for Option<V> {
    const KIND: &'static str = V::KIND;
    fn parse(text: &str, unit: Unit) -> Result<Self, String> {
        V::parse(text, unit).map(Some)
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
    fn magnitude(&self) -> Option<f64> {
        self.as_ref().and_then(V::magnitude)
    }
}

/// A key of the table: what it is called, what it means, and as what type its value is read.
#[derive(Clone, Copy)]
pub struct Key<T> {
    name: &'static str,
    default: Option<&'static str>,
    doc: &'static str,
    unit: Unit,
    min: f64,
    max: f64,
    choices: &'static [&'static str],
    aliases: &'static [(&'static str, &'static str)],
    former: Option<&'static str>,
    origin: Origin,
    kind: PhantomData<fn() -> T>,
}

/// Whether Spark has the key too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Spark has it and it means the same; the Spark version that brought it.
    Spark(&'static str),
    /// Firesteel's own.
    Firesteel,
}

impl<T: ConfValue> Key<T> {
    pub(super) const fn new(
        name: &'static str,
        default: Option<&'static str>,
        origin: Origin,
        doc: &'static str,
    ) -> Self {
        Key {
            name,
            default,
            doc,
            origin,
            unit: Unit::None,
            min: f64::NEG_INFINITY,
            max: f64::INFINITY,
            choices: &[],
            aliases: &[],
            former: None,
            kind: PhantomData,
        }
    }

    pub(super) const fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Bytes for sizes, milliseconds for durations.
    pub(super) const fn at_least(mut self, min: u64) -> Self {
        self.min = min as f64;
        self
    }

    pub(super) const fn between(mut self, min: f64, max: f64) -> Self {
        self.min = min;
        self.max = max;
        self
    }

    /// The values that it can have, in lower case; they are read in any case.
    pub(super) const fn one_of(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }

    /// Other names of the choices, such as those of Spark's classes, each with its choice.
    pub(super) const fn also(mut self, aliases: &'static [(&'static str, &'static str)]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Its name in earlier versions of Spark, which is read where the new one is not set.
    pub(super) const fn formerly(mut self, name: &'static str) -> Self {
        self.former = Some(name);
        self
    }

    /// Its name in earlier versions of Spark, if it had another.
    pub const fn former_name(&self) -> Option<&'static str> {
        self.former
    }

    /// The key's name, such as `spark.executor.memory`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The text of its default, None when it has none.
    pub const fn default_text(&self) -> Option<&'static str> {
        self.default
    }

    /// Reads a value of this key from text; the error says what was expected. Of a key with choices it is the choice as the
    /// key table writes it.
    pub fn parse(&self, text: &str) -> Result<T, String> {
        let text = if self.choices.is_empty() { text } else { self.choice(text.trim())? };
        let value = T::parse(text, self.unit)?;
        match value.magnitude() {
            Some(number) if number < self.min => Err(format!("it must be at least {}", self.bound(self.min))),
            Some(number) if number > self.max => Err(format!("it must be at most {}", self.bound(self.max))),
            _ => Ok(value),
        }
    }

    /// The choice that the text names.
    fn choice(&self, text: &str) -> Result<&'static str, String> {
        let aliases = self.aliases.iter().map(|(alias, choice)| (*alias, *choice));
        let mut names = self.choices.iter().map(|choice| (*choice, *choice)).chain(aliases);
        let named = names.find(|(name, _)| name.eq_ignore_ascii_case(text));
        named.map(|(_, choice)| choice).ok_or_else(|| format!("write one of {}", self.choices.join(", ")))
    }

    fn bound(&self, number: f64) -> String {
        match self.unit {
            Unit::None => number.to_string(),
            Unit::Bytes | Unit::KiB | Unit::MiB => ByteSize(number as u64).to_string(),
            Unit::Millis | Unit::Seconds => units::format_duration(Duration::from_secs_f64(number / 1e3)),
        }
    }
}

/// A [`Key`] whose type is forgotten: what the documentation and the check of a whole configuration need.
pub trait AnyKey: Sync {
    /// The key's name.
    fn name(&self) -> &'static str;
    /// Its name in earlier versions of Spark.
    fn former_name(&self) -> Option<&'static str>;
    /// The text of its default.
    fn default_text(&self) -> Option<&'static str>;
    /// What it means.
    fn doc(&self) -> &'static str;
    /// What its values look like, with the unit of a number without suffix.
    fn kind(&self) -> String;
    /// Whether Spark has it.
    fn origin(&self) -> Origin;
    /// Whether the text is a value of this key.
    fn check(&self, text: &str) -> Result<(), String>;
}

impl<T: ConfValue> AnyKey for Key<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn former_name(&self) -> Option<&'static str> {
        self.former
    }

    fn default_text(&self) -> Option<&'static str> {
        self.default
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn kind(&self) -> String {
        match (self.choices, self.unit) {
            ([], Unit::None) => T::KIND.to_owned(),
            ([], unit) => format!("{} ({})", T::KIND, unit.label()),
            (choices, _) => choices.join(", "),
        }
    }

    fn origin(&self) -> Origin {
        self.origin
    }

    fn check(&self, text: &str) -> Result<(), String> {
        self.parse(text).map(drop)
    }
}
