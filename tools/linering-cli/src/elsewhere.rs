//! Subcommands that are programs of their own, since they need what would burden this one: they are
//! looked for beside it, and on the path, as git and cargo do.

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::failure::Failure;

/// Forward a ring's lines to NATS JetStream, each position once
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, after_help = FORWARD)]
pub struct Forward {
    /// What linering-forward takes; --help shows it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARG")]
    args: Vec<OsString>,
}

/// Print the lines of many rings that were forwarded, in one order
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, after_help = MERGE)]
pub struct Merge {
    /// What linering-merge takes; --help shows it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARG")]
    args: Vec<OsString>,
}

const FORWARD: &str = "\
Examples:
  linering forward app.ring --to nats://localhost/LINES --create --replicas 1
  linering forward --help

Exit code: that of linering-forward; 1 if it is not installed.";

const MERGE: &str = "\
Examples:
  linering merge --from nats://localhost/LINES
  linering merge --help

Exit code: that of linering-merge; 1 if it is not installed.";

/// Becomes that program.
pub fn forward(args: &Forward) -> Result<Infallible, Failure> {
    become_program("linering-forward", &args.args)
}

/// Becomes that program.
pub fn merge(args: &Merge) -> Result<Infallible, Failure> {
    become_program("linering-merge", &args.args)
}

fn become_program(name: &str, args: &[OsString]) -> Result<Infallible, Failure> {
    let beside = env::current_exe().ok().and_then(|this| Some(this.parent()?.join(name)));
    let program = beside.filter(|program| program.exists()).unwrap_or_else(|| name.into());
    let error = Command::new(&program).args(args).exec();
    let sentence = if error.kind() == ErrorKind::NotFound {
        format!(
            "there is no {name} beside this program or on the path: it is installed by cargo \
             install --path tools/forward, in linering's sources"
        )
    } else {
        format!("cannot run {}: {error}", program.display())
    };
    Err(Failure::Failed(sentence))
}
