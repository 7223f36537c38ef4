//! `fleet gc`: what the agents' places to work hold that nobody needs any more.

use anyhow::Context;
use clap::Args;

use super::exit::Exit;
use super::print;
use super::surroundings::Surroundings;
use crate::daemon::protocol::{Gc, GcItem, GcKind, GcOutcome, GcReport};
use crate::model::size;

/// Show which worktrees nobody needs any more, what may go and why the rest stays; nothing goes without --yes.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Free what may go: only what is clean, and at its remote.
    #[arg(long)]
    pub yes: bool,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub async fn run(args: &GcArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let report: GcReport = surroundings.client().post("/v1/gc", &Gc { free: args.yes }).await?;
    if args.json {
        print(&serde_json::to_string_pretty(&report).context("can't write JSON")?)?;
    } else {
        for line in lines(&report) {
            print(&line)?;
        }
    }
    let failed = report.items.iter().any(|item| matches!(item.outcome, GcOutcome::Failed { .. }));
    Ok(if failed { Exit::Failure } else { Exit::Success })
}

fn lines(report: &GcReport) -> Vec<String> {
    let mut lines: Vec<String> = report.items.iter().flat_map(of_item).collect();
    let bytes = size(report.bytes);
    lines.push(match (report.freed, report.bytes) {
        _ if report.items.is_empty() => "nothing lies there unneeded".to_owned(),
        (true, _) => format!("{bytes} freed"),
        (false, 0) => "nothing of it may go".to_owned(),
        (false, _) => format!("{bytes} may go: `fleet gc --yes` frees them"),
    });
    lines
}

fn of_item(item: &GcItem) -> Vec<String> {
    let (word, about) = match &item.outcome {
        GcOutcome::Free { along } if along.is_empty() => ("free", Vec::new()),
        GcOutcome::Free { along } => ("free", vec![format!("with ignored build output: {}", along.join(", "))]),
        GcOutcome::Freed { branch_kept: None } => ("freed", Vec::new()),
        GcOutcome::Freed { branch_kept: Some(why) } => ("freed", vec![format!("its branch stays in the clone: {why}")]),
        GcOutcome::Kept { why } => ("keep", why.clone()),
        GcOutcome::Failed { error } => ("failed", vec![error.clone()]),
    };
    let what = match (item.kind, &item.repo) {
        (GcKind::HalfClone, _) => "unfinished clone".to_owned(),
        (GcKind::Files, _) => "files".to_owned(),
        (GcKind::Worktree, None) => "worktree".to_owned(),
        (GcKind::Worktree, Some(repo)) => format!("worktree of {repo}"),
    };
    let head = format!("{word:<6} {:>10}  {}  ({what})", size(item.bytes), item.path);
    // A file's name, and git's words, may hold anything.
    let plain = |line: String| line.replace(|c: char| c.is_control(), "?");
    let about = about.iter().flat_map(|text| text.lines()).map(|line| format!("       {line}"));
    std::iter::once(head).chain(about).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(outcome: GcOutcome) -> GcItem {
        GcItem {
            kind: GcKind::Worktree,
            path: "/w/old/demo".into(),
            agent: Some("old".parse().unwrap()),
            repo: Some("acme/demo".into()),
            bytes: 3 << 20,
            outcome,
        }
    }

    #[test]
    fn whoever_reads_the_list_sees_what_would_go_and_why_the_rest_stays() {
        let report = GcReport {
            freed: false,
            items: vec![
                item(GcOutcome::Free { along: vec!["target/".into()] }),
                item(GcOutcome::Kept { why: vec!["an uncommitted change: a\u{1b}[2J".into(), "it is locked".into()] }),
            ],
            bytes: 3 << 20,
        };
        assert_eq!(
            lines(&report),
            [
                "free      3.0 MiB  /w/old/demo  (worktree of acme/demo)",
                "       with ignored build output: target/",
                "keep      3.0 MiB  /w/old/demo  (worktree of acme/demo)",
                "       an uncommitted change: a?[2J",
                "       it is locked",
                "3.0 MiB may go: `fleet gc --yes` frees them",
            ]
        );
        assert_eq!(lines(&GcReport { freed: true, items: Vec::new(), bytes: 0 }), ["nothing lies there unneeded"]);
    }
}
