//! Where a record came from, as its header `outlier-source` says it: `topic/partition/offset`.
//!
//! On the path of every record. Invariant: what stays the same from record to record is written once.

/// The text of the record at hand; kept from record to record.
pub struct Source {
    text: String,
    /// Of the topic and the partition, with both slashes.
    prefix: usize,
    partition: i32,
}

impl Source {
    /// No record yet. The topic is always the same one.
    pub fn new() -> Self {
        Self { text: String::new(), prefix: 0, partition: -1 }
    }

    /// Goes on to the record at `offset` (not negative) of a partition.
    pub fn set(&mut self, topic: &str, partition: i32, offset: i64) {
        if partition != self.partition {
            self.text = format!("{topic}/{partition}/");
            (self.prefix, self.partition) = (self.text.len(), partition);
        }
        self.text.truncate(self.prefix);
        self.text.push_str(itoa::Buffer::new().format(offset));
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let mut source = Source::new();
        for (partition, offset) in [(0, 0), (0, 9), (0, 10), (12, 4_711), (12, i64::MAX), (3, 7)] {
            source.set("waf.raw", partition, offset);
            assert_eq!(source.as_str(), format!("waf.raw/{partition}/{offset}"));
        }
    }
}
