//! Tests of produce.
