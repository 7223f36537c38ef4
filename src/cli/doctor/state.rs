//! The state directory: whose it is and who else may look into it, its database, the daemon that works in it.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::detached;
use super::house::House;
use super::report::{Check, Line};
use super::scratch::Scratch;
use crate::cli::client::{Client, ClientError};
use crate::daemon::protocol::{Status, VERSION};
use crate::store::{DatabaseWriter, Integrity, StoreError, integrity};

/// Entries of the state directory that are looked at; a fleet has a few for each agent and day.
const MOST_ENTRIES: usize = 50_000;

/// How long the daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A directory, file or socket of the state directory. Links are passed over: nothing of ours is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: PathBuf,
    /// Whether it is a directory.
    pub directory: bool,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner's user id.
    pub owner: u32,
    /// How many names it has; of a directory 1.
    pub links: u64,
}

impl Entry {
    fn of(path: PathBuf, found: &Metadata) -> Self {
        let directory = found.is_dir();
        let links = if directory { 1 } else { found.nlink() };
        Self { path, directory, mode: found.mode() & 0o7777, owner: found.uid(), links }
    }

    /// Whether others than its owner may do anything with it.
    pub fn is_open(&self) -> bool {
        self.mode & 0o077 != 0
    }
}

/// The state directory and all that is in it, the directory itself first; none where there is none.
pub fn survey(root: &Path) -> std::io::Result<Option<Vec<Entry>>> {
    let found = match std::fs::metadata(root) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut entries = vec![Entry::of(root.to_owned(), &found)];
    let mut next = 0;
    while let Some(entry) = entries.get(next).filter(|_| entries.len() < MOST_ENTRIES) {
        next += 1;
        if !entry.directory {
            continue;
        }
        // What goes away meanwhile, or can't be entered, has nothing to show; its own rights are judged.
        let Ok(children) = std::fs::read_dir(&entry.path) else { continue };
        let mut children: Vec<_> = children.flatten().map(|child| child.path()).collect();
        children.sort();
        for child in children {
            match std::fs::symlink_metadata(&child) {
                Ok(found) if found.is_dir() || found.is_file() || found.file_type().is_socket() => {
                    entries.push(Entry::of(child, &found));
                }
                _ => {}
            }
        }
    }
    Ok(Some(entries))
}

/// What is known of the daemon.
#[derive(Debug)]
struct Daemon {
    /// The process that holds the lock.
    holder: Option<u32>,
    /// Whether a socket's file is there.
    socket: bool,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    /// Nobody listens.
    Nobody,
    /// It did not answer, or not as it should.
    Wrong(String),
    /// Its status.
    Status(Box<Status>),
}

/// Looks.
pub async fn check(house: &House) -> Vec<Line> {
    let root = house.state.root().to_owned();
    let own = rustix::process::geteuid().as_raw();
    let surveyed = detached(move || survey(&root)).await;
    let mut lines = judge_rights(house.state.root(), surveyed, own);
    lines.push(judge_database(database(house).await));
    let answer =
        match tokio::time::timeout(ANSWER, Client::new(&house.state.socket()).get::<Status>("/v1/status")).await {
            Ok(Ok(status)) => Answer::Status(Box::new(status)),
            Ok(Err(ClientError::NotRunning(_))) => Answer::Nobody,
            Ok(Err(error)) => Answer::Wrong(format!("{:#}", anyhow::Error::new(error))),
            Err(_) => Answer::Wrong(format!("it did not answer within {} s", ANSWER.as_secs())),
        };
    lines.extend(judge_daemon(&Daemon { holder: house.daemon, socket: house.state.socket().exists(), answer }));
    lines
}

fn judge_rights(root: &Path, surveyed: std::io::Result<Option<Vec<Entry>>>, own: u32) -> Vec<Line> {
    let shown = root.display();
    let entries = match surveyed {
        Ok(Some(entries)) => entries,
        Ok(None) => {
            let mend =
                "start fleetd, or run `fleet doctor --fix`; if it is another one, name it by --state or $FLEET_STATE";
            return vec![Line::warn(Check::State, format!("{shown} is not there: fleetd has not run in it"), mend)];
        }
        Err(error) => {
            let mend = "run this as the user that runs fleetd, or choose another directory with --state";
            return vec![Line::fail(Check::State, format!("{shown} can't be looked at: {error}"), mend)];
        }
    };
    let (base, rest) = match entries.split_first() {
        Some((base, rest)) if base.directory => (base, rest),
        _ => {
            return vec![Line::fail(
                Check::State,
                format!("{shown} is no directory"),
                "move it away, or choose another with --state",
            )];
        }
    };
    let mut lines = Vec::new();
    if base.owner != own {
        let found = format!("{shown} belongs to the user {}, and this is the user {own}", base.owner);
        let rest = "tmux, programs, logins, Slack and clones were not looked at: what that user may have put there is not run by another";
        let mend = "run `fleet doctor` as the user that runs fleetd: `sudo -u fleet -i fleet doctor`";
        lines.push(Line::fail(Check::State, format!("{found}; {rest}"), mend));
    }
    if base.mode & 0o700 != 0o700 || base.is_open() {
        let found = format!("{shown} has the rights {:04o}: it holds agents' secrets and must be 0700", base.mode);
        lines.push(Line::fail(Check::State, found, format!("`fleet doctor --fix`, or chmod 700 {shown}")));
    }
    let strangers: Vec<&Entry> = rest.iter().filter(|entry| entry.owner != base.owner).collect();
    if let Some(names) = few(root, &strangers) {
        let found = format!("not the user {}'s own in {shown}: {names}", base.owner);
        lines.push(Line::fail(Check::State, found, format!("as root: chown -R --from=0 {} {shown}", base.owner)));
    }
    let open: Vec<&Entry> = rest.iter().filter(|entry| entry.is_open()).collect();
    if let Some(names) = few(root, &open) {
        let found = format!("others may use, but for the directory's own rights, in {shown}: {names}");
        lines.push(Line::warn(Check::State, found, "`fleet doctor --fix` makes files 0600 and directories 0700"));
    }
    if lines.is_empty() {
        lines.push(Line::ok(Check::State, format!("{shown}: {} files and directories, private", rest.len())));
    }
    lines
}

/// The first few names, and how many more there are.
fn few(root: &Path, entries: &[&Entry]) -> Option<String> {
    let names = entries.iter().take(3).map(|entry| {
        let name = entry.path.strip_prefix(root).unwrap_or(&entry.path);
        format!("{} ({:04o})", name.display(), entry.mode)
    });
    let names = names.collect::<Vec<_>>().join(", ");
    match entries.len() {
        0 => None,
        1..=3 => Some(names),
        all => Some(format!("{names} and {} more", all - 3)),
    }
}

async fn database(house: &House) -> Option<anyhow::Result<Integrity>> {
    let path = house.state.database();
    if !path.exists() {
        return None;
    }
    let look = async {
        if house.daemon.is_some() {
            return Ok(integrity(&path, DatabaseWriter::Daemon).await?);
        }
        let scratch = Scratch::new(&house.environment)?;
        Ok(integrity(&path, DatabaseWriter::Nobody(scratch.path())).await?)
    };
    Some(look.await)
}

fn judge_database(found: Option<anyhow::Result<Integrity>>) -> Line {
    match found {
        None => Line::ok(Check::Database, "there is no database yet: the first start makes it"),
        Some(Err(error)) => {
            let mend = match error.downcast_ref::<StoreError>() {
                Some(StoreError::Damaged { .. }) => MOVE_AWAY,
                _ => "check the rights of the state directory, and its disk",
            };
            Line::fail(Check::Database, format!("{error:#}"), mend)
        }
        Some(Ok(found)) if !found.complaints.is_empty() => {
            Line::fail(Check::Database, format!("fleet.db is damaged: {}", found.complaints.join("; ")), MOVE_AWAY)
        }
        Some(Ok(Integrity { step, known, .. })) if step > known => Line::fail(
            Check::Database,
            format!("fleet.db is of a later release (step {step}, this fleetd knows {known})"),
            "install that release again: this one would refuse to start",
        ),
        Some(Ok(Integrity { step, known, .. })) if step < known => Line::ok(
            Check::Database,
            format!("fleet.db is sound; the next start brings it from step {step} to {known}"),
        ),
        Some(Ok(_)) => Line::ok(Check::Database, "fleet.db is sound"),
    }
}

const MOVE_AWAY: &str = "stop fleetd, move fleet.db away (and fleet.db-wal and fleet.db-shm beside it), start it again: \
                         sessions stay, prompts that still waited are lost";

fn judge_daemon(daemon: &Daemon) -> Vec<Line> {
    let restart = "`systemctl restart fleetd`, or end it and start it again: sessions and agents go on meanwhile";
    match (&daemon.answer, daemon.holder) {
        (Answer::Status(status), holder) => {
            let pid = holder.map_or(String::new(), |pid| format!(" (process {pid})"));
            let ours = env!("CARGO_PKG_VERSION");
            let found = format!("fleetd {}{pid} answers, version {VERSION} of the local API", status.version);
            let line = if status.version == ours {
                Line::ok(Check::Daemon, found)
            } else {
                Line::warn(Check::Daemon, format!("{found}, and this is fleet {ours}"), restart)
            };
            let slack = status.slack.iter().flat_map(|slack| &slack.problems);
            let whole = status.problems.iter().chain(slack);
            let whole = whole.map(|problem| Line::warn(Check::Daemon, problem, "see its log: `journalctl -u fleetd`"));
            let agents = status.agents.iter().filter_map(|agent| {
                let problem = agent.problem.as_ref()?;
                Some(Line::warn(Check::Daemon, problem, "mend that, then `fleet reconcile`").of(&agent.agent))
            });
            std::iter::once(line).chain(whole).chain(agents).collect()
        }
        (Answer::Wrong(why), Some(pid)) => {
            vec![Line::fail(
                Check::Daemon,
                format!("fleetd (process {pid}) does not answer as it should: {why}"),
                restart,
            )]
        }
        (Answer::Wrong(why), None) => {
            let mend = "run this as the user that runs fleetd; use the same release for both";
            vec![Line::fail(Check::Daemon, format!("fleetd does not answer as it should: {why}"), mend)]
        }
        (Answer::Nobody, Some(pid)) => {
            vec![Line::fail(
                Check::Daemon,
                format!("fleetd (process {pid}) runs, but nobody listens on its socket"),
                restart,
            )]
        }
        (Answer::Nobody, None) if daemon.socket => vec![Line::warn(
            Check::Daemon,
            "fleetd is not running; it left the file of its socket",
            "start it: `systemctl start fleetd`; `fleet doctor --fix` removes the file",
        )],
        (Answer::Nobody, None) => {
            vec![Line::warn(
                Check::Daemon,
                "fleetd is not running",
                "start it: `systemctl start fleetd`, or `fleetd` in a terminal",
            )]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, directory: bool, mode: u32, owner: u32) -> Entry {
        Entry { path: path.into(), directory, mode, owner, links: 1 }
    }

    #[test]
    fn secrets_that_others_can_read_are_a_fail_and_what_only_looks_open_is_a_warning() {
        let judge = |entries: Vec<Entry>, own| {
            let lines = judge_rights(Path::new("/s"), Ok(Some(entries)), own);
            lines.iter().map(|line| line.verdict.word()).collect::<Vec<_>>()
        };
        let root = |mode| entry("/s", true, mode, 7);
        assert_eq!(judge(vec![root(0o700), entry("/s/fleet.db", false, 0o600, 7)], 7), ["ok"]);
        assert_eq!(judge(vec![root(0o750)], 7), ["fail"]);
        assert_eq!(judge(vec![root(0o600)], 7), ["fail"]);
        assert_eq!(judge(vec![root(0o700), entry("/s/fleet.db", false, 0o644, 7)], 7), ["warn"]);
        assert_eq!(judge(vec![root(0o700), entry("/s/fleet.db", false, 0o600, 0)], 7), ["fail"]);
        assert_eq!(judge(vec![root(0o700)], 8), ["fail"]);
        assert_eq!(judge(vec![root(0o700)], 0), ["fail"]);
        assert_eq!(judge(vec![root(0o755), entry("/s/a", true, 0o755, 7)], 7), ["fail", "warn"]);
        assert_eq!(judge(vec![entry("/s", false, 0o600, 7)], 7), ["fail"]);
        assert_eq!(judge_rights(Path::new("/s"), Ok(None), 7)[0].verdict.word(), "warn");
    }

    #[test]
    fn a_database_that_would_keep_fleetd_from_starting_is_told() {
        let of = |complaints: &[&str], step| {
            let complaints = complaints.iter().map(|text| (*text).to_owned()).collect();
            judge_database(Some(Ok(Integrity { complaints, step, known: 3 }))).verdict.word()
        };
        assert_eq!((of(&[], 3), of(&[], 2), of(&[], 4), of(&["row 7 missing"], 3)), ("ok", "ok", "fail", "fail"));
        assert_eq!(judge_database(None).verdict.word(), "ok");
        assert_eq!(judge_database(Some(Err(anyhow::anyhow!("no")))).verdict.word(), "fail");
    }

    #[test]
    fn a_daemon_that_hangs_is_told_from_one_that_does_not_run() {
        let judge = |holder, socket, answer| {
            let lines = judge_daemon(&Daemon { holder, socket, answer });
            (lines[0].verdict.word(), lines[0].found.clone())
        };
        assert_eq!(judge(None, false, Answer::Nobody).0, "warn");
        assert!(judge(None, true, Answer::Nobody).1.contains("left the file"));
        assert_eq!(judge(Some(7), true, Answer::Nobody).0, "fail");
        assert_eq!(judge(Some(7), true, Answer::Wrong("late".into())).0, "fail");
        assert_eq!(judge(None, true, Answer::Wrong("another version".into())).0, "fail");
    }
}
