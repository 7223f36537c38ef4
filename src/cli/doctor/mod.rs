//! `fleet doctor`: what is wrong with a box, and how to mend it.
//!
//! One file for each thing that is looked at: looking gives plain data, a pure function judges it into lines. Every check
//! runs beside the others and has its own time, so that one dead host or disk holds up nothing. It changes nothing; `--fix`
//! does only the mends of `fix`. A token, a key or a prompt must never stand in a line.

mod clock;
mod command;
mod fix;
mod house;
mod machine;
mod programs;
mod report;
mod repos;
mod scratch;
mod self_test;
mod slack;
mod state;
mod tmux;
mod unit;

use std::future::ready;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::builder::styling::{AnsiColor, Style};
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use indicatif::ProgressBar;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Exit;
use super::surroundings::Surroundings;
use super::{duration, print};
use house::House;
pub use report::{Check, Fixed, Line, Report, Verdict};

/// Tell what is wrong with this box, and how to mend it.
///
/// Changes nothing, unless --fix is given. Exit codes: 0 nothing fails (there may be warnings), 1 something fails.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Do the safe mends first: make the state directory, take others' rights to it, remove a dead socket.
    #[arg(long)]
    pub fix: bool,
    /// Leave out the prompt to a practice agent.
    #[arg(long)]
    pub no_self_test: bool,
    /// How long any one check may take, for example 30s or 2m.
    #[arg(long, value_parser = duration, default_value = "30s")]
    pub timeout: Duration,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub(super) async fn run(args: &DoctorArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let fixed = if args.fix { fix::run(&surroundings.state) } else { Vec::new() };
    let house = House::look(surroundings);
    let lines = tokio::select! {
        lines = look(&house, args) => lines,
        // What was started for the checks ends with their futures.
        word = interrupted() => return Err(word),
    };
    let report = Report { version: env!("CARGO_PKG_VERSION").to_owned(), fixed, lines: report::in_order(lines) };
    if args.json {
        print(&serde_json::to_string_pretty(&report).context("can't write JSON")?)?;
    } else {
        print(&shown(&report))?;
    }
    let fails = report.lines.iter().any(|line| matches!(line.verdict, Verdict::Fail { .. }));
    Ok(if fails { Exit::Failure } else { Exit::Success })
}

/// Every check at once.
async fn look(house: &House, args: &DoctorArgs) -> Vec<Line> {
    let limit = args.timeout;
    let mut checks: Vec<(Check, LocalBoxFuture<'_, Vec<Line>>)> = vec![
        (Check::Config, ready(house.config.clone()).boxed_local()),
        (Check::Disk, machine::check(house).boxed_local()),
        (Check::Unit, unit::check().boxed_local()),
        (Check::State, state::check(house).boxed_local()),
    ];
    if !house.foreign {
        checks.extend([
            (Check::Tmux, tmux::check(house).boxed_local()),
            (Check::Program, programs::check(house).boxed_local()),
            (Check::SlackBot, slack::check(house).boxed_local()),
            (Check::Clone, repos::check(house).boxed_local()),
            (Check::Clock, clock::check(house).boxed_local()),
        ]);
    }
    if !house.foreign && !args.no_self_test {
        checks.push((Check::SelfTest, self_test::check(house, limit).boxed_local()));
    }
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(120));
    let open: std::cell::RefCell<Vec<Check>> = checks.iter().map(|(check, _)| *check).collect::<Vec<_>>().into();
    let show = || {
        let names: Vec<&str> = open.borrow().iter().map(|check| check.name()).collect();
        progress.set_message(format!("looking at {}", names.join(", ")));
    };
    show();
    let checks = checks.into_iter().map(async |(check, looking)| {
        let lines = tokio::time::timeout(limit, looking).await.unwrap_or_else(|_| vec![late(check, limit)]);
        open.borrow_mut().retain(|other| *other != check);
        show();
        lines
    });
    let lines = join_all(checks).await.concat();
    progress.finish_and_clear();
    lines
}

fn late(check: Check, limit: Duration) -> Line {
    let found = format!("this look, and what belongs to it, was not through after {} s", limit.as_secs());
    Line::fail(check, found, "something it asks hangs: a disk, a host, a program; or give it longer with --timeout")
}

/// Returns once somebody wants this to end.
async fn interrupted() -> anyhow::Error {
    let heard = async {
        let (mut interrupt, mut terminate, mut hangup) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        std::io::Result::Ok(())
    };
    match heard.await {
        Ok(()) => anyhow::anyhow!("interrupted; what was started for the checks is ended"),
        Err(error) => anyhow::Error::new(error).context("can't hear signals"),
    }
}

/// Runs something that may hang in the kernel (a mount whose server is gone) on a thread that nobody waits for at the end.
async fn detached<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (told, heard) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || told.send(work()));
    match heard.await {
        Ok(found) => found,
        // Only a panic, which has told itself, leaves nothing: the check's time runs out.
        Err(_) => std::future::pending().await,
    }
}

fn shown(report: &Report) -> String {
    let mut text = String::new();
    for fixed in &report.fixed {
        let (style, word) = if fixed.error.is_none() { (GOOD, "fixed") } else { (BAD, "NOT fixed") };
        let error = fixed.error.as_ref().map_or(String::new(), |error| format!(": {error}"));
        text.push_str(&format!("{style}{word}{style:#} {}{error}\n", fixed.what));
    }
    for Line { check, agents, verdict, found } in &report.lines {
        let (style, mend) = match verdict {
            Verdict::Ok => (GOOD, None),
            Verdict::Warn { mend } => (DOUBTFUL, Some(mend)),
            Verdict::Fail { mend } => (BAD, Some(mend)),
        };
        let word = verdict.word();
        let agents: Vec<&str> = agents.iter().map(|agent| agent.as_str()).collect();
        let whose = if agents.is_empty() { String::new() } else { format!("{}: ", agents.join(", ")) };
        text.push_str(&format!("{style}{word:<4}{style:#}  {:<13}  {whose}{found}\n", check.name()));
        if let Some(mend) = mend {
            text.push_str(&format!("{:21}→ {mend}\n", ""));
        }
    }
    let count = |of: fn(&Verdict) -> bool| report.lines.iter().filter(|line| of(&line.verdict)).count();
    let (fails, warns) = (
        count(|verdict| matches!(verdict, Verdict::Fail { .. })),
        count(|verdict| matches!(verdict, Verdict::Warn { .. })),
    );
    text + &format!("{} ok, {warns} warn, {fails} fail", report.lines.len() - fails - warns)
}

const GOOD: Style = AnsiColor::Green.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
