//! Why a window is anomalous: the values whose share differs most from what is usual for the series.
//!
//! [`Usual`] learns from the [`Values`](crate::sketch::Values) of each closed window; [`why`] compares it with the
//! window that is being explained. The measures "new value" and "rare value" ask `Usual` too. docs/adr/0017-reasons.md
//! says why the cause comes first.
//!
//! Invariants: the state is bounded and what is encoded is what is used (`f32` in memory), so that reasons do not
//! depend on restarts; they depend on the windows' content alone.

mod codec;
mod learn;
mod usual;
mod why;

pub use codec::DecodeError;
pub use learn::Lesson;
pub use usual::Usual;
pub use why::{Change, MOST_REASONS, Reason, why};
