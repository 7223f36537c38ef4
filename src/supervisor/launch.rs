//! One launch: everything in place, nobody else on the conversation, then the process, as the conversation it was.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Context;
use uuid::Uuid;

use super::conversation::{self, OnDisk};
use super::plan::{self, Step, TAG_AGENT, TAG_FLEET};
use super::{Supervisor, holder, seed};
use crate::config::CrashPoint;
use crate::files::{create_private_dir, lines, newest_below, open_files_in, write_private};
use crate::git::{branch, worktree_path};
use crate::model::launch::{AGENT_VARIABLE, FLEET_VARIABLE, LAUNCH_VARIABLE};
use crate::model::{LaunchFile, NewPrompt, PromptId, Slug, Source};
use crate::runtime::{self, AgentSetup, Conversation, FileText, Identity, Record, RecordKind, RecordSource};
use crate::tmux::{NewSession, PaneId, family};

/// How long a CLI that chooses its conversation's id itself may take to show it.
const ID_SHOWS: Duration = Duration::from_secs(15);

/// The size of an agent's pane: wide enough that a header line is never broken.
const SIZE: (u32, u32) = (200, 50);

impl Supervisor {
    /// Starts an agent where it does not run: in its dead pane at once, in a new session when its turn comes.
    pub(super) async fn launch(&self, setup: &AgentSetup) -> anyhow::Result<()> {
        let agent = &setup.agent.slug;
        std::fs::create_dir_all(&setup.cwd)
            .with_context(|| format!("can't create the workspace {} of {agent}", setup.cwd.display()))?;
        let Some(place) = self.place(agent).await? else { return Ok(()) };
        self.prepare_worktrees(setup, &place).await?;
        let known = self.store.conversation(agent).await?.map(|row| row.id).unwrap_or_default();
        holder::end_all(setup, &self.fleet, &known).await?;
        if place == Place::New {
            self.turn(setup).await;
        }
        let slot = self.shared.slots.acquire().await.context("fleetd is shutting down")?;
        // Looked at again, now that nobody else launches this agent and all that takes long is done: another pass may have
        // been quicker, and after a restart of the tmux server the pane's id may be another agent's.
        let Some(place) = self.place(agent).await? else { return Ok(()) };
        let row = self.store.conversation(agent).await?;
        let (identity, known) = (setup.runtime.identity(), row.as_ref().map(|row| row.id.as_str()));
        let chosen = conversation::choose(identity, known, |id| on_disk(setup, id), || Uuid::new_v4().to_string());
        let anew = conversation::begins_anew(identity, known, &chosen);
        let launches = row.map_or(0, |row| row.launches);
        let argv = write_launch(setup, &chosen, &self.fleet, launches + 1)?;
        // Before the launch is counted: a crash in between must not make it look like a later one.
        if launches == 0 {
            self.greet(setup, format!("init/{agent}")).await?;
        } else if anew && !self.is_being_greeted(agent).await? {
            self.greet(setup, format!("init/{agent}/{}", launches + 1)).await?;
        }
        self.store.count_launch(agent, chosen.id(), self.clock.now()).await?;
        CrashPoint::LaunchCounted.pass();
        self.note_start(agent);
        let pane = match place {
            Place::Pane(pane) => {
                self.tmux.respawn(&pane, &setup.cwd, &argv).await.with_context(|| format!("can't resume {agent}"))?;
                pane
            }
            Place::New => self.create(setup, argv).await?,
        };
        CrashPoint::Launched.pass();
        drop(slot);
        tracing::info!(%agent, conversation = chosen.id(), resumed = matches!(chosen, Conversation::Resume { .. }), "started");
        self.await_id(setup, &pane).await
    }

    /// Where an agent is to be started; none where it runs.
    async fn place(&self, agent: &Slug) -> anyhow::Result<Option<Place>> {
        let panes = self.tmux.panes_now().await.context("can't list the tmux sessions")?;
        match plan::step(agent, &panes, &self.fleet, None) {
            Step::Keep { .. } => Ok(None),
            Step::Refuse { why, .. } => anyhow::bail!(why),
            Step::Create { .. } => Ok(Some(Place::New)),
            Step::Respawn { pane, .. } | Step::Pause { pane, .. } => Ok(Some(Place::Pane(pane))),
        }
    }

    /// Waits until it is this agent's turn to start beside others.
    async fn turn(&self, setup: &AgentSetup) {
        let login = self.shared_login(setup);
        let wait = {
            let gap = *self.shared.gap.lock().unwrap_or_else(PoisonError::into_inner);
            let mut turns = self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.shared.since.elapsed();
            turns.next(now, gap, login.as_deref()).saturating_sub(now)
        };
        tokio::time::sleep(wait).await;
    }

    /// The login that an agent's CLI shares with others.
    fn shared_login(&self, setup: &AgentSetup) -> Option<PathBuf> {
        let conversation = Conversation::New { id: String::new() };
        let context = setup.context(&conversation);
        let read = |path: PathBuf| {
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => FileText::Text(text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => FileText::Missing,
                Err(error) => FileText::Unreadable(error.to_string()),
            };
            (path, text)
        };
        let files = runtime::account_files(&context).into_iter().map(read).collect();
        runtime::shared_login(&context, &files, self.clock.now())
    }

    /// Whether an agent's first prompt has not settled yet: the conversation that is about to begin gets that one.
    async fn is_being_greeted(&self, agent: &Slug) -> anyhow::Result<bool> {
        Ok(self.store.open_prompts(agent).await?.iter().any(|prompt| prompt.source == Source::Init))
    }

    /// Stores the first prompt of a conversation, once by its key.
    async fn greet(&self, setup: &AgentSetup, dedup_key: String) -> anyhow::Result<()> {
        let Some(body) = &setup.agent.init_prompt else { return Ok(()) };
        let agent = &setup.agent.slug;
        let prompt = NewPrompt {
            id: PromptId::random(),
            agent: agent.clone(),
            source: Source::Init,
            who: "agents.yaml".to_owned(),
            dedup_key,
            body: body.clone(),
            place: None,
            expires: None,
            mode: crate::model::Mode::Queue,
        };
        self.store.insert_prompt(&prompt, self.clock.now()).await?;
        CrashPoint::InitStored.pass();
        Ok(())
    }

    async fn create(&self, setup: &AgentSetup, argv: Vec<OsString>) -> anyhow::Result<PaneId> {
        let agent = &setup.agent.slug;
        let tags = [(TAG_AGENT, agent.as_str()), (TAG_FLEET, &self.fleet)];
        let new = NewSession {
            name: agent.to_string(),
            cwd: setup.cwd.clone(),
            argv,
            tags: tags.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            width: SIZE.0,
            height: SIZE.1,
        };
        let pane = self.tmux.create(&new).await.with_context(|| format!("can't create the session of {agent}"))?;
        Ok(pane.id)
    }

    /// Clones what is missing and gives the agent a worktree of each of its repositories. One that ended in its pane had
    /// them all: only what is gone since is made again.
    async fn prepare_worktrees(&self, setup: &AgentSetup, place: &Place) -> anyhow::Result<()> {
        let agent = &setup.agent;
        for repo in &agent.repos {
            let path = worktree_path(&setup.cwd, repo, &agent.repos);
            let missing = !path.join(".git").exists();
            if matches!(place, Place::Pane(_)) && !missing {
                continue;
            }
            // Only who has something to fetch waits for those who fetch.
            let _slot = match missing {
                true => Some(self.shared.clones.acquire().await.context("fleetd is shutting down")?),
                false => None,
            };
            let clone =
                self.git.clone_missing(&self.repos_dir, repo).await.with_context(|| format!("can't clone {repo}"))?;
            let made = self.git.worktree_missing(&clone, &path, &branch(&agent.slug)).await;
            made.with_context(|| format!("can't make the worktree of {repo} for {}", agent.slug))?;
        }
        Ok(())
    }

    /// Waits until a CLI that chooses its conversation's id itself has shown it.
    async fn await_id(&self, setup: &AgentSetup, pane: &PaneId) -> anyhow::Result<()> {
        if !matches!(setup.runtime.identity(), Identity::LockFile { .. }) {
            return Ok(());
        }
        let shown = async {
            while !self.follow_lock(setup, pane).await? {
                if self.tmux.pane(pane).await.context("can't look at a pane")?.is_none_or(|pane| pane.death.is_some()) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            anyhow::Ok(())
        };
        // A CLI that is slow, or ended at once, is looked at again by the next pass.
        tokio::time::timeout(ID_SHOWS, shown).await.unwrap_or(Ok(()))
    }

    /// Stores which conversation the agent in `pane` is, where its CLI chooses that itself and a person may have begun another.
    pub async fn follow(&self, setup: &AgentSetup, pane: &PaneId) -> anyhow::Result<()> {
        self.follow_lock(setup, pane).await.map(drop)
    }

    /// Stores the conversation's id that the CLI's open lock file shows; says whether it shows one.
    async fn follow_lock(&self, setup: &AgentSetup, pane: &PaneId) -> anyhow::Result<bool> {
        let Identity::LockFile { directory } = setup.runtime.identity() else { return Ok(true) };
        let Some(pane) = self.tmux.pane(pane).await.context("can't look at a pane")? else { return Ok(false) };
        // The nearest of the family: an agent may run the same CLI as a tool.
        let Some(id) = family(pane.pid).into_iter().find_map(|pid| newest_lock(pid, directory)) else {
            return Ok(false);
        };
        let agent = &setup.agent.slug;
        let known = self.store.conversation(agent).await?;
        if known.is_none_or(|row| row.id != id) {
            self.store.follow_conversation(agent, &id, self.clock.now()).await?;
        }
        Ok(true)
    }
}

/// Where an agent is started.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// In a session that is to be created.
    New,
    /// In its own pane, whose process has ended.
    Pane(PaneId),
}

/// The conversation whose lock a process took last: Codex keeps the locks of those that a person left by `/new` (measured
/// with 0.169.0). Other locks than those of conversations lie there too.
fn newest_lock(pid: u32, directory: &str) -> Option<String> {
    let named = |lock: PathBuf| {
        let id = Uuid::parse_str(lock.file_stem()?.to_str()?).ok()?;
        Some((std::fs::metadata(&lock).and_then(|found| found.modified()).ok(), id.to_string()))
    };
    open_files_in(&[pid], directory).into_iter().filter_map(named).max().map(|(_, id)| id)
}

/// What the CLI has on disk of the conversation `id`.
fn on_disk(setup: &AgentSetup, id: &str) -> OnDisk {
    let conversation = Conversation::Resume { id: id.to_owned() };
    let transcript = |source| match source {
        RecordSource::File { path, kind: RecordKind::Transcript } => path.exists().then_some(path),
        RecordSource::File { .. } => None,
        RecordSource::Below { root, depth, suffix, .. } => newest_below(&root, depth, &suffix),
    };
    match setup.runtime.records(&setup.context(&conversation)).into_iter().find_map(transcript) {
        None => OnDisk::Nothing,
        Some(path) if has_words(setup, &path) => OnDisk::Words,
        Some(_) => OnDisk::Wordless,
    }
}

/// Whether a transcript holds anything that was asked or said. One that can't be read is the CLI's to judge.
fn has_words(setup: &AgentSetup, path: &Path) -> bool {
    let mut start = 0;
    loop {
        let Ok(reading) = lines::read(path, lines::Place { bytes: start, ..Default::default() }) else { return true };
        let Some(reading) = reading else { return false };
        let words = |record: &Record| record.taken().is_some() || matches!(record, Record::Said { .. });
        let read = |line: &lines::Line| setup.runtime.read_record(RecordKind::Transcript, &line.text);
        if reading.lines.iter().any(|line| read(line).iter().any(words)) {
            return true;
        }
        if !reading.more {
            return false;
        }
        start = reading.end;
    }
}

/// Puts in place what the agent's start needs, and answers the pane's command. The command is the same for ever and holds
/// nothing: program, arguments and environment stand in a private file that our launcher reads before it becomes the agent.
fn write_launch(
    setup: &AgentSetup,
    conversation: &Conversation,
    fleet: &str,
    number: i64,
) -> anyhow::Result<Vec<OsString>> {
    let agent = &setup.agent.slug;
    create_private_dir(&setup.state).with_context(|| format!("can't create {}", setup.state.display()))?;
    let launch = setup.runtime.launch(&setup.context(conversation));
    for planted in &launch.seeds {
        seed::plant(planted).with_context(|| format!("can't prepare the start of {agent}"))?;
    }
    let mut environment = setup.environment.clone();
    environment.extend(launch.env);
    environment.insert("PWD".into(), setup.cwd.clone().into());
    let marks = [
        (AGENT_VARIABLE, agent.to_string()),
        (FLEET_VARIABLE, fleet.to_owned()),
        (LAUNCH_VARIABLE, number.to_string()),
    ];
    environment.extend(marks.map(|(name, value)| (name.into(), value.into())));
    let mut file = LaunchFile::new(launch.argv, environment.into_iter().collect(), setup.cwd.clone());
    file.fingerprint = Some(setup.agent.launch_note());
    let path = LaunchFile::path(&setup.state);
    let json = file.to_json().context("can't write the launch file")?;
    write_private(&path, json.as_bytes()).with_context(|| format!("can't write {}", path.display()))?;
    Ok(vec![setup.fleetd.clone().into(), "launch".into(), path.into()])
}
