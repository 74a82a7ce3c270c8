//! How the many remembered values are held: `f64` for the prototype to the digit, `f32` for the product.
//!
//! Invariant: what is remembered is what is used: a value is rounded to its cell before anything is
//! computed from it.

/// A number in memory.
pub trait Cell: Copy + PartialEq + std::fmt::Debug + Default {
    /// Rounds to the cell.
    fn of(value: f64) -> Self;
    /// The number held.
    fn get(self) -> f64;
}

impl Cell for f32 {
    fn of(value: f64) -> f32 {
        value as f32
    }
    fn get(self) -> f64 {
        f64::from(self)
    }
}

impl Cell for f64 {
    fn of(value: f64) -> f64 {
        value
    }
    fn get(self) -> f64 {
        self
    }
}
