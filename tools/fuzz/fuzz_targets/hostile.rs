//! Hostile bytes: see docs/fuzzing.md.

#![no_main]

#[path = "../../../tests/it/common/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|input: &[u8]| hostile::run(input));
