//! [`FileSystems`]: the file systems of an application by their schemes.
//!
//! An executor never runs the program's `main`, so what that adds travels: as the place of its type's code in the
//! executable, and the encoding of its value.

use std::{any::type_name, collections::BTreeMap, fmt, marker::PhantomData, sync::Arc};

use firesteel_closure::{AnyNode, CodeRef, DecodeError, Func, Op, OpDesc, describe, parent};
use firesteel_common::{Env, codec};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::{
    FilePath, FileSystem, LocalDisk,
    error::{Error, Result},
};

/// The file systems that paths may name: the local disk, and those that were added under a scheme. Cloning is cheap.
#[derive(Clone, Default)]
pub struct FileSystems {
    added: Arc<BTreeMap<String, Added>>,
}

/// A file system with what travels of it.
#[derive(Clone)]
struct Added {
    system: Arc<dyn FileSystem>,
    desc: &'static OpDesc,
    encoded: Arc<[u8]>,
}

/// What is found behind an [`AnyNode`].
struct Decoded(Arc<dyn FileSystem>);

/// The descriptor of file systems of type `F`.
struct FileSystemOp<F>(PhantomData<F>);

impl<F: FileSystem + Env> Op for FileSystemOp<F> {
    type Func = ();

    fn decode(_: Func<()>, _: &[AnyNode], encoded: &[u8]) -> Result<AnyNode, DecodeError> {
        Ok(Arc::new(Decoded(Arc::new(codec::decode::<F>(encoded)?))))
    }
}

impl FileSystems {
    /// Has paths that begin with `scheme://` mean files of `system`; one that was added under that scheme before is
    /// replaced.
    ///
    /// # Errors
    /// When `scheme` is none (a letter, then letters, digits, `+`, `-` and `.`) or is `file`, and when `system` cannot be
    /// encoded.
    pub fn add<F: FileSystem + Env>(&mut self, scheme: &str, system: F) -> Result<()> {
        let rest = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(rest) || scheme == "file" {
            let what = format!("{scheme:?} cannot be the scheme of a file system: use a word such as \"store\"");
            return Err(Error::Invalid(what));
        }
        let encoded = codec::encode(&system)
            .map_err(|e| Error::Invalid(format!("the file system {} cannot travel: {e}", type_name::<F>())))?;
        let desc = describe::<FileSystemOp<F>>(&Func::new(()));
        let added = Added { system: Arc::new(system), desc, encoded: encoded.into() };
        Arc::make_mut(&mut self.added).insert(scheme.to_owned(), added);
        Ok(())
    }

    /// The file system that `path` belongs to.
    ///
    /// # Errors
    /// When there is none of its scheme.
    pub fn of(&self, path: &FilePath) -> Result<&dyn FileSystem> {
        if path.is_local() {
            return Ok(&LocalDisk);
        }
        self.added.get(path.scheme()).map(|added| &*added.system).ok_or_else(|| {
            Error::Invalid(format!(
                "{path}: there is no file system for {}://, use a local path, or add one to the Context",
                path.scheme()
            ))
        })
    }
}

impl fmt::Debug for FileSystems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.added.keys()).finish()
    }
}

/// What travels of each: scheme, code, encoded value.
type Wire = Vec<(String, CodeRef, Vec<u8>)>;

impl Serialize for FileSystems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = self.added.iter().map(|(scheme, added)| {
            Ok((scheme.clone(), CodeRef::of(added.desc).map_err(ser::Error::custom)?, added.encoded.to_vec()))
        });
        wire.collect::<Result<Wire, S::Error>>()?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FileSystems {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let added = Wire::deserialize(deserializer)?.into_iter().map(|(scheme, code, encoded)| {
            let desc = code.resolve().map_err(de::Error::custom)?;
            let node = desc.decode(&[], &encoded).map_err(de::Error::custom)?;
            let system = parent::<Decoded>(&[node], 0).map_err(de::Error::custom)?.0.clone();
            Ok((scheme, Added { system, desc, encoded: encoded.into() }))
        });
        Ok(FileSystems { added: Arc::new(added.collect::<Result<_, D::Error>>()?) })
    }
}
