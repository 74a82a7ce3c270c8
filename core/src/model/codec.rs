//! A model as bytes: one self-contained record of the state topic, at most [`LENGTH`] bytes.
//!
//! Version 2, little endian: version, kind, windows learned (u32), newest window (i64), level, its variance,
//! haste, echo, spread, suspicion (f32 each), each slot's offset and variance (f32), run and returning (u8), time
//! of the last change (i64), what is pending (f32, of amounts two), and, if there is a former level, that level and its
//! spread (f32). A spread is dispersion, weight, scale and bend; of amounts also the dispersion above and the kurtosis,
//! which of counts and shares never change.
//! Version 1 is read, too: it had no haste, echo, bend nor anything after the slots.
//! Invariant: `decode(encode(m))` is `m` to the bit, and no bytes make `decode` panic.

use super::Model;
use super::baseline::{Baseline, HASTE, LOG_REACH, REACH, SLOTS, Slot, UNSEEN};
use super::former::{Former, RETURNS};
use super::spread::{MEMORY, Spread};
use crate::measure::Kind;

const VERSION: u8 = 2;
/// Bytes of an encoded amount's model, version 2, that remembers a former level; of counts and shares 20 less.
const LENGTH: usize = 2 + 4 + 8 + 11 * 4 + SLOTS * 8 + 2 + 8 + 2 * 4 + 7 * 4;
const _: () = assert!(LENGTH <= 300);

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
        let baseline = &self.baseline;
        let mut put = |values: &[f32]| values.iter().for_each(|value| out.extend(value.to_le_bytes()));
        put(&[baseline.level, baseline.variance, baseline.haste, baseline.echo]);
        let floats = |spread: &Spread| floats(spread, self.kind);
        put(&floats(&self.spread));
        put(&[self.suspicion]);
        baseline.slots.iter().for_each(|slot| put(&[slot.offset, slot.variance]));
        out.extend([self.run, self.returning]);
        out.extend(self.changed.to_le_bytes());
        let mut put = |values: &[f32]| values.iter().for_each(|value| out.extend(value.to_le_bytes()));
        put(&self.spread.pending[..if self.kind == Kind::Amount { 2 } else { 1 }]);
        if let Some(former) = &self.former {
            put(&[former.level]);
            put(&floats(&former.spread));
        }
    }

    /// Reads what [`Model::encode`] wrote, also in version 1.
    ///
    /// # Errors
    /// [`DecodeError::Version`] for another version's bytes, [`DecodeError::Damaged`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Model, DecodeError> {
        match bytes.first() {
            Some(&version @ (1 | VERSION)) => read(&bytes[1..], version).ok_or(DecodeError::Damaged),
            Some(&version) => Err(DecodeError::Version(version)),
            None => Err(DecodeError::Damaged),
        }
    }
}

fn floats(spread: &Spread, kind: Kind) -> Vec<f32> {
    let Spread { dispersion, above, weight, scale, kurtosis, bend, .. } = *spread;
    match kind {
        Kind::Amount => vec![dispersion, weight, scale, bend, above, kurtosis],
        Kind::Count | Kind::Share => vec![dispersion, weight, scale, bend],
    }
}

fn read(mut bytes: &[u8], version: u8) -> Option<Model> {
    let from = &mut bytes;
    let kind = match take::<1>(from)? {
        [0] => Kind::Count,
        [1] => Kind::Amount,
        [2] => Kind::Share,
        _ => return None,
    };
    let seen = u32::from_le_bytes(take(from)?);
    let newest = i64::from_le_bytes(take(from)?);
    let reach = match kind {
        Kind::Amount => REACH,
        Kind::Count | Kind::Share => LOG_REACH,
    } as f32;
    let (level, variance) = (float(from, -reach, reach)?, float(from, 0.0, 2.0)?);
    let (haste, echo) = match version {
        1 => (0.0, 0.0),
        _ => (float(from, HASTE.0 as f32, HASTE.1 as f32)?, float(from, -3.0, 3.0)?),
    };
    let mut spread = spread(from, kind, version)?;
    if version == 1 && kind != Kind::Amount {
        spread.scale = 0.0;
    }
    let suspicion = float(from, 0.0, 1e9)?;
    let unseen = Slot { offset: 0.0, variance: UNSEEN };
    let mut slots = [unseen; SLOTS];
    for slot in &mut slots {
        slot.offset = float(from, -reach, reach)?;
        slot.variance = float(from, UNSEEN, 1.0)?;
        if slot.variance < 0.0 && *slot != unseen {
            return None;
        }
    }
    let baseline = Baseline { level, variance, slots, haste, echo };
    let mut model = Model { seen, newest, baseline, spread, suspicion, changed: newest, ..Model::new(kind) };
    if version > 1 {
        [model.run, model.returning] = take(from)?;
        if model.returning >= RETURNS {
            return None;
        }
        model.changed = i64::from_le_bytes(take(from)?);
        let above = |from: &mut &[u8]| if kind == Kind::Amount { float(from, 0.0, 1e36) } else { Some(0.0) };
        model.spread.pending = [float(from, 0.0, 1e36)?, above(from)?];
        if !from.is_empty() {
            let level = float(from, -reach, reach)?;
            model.former = Some(Box::new(Former { level, spread: self::spread(from, kind, version)? }));
        }
    }
    bytes.is_empty().then_some(model)
}

fn spread(from: &mut &[u8], kind: Kind, version: u8) -> Option<Spread> {
    let least = if kind == Kind::Amount { 1e-7 } else { 0.0 };
    let scale = |from: &mut &[u8]| float(from, least, REACH as f32);
    let dispersion = |from: &mut &[u8]| float(from, 9e-13, 1e36);
    let weight = |from: &mut &[u8]| float(from, 0.0, MEMORY as f32);
    let kurtosis = |from: &mut &[u8]| float(from, 1.0, 1e6);
    let mut spread = Spread { dispersion: dispersion(from)?, ..Spread::new(kind) };
    if version == 1 {
        (spread.above, spread.weight) = (dispersion(from)?, weight(from)?);
        (spread.scale, spread.kurtosis) = (scale(from)?, kurtosis(from)?);
    } else {
        (spread.weight, spread.scale, spread.bend) = (weight(from)?, scale(from)?, float(from, -1.0, 2.0)?);
        if kind == Kind::Amount {
            (spread.above, spread.kurtosis) = (dispersion(from)?, kurtosis(from)?);
        }
    }
    if kind != Kind::Amount {
        // As they never change, they are what a new one has.
        let Spread { above, kurtosis, .. } = Spread::new(kind);
        (spread.above, spread.kurtosis) = (above, kurtosis);
    }
    Some(spread)
}

fn float(from: &mut &[u8], low: f32, high: f32) -> Option<f32> {
    let value = f32::from_le_bytes(take(from)?);
    // A comparison with NaN is false.
    (value >= low && value <= high).then_some(value)
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*head)
}
