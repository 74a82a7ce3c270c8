//! The full model: what is normal for a series at this time of the day, by seven views of it.

mod bins;
mod cell;
mod gate;
mod recent;
mod record;
mod surprise;
mod tail;
#[cfg(test)]
mod tests;

pub use cell::Cell;
pub use gate::Gate;
pub use surprise::Surprise;
