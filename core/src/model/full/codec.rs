//! The full model as bytes: one self-contained record, 15 to 17.6 KB when every day is remembered.
//!
//! Version 131, little endian: version, kind, the scalars (u64, u32, f64), then the remembered values (f32),
//! of each bin only the days it has. Versions 130 and 129 are read, too: 130 had no shift and no incidents, and 129 no
//! fall either, which then are learned from nothing.
//! Invariant: `decode(encode(m))` is `m` to the bit, and no bytes make `decode` panic.

use super::Full;
use super::bins::{BINS, DAYS};
use super::calibrate::{Calibration, Incident};
use super::recent::Recent;
use super::record::Record;
use super::surprise::{COMPONENTS, SUMS, Surprise};
use super::tail::{Fit, Tail, WARM};
use crate::measure::Kind;
use crate::model::DecodeError;

/// Set apart from the compact model's versions.
const VERSION: u8 = 131;
/// The version that had no fall, and the one that had no shift.
const NO_FALL: u8 = 129;
const NO_SHIFT: u8 = 130;
/// No number of a model is larger: sums of many of the largest amounts.
const LARGEST: f64 = 1e40;

impl Full {
    /// Appends the model's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let s = &self.surprise;
        out.push(VERSION);
        out.push(match self.kind {
            Kind::Count => 0,
            Kind::Amount => 1,
            Kind::Share => 2,
        });
        out.extend(s.seen.to_le_bytes());
        let Calibration { points, often, seldom, excess, incidents } = self.calibration;
        numbers(out, [points, often, seldom, excess, s.level, s.previous, s.level_error, s.bin_error]);
        out.extend(incidents.iter().flat_map(|incident| [incident.counted, incident.quiet]));
        numbers(out, [s.size]);
        numbers(out, s.sums);
        recent(out, &s.residuals);
        recent(out, &s.nearest);
        recent(out, &s.steps);
        recent(out, &s.shifts);
        for (tail, record) in s.tails.iter().zip(&s.records) {
            numbers(out, [record.largest, record.mean]);
            match &tail.fit {
                Some(f) => {
                    out.push(u8::MAX);
                    numbers(out, [f.offset, f.threshold, f.scale, f.step, f.rate]);
                }
                None => {
                    out.push(tail.buffer.len() as u8);
                    numbers(out, [tail.sum]);
                    cells(out, &tail.buffer);
                }
            }
        }
        out.push(s.bins.current as u8);
        out.extend(s.bins.points.to_le_bytes());
        numbers(out, [s.bins.sum]);
        for bin in 0..BINS {
            out.extend(s.bins.seen[bin].to_le_bytes());
            cells(out, &[s.bins.mean[bin]]);
            cells(out, s.bins.remembered(bin));
        }
    }

    /// Reads what [`Full::encode`] wrote, also in versions 129 and 130.
    ///
    /// # Errors
    /// [`DecodeError::Version`] for another version's bytes, [`DecodeError::Damaged`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Full, DecodeError> {
        match bytes.split_first() {
            Some((&version @ NO_FALL..=VERSION, rest)) => read(&mut Reader(rest), version).ok_or(DecodeError::Damaged),
            Some((&version, _)) => Err(DecodeError::Version(version)),
            None => Err(DecodeError::Damaged),
        }
    }
}

fn numbers<const N: usize>(out: &mut Vec<u8>, values: [f64; N]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn cells(out: &mut Vec<u8>, values: &[f32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn recent<const N: usize>(out: &mut Vec<u8>, recent: &Recent<f32, N>) {
    out.push(recent.next as u8);
    cells(out, &recent.values);
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// In these bounds; no NaN.
    fn number(&mut self, low: f64, high: f64) -> Option<f64> {
        let value = f64::from_le_bytes(self.take()?);
        (value >= low && value <= high).then_some(value)
    }

    fn signed(&mut self) -> Option<f64> {
        self.number(-LARGEST, LARGEST)
    }

    fn positive(&mut self) -> Option<f64> {
        self.number(0.0, LARGEST)
    }

    fn cell(&mut self) -> Option<f32> {
        Some(f32::from_le_bytes(self.take()?)).filter(|value| value.is_finite())
    }

    fn incident(&mut self) -> Option<Incident> {
        Some(Incident { counted: self.byte()?, quiet: self.byte()? })
    }

    fn recent<const N: usize>(&mut self) -> Option<Recent<f32, N>> {
        let mut recent = Recent::new();
        recent.next = usize::from(self.byte()?);
        for value in &mut recent.values {
            *value = self.cell()?;
        }
        (recent.next < N).then_some(recent)
    }

    fn tail(&mut self) -> Option<Tail<f32>> {
        let mut tail = Tail::new();
        match usize::from(self.byte()?) {
            255 => {
                tail.fit = Some(Fit {
                    offset: self.positive()?,
                    threshold: self.number(-1e9, 1e9)?,
                    scale: self.number(1e-3, 1e4)?,
                    step: self.number(1e-3, 1e4)?,
                    rate: self.number(1e-3, 1.0)?,
                });
            }
            count if count < WARM => {
                tail.sum = self.positive()?;
                for _ in 0..count {
                    tail.buffer.push(self.cell().filter(|value| *value >= 0.0)?);
                }
            }
            _ => return None,
        }
        Some(tail)
    }
}

fn read(from: &mut Reader, version: u8) -> Option<Full> {
    let kind = match from.byte()? {
        0 => Kind::Count,
        1 => Kind::Amount,
        2 => Kind::Share,
        _ => return None,
    };
    let mut s = Surprise::new();
    s.seen = u64::from_le_bytes(from.take()?);
    let [points, often, seldom, excess] = [from.positive()?, from.positive()?, from.positive()?, from.positive()?];
    let mut calibration = Calibration { points, often, seldom, excess, ..Calibration::default() };
    (s.level, s.previous) = (from.signed()?, from.signed()?);
    (s.level_error, s.bin_error) = (from.positive()?, from.positive()?);
    if version > NO_SHIFT {
        calibration.incidents = [from.incident()?, from.incident()?];
    }
    let (components, sums) = match version {
        NO_FALL => (COMPONENTS - 2, SUMS - 1),
        NO_SHIFT => (COMPONENTS - 1, SUMS - 1),
        _ => (COMPONENTS, SUMS),
    };
    s.size = if version == NO_FALL { s.level.abs() } else { from.positive()? };
    for sum in s.sums.iter_mut().take(sums) {
        *sum = from.signed()?;
    }
    (s.residuals, s.nearest, s.steps) = (from.recent()?, from.recent()?, from.recent()?);
    if version > NO_SHIFT {
        s.shifts = from.recent()?;
    }
    for (tail, record) in s.tails.iter_mut().zip(&mut s.records).take(components) {
        *record = Record { largest: from.positive()?, mean: from.positive()? };
        *tail = from.tail()?;
    }
    s.bins.current = usize::from(from.byte()?);
    s.bins.points = u32::from_le_bytes(from.take()?);
    s.bins.sum = from.signed()?;
    for bin in 0..BINS {
        s.bins.seen[bin] = u32::from_le_bytes(from.take()?);
        s.bins.mean[bin] = from.cell()?;
        for day in 0..(s.bins.seen[bin] as usize).min(DAYS) {
            s.bins.days[bin * DAYS + day] = from.cell()?;
        }
    }
    if !from.0.is_empty() || s.bins.current >= BINS {
        return None;
    }
    s.bins.find_middle();
    Some(Full { kind, surprise: s, calibration })
}
