//! `rollbridge completion`: what a shell needs to complete commands and options, made from the argument parser.

use clap::{Command as Parser, CommandFactory};
use clap_complete::{Shell, generate};

use super::args::{Arguments, CompletionOptions, ShellName};
use super::failure::Failure;
use super::output;

pub(super) fn run(options: &CompletionOptions) -> Result<(), Failure> {
    let shell = match options.shell {
        ShellName::Bash => Shell::Bash,
        ShellName::Zsh => Shell::Zsh,
        ShellName::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Arguments::for_people(), "rollbridge", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())
}

impl Arguments {
    /// The parser without the commands that only the daemon itself calls.
    fn for_people() -> Parser {
        let whole = Arguments::command();
        let mut shown = Parser::new("rollbridge").version(env!("CARGO_PKG_VERSION"));
        shown = shown.args(whole.get_arguments().cloned());
        let commands = whole.get_subcommands().filter(|command| !command.is_hide_set());
        shown.subcommands(commands.cloned())
    }
}
