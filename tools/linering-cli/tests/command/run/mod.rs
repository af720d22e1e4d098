//! `linering run` from outside: real commands, their bytes, their ends.

use std::process::{Command, Output};

use crate::common;

mod ends;
mod formats;
mod jobs;
mod lines;
mod losses;
mod no_drain;
mod outputs;
mod processes;
mod ring;
mod signals;
mod stops;
mod storm;
pub mod terminal;
mod told;
mod typed;
mod workers;

fn linering(args: &[&str]) -> Command {
    common::linering(&[&["run"], args].concat())
}

fn run(args: &[&str]) -> Output {
    linering(args).output().expect("it starts")
}
