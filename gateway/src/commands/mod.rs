//! The command line: `demo` and `serve` run a server, the others look at one or at its data.
//!
//! A command prints its result on standard output, as text or (`--json`) as one JSON object, and says on standard error
//! why it failed; its exit code is 0 if all is well. `ops/commands.md` has the keys of the objects.

mod options;
mod output;
mod serve;
mod settings;
mod tools;

use std::{path::PathBuf, process::ExitCode};

use arus::{address::HostPort, demo::Choices, files};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::{options::Options, output::Form, serve::Mode};

/// An actor-based, real-time, multi-currency payment engine.
#[derive(Parser)]
#[command(name = "arus", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Seed a small world in ./data, make sample payments, and serve.
    Demo {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        choices: Choices,
    },
    /// Serve.
    Serve(Options),
    /// Check the whole data directory against its journal; read-only.
    Verify {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        form: Form,
    },
    /// List acknowledged entries that a journal has lost, and, told to, go on without them.
    Recover {
        /// Go on without what stood behind this entry: where the journal ends now. Without it nothing is changed.
        #[arg(long, value_name = "LSN")]
        accept_loss_after: Option<u64>,
        #[command(flatten)]
        data: Data,
    },
    /// Copy a data directory, also one that a server writes to; the copy is verified.
    Backup {
        /// Where the copy goes: a directory that is empty or not there.
        to: PathBuf,
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        form: Form,
    },
    /// Make a data directory out of a backup; both are verified.
    Restore {
        /// The backup. The data directory must be empty or not there.
        from: PathBuf,
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        form: Form,
    },
    /// Write a data directory of an earlier format in this build's; the old one is kept beside it.
    Migrate {
        /// Delete the directory that an earlier migration kept, once every entry of it is found in the new one.
        #[arg(long)]
        drop_old: bool,
        /// Go on though nothing proves that the old journal is whole: the position it ends at, as the refusal says it.
        #[arg(long, value_name = "LSN", conflicts_with = "drop_old")]
        accept_loss_after: Option<u64>,
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        form: Form,
    },
    /// Ask a running server whether it takes commands; exit code 0 if so.
    Ready {
        /// Its REST port, by address or by name.
        #[arg(long, default_value = "127.0.0.1:8080")]
        rest: HostPort,
        #[command(flatten)]
        form: Form,
    },
    /// Print one entry whole: request, outcome, postings, block, index rows; read-only.
    Inspect {
        /// A journal position, a payment id, or a tx_id (tx_id=777 where it looks like one of the others).
        what: String,
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        form: Form,
    },
    /// Look at the settings that `serve` and `demo` would have.
    #[command(subcommand)]
    Config(Config),
    /// Print completions for a shell, such as: source <(arus completions bash).
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Subcommand)]
enum Config {
    /// Say whether the settings are valid, or the first mistake in them.
    Check(Options),
    /// Print the settings in effect as TOML, each with where it comes from.
    Show(Options),
}

/// Where the data is.
#[derive(Args)]
struct Data {
    /// The data directory.
    #[arg(long, env = "ARUS_DATA_DIR", default_value = "data")]
    data_dir: PathBuf,
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    files::take_all();
    let (form, result) = match Cli::parse().command {
        Command::Demo { options, choices } => (Form::default(), serve::serve(&options, Mode::Demo(&choices))),
        Command::Serve(options) => (Form::default(), serve::serve(&options, Mode::Serve)),
        Command::Verify { data, form } => (form, tools::verify(&data.data_dir, form)),
        Command::Recover { accept_loss_after, data } => {
            (Form::default(), tools::recover(&data.data_dir, accept_loss_after))
        }
        Command::Backup { to, data, form } => (form, tools::copy("backed up", &data.data_dir, &to, form)),
        Command::Restore { from, data, form } => (form, tools::copy("restored", &from, &data.data_dir, form)),
        Command::Migrate { drop_old, accept_loss_after, data, form } => {
            (form, tools::migrate(&data.data_dir, drop_old, accept_loss_after, form))
        }
        Command::Ready { rest, form } => (form, tools::ready(&rest, form)),
        Command::Inspect { what, data, form } => (form, tools::inspect(&data.data_dir, &what, form)),
        Command::Config(Config::Check(options)) => (Form::default(), settings::check(&options)),
        Command::Config(Config::Show(options)) => (Form::default(), settings::show(&options)),
        Command::Completions { shell } => (Form::default(), completions(shell)),
    };
    let code = result.unwrap_or_else(|error| output::failed(&error, form));
    arus::telemetry::flush();
    code
}

fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    // Not straight to standard output: it panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "arus", &mut script);
    output::say(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
