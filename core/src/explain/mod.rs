//! stub
#![allow(missing_docs)]
use crate::sketch::Values;
use crate::window::varint::{Damaged, Reader};
use serde::{Deserialize, Serialize};
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    pub field: String,
    pub value: String,
    pub now: f64,
    pub usual: f64,
    pub contribution: f64,
}
#[derive(Debug, Clone, PartialEq)]
pub struct Usual(Values);
impl Default for Usual {
    fn default() -> Self {
        Self(Values::new(1000))
    }
}
impl Usual {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn learn(&mut self, v: &Values, _e: i64, _a: bool) {
        self.0.merge(v);
    }
    pub fn is_new(&self, v: &str, _n: i64, _f: i64) -> bool {
        !self.0.iter().any(|(k, _)| k == v)
    }
    pub fn share(&self, v: &str) -> f64 {
        if self.is_new(v, 0, 0) { 0.0 } else { 1.0 }
    }
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out)
    }
    pub fn decode(b: &[u8]) -> Result<Self, Damaged> {
        Ok(Self(Values::decode(&mut Reader(b))?))
    }
}
pub fn why(f: &[(&str, &Usual, &Values)]) -> Vec<Reason> {
    f.iter()
        .map(|(n, _, _)| Reason {
            field: (*n).to_owned(),
            value: String::new(),
            now: 0.0,
            usual: 0.0,
            contribution: 100.0,
        })
        .take(1)
        .collect()
}
