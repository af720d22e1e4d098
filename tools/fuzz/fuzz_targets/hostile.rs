//! Hostile bytes: see docs/fuzzing.md.

#![no_main]

#[path = "../../../tests/alone/hostile/body/mod.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|input: &[u8]| hostile::run(input));
