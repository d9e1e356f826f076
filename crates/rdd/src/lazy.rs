//! [`Lazy`]: an environment that travels as the function that makes it, and is made once in each process.
//!
//! Called by user code, as `.with(Lazy::new(init))`. The function travels as operators do, by the reference to a
//! descriptor; a process keeps what it made in one table, so that later stages and jobs find it.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    fmt,
    ops::Deref,
    panic::Location,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use firesteel_closure::{
    AnyNode, CodeRef, DecodeError, Func, Op, OpDesc, ZeroSized, describe, parent, require_zero_sized,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// A value that cannot travel, such as a connection, a pool or a compiled pattern: each executor makes its own, when a
/// task first looks at it, and keeps it to its end for all tasks of all stages.
///
/// It is one value for each place in the program that calls [`Lazy::new`], however often that place is passed, and lives
/// as long as the process. The function must not look at the same `Lazy`. When it panics, the task that looked fails with
/// that panic, and the next one tries again.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// use std::{collections::HashMap, sync::Mutex};
/// use firesteel::Lazy;
///
/// let words = sc.parallelize(["tea", "żurek", "tea"].map(String::from));
/// let known = Lazy::new(|| Mutex::new(HashMap::<String, usize>::new()));
/// let lengths = words.with(known).map(|known, word| {
///     let mut known = known.lock().unwrap();
///     *known.entry(word).or_insert_with_key(|word| word.chars().count())
/// });
/// assert_eq!(lengths.collect()?, [3, 5, 3]);
/// # Ok(()) }
/// ```
pub struct Lazy<T>(Arc<Cell<T>>);

struct Cell<T> {
    value: OnceLock<T>,
    init: Box<dyn Fn() -> T + Send + Sync>,
    desc: &'static OpDesc,
    place: String,
}

/// What travels.
#[derive(Serialize, Deserialize)]
struct Wire {
    code: CodeRef,
    place: String,
}

/// The descriptor of an `init`.
struct LazyOp<T, F>(std::marker::PhantomData<(T, F)>);

impl<T: Send + Sync + 'static, F: Fn() -> T + ZeroSized> Op for LazyOp<T, F> {
    type Func = F;

    fn decode(init: Func<F>, _: &[AnyNode], place: &[u8]) -> Result<AnyNode, DecodeError> {
        let place = std::str::from_utf8(place).map_err(|e| DecodeError::Custom(e.to_string()))?;
        Ok(cell(init, place))
    }
}

/// The process's cell of `init` at `place`.
///
/// The type alone would not do: where two closures have the same code, the linker may give both one descriptor.
fn cell<T: Send + Sync + 'static, F: Fn() -> T + ZeroSized>(init: Func<F>, place: &str) -> AnyNode {
    static CELLS: Mutex<BTreeMap<(TypeId, String), AnyNode>> = Mutex::new(BTreeMap::new());
    let make = || -> AnyNode {
        let desc = describe::<LazyOp<T, F>>(&init);
        let init = Box::new(move || init.get()());
        Arc::new(Cell { value: OnceLock::new(), init, desc, place: place.to_owned() })
    };
    let mut cells = CELLS.lock().unwrap_or_else(PoisonError::into_inner);
    cells.entry((TypeId::of::<F>(), place.to_owned())).or_insert_with(make).clone()
}

fn typed<T: Send + Sync + 'static>(node: AnyNode) -> Result<Lazy<T>, DecodeError> {
    Ok(Lazy(parent(&[node as Arc<dyn Any + Send + Sync>], 0)?))
}

impl<T: Send + Sync + 'static> Lazy<T> {
    /// What `init` gives, in whichever process it is looked at. `init` captures nothing.
    #[track_caller]
    pub fn new<F: Fn() -> T + Copy + Send + Sync + 'static>(init: F) -> Lazy<T> {
        require_zero_sized!(F);
        match typed(cell(Func::new(init), &Location::caller().to_string())) {
            Ok(lazy) => lazy,
            Err(_) => unreachable!("the table's key has the type of the function, and with it that of its value"),
        }
    }
}

impl<T> Clone for Lazy<T> {
    fn clone(&self) -> Self {
        Lazy(self.0.clone())
    }
}

impl<T> Deref for Lazy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.value.get_or_init(&self.0.init)
    }
}

impl<T> fmt::Debug for Lazy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazy").field("place", &self.0.place).finish_non_exhaustive()
    }
}

impl<T> Serialize for Lazy<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let code = CodeRef::of(self.0.desc).map_err(ser::Error::custom)?;
        Wire { code, place: self.0.place.clone() }.serialize(serializer)
    }
}

impl<'de, T: Send + Sync + 'static> Deserialize<'de> for Lazy<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { code, place } = Wire::deserialize(deserializer)?;
        let desc = code.resolve().map_err(de::Error::custom)?;
        desc.decode(&[], place.as_bytes()).and_then(typed).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use firesteel_common::codec;

    use super::*;

    fn counter() -> Lazy<AtomicU32> {
        Lazy::new(|| AtomicU32::new(10))
    }

    #[test]
    fn one_place_is_one_value_also_after_the_wire() {
        let first = counter();
        first.fetch_add(1, Ordering::Relaxed);
        let other: Lazy<AtomicU32> = codec::decode(&codec::encode(&counter()).unwrap()).unwrap();
        assert_eq!(other.load(Ordering::Relaxed), 11);
        let elsewhere = Lazy::new(|| AtomicU32::new(10));
        assert_eq!(elsewhere.load(Ordering::Relaxed), 10, "equal code at another place");
    }

    #[test]
    fn another_type_or_damage_is_an_error() {
        let bytes = codec::encode(&counter()).unwrap();
        assert!(codec::decode::<Lazy<String>>(&bytes).unwrap_err().to_string().contains("is not a"));
        for i in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[i] ^= 0x55;
            // A damaged place is another place; all else is an error.
            let _ = codec::decode::<Lazy<AtomicU32>>(&bytes);
        }
    }

    #[test]
    fn a_panic_of_the_function_is_not_kept() {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let lazy = Lazy::new(|| if CALLS.fetch_add(1, Ordering::Relaxed) == 0 { panic!("not yet") } else { 7 });
        let first = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| *lazy));
        assert!(first.is_err());
        assert_eq!(*lazy, 7);
    }
}
