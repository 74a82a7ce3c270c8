//! The hash of all sketches and value tables: XXH3, 64 bits, seed 0.
//!
//! Invariant: never changes, or running windows and learned histories would no longer know their values. The test
//! holds the published vectors.

/// The hash of any bytes, well mixed in all 64 bits. Not for secrets: whoever chooses the bytes can make collisions.
pub fn hash(bytes: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_xxh3() {
        for (bytes, expected) in
            [("", 0x2d06_8005_38d3_94c2), ("a", 0xe6c6_32b6_1e96_4e1f), ("abc", 0x78af_5f94_892f_3950)]
        {
            assert_eq!(hash(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }
}
