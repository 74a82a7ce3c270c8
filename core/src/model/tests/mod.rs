//! The model against seeded traffic, hostile input and its own laws.

mod bad_input;
mod both;
mod calibration;
mod detection;
mod exact;
mod full;
mod laws;
mod rates;
mod support;
