//! Starts an agent anew as the conversation it is, once it is idle: its process is ended, and the supervisor resumes it in its
//! pane. While that is wanted, no new prompt is given to it, so that its idle moment comes.
//!
//! A process is ended only with a [`Token`] from a look taken just before, within the agent's own pass, in which nothing is
//! typed. Must never happen here: the end of a process that is not the agent's own, or of one that somebody works with,
//! unless that was declared urgent.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::fleet::Running;
use super::post::AgentPost;
use crate::delivery::guard::{self, Hold, Occupant, Sight};
use crate::model::{Prompt, PromptId};
use crate::runtime::{AgentSetup, Conversation};
use crate::tmux::{ProcessMark, end_families};

/// How soon an agent that can't be started anew yet is looked at again.
const LOOK: Duration = Duration::from_secs(1);

/// When an agent may be started anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Once it does nothing and nobody types.
    WhenIdle,
    /// At once, whatever it does.
    Now,
}

/// The wishes that one agent be started anew, by what each is about. Gone with the daemon: whoever has one makes it again.
#[derive(Debug, Default)]
pub struct Wishes(Mutex<BTreeMap<&'static str, (Urgency, String)>>);

impl Wishes {
    /// Why the agent is to be started anew, and how urgently; none where it isn't.
    pub fn wanted(&self) -> Option<(Urgency, String)> {
        let wishes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let urgency = wishes.values().map(|(urgency, _)| *urgency).max()?;
        let why: Vec<&str> = wishes.values().map(|(_, why)| why.as_str()).collect();
        Some((urgency, why.join("; ")))
    }

    /// Takes a wish back; says whether there was one.
    pub fn withdraw(&self, about: &'static str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(about).is_some()
    }

    fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl AgentPost {
    /// Wishes that the agent be started anew; `why` is the end of "it is to be started anew: …".
    pub fn want_restart(&self, about: &'static str, urgency: Urgency, why: String) {
        self.restart.0.lock().unwrap_or_else(PoisonError::into_inner).insert(about, (urgency, why));
        self.wake.notify_one();
    }
}

/// Permission to end the process of a pane, right now. Not to be kept: the next end needs a new look.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Token {
    pid: u32,
}

/// Why an agent can't be started anew now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It shows that it is at something, or somebody works in its pane.
    Pane(Hold),
    /// A prompt is on its way into the agent, or its turn has not ended.
    Prompt(PromptId),
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pane(hold) => hold.fmt(formatter),
            Self::Prompt(id) => write!(formatter, "the turn of prompt {id} is not over"),
        }
    }
}

/// Whether an idle agent's process may be ended now. `open` are the agent's prompts that are not settled.
pub fn may_restart(sight: Option<&Sight>, open: &[Prompt]) -> Result<Token, Why> {
    let sight = sight.ok_or(Why::Pane(Hold::NoSession))?;
    let mut looked = sight.clone();
    // What nobody is attached to read, and what keeps keys out, is lost by no restart.
    looked.pane.in_mode &= looked.pane.attached > 0;
    looked.pane.input_off = false;
    // The permission is to type, and nothing is typed.
    guard::check(&looked).map(drop).map_err(Why::Pane)?;
    match open.iter().find(|prompt| prompt.state.name().is_under_way()) {
        Some(prompt) => Err(Why::Prompt(prompt.id.clone())),
        None => Ok(Token { pid: sight.pane.pid }),
    }
}

/// Whether an agent's process may be ended although it is at something: only if it is the agent's own.
pub fn must_restart(sight: Option<&Sight>) -> Result<Token, Why> {
    let sight = sight.ok_or(Why::Pane(Hold::NoSession))?;
    match sight.occupant {
        _ if sight.pane.death.is_some() => Err(Why::Pane(Hold::Dead)),
        Occupant::Launching => Err(Why::Pane(Hold::NotReady)),
        Occupant::Stranger => Err(Why::Pane(Hold::Stranger(sight.pane.program()))),
        Occupant::Agent | Occupant::Behind => Ok(Token { pid: sight.pane.pid }),
    }
}

/// Ends the process that `token` was given for, with all that descends from it, if it is still the one that was started last
/// for the agent with the directory `state`; says whether there was one.
pub async fn end(token: Token, state: &Path) -> anyhow::Result<bool> {
    let Some(mark) = ProcessMark::read(state).filter(|mark| mark.pid == token.pid) else { return Ok(false) };
    let left: Vec<String> = end_families(&[mark]).await.iter().map(|mark| mark.pid.to_string()).collect();
    anyhow::ensure!(left.is_empty(), "these processes can't be ended: {}", left.join(", "));
    Ok(true)
}

/// Sees to the wishes, in the agent's own pass, after its record was read and before anything is typed. `unread` says whether
/// a turn's last words may still come. Answers when to look again, where a wish is left.
pub async fn pass(
    running: &Running,
    post: &AgentPost,
    setup: &AgentSetup,
    conversation: &Conversation,
    unread: bool,
) -> anyhow::Result<Option<Duration>> {
    let Some((urgency, why)) = post.restart.wanted() else { return Ok(None) };
    let slug = post.slug();
    if running.agent(slug).is_none() {
        // agents.yaml does not name it any more: nobody would resume it, and its session is to be held.
        post.restart.clear();
        return Ok(None);
    }
    let sight = running.delivery.look(&running.target(post, setup, conversation)).await?;
    let token = match urgency {
        Urgency::Now => must_restart(sight.as_ref()),
        Urgency::WhenIdle if unread => return Ok(Some(LOOK)),
        Urgency::WhenIdle => may_restart(sight.as_ref(), &running.store.open_prompts(slug).await?),
    };
    let token = match token {
        Ok(token) => token,
        Err(not_yet) => {
            tracing::debug!(agent = %slug, "to be started anew ({why}), but not yet: {not_yet}");
            return Ok(Some(LOOK));
        }
    };
    running.supervisor.expect_end(slug);
    if end(token, post.state()).await? {
        tracing::info!(agent = %slug, "ended, to be resumed: {why}");
        post.restart.clear();
    }
    running.supervise.notify_one();
    Ok(Some(LOOK))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::delivery::guard::sample;
    use crate::model::{Evidence, PromptState};
    use crate::runtime::{Activity, InputBox};
    use crate::tmux::Death;

    fn prompt(state: PromptState) -> Prompt {
        Prompt { state, ..Prompt::example() }
    }

    #[test]
    fn a_process_is_ended_only_where_no_work_and_nobody_s_words_are_lost_by_it() {
        type Change = fn(&mut Sight);
        let rows: [(&str, Change, Option<Hold>); 11] = [
            ("idle", |_| {}, None),
            ("busy", |s| s.told = Some(Activity::Busy), Some(Hold::Busy)),
            (
                "a dialog",
                |s| s.told = Some(Activity::Dialog { kind: crate::model::DialogKind::Other, what: "w".into() }),
                Some(Hold::Dialog("w".into())),
            ),
            ("a draft", |s| s.screen.input = InputBox::Holds("I th".into()), Some(Hold::Draft)),
            ("starting", |s| s.screen.input = InputBox::Absent, Some(Hold::NotReady)),
            ("somebody types", |s| s.person_types = true, Some(Hold::PersonTypes)),
            ("an editor in front", |s| s.occupant = Occupant::Behind, Some(Hold::Behind("claude".into()))),
            ("a shell", |s| s.occupant = Occupant::Stranger, Some(Hold::Stranger("claude".into()))),
            ("dead", |s| s.pane.death = Some(Death::Exited(0)), Some(Hold::Dead)),
            ("copy mode that somebody left on", |s| s.pane.in_mode = true, None),
            ("somebody reads in copy mode", |s| (s.pane.in_mode, s.pane.attached) = (true, 1), Some(Hold::Mode)),
        ];
        for (name, change, hold) in rows {
            let mut sight = sample();
            change(&mut sight);
            let expected = hold.map_or(Ok(Token { pid: 1 }), |hold| Err(Why::Pane(hold)));
            assert_eq!(may_restart(Some(&sight), &[]), expected, "{name}");
        }
        assert_eq!(may_restart(None, &[]), Err(Why::Pane(Hold::NoSession)));
    }

    #[test]
    fn a_prompt_that_the_agent_has_or_is_being_given_keeps_its_process_alive_and_one_that_waits_does_not() {
        for (state, ends) in [
            (PromptState::Queued, true),
            (PromptState::Deferred { reason: String::new() }, true),
            (PromptState::Uncertain { seen: String::new() }, true),
            (PromptState::Typing { attempt: 1, steering: false }, false),
            (PromptState::Submitted { attempt: 1, steering: false }, false),
            (PromptState::Confirmed { by: Evidence::Queue }, false),
            (PromptState::Confirmed { by: Evidence::Hook }, false),
        ] {
            assert_eq!(may_restart(Some(&sample()), &[prompt(state.clone())]).is_ok(), ends, "{state:?}");
        }
    }

    #[test]
    fn even_what_is_urgent_ends_no_process_but_the_agent_s_own() {
        let busy = Sight { told: Some(Activity::Busy), ..sample() };
        assert!(must_restart(Some(&busy)).is_ok());
        for occupant in [Occupant::Stranger, Occupant::Behind] {
            let sight = Sight { occupant: occupant.clone(), ..sample() };
            assert_eq!(must_restart(Some(&sight)).is_ok(), occupant == Occupant::Behind, "{occupant:?}");
        }
        assert!(must_restart(None).is_err());
    }

    #[test]
    fn several_wishes_are_one_restart_as_urgent_as_the_most_urgent_of_them() {
        let wishes = Wishes::default();
        assert_eq!(wishes.wanted(), None);
        wishes.0.lock().unwrap().insert("memory", (Urgency::WhenIdle, "it holds 5 GiB".into()));
        wishes.0.lock().unwrap().insert("config", (Urgency::Now, "its model changed".into()));
        assert_eq!(wishes.wanted(), Some((Urgency::Now, "its model changed; it holds 5 GiB".into())));
        assert!(wishes.withdraw("config") && !wishes.withdraw("config"));
        assert_eq!(wishes.wanted().map(|(urgency, _)| urgency), Some(Urgency::WhenIdle));
    }

    #[tokio::test]
    async fn a_process_that_was_started_since_the_look_is_not_ended() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "setsid sleep 1000 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut its = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut its).unwrap();
        let its: u32 = its.trim().parse().unwrap();
        let status = crate::tmux::ProcessStatus::read(child.id()).unwrap();
        std::fs::write(ProcessMark::path(directory.path()), status.mark(child.id()).to_string()).unwrap();
        assert!(!end(Token { pid: 1 }, directory.path()).await.unwrap());
        assert_eq!(child.try_wait().unwrap(), None);
        let ended = tokio::join!(
            end(Token { pid: child.id() }, directory.path()),
            // A child of ours stays a zombie until it is waited for, which its pidfd tells as an end.
            async { tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap() }
        );
        assert!(ended.0.unwrap() && !ended.1.success());
        assert_eq!(crate::tmux::ProcessStatus::read(its), None, "what it ran goes on, and counts for the next one");
    }
}
