//! `linering man`: manual pages, of the definitions from which the help is.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::failure::Failure;

/// Print a manual page: of this command, or of a subcommand
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Of which subcommand
    #[arg(value_name = "SUBCOMMAND")]
    subcommand: Option<String>,

    /// Write all pages into this folder, which is made if it is not there
    #[arg(long, value_name = "DIR", conflicts_with = "subcommand")]
    into: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  linering man tail | man -l -
  linering man --into ~/.local/share/man/man1     and then:  man linering-tail

Exit code: 0 when all is well, 1 for a failure, 2 for wrong usage.";

/// Prints or writes them.
pub fn run(args: &Args, command: clap::Command) -> Result<ExitCode, Failure> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    if let Some(folder) = &args.into {
        fs::create_dir_all(folder).map_err(|error| Failure::of_path("make", folder, &error))?;
        for of in std::iter::once(&command).chain(command.get_subcommands()) {
            let path = folder.join(Man::new(of.clone()).get_filename());
            let written = page(of).and_then(|text| fs::write(&path, text));
            written.map_err(|error| Failure::of_path("write", &path, &error))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let of = match &args.subcommand {
        None => &command,
        Some(name) => command.find_subcommand(name).ok_or_else(|| unknown(name, &command))?,
    };
    page(of)
        .and_then(|text| io::stdout().write_all(&text))
        .map_err(|error| Failure::of_write("the standard output", &error))?;
    Ok(ExitCode::SUCCESS)
}

fn unknown(name: &str, command: &clap::Command) -> Failure {
    let known: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
    Failure::Usage(format!(
        "found {name}, which is no subcommand, expected one of {}",
        known.join(", ")
    ))
}

/// A page. What stands at the end of a help has sections of its own: examples as they are, and
/// the exit code.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let source = concat!("linering ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    // What `apropos` finds is the page's name, which is not the subcommand's.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]).text([roman(format!("{name} - {about}"))]);
    roff.to_writer(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for part in after.split("\n\n") {
        if let Some(examples) = part.strip_prefix("Examples:\n") {
            roff.control("SH", ["EXAMPLES"]).control("nf", []);
            for line in examples.lines() {
                roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
            roff.control("fi", []);
        } else if let Some(codes) = part.strip_prefix("Exit code: ") {
            roff.control("SH", ["EXIT STATUS"]).text([roman(codes.replace('\n', " "))]);
        } else if let Some(signals) = part.strip_prefix("Signals: ") {
            roff.control("SH", ["SIGNALS"]).text([roman(signals.replace('\n', " "))]);
        } else if let Some(keys) = part.strip_prefix("Keys: ") {
            roff.control("SH", ["KEYS"]).text([roman(keys.replace('\n', " "))]);
        } else {
            roff.control("PP", []).text([roman(part.replace('\n', " "))]);
        }
    }
    roff.to_writer(&mut text)?;
    Ok(text)
}
