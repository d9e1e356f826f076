//! What an accumulator does with what is added to it.

use serde::{Serialize, de::DeserializeOwned};

/// A kind of accumulator: how what is added becomes a value. Its `Default` is the zero with which each task begins.
/// Merging must not depend on the order in which tasks end.
///
/// ```
/// use firesteel::Accumulate;
/// use serde::{Deserialize, Serialize};
///
/// /// The longest word.
/// #[derive(Default, Serialize, Deserialize)]
/// struct Longest(usize);
///
/// impl Accumulate for Longest {
///     type In = String;
///     type Out = usize;
///
///     fn add(&mut self, word: String) {
///         self.0 = self.0.max(word.len());
///     }
///
///     fn merge(&mut self, other: Longest) {
///         self.0 = self.0.max(other.0);
///     }
///
///     fn value(&self) -> usize {
///         self.0
///     }
/// }
///
/// # fn main() -> firesteel::Result<()> {
/// let sc = firesteel::Context::builder().master("local[2]").build()?;
/// let longest = sc.accumulator::<Longest>("longest word");
/// let words = sc.parallelize(["tea", "kettle"].map(String::from));
/// words.with(longest.clone()).foreach(|longest, word| longest.add(word))?;
/// assert_eq!(longest.value()?, 6);
/// # Ok(()) }
/// ```
#[doc(alias = "AccumulatorV2")]
pub trait Accumulate: Default + Serialize + DeserializeOwned + Send + 'static {
    /// What is added.
    type In;
    /// What the driver reads.
    type Out;

    /// Adds something.
    fn add(&mut self, x: Self::In);

    /// Adds all that was added to `other`.
    fn merge(&mut self, other: Self);

    /// What it amounts to.
    fn value(&self) -> Self::Out;
}
