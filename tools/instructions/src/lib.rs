//! Nothing: what is counted is in benches/instructions.rs.
