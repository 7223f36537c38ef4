//! `fleet completions` and `fleet man`: papers made from the command line's own definition.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::exit::Exit;
use super::{Cli, print};

/// Print completions for a shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell.
    pub shell: Shell,
}

/// Write the man pages.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Into which directory; without it, `fleet(1)` is printed.
    pub directory: Option<PathBuf>,
}

/// Prints completions.
pub fn completions(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "fleet", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Success)
}

/// Prints or writes man pages.
pub fn man(args: &ManArgs) -> anyhow::Result<Exit> {
    match &args.directory {
        Some(directory) => std::fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
            .with_context(|| format!("can't write man pages into {}", directory.display()))?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).context("can't write the man page")?;
            print(String::from_utf8_lossy(&page).trim_end())?;
        }
    }
    Ok(Exit::Success)
}
