//! Reads the headers of a record, whose names may be anything: logs bring their own, and outlier's come behind them.
//!
//! Invariant: a name that cannot be read hides no other header.

use rdkafka::message::{Header, Headers};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The header at this place; `None` if its name is not UTF-8, on which the client panics.
pub fn at(headers: &impl Headers, place: usize) -> Option<Header<'_, &[u8]>> {
    catch_unwind(AssertUnwindSafe(|| headers.try_get(place))).ok().flatten()
}

/// The value of the last header of this name: a log's own of the same name comes before outlier's.
pub fn last<'h>(headers: &'h impl Headers, name: &str) -> Option<&'h [u8]> {
    (0..headers.count()).rev().filter_map(|place| at(headers, place)).find(|header| header.key == name)?.value
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rdkafka::message::OwnedHeaders;

    /// Headers of which the names may be unreadable, as the client shows them.
    pub struct Foreign<'h>(pub &'h [(&'h [u8], &'h str)]);

    impl Headers for Foreign<'_> {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn try_get(&self, place: usize) -> Option<Header<'_, &[u8]>> {
            let (name, value) = self.0.get(place)?;
            Some(Header { key: str::from_utf8(name).unwrap(), value: Some(value.as_bytes()) })
        }
    }

    #[test]
    fn the_last_of_a_name_counts() {
        for (all, want) in [
            (&[][..], None),
            (&[(&b"outlier-source"[..], "t/0/1")], Some("t/0/1")),
            (&[(b"outlier-source", "another/0/7"), (b"host", "a"), (b"outlier-source", "t/0/1")], Some("t/0/1")),
            (&[(b"\xff", "a"), (b"outlier-source", "t/0/1")], Some("t/0/1")),
            (&[(b"outlier-source", "t/0/1"), (b"\xff", "a")], Some("t/0/1")),
            (&[(b"host", "a"), (b"\xff", "a")], None),
        ] {
            assert_eq!(last(&Foreign(all), "outlier-source"), want.map(str::as_bytes), "{all:?}");
        }
        let own = OwnedHeaders::new().insert(Header { key: "a", value: Some("1") });
        let all = own.insert(Header { key: "a", value: Some("2") }).insert(Header { key: "b", value: None::<&str> });
        assert_eq!((last(&all, "a"), last(&all, "b"), last(&all, "c")), (Some(&b"2"[..]), None, None));
    }
}
