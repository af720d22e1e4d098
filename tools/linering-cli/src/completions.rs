//! `linering completions`: what a shell needs to complete this command's words.

use std::io::Write as _;
use std::process::ExitCode;

use clap_complete::Shell;

use crate::failure::Failure;

/// Print what a shell needs to complete the words of this command
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  linering completions bash > ~/.local/share/bash-completion/completions/linering
  linering completions zsh > ~/.zfunc/_linering       with fpath+=(~/.zfunc) before compinit
  linering completions fish > ~/.config/fish/completions/linering.fish

Exit code: 0 when all is well, 1 for a failure, 2 for wrong usage.";

/// Prints it, of the definitions from which the help is.
pub fn run(args: &Args, mut command: clap::Command) -> Result<ExitCode, Failure> {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    std::io::stdout()
        .write_all(&text)
        .map_err(|error| Failure::of_write("the standard output", &error))?;
    Ok(ExitCode::SUCCESS)
}
