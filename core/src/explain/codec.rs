//! `Usual` as bytes: a self-contained part of a series' state; up to 14 KB when all its places are taken, and some 290 KB
//! with the values that `new` remembers besides.
//!
//! Version 2 (1 is the same, of fewer values): version, windows, rest, its values (f32, little endian), newest and forgotten (varint, 0 or the value
//! plus one from the smallest number), then the entries by ascending mark: difference of marks, age in milliseconds
//! times two plus whether it has a text (varint), weight, and noise and text if it has one.
//! Invariant: `decode(encode(u))` is `u` to the bit, and no bytes make `decode` panic or allocate more than in proportion to
//! their length.

use super::Usual;
use super::usual::{Entry, MOST_TAIL, NAMED, Name};
use crate::pipeline::Millis;
use crate::sketch::MAX_TEXT;
use crate::window::varint::{Damaged, Reader, put_signed, put_text, put_unsigned};

const VERSION: u8 = 2;
/// The same, of fewer values.
const FORMER: u8 = 1;
/// Weights beyond it are not learned from whole numbers of records.
const MOST: f32 = 1e30;

/// Why bytes are no `Usual`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by another version of the program, newer than this one.
    #[error("version {0} of the usual shares is unknown: run the newer version, or reset this series' state")]
    Version(u8),
    /// Too short, too long, or something that was never learned: damaged state.
    #[error("the usual shares are damaged: reset this series' state")]
    Damaged,
}

impl From<Damaged> for DecodeError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl Usual {
    /// Appends the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        [self.windows, self.rest, self.rest_values].iter().for_each(|value| out.extend(value.to_le_bytes()));
        put_signed(out, self.newest.into());
        put_signed(out, self.forgotten.into());
        put_unsigned(out, self.entries.len() as u128);
        let mut before = 0;
        for (mark, entry) in &self.entries {
            put_unsigned(out, u128::from(mark - before));
            before = *mark;
            let age = i128::from(self.newest) - i128::from(entry.seen);
            put_unsigned(out, (age.max(0) as u128) << 1 | u128::from(entry.name.is_some()));
            out.extend(entry.weight.to_le_bytes());
            if let Some(name) = &entry.name {
                out.extend(name.noise.to_le_bytes());
                put_text(out, &name.text);
            }
        }
    }

    /// Reads what [`Usual::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`DecodeError::Version`] for another version's bytes, [`DecodeError::Damaged`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader(bytes);
        match from.byte()? {
            VERSION | FORMER => {}
            version => return Err(DecodeError::Version(version)),
        }
        let [windows, rest, rest_values] = [float(&mut from)?, float(&mut from)?, float(&mut from)?];
        let (newest, forgotten) = (from.millis()?, from.millis()?);
        let mut usual = Self { windows, newest, rest, rest_values, forgotten, ..Self::default() };
        let length = from.length()?;
        let (mut mark, mut named) = (0u32, 0);
        for index in 0..length {
            let step: u32 = from.number()?;
            mark = mark.checked_add(step).filter(|_| index == 0 || step > 0).ok_or(Damaged)?;
            let age = from.unsigned()?;
            let seen = i128::try_from(age >> 1).ok().and_then(|age| i128::from(newest).checked_sub(age));
            let seen = seen.and_then(|seen| Millis::try_from(seen).ok()).ok_or(Damaged)?;
            let weight = float(&mut from)?;
            let name = if age & 1 == 1 {
                named += 1;
                let noise = float(&mut from)?;
                Some(Name { noise, text: from.text()?.into() })
            } else {
                None
            };
            if name.as_ref().is_some_and(|name| name.text.len() > MAX_TEXT) {
                return Err(DecodeError::Damaged);
            }
            usual.entries.insert(mark, Entry { weight, seen, name });
        }
        if length > NAMED + MOST_TAIL || named > NAMED {
            return Err(DecodeError::Damaged);
        }
        from.end()?;
        Ok(usual)
    }
}

/// A number from 0 to [`MOST`].
fn float(from: &mut Reader) -> Result<f32, Damaged> {
    let (bytes, rest) = from.0.split_first_chunk().ok_or(Damaged)?;
    from.0 = rest;
    let value = f32::from_le_bytes(*bytes);
    // Also false for what is not a number; minus zero would not round trip as an equal.
    (value.is_sign_positive() && value <= MOST).then_some(value).ok_or(Damaged)
}
