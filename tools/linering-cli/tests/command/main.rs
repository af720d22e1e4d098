//! What a user of the command can see of its promises; unit tests stand in `src/`.
//!
//! A new test goes into the module whose first line names its promise, and a module whose file
//! nears 500 lines becomes a folder. `common` has what several modules need: running the command,
//! its output, a place for files, and a gate for what a worker leaves running. All tests share one
//! process.
//! `cargo test --test command -- run::ends` runs one module.

mod cat;
mod common;
mod demo;
mod hostile;
mod lnav;
mod recover;
mod run;
mod shell;
mod top;
mod verify;
mod watch;
