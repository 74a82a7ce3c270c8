//! The topic settings that Kafka 4.1 knows: names, kinds, defaults.
//!
//! CreateTopics and the configuration APIs accept these and refuse all others. Only some have an effect here; see
//! [`super::config`].
//!
//! Invariant: every default is a legal value of its kind.

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A 32-bit integer of at least this.
    Int(i64),
    /// A 64-bit integer of at least this.
    Long(i64),
    /// A number from 0 to 1.
    Share,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A comma-separated list of these words; without words, of anything.
    List(&'static [&'static str]),
}

impl Kind {
    /// The number by which DescribeConfigs names the kind.
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::Bool => 1,
            Self::Word(_) => 2,
            Self::Int(_) => 3,
            Self::Long(_) => 5,
            Self::Share => 6,
            Self::List(_) => 7,
        }
    }

    /// True when the value is legal.
    pub(crate) fn allows(self, value: &str) -> bool {
        match self {
            Self::Bool => matches!(value, "true" | "false"),
            Self::Int(least) => value.parse::<i32>().is_ok_and(|v| i64::from(v) >= least),
            Self::Long(least) => value.parse::<i64>().is_ok_and(|v| v >= least),
            Self::Share => value.parse::<f64>().is_ok_and(|v| (0.0..=1.0).contains(&v)),
            Self::Word(words) => words.contains(&value),
            Self::List(words) => words.is_empty() || value.split(',').all(|v| words.contains(&v.trim())),
        }
    }
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
}

const fn known(name: &'static str, kind: Kind, default: &'static str) -> Known {
    Known { name, kind, default }
}

const FOREVER: &str = "9223372036854775807";

/// All settings in the order of their names.
pub(crate) const SETTINGS: &[Known] = &[
    known("cleanup.policy", Kind::List(&["compact", "delete"]), "delete"),
    known("compression.gzip.level", Kind::Int(-1), "-1"),
    known("compression.lz4.level", Kind::Int(1), "9"),
    known("compression.type", Kind::Word(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "producer"),
    known("compression.zstd.level", Kind::Int(-131_072), "3"),
    known("delete.retention.ms", Kind::Long(0), "86400000"),
    known("file.delete.delay.ms", Kind::Long(0), "60000"),
    known("flush.messages", Kind::Long(1), FOREVER),
    known("flush.ms", Kind::Long(0), FOREVER),
    known("follower.replication.throttled.replicas", Kind::List(&[]), ""),
    known("index.interval.bytes", Kind::Int(0), "4096"),
    known("leader.replication.throttled.replicas", Kind::List(&[]), ""),
    known("local.retention.bytes", Kind::Long(-2), "-2"),
    known("local.retention.ms", Kind::Long(-2), "-2"),
    known("max.compaction.lag.ms", Kind::Long(1), FOREVER),
    known("max.message.bytes", Kind::Int(0), "1048588"),
    known("message.timestamp.after.max.ms", Kind::Long(0), "3600000"),
    known("message.timestamp.before.max.ms", Kind::Long(0), FOREVER),
    // LogAppendTime would need the batch to be rewritten.
    known("message.timestamp.type", Kind::Word(&["CreateTime"]), "CreateTime"),
    known("min.cleanable.dirty.ratio", Kind::Share, "0.5"),
    known("min.compaction.lag.ms", Kind::Long(0), "0"),
    known("min.insync.replicas", Kind::Int(1), "1"),
    known("preallocate", Kind::Bool, "false"),
    known("remote.log.copy.disable", Kind::Bool, "false"),
    known("remote.log.delete.on.disable", Kind::Bool, "false"),
    known("remote.storage.enable", Kind::Bool, "false"),
    known("retention.bytes", Kind::Long(-1), "-1"),
    known("retention.ms", Kind::Long(-1), "604800000"),
    known("segment.bytes", Kind::Int(1_048_576), "1073741824"),
    known("segment.index.bytes", Kind::Int(4), "10485760"),
    known("segment.jitter.ms", Kind::Long(0), "0"),
    known("segment.ms", Kind::Long(1), "604800000"),
    known("unclean.leader.election.enable", Kind::Bool, "false"),
];

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Known> {
    SETTINGS.iter().find(|known| known.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_legal_and_names_sorted() {
        for known in SETTINGS {
            let empty_list = known.default.is_empty() && matches!(known.kind, Kind::List([]));
            assert!(empty_list || known.kind.allows(known.default), "{}", known.name);
        }
        assert!(SETTINGS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
