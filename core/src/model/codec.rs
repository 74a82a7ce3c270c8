//! A model as bytes: one self-contained record of the state topic, [`LENGTH`] bytes.
//!
//! Version 1, little endian: version, kind, windows learned (u32), newest window (i64), level, its variance,
//! dispersion (of amounts: below, and above), weight, scale, kurtosis, suspicion (f32 each), then each slot's offset and variance (f32).
//! Invariant: `decode(encode(m))` is `m` to the bit, and no bytes make `decode` panic.

use super::Model;
use super::baseline::{Baseline, LOG_REACH, REACH, SLOTS, Slot, UNSEEN};
use super::spread::{MEMORY, Spread};
use crate::measure::Kind;

const VERSION: u8 = 1;
/// Bytes of an encoded model, version 1.
const LENGTH: usize = 2 + 4 + 8 + 8 * 4 + SLOTS * 8;

/// Why bytes are no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by another version of the program, newer than this one.
    #[error("model version {0} is unknown: run the newer version, or reset this series' state")]
    Version(u8),
    /// Too short, too long, or a value that no model has: damaged state.
    #[error("model state is damaged: reset this series' state")]
    Damaged,
}

impl Model {
    /// Appends the model's bytes, at most 300.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(LENGTH);
        out.push(VERSION);
        out.push(match self.kind {
            Kind::Count => 0,
            Kind::Amount => 1,
            Kind::Share => 2,
        });
        out.extend(self.seen.to_le_bytes());
        out.extend(self.newest.to_le_bytes());
        let spread = &self.spread;
        let head = [
            self.baseline.level,
            self.baseline.variance,
            spread.dispersion,
            spread.above,
            spread.weight,
            spread.scale,
            spread.kurtosis,
            self.suspicion,
        ];
        let slots = self.baseline.slots.iter();
        for value in head.into_iter().chain(slots.flat_map(|s| [s.offset, s.variance])) {
            out.extend(value.to_le_bytes());
        }
    }

    /// Reads what [`Model::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError::Version`] for another version's bytes, [`DecodeError::Damaged`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Model, DecodeError> {
        match bytes.first() {
            Some(&VERSION) => read(&bytes[1..]).ok_or(DecodeError::Damaged),
            Some(&version) => Err(DecodeError::Version(version)),
            None => Err(DecodeError::Damaged),
        }
    }
}

fn read(mut bytes: &[u8]) -> Option<Model> {
    let from = &mut bytes;
    let kind = match take::<1>(from)? {
        [0] => Kind::Count,
        [1] => Kind::Amount,
        [2] => Kind::Share,
        _ => return None,
    };
    let seen = u32::from_le_bytes(take(from)?);
    let newest = i64::from_le_bytes(take(from)?);
    let mut next = |low: f32, high: f32| -> Option<f32> {
        let value = f32::from_le_bytes(take(from)?);
        // A comparison with NaN is false.
        (value >= low && value <= high).then_some(value)
    };
    let reach = match kind {
        Kind::Amount => REACH,
        Kind::Count | Kind::Share => LOG_REACH,
    } as f32;
    let (level, variance) = (next(-reach, reach)?, next(0.0, 2.0)?);
    let spread = Spread {
        dispersion: next(9e-13, 1e36)?,
        above: next(9e-13, 1e36)?,
        weight: next(0.0, MEMORY as f32)?,
        scale: next(1e-7, REACH as f32)?,
        kurtosis: next(1.0, 1e6)?,
    };
    let suspicion = next(0.0, 1e9)?;
    let unseen = Slot { offset: 0.0, variance: UNSEEN };
    let mut slots = [unseen; SLOTS];
    for slot in &mut slots {
        slot.offset = next(-reach, reach)?;
        slot.variance = next(UNSEEN, 1.0)?;
        if slot.variance < 0.0 && *slot != unseen {
            return None;
        }
    }
    bytes.is_empty().then_some(Model {
        kind,
        seen,
        newest,
        baseline: Baseline { level, variance, slots },
        spread,
        suspicion,
    })
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*head)
}
