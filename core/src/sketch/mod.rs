//! Sketches: what a window accumulates beyond counts and sums.
//!
//! [`Quantiles`], [`Distinct`] and [`Values`] are filled while records are counted, carried through the windows topic
//! and merged when the window is scored. docs/adr/0013-sketches.md says why they are as they are.
//!
//! Invariants: the content depends on what was added alone, never on the order of adds and merges, to the bit; equal
//! content has equal bytes; the size is bounded; decoding damaged bytes neither panics nor allocates more than in
//! proportion to their length.

mod distinct;
mod hash;
mod other;
mod quantile;
mod values;

pub use distinct::Distinct;
pub use hash::hash;
pub use quantile::Quantiles;
pub(crate) use values::mark_of;
pub use values::{DEFAULT_LIMIT, MAX_TEXT, Values};

#[cfg(test)]
pub(crate) mod laws {
    //! The invariants of the folder, for any sketch.

    use crate::window::varint::{Damaged, Reader};
    use std::fmt::Debug;

    /// The functions every sketch has.
    pub struct Sketch<T> {
        pub merge: fn(&mut T, &T),
        pub encode: fn(&T, &mut Vec<u8>),
        pub decode: fn(&mut Reader) -> Result<T, Damaged>,
    }

    impl<T: Clone + PartialEq + Debug> Sketch<T> {
        pub fn merged(&self, a: &T, b: &T) -> T {
            let mut merged = a.clone();
            (self.merge)(&mut merged, b);
            merged
        }

        pub fn bytes(&self, sketch: &T) -> Vec<u8> {
            let mut bytes = Vec::new();
            (self.encode)(sketch, &mut bytes);
            bytes
        }

        /// Merges commute and associate, also with `whole`, to which everything was added at once.
        pub fn check(&self, [a, b, c]: [&T; 3], whole: &T) {
            let left = self.merged(&self.merged(a, b), c);
            let right = self.merged(c, &self.merged(b, a));
            for (name, other) in [("associative", &right), ("the same as adding at once", whole)] {
                assert_eq!(&left, other, "{name}");
                assert_eq!(self.bytes(&left), self.bytes(other), "{name}");
            }
            for sketch in [a, b, c, whole] {
                let bytes = self.bytes(sketch);
                let mut reader = Reader(&bytes);
                assert_eq!((self.decode)(&mut reader).as_ref(), Ok(sketch), "round trip");
                assert_eq!(reader.end(), Ok(()));
            }
        }

        /// Bytes are refused, or are exactly what their content encodes to.
        pub fn check_hostile(&self, bytes: &[u8]) {
            let mut reader = Reader(bytes);
            if let Ok(sketch) = (self.decode)(&mut reader) {
                // Varints may be padded with zeros; what was read must be stable from here on.
                let bytes = self.bytes(&sketch);
                assert_eq!((self.decode)(&mut Reader(&bytes)), Ok(sketch));
            }
        }

        /// Every prefix, and every byte changed in several ways.
        pub fn check_damaged(&self, sketch: &T) {
            let bytes = self.bytes(sketch);
            for at in 0..bytes.len() {
                self.check_hostile(&bytes[..at]);
                for change in [1, 0x40, 0x80, 0xff] {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= change;
                    self.check_hostile(&damaged);
                }
            }
        }
    }
}
