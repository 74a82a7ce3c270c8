//! Tests of the full model.

mod reference;
