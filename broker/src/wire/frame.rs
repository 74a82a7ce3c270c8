//! A response as a list of byte slices.
//!
//! Fetched batches are slices of the log: they go to the socket from where they lie, without a copy.
//!
//! Invariant: `remaining` is the sum of the slices' lengths.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Bytes to write, in order.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    slices: VecDeque<Bytes>,
    remaining: usize,
}

impl Frame {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.remaining += bytes.len();
            self.slices.push_back(bytes);
        }
    }

    /// Puts the frame's length in front, as the protocol wants it. `None` when it is beyond what a length can say.
    pub(crate) fn sealed(mut self) -> Option<Self> {
        let length = i32::try_from(self.remaining).ok()?;
        self.slices.push_front(Bytes::copy_from_slice(&length.to_be_bytes()));
        self.remaining += 4;
        Some(self)
    }
}

impl From<BytesMut> for Frame {
    fn from(bytes: BytesMut) -> Self {
        let mut frame = Self::default();
        frame.push(bytes.freeze());
        frame
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.slices.front().map_or(&[], |slice| slice)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "advanced beyond the end of a frame");
        self.remaining -= count;
        while let Some(first) = self.slices.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.slices.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (target, slice) in out.iter_mut().zip(&self.slices) {
            *target = IoSlice::new(slice);
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_like_one_buffer(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9), step in 1_usize..7) {
            let mut frame = Frame::default();
            parts.iter().for_each(|part| frame.push(Bytes::copy_from_slice(part)));
            let mut frame = frame.sealed().unwrap();
            let body = parts.concat();
            let mut expected = i32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
            expected.extend(body);
            let mut read = Vec::new();
            while frame.has_remaining() {
                let n = step.min(frame.chunk().len());
                read.extend_from_slice(&frame.chunk()[..n]);
                frame.advance(n);
            }
            prop_assert_eq!(read, expected);
        }
    }
}
