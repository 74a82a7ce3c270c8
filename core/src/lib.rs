//! The pure part of outlier: bytes and `now` in, values out.
