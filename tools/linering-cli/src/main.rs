//! The `linering` command.

mod cat;
mod completions;
mod demo;
mod elsewhere;
mod failure;
mod gc;
mod interrupt;
mod item_printer;
mod ls;
mod man;
mod moment;
mod on_full;
mod output;
mod recover;
mod run;
mod stat;
mod tail;
mod top;
mod value_parser;
mod verify;
mod wait;
mod wanted;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// Lines of many writers, whole and in one order.
#[derive(Debug, Parser)]
#[command(name = "linering", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit code: 0 when all is well, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Run(Box<run::Args>),
    Cat(cat::Args),
    Ls(ls::Args),
    Stat(stat::Args),
    Tail(tail::Args),
    Top(top::Args),
    Wait(wait::Args),
    Recover(recover::Args),
    Verify(verify::Args),
    Gc(gc::Args),
    Forward(elsewhere::Forward),
    Merge(elsewhere::Merge),
    Completions(completions::Args),
    Man(man::Args),
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        // `run` has the exit codes of env and its like, of which 2 is the command's.
        if error.use_stderr() && std::env::args_os().nth(1).is_some_and(|first| first == "run") {
            let _ = error.print();
            std::process::exit(run::OURS.into());
        }
        error.exit()
    });
    match cli.command {
        Command::Demo(args) => demo::run(&args).unwrap_or_else(|failure| failure.tell()),
        Command::Run(args) => run::run(&args),
        Command::Recover(args) => recover::run(&args).unwrap_or_else(|failure| failure.tell()),
        Command::Verify(args) => verify::run(&args).unwrap_or_else(|failure| failure.tell()),
        Command::Gc(args) => gc::run(&args).unwrap_or_else(|failure| failure.tell()),
        Command::Ls(args) => ls::run(&args).unwrap_or_else(|failure| failure.tell()),
        Command::Stat(args) => stat::run(&args).unwrap_or_else(|failure| failure.tell()),
        Command::Tail(args) => tail::run(&args).unwrap_or_else(|failure| failure.tell()),
        Command::Top(args) => top::run(&args).unwrap_or_else(|failure| failure.tell()),
        Command::Wait(args) => wait::run(&args).unwrap_or_else(|failure| failure.tell()),
        Command::Cat(args) => cat::run(&args).unwrap_or_else(|failure| failure.tell()),
        Command::Forward(args) => match elsewhere::forward(&args) {
            Ok(never) => match never {},
            Err(failure) => failure.tell(),
        },
        Command::Merge(args) => match elsewhere::merge(&args) {
            Ok(never) => match never {},
            Err(failure) => failure.tell(),
        },
        Command::Completions(args) => {
            completions::run(&args, Cli::command()).unwrap_or_else(|failure| failure.tell())
        }
        Command::Man(args) => {
            man::run(&args, Cli::command()).unwrap_or_else(|failure| failure.tell())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_help_has_examples_and_exit_codes() {
        for command in Cli::command().get_subcommands() {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            let example = format!("\n  linering {name}");
            assert!(after.contains("Examples:\n") && after.contains(&example), "{name}: {after}");
            assert!(after.contains("\n\nExit code: "), "{name}: {after}");
        }
    }
}
