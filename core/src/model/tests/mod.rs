//! The model against seeded traffic, hostile input and its own laws.

mod calibration;
mod detection;
mod exact;
mod laws;
mod support;
