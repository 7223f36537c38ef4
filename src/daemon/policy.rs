//! From what is seen of an agent to what is done about it: gathers the facts, asks the table of `policy`, and does what it
//! says. Everything is derived anew at every pass; what was answered is kept by the store under a key that names the
//! occurrence, so that a crash at any moment leads to one answer and not to two.

use std::path::Path;

use jiff::Timestamp;

use super::event::Event;
use super::fleet::Running;
use super::post::AgentPost;
use crate::delivery::guard::{self, Hold, Sight};
use crate::model::{
    Blocked, ContextUse, DialogKind, Fact, Mode, NewPrompt, Notice, Outcome, PromptId, Slug, Source, StateName,
};
use crate::policy::{Answer, Cut, Facts, State, answer};
use crate::runtime::{Activity, AgentSetup, Conversation, login_file};
use crate::supervisor::retirement_end;

/// How many turns back tries in vain are counted.
const TURNS: u32 = 16;

/// What an agent that a limit cut off is told.
const GO_ON: &str = "Your last turn was cut off by a limit that is over now. Go on where you stopped.";

/// Looks at one agent and does what its state asks for. Its records must have been read before. Says whether nothing was to be
/// looked at: no time that goes by changes that.
pub async fn pass(
    running: &Running,
    post: &AgentPost,
    setup: &AgentSetup,
    conversation: &Conversation,
) -> anyhow::Result<bool> {
    let slug = post.slug();
    let news = !post.note_cut_known();
    let cut = look_up_cut(running, post, setup, conversation, news).await.inspect_err(|_| post.forget_cut())?;
    let seen = post.seen();
    let now = running.clock.now();
    let full = setup.agent.compact_at.zip(seen.context).is_some_and(|(at, context)| context.is_worth_compacting(at));
    // A login or a trust dialog comes soon after a start.
    let starts = running.supervisor.starts_in_vain(slug);
    let told = match seen.told_blocked {
        Some(told) => told,
        None => is_told_blocked(running, slug).await.inspect(|told| post.set_told_blocked(*told))?,
    };
    if cut.is_none() && !full && !news && starts == 0 && seen.hold.is_none() && !told {
        return Ok(true);
    }
    let sight = running.delivery.look(&running.target(post, setup, conversation)).await?;
    let held_by = running.store.agent_hold(slug).await?.map(|row| row.who);
    let crashed = (running.supervisor.problem(slug), starts);
    let retiring = retiring(running, slug).await?;
    let state = derive(sight.as_ref(), cut.as_ref(), held_by.as_deref(), &crashed, retiring, now);
    let open = running.store.open_prompts(slug).await?;
    let key = compaction_key(slug, conversation, seen.context);
    let facts = Facts {
        now,
        compacted_in_vain: state == State::Blocked(Blocked::ContextFull) && is_settled(running, &key).await?,
        cut: cut.as_ref(),
        under_way: open.iter().any(|prompt| prompt.state.name().is_under_way()),
        context: seen.context,
        compact_at: setup.agent.compact_at,
    };
    for answer in answer(&state, facts) {
        tracing::debug!(agent = %slug, %state, ?answer, "a policy applies");
        if matches!(answer, Answer::Page { .. }) {
            post.set_told_blocked(true);
        }
        give(running, setup, &key, answer).await?;
    }
    if told && matches!(state, State::Idle | State::Busy) {
        call_off(running, slug).await?;
        post.set_told_blocked(false);
    }
    Ok(false)
}

/// When the session of an agent ends that agents.yaml does not name any more; none of one that it names.
async fn retiring(running: &Running, slug: &Slug) -> anyhow::Result<Option<Timestamp>> {
    if running.agent(slug).is_some() {
        return Ok(None);
    }
    let retired = running.store.retired_agents().await?.into_iter().find(|(agent, _)| agent == slug);
    // Taken out just now, its time is not noted yet.
    let since = retired.map_or_else(|| running.clock.now(), |(_, since)| since);
    Ok(Some(retirement_end(since, running.roster().fleet.retire_after)))
}

/// Whether people were told that an agent can't go on, and not yet that it does.
async fn is_told_blocked(running: &Running, slug: &Slug) -> anyhow::Result<bool> {
    let Some(key) = running.store.last_told(&format!("blocked/{slug}/")).await? else { return Ok(false) };
    let over = running.store.last_told(&format!("unblocked/{slug}/")).await?;
    Ok(over != Some(format!("un{key}")))
}

/// Tells people that an agent goes on of which they were told that it can't, once for each time.
async fn call_off(running: &Running, slug: &Slug) -> anyhow::Result<()> {
    let Some(key) = running.store.last_told(&format!("blocked/{slug}/")).await? else { return Ok(()) };
    tell(running, &format!("un{key}"), &Notice::Unblocked { agent: slug.clone() }).await
}

/// What an agent is at. `crashed`: what keeps it from running, and after how many starts in a row. `retiring`: when its
/// session ends, where agents.yaml does not name it any more.
pub fn derive(
    sight: Option<&Sight>,
    cut: Option<&Cut>,
    held_by: Option<&str>,
    crashed: &(Option<String>, u32),
    retiring: Option<Timestamp>,
    now: Timestamp,
) -> State {
    if let Some(until) = retiring {
        return State::Retiring { until };
    }
    let Some(sight) = sight else { return State::Starting };
    let rests = |state: State| match (cut.and_then(|cut| cut.blocks(now)), held_by) {
        (Some(blocked), _) => State::Blocked(blocked),
        (None, Some(by)) => State::Paused { by: by.to_owned() },
        (None, None) => state,
    };
    match guard::check(sight) {
        Ok(_) => rests(State::Idle),
        Err(Hold::NoSession | Hold::NotReady | Hold::ReadsLines | Hold::Held(_) | Hold::Draining(_)) => State::Starting,
        Err(Hold::Blocked(why)) => State::Blocked(why),
        Err(Hold::Dead) => State::Crashed {
            how: crashed.0.clone().unwrap_or_else(|| "its process has ended".to_owned()),
            times: crashed.1,
        },
        Err(Hold::Stranger(program) | Hold::Behind(program)) => State::AtShell { program },
        Err(Hold::Dialog(what)) => match dialog(sight) {
            DialogKind::Trust => State::Blocked(Blocked::Trust),
            DialogKind::Login => State::Blocked(Blocked::Login { what }),
            DialogKind::Limit => rests(State::Idle),
            kind => State::Asking { kind, what },
        },
        Err(Hold::Busy) => State::Busy,
        // They hold a prompt back, yet the agent itself does what its CLI says.
        Err(hold @ (Hold::Draft | Hold::Undecided(_) | Hold::Mode | Hold::InputOff | Hold::PersonTypes)) => {
            match sight.told.as_ref().or(sight.screen.activity.as_ref()) {
                Some(Activity::Busy) => State::Busy,
                _ => rests(State::Held { why: hold.to_string() }),
            }
        }
    }
}

/// The kind of the open dialog, by the screen, which tells it best.
fn dialog(sight: &Sight) -> DialogKind {
    let kind = |activity: &Option<Activity>| match activity {
        Some(Activity::Dialog { kind, .. }) => Some(*kind),
        _ => None,
    };
    let told = || kind(&sight.told).unwrap_or(DialogKind::Other);
    kind(&sight.screen.activity).filter(|kind| *kind != DialogKind::Other).unwrap_or_else(told)
}

/// What cut the agent's last turn off, by the feed and the CLI's login. Looked up again only when the feed tells more of the
/// agent; a login that may have come since is looked for every time.
async fn look_up_cut(
    running: &Running,
    post: &AgentPost,
    setup: &AgentSetup,
    conversation: &Conversation,
    news: bool,
) -> anyhow::Result<Option<Cut>> {
    let mut cut = match news {
        true => {
            let begun = running.store.conversation_since(post.slug()).await?;
            cut_of(&running.store.last_turns(post.slug(), TURNS).await?, begun)
        }
        false => post.seen().cut,
    };
    if let Some(cut) = cut.as_mut().filter(|cut| matches!(cut.blocked, Blocked::Login { .. })) {
        let relaunched = running.store.launched_at(post.slug()).await?.is_some_and(|at| at > cut.at);
        cut.mended = relaunched || logged_in_since(login_file(&setup.context(conversation)).as_deref(), cut.at);
    }
    post.set_cut(cut.clone());
    Ok(cut)
}

/// By the latest rows of the feed that tell of turns, the latest first. A conversation that has `begun` since knows nothing of
/// what was cut off.
fn cut_of(rows: &[crate::model::FeedRow], begun: Option<Timestamp>) -> Option<Cut> {
    let cut_off = |fact: &Fact| match fact {
        Fact::TurnEnded { outcome: Outcome::Failed { blocked, .. }, .. } => blocked.clone(),
        _ => None,
    };
    let last = rows.first().filter(|last| begun.is_none_or(|begun| begun <= last.at))?;
    let blocked = cut_off(&last.fact)?;
    let ends = rows.iter().filter(|row| matches!(row.fact, Fact::TurnEnded { .. }));
    let kind = std::mem::discriminant(&blocked);
    let same = ends.take_while(|row| cut_off(&row.fact).is_some_and(|other| std::mem::discriminant(&other) == kind));
    Some(Cut { times: u32::try_from(same.count()).unwrap_or(u32::MAX), at: last.at, blocked, mended: false })
}

/// Whether the file in which the CLI keeps its login is newer than a failure, and so mends it.
fn logged_in_since(login: Option<&Path>, failed: Timestamp) -> bool {
    login.and_then(changed_at).is_some_and(|changed| changed > failed)
}

fn changed_at(path: &Path) -> Option<Timestamp> {
    Timestamp::try_from(path.metadata().ok()?.modified().ok()?).ok()
}

async fn give(running: &Running, setup: &AgentSetup, compaction: &str, answer: Answer) -> anyhow::Result<()> {
    let slug = &setup.agent.slug;
    match answer {
        Answer::Resume => resume(running, slug).await,
        Answer::Compact => {
            let Some(command) = setup.runtime.compact_command() else { return Ok(()) };
            ask(running, prompt(slug, Source::Compact, compaction.to_owned(), command.to_owned())).await
        }
        Answer::Page { why } => {
            let turns = running.store.last_turns(slug, 1).await?;
            let (launched, seq) = (running.store.launched_at(slug).await?, turns.first().map_or(0, |row| row.seq));
            let launched = launched.map(|at| at.as_second()).unwrap_or_default();
            let why = format!("{why}; attach with `fleet attach {slug}`");
            tell(running, &format!("blocked/{slug}/{seq}/{launched}"), &Notice::Blocked { agent: slug.clone(), why })
                .await
        }
    }
}

/// Names the present fill of the context: it is compacted once, whatever becomes of that.
fn compaction_key(slug: &Slug, conversation: &Conversation, context: Option<ContextUse>) -> String {
    let fill = context.map_or(0, |context| context.fill);
    format!("compact/{slug}/{}/{fill}", conversation.id())
}

/// Whether the prompt of that key was given, and nothing more will come of it.
async fn is_settled(running: &Running, key: &str) -> anyhow::Result<bool> {
    let prompt = running.store.prompt_of_key(key).await?;
    Ok(prompt.is_some_and(|prompt| prompt.state.name() == StateName::Done || prompt.state.name().is_given_up()))
}

/// Has the agent go on where its last turn was cut off, in the thread of that turn.
async fn resume(running: &Running, slug: &Slug) -> anyhow::Result<()> {
    let turns = running.store.last_turns(slug, 1).await?;
    let Some(end) = turns.first() else { return Ok(()) };
    let place = match &end.turn {
        None => None,
        Some(turn) => match running.store.prompt(turn).await?.and_then(|prompt| prompt.place) {
            Some(place) => Some(place),
            None => running.store.place_of_turn(turn).await?,
        },
    };
    let new = prompt(slug, Source::Resume, format!("resume/{slug}/{}", end.seq), GO_ON.to_owned());
    ask(running, NewPrompt { place, ..new }).await
}

fn prompt(slug: &Slug, source: Source, dedup_key: String, body: String) -> NewPrompt {
    NewPrompt {
        id: PromptId::random(),
        agent: slug.clone(),
        source,
        who: "fleet".to_owned(),
        dedup_key,
        body,
        place: None,
        expires: None,
        mode: Mode::Queue,
    }
}

async fn ask(running: &Running, new: NewPrompt) -> anyhow::Result<()> {
    let inserted = running.store.insert_prompt(&new, running.clock.now()).await?;
    if *inserted.id() == new.id {
        tracing::info!(agent = %new.agent, prompt = %new.id, source = new.source.word(), "the fleet asks");
        running.tell(Event::Inbox(new.agent));
    }
    Ok(())
}

async fn tell(running: &Running, key: &str, notice: &Notice) -> anyhow::Result<()> {
    if running.store.tell_box(key, notice, running.clock.now()).await? {
        tracing::warn!("{notice}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FeedRow, Work};

    fn rows(facts: Vec<Fact>) -> Vec<FeedRow> {
        let row = |(seq, fact)| FeedRow {
            seq,
            at: Timestamp::from_second(seq).unwrap(),
            agent: "a".parse().unwrap(),
            turn: None,
            fact,
        };
        let mut rows: Vec<_> = (1..).zip(facts).map(row).collect();
        rows.reverse();
        rows
    }

    fn ended(blocked: Option<Blocked>) -> Fact {
        Fact::TurnEnded { outcome: Outcome::Failed { reason: "x".into(), blocked }, usage: None, work: Work::default() }
    }

    #[test]
    fn a_limit_counts_only_while_nothing_else_was_begun_and_its_tries_in_a_row_are_counted() {
        let limit = |second| Some(Blocked::UsageLimit { until: Timestamp::from_second(second).ok() });
        let started = || Fact::TurnStarted { summary: String::new() };
        let times = |facts| cut_of(&rows(facts), None).map(|cut| (cut.times, cut.at.as_second()));
        assert_eq!(times(vec![]), None);
        assert_eq!(times(vec![started(), ended(limit(9))]), Some((1, 2)));
        assert_eq!(times(vec![started(), ended(limit(9)), started()]), None);
        assert_eq!(times(vec![started(), ended(limit(9)), started(), ended(limit(10))]), Some((2, 4)));
        assert_eq!(times(vec![ended(limit(9)), ended(None), started(), ended(limit(10))]), Some((1, 4)));
        assert_eq!(times(vec![ended(limit(9)), started(), ended(Some(Blocked::ContextFull))]), Some((1, 3)));
        assert_eq!(times(vec![started(), ended(None)]), None);
    }

    #[test]
    fn an_empty_conversation_that_a_person_began_after_a_limit_is_not_told_to_go_on_with_what_it_never_knew() {
        let rows = rows(vec![ended(Some(Blocked::UsageLimit { until: None }))]);
        let cut = |begun| cut_of(&rows, Timestamp::from_second(begun).ok()).is_some();
        assert!(cut(0) && cut(1), "it is the conversation that was cut off");
        assert!(!cut(2), "it was begun since");
    }

    #[test]
    fn a_login_file_that_is_newer_than_the_failure_ends_the_hold_and_another_file_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let (login, missing) = (directory.path().join("login"), directory.path().join("missing"));
        std::fs::write(&login, "{}").unwrap();
        let written = changed_at(&login).unwrap();
        let before = written - jiff::SignedDuration::from_secs(1);
        assert!(logged_in_since(Some(&login), before));
        assert!(!logged_in_since(Some(&login), written) && !logged_in_since(Some(&missing), before));
        assert!(!logged_in_since(None, before));
    }
}
