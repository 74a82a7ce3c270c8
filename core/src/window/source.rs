//! The stream time of one source partition, as it survives a restart in the metadata of the committed offset.
//!
//! Format: `v1;<milliseconds or ->;<a|i>`, ASCII: `v1;1795399664758;a` is active, `v1;-;i` empty and idle.

use crate::pipeline::Millis;
use std::fmt;
use std::str::FromStr;

/// How far a source partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceTime {
    /// The largest event time read, moved on by the wall clock while idle; `None` before the first record.
    pub time: Option<Millis>,
    /// Its owner called it idle.
    pub idle: bool,
}

impl SourceTime {
    /// What others are told at wall clock `now`: no time that is still to come. A partition whose producer's clock is a
    /// day ahead would, once the others are idle, close their next day.
    pub fn told(self, now: Millis) -> Self {
        Self { time: self.time.map(|time| time.min(now)), ..self }
    }
}

/// A committed offset carries metadata that is not outlier's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the committed offset's metadata {0:?} is not a stream time: another program commits in this consumer group")]
pub struct BadSourceTime(pub String);

impl fmt::Display for SourceTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = if self.idle { 'i' } else { 'a' };
        match self.time {
            Some(time) => write!(f, "v1;{time};{flag}"),
            None => write!(f, "v1;-;{flag}"),
        }
    }
}

impl FromStr for SourceTime {
    type Err = BadSourceTime;

    fn from_str(text: &str) -> Result<Self, BadSourceTime> {
        let bad = || BadSourceTime(text.to_owned());
        let rest = text.strip_prefix("v1;").ok_or_else(bad)?;
        let (time, flag) = rest.split_once(';').ok_or_else(bad)?;
        let time = match time {
            "-" => None,
            time => Some(time.parse().map_err(|_| bad())?),
        };
        let idle = match flag {
            "a" => false,
            "i" => true,
            _ => return Err(bad()),
        };
        Ok(Self { time, idle })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn metadata_round_trips(time in any::<Option<i64>>(), idle in any::<bool>()) {
            let source = SourceTime { time, idle };
            prop_assert_eq!(source.to_string().parse(), Ok(source));
        }
    }

    #[test]
    fn foreign_metadata_is_refused() {
        for text in ["", "v1", "v1;", "v2;1;a", "v1;x;a", "v1;1;b", "v1;1"] {
            assert!(text.parse::<SourceTime>().is_err(), "{text:?}");
        }
    }
}
