//! The pure part of outlier: bytes and `now` in, values out.
//!
//! Nothing here reaches a clock, socket, file, thread or random source; the crate's dependencies prove it.
//! The modules follow the path of a record: `pipeline` says what is wanted, `record` reads a log and
//! splices the flags in, `window` counts, `score` decides what is normal, `alert` what is told.

pub mod alert;
pub mod explain;
pub mod field;
pub mod measure;
pub mod model;
pub mod pipeline;
pub mod record;
pub mod score;
pub mod sketch;
#[doc(hidden)]
pub mod testing;
pub mod window;
