//! The name of a descriptor in another process of the same build.

use serde::{Deserialize, Serialize};

use crate::{
    desc::{MAGIC, OpDesc},
    error::CodeRefError,
    object::Object,
};

/// Where a descriptor lies: its distance from the load base of its object. Object 0 is the main executable; other
/// numbers are kept for code that is loaded later, which this build does not do.
///
/// It is an address, not an identity: equal code may have one descriptor or two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct CodeRef {
    /// Which loaded object.
    pub object: u32,
    /// Bytes from the object's load base.
    pub offset: u64,
}

impl CodeRef {
    /// The name of a descriptor of this process.
    pub fn of(desc: &'static OpDesc) -> Result<CodeRef, CodeRefError> {
        let main = Object::main()?;
        let address = std::ptr::from_ref(desc).addr();
        if !main.holds(address, size_of::<OpDesc>()) {
            return Err(CodeRefError::NotInExecutable { type_name: desc.type_name() });
        }
        Ok(CodeRef { object: 0, offset: address.wrapping_sub(main.base) as u64 })
    }

    /// The descriptor that was named by a process of the same build.
    ///
    /// The place must lie in a loaded, readable segment, be aligned, hold the magic number and two pointers to code of
    /// the executable; anything else is an error. This finds corruption and mixed-up builds. It is no defence against a
    /// sender with bad intent: who may send is settled by the handshake, which build sends by the build hash.
    pub fn resolve(self) -> Result<&'static OpDesc, CodeRefError> {
        if self.object != 0 {
            return Err(CodeRefError::UnknownObject { object: self.object });
        }
        let main = Object::main()?;
        let offset = self.offset;
        let address = usize::try_from(offset)
            .ok()
            .and_then(|o| main.base.checked_add(o))
            .filter(|a| main.holds(*a, size_of::<OpDesc>()))
            .ok_or(CodeRefError::OutsideSegments { offset })?;
        let align = align_of::<OpDesc>();
        if !address.is_multiple_of(align) {
            return Err(CodeRefError::Unaligned { offset, align });
        }
        // Read as plain words first: a reference to an OpDesc, whose fields must be valid function pointers, may only
        // be made once they are known to be that.
        let words = std::ptr::with_exposed_provenance::<[usize; 3]>(address);
        // SAFETY: `holds` said that these 24 bytes are mapped, readable and initialised from the file; they are aligned;
        // any bits are a valid usize. Volatile, as writable data of the program may lie there.
        let [magic, type_name, decode] = unsafe { words.read_volatile() };
        if magic as u64 != MAGIC || !main.is_code(type_name) || !main.is_code(decode) {
            return Err(CodeRefError::NotADescriptor { offset });
        }
        // SAFETY: mapped, aligned and never unloaded (the main executable). A descriptor's magic number followed by two
        // addresses of the executable's code occurs only in descriptors that the compiler laid out, which are never
        // written to after relocation.
        Ok(unsafe { &*std::ptr::with_exposed_provenance::<OpDesc>(address) })
    }
}

const _: () = assert!(size_of::<OpDesc>() == size_of::<[usize; 3]>() && size_of::<usize>() == 8);
const _: () = assert!(align_of::<OpDesc>() == align_of::<[usize; 3]>());

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{AnyNode, DecodeError, Func, Op, describe};

    struct Nothing;
    impl Op for Nothing {
        type Func = ();
        fn decode(_: Func<()>, _: &[AnyNode], _: &[u8]) -> Result<AnyNode, DecodeError> {
            Ok(Arc::new(()))
        }
    }

    fn good() -> CodeRef {
        CodeRef::of(describe::<Nothing>(&Func::new(()))).unwrap()
    }

    #[test]
    fn a_descriptor_is_found_by_its_name() {
        let desc = good().resolve().unwrap();
        assert!(desc.type_name().ends_with("Nothing"));
        assert!(desc.decode(&[], &[]).is_ok());
    }

    #[test]
    fn a_descriptor_outside_the_executable_is_refused_with_its_type() {
        let desc: &'static OpDesc =
            Box::leak(Box::new(OpDesc { magic: MAGIC, type_name: || "elsewhere", decode: |_, _| Ok(Arc::new(())) }));
        assert_eq!(CodeRef::of(desc), Err(CodeRefError::NotInExecutable { type_name: "elsewhere" }));
    }

    #[test]
    fn each_kind_of_damage_has_its_own_error() {
        let CodeRef { object, offset } = good();
        let at = |offset| CodeRef { object, offset }.resolve().err();
        assert_eq!(CodeRef { object: 1, offset }.resolve().err(), Some(CodeRefError::UnknownObject { object: 1 }));
        assert_eq!(at(u64::MAX), Some(CodeRefError::OutsideSegments { offset: u64::MAX }));
        assert_eq!(at(1 << 46), Some(CodeRefError::OutsideSegments { offset: 1 << 46 }));
        assert_eq!(at(offset + 1), Some(CodeRefError::Unaligned { offset: offset + 1, align: 8 }));
        assert_eq!(at(offset + 8), Some(CodeRefError::NotADescriptor { offset: offset + 8 }));
    }

    /// The magic number with the wrong words behind it, in data of the executable.
    static FORGED: [u64; 3] = [MAGIC, 1, 2];

    #[test]
    fn the_magic_number_alone_makes_no_descriptor() {
        let offset = (FORGED.as_ptr().addr() - Object::main().unwrap().base) as u64;
        assert_eq!(CodeRef { object: 0, offset }.resolve().err(), Some(CodeRefError::NotADescriptor { offset }));
    }

    proptest! {
        #[test]
        fn any_bits_are_a_descriptor_or_an_error(object in prop_oneof![9 => Just(0u32), 1 => any::<u32>()], offset: u64) {
            let _ = CodeRef { object, offset }.resolve();
        }

        #[test]
        fn any_place_in_the_executable_is_a_descriptor_or_an_error(at in 0.0f64..1.0, aligned: bool) {
            let main = Object::main().unwrap();
            let (start, end) = main.span();
            let mut offset = (start - main.base) as u64 + ((end - start) as f64 * at) as u64;
            if aligned {
                offset &= !7;
            }
            match (CodeRef { object: 0, offset }).resolve() {
                Ok(desc) => prop_assert_eq!(desc.magic, MAGIC),
                Err(CodeRefError::Unaligned { .. }) => prop_assert!(!aligned),
                Err(CodeRefError::NotADescriptor { .. } | CodeRefError::OutsideSegments { .. }) => {}
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}
