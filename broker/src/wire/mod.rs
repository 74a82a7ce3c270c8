//! Bytes on a connection: requests in, response frames out.
//!
//! Stands between the socket and the APIs: [`shape`] proves that a request's bytes are sound before the typed decoder
//! runs, [`frame`] holds a response as slices that are written without joining them.
//!
//! Invariant: nothing a client sends makes the broker reserve much more memory than the bytes it really sent.

pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod shape;
