//! Who may do what from Slack: by each way in, for each sort of person, while rights and Slack change.

use std::sync::Arc;
use std::time::Duration;

use fleetd::config::{Grantee, Rights};
use fleetd::model::{Clock, Prompt, PromptId, Source, StateName};
use fleetd::slack::{AgentView, Ask, FleetView, QueuedView};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::bridge::{House, Moved, NOBODYS, PR, REVIEWER, Running, slug};
use crate::support::fleet::Fleet;
use crate::support::slack::{BOT_USER, FakeSlack};
use crate::support::wait::until;

fn only(list: &[&str]) -> Rights {
    let list: Vec<Grantee> = list
        .iter()
        .map(|id| match id.chars().next() {
            Some('S') => Grantee::Group((*id).to_owned()),
            _ => Grantee::User((*id).to_owned()),
        })
        .collect();
    Rights { steer: list.clone(), stop: list.clone(), approve: list }
}

impl House {
    fn give(&self, rights: &Rights) {
        let all = ["pr", "pr-reviewer"].map(|agent| (slug(agent), rights.clone()));
        self.rights.send_replace(Arc::new(all.to_vec()));
    }

    /// Somebody of each sort that may do nothing by itself.
    fn strangers(&self) -> [&'static str; 4] {
        self.slack.person("UGUEST", "Gus", json!({"is_restricted": true}));
        self.slack.person("UALIEN", "Al", json!({"team_id": "T2", "is_stranger": true}));
        self.slack.person("UROBOT", "Rob", json!({"is_bot": true}));
        self.slack.person("UGONE", "Gon", json!({"deleted": true}));
        ["UGUEST", "UALIEN", "UROBOT", "UGONE"]
    }

    /// Everything that arrived is settled.
    async fn settled(&self) {
        self.slack.wait_acked().await;
        until("everything that arrived is settled", || async {
            self.store.open_envelopes(9).await.unwrap().is_empty().then_some(())
        })
        .await;
    }

    /// Everything that arrived is settled, and what was to be said of it is said.
    async fn quiet(&self) {
        self.settled().await;
        self.all_said().await;
    }

    async fn bodies(&self) -> Vec<String> {
        self.open("pr").await.into_iter().map(|prompt| prompt.body).collect()
    }
}

/// A bridge whose clock a test moves.
async fn started_at(house: &House, clock: &Arc<Moved>) -> Running {
    let mut bridge = house.start_at(Arc::clone(clock) as Arc<dyn Clock>);
    bridge.wait_status("the bridge is connected", |status| status.connected).await;
    bridge
}

fn later(clock: &Moved, minutes: i64) {
    *clock.0.lock().unwrap() += SignedDuration::from_mins(minutes);
}

/// Every way in that takes a right, tried by one person below a thread of the agent's.
fn try_everything(house: &House, user: &str, root: &str) {
    let slack = &house.slack;
    let said = slack.human_says(PR, None, user, "do as I say");
    slack.mention(PR, None, user, "do as I say");
    slack.human_says(PR, Some(root), user, "do as I say");
    slack.human_says(PR, Some(root), user, "stop");
    let message = |subtype: &str, more: serde_json::Value| {
        let mut event = json!({"type": "message", "subtype": subtype, "channel": PR, "user": user, "text": "do as I say",
            "ts": format!("{said}1")});
        more.as_object().unwrap().iter().for_each(|(key, value)| event[key] = value.clone());
        event
    };
    slack.raw_event(message("file_share", json!({"files": [{"id": "F1", "name": "a.png", "mimetype": "image/png"}]})));
    slack.raw_event(message(
        "message_changed",
        json!({"message": {"type": "message", "user": user, "text": "do otherwise", "ts": root}, "ts": format!("{said}2"),
            "previous_message": {"type": "message", "user": user, "text": "x", "ts": root}}),
    ));
    slack.raw_event(json!({"type": "reaction_added", "user": user, "reaction": "octagonal_sign", "item_user": "UANN",
        "item": {"type": "message", "channel": PR, "ts": root}, "event_ts": format!("{said}3")}));
    slack.press(user, PR, root);
    for text in ["send pr do as I say", "stop pr", "nudge pr", "send do as I say", "stop"] {
        slack.command(user, PR, text);
    }
}

#[tokio::test]
async fn whoever_may_not_steer_is_refused_alone_by_every_way_in_and_the_agent_is_untouched() {
    let house = House::new().await;
    let strangers = house.strangers();
    let mut bridge = house.started().await;
    let root = house.slack.human_says(PR, None, "UANN", "a member's words");
    bridge.prompted().await;
    for user in strangers {
        try_everything(&house, user, &root);
        house.settled().await;
        assert_eq!(house.bodies().await, ["a member's words"], "{user}");
        assert!(bridge.asks.try_recv().is_err(), "{user} reached the daemon");
    }
    // A member whom the lists leave out is no better off.
    house.give(&only(&["ULISTED"]));
    house.slack.person("ULISTED", "Lis", json!({}));
    try_everything(&house, "UANN", &root);
    house.settled().await;
    assert_eq!(house.bodies().await, ["a member's words"]);
    assert!(bridge.asks.try_recv().is_err());
    house.quiet().await;
    for (user, why) in [("UGUEST", "guests"), ("UALIEN", "other workspaces"), ("UANN", "lists others")] {
        let told = house.slack.whispers(user);
        assert_eq!(told.len(), 1, "once an hour, however often they try: {told:?}");
        assert!(told[0].channel == PR && told[0].text.contains(why) && told[0].text.contains(user), "{told:?}");
    }
    for user in ["UROBOT", "UGONE"] {
        assert_eq!(house.slack.whispers(user), [], "{user} reads nothing");
    }
    let answers = house.slack.answers();
    assert_eq!(answers.len(), 25);
    assert!(answers.iter().all(|answer| answer.contains("You may not")), "{answers:?}");
    let public = house.slack.everything_in(PR).into_iter().filter(|message| message.user == BOT_USER).count();
    assert_eq!(public, 0, "a refusal is nobody else's affair");
    // And the one who is listed may.
    house.slack.human_says(PR, Some(&root), "ULISTED", "listed words");
    bridge.prompted().await;
    assert_eq!(house.bodies().await, ["a member's words", "listed words"]);
    house.assert_clean();
}

#[tokio::test]
async fn fleetd_s_own_and_other_programs_words_and_presses_count_for_nothing_even_where_somebody_lists_them() {
    let house = House::new().await;
    house.slack.person("UROBOT", "Rob", json!({"is_bot": true}));
    house.slack.person(BOT_USER, "fleet", json!({}));
    house.give(&only(&["UROBOT", BOT_USER, "UANN"]));
    let mut bridge = house.started().await;
    let root = house.slack.human_says(PR, None, "UANN", "a person's words");
    bridge.prompted().await;
    for user in ["UROBOT", BOT_USER] {
        try_everything(&house, user, &root);
    }
    house.settled().await;
    assert_eq!(house.bodies().await, ["a person's words"]);
    assert!(bridge.asks.try_recv().is_err());
    house.assert_clean();
}

#[tokio::test]
async fn rights_that_change_count_from_the_next_word_on_while_nothing_begins_again() {
    let house = House::new().await;
    house.strangers();
    house.slack.group("S00000001", &["UGUEST", "UALIEN"]);
    let mut bridge = house.started().await;
    house.slack.human_says(PR, None, "UGUEST", "too early");
    house.settled().await;
    assert_eq!(house.bodies().await, [""; 0]);
    let opened = house.slack.count("apps.connections.open");
    house.give(&only(&["S00000001"]));
    house.slack.human_says(PR, None, "UGUEST", "as one of a group");
    bridge.prompted().await;
    // Another workspace's people count by their own id alone.
    house.slack.human_says(PR, None, "UALIEN", "as one of a group too");
    house.settled().await;
    house.give(&only(&["UALIEN"]));
    house.slack.human_says(PR, None, "UALIEN", "by name");
    bridge.prompted().await;
    house.slack.human_says(PR, None, "UGUEST", "too late");
    house.settled().await;
    assert_eq!(house.bodies().await, ["as one of a group", "by name"]);
    assert_eq!(house.slack.count("apps.connections.open"), opened, "the sockets stayed");
    house.assert_clean();
}

#[tokio::test]
async fn nobody_is_refused_by_what_they_were_and_nobody_keeps_for_long_what_they_lost() {
    let house = House::new().await;
    house.strangers();
    let clock = Arc::new(Moved::default());
    let mut bridge = started_at(&house, &clock).await;
    house.slack.human_says(PR, None, "UGUEST", "as a guest");
    house.settled().await;
    until("the refusal is told", || async { (!house.slack.whispers("UGUEST").is_empty()).then_some(()) }).await;
    // Made a member within the five minutes for which an answer counts.
    house.slack.person("UGUEST", "Gus", json!({}));
    later(&clock, 1);
    house.slack.human_says(PR, None, "UGUEST", "as a member");
    bridge.prompted().await;
    house.slack.person("UGUEST", "Gus", json!({"is_ultra_restricted": true}));
    later(&clock, 6);
    house.slack.human_says(PR, None, "UGUEST", "as a guest again");
    house.quiet().await;
    assert_eq!(house.bodies().await, ["as a member"]);
    assert_eq!(house.slack.whispers("UGUEST").len(), 1, "told within the hour");
    later(&clock, 60);
    house.slack.human_says(PR, None, "UGUEST", "and again");
    until("it is told again", || async { (house.slack.whispers("UGUEST").len() == 2).then_some(()) }).await;
    house.assert_clean();
}

#[tokio::test]
async fn while_slack_can_t_say_who_somebody_is_the_known_go_on_and_the_unknown_wait_and_nothing_is_lost() {
    let mut house = House::new().await;
    house.strangers();
    let clock = Arc::new(Moved::default());
    let mut bridge = started_at(&house, &clock).await;
    house.slack.human_says(PR, None, "UANN", "one");
    bridge.prompted().await;
    house.slack.break_down("users.info", true);
    later(&clock, 60);
    house.slack.human_says(PR, None, "UGUEST", "of a guest");
    house.slack.human_says(PR, None, "UBOB", "first of the unknown");
    house.slack.human_says(PR, None, "UBOB", "second of the unknown");
    house.slack.human_says(PR, None, "UANN", "two");
    bridge.prompted().await;
    bridge
        .wait_status("it is told", |status| {
            status.problem.as_ref().is_some_and(|text| text.contains("who somebody is"))
        })
        .await;
    assert_eq!((house.bodies().await.len(), house.store.open_envelopes(9).await.unwrap().len()), (2, 3));
    // What is known outlives fleetd.
    bridge.kill().await;
    house.reopened().await;
    let mut bridge = started_at(&house, &clock).await;
    house.slack.human_says(PR, None, "UANN", "three");
    bridge.prompted().await;
    assert_eq!(house.bodies().await, ["one", "two", "three"]);
    house.slack.break_down("users.info", false);
    bridge.prompted().await;
    bridge.prompted().await;
    house.settled().await;
    let all = ["one", "two", "three", "first of the unknown", "second of the unknown"];
    assert_eq!(house.bodies().await, all);
    bridge.wait_status("all is well again", |status| status.problem.is_none()).await;
    house.assert_clean();
}

/// Answers what only the daemon can, and tells each stop and nudge.
fn daemon(mut asks: mpsc::UnboundedReceiver<Ask>) -> (JoinHandle<()>, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let view = |agent: &str| AgentView {
        agent: slug(agent),
        state: "busy",
        detail: None,
        since: Some(Timestamp::UNIX_EPOCH),
        held_by: None,
        queued: 2,
        held: None,
        last: None,
        next_nudge: None,
        problem: None,
    };
    let task = tokio::spawn(async move {
        while let Some(ask) = asks.recv().await {
            match ask {
                Ask::Look { answer } => {
                    let agents = vec![view("pr"), view("pr-reviewer")];
                    let fleet = FleetView { agents, problems: vec!["the disk".into()], stops_at: None };
                    answer.send(Ok(fleet)).unwrap();
                }
                Ask::Queue { answer } => {
                    let queued = QueuedView {
                        id: PromptId::random(),
                        agent: slug("pr-reviewer"),
                        source: "cli",
                        who: "bob".into(),
                        at: Timestamp::UNIX_EPOCH,
                        state: "queued".into(),
                        held: None,
                        text: "what waits".into(),
                    };
                    answer.send(Ok(vec![queued])).unwrap();
                }
                Ask::Stop { agent, who, answer } => {
                    tell.send(format!("stop {agent} by {who}")).unwrap();
                    answer.send(Ok("held; its turn was interrupted".into())).unwrap();
                }
                Ask::Nudge { agent, who, key, answer } => {
                    tell.send(format!("nudge {agent} by {who} {key}")).unwrap();
                    answer.send(Err("it has no dailyPrompt".into())).unwrap();
                }
                Ask::Interrupt { .. } => panic!("nobody asked for that"),
            }
        }
    });
    (task, told)
}

#[tokio::test]
async fn a_command_is_answered_to_whoever_typed_it_alone_and_done_once_however_often_it_arrives() {
    let mut house = House::new().await;
    let mut bridge = house.started().await;
    let asks = std::mem::replace(&mut bridge.asks, mpsc::unbounded_channel().1);
    let (_daemon, mut told) = daemon(asks);
    let slack = &house.slack;
    let payload = slack.command("UANN", PR, "send  look &amp; mend");
    slack.wait_answer("it is stored", |answer| answer.contains("Stored for *pr*")).await;
    slack.redeliver_last(payload.clone());
    slack.command("UANN", NOBODYS, "send pr-reviewer review it");
    slack.wait_answer("it is stored", |answer| answer.contains("Stored for *pr-reviewer*")).await;
    let prompts: Vec<Prompt> = house.open("pr").await;
    assert_eq!((prompts.len(), prompts[0].body.as_str(), prompts[0].who.as_str()), (1, "look & mend", "Ann"));
    assert_eq!((&prompts[0].source, &prompts[0].place), (&Source::Slack, &None));
    assert_eq!(house.open("pr-reviewer").await.len(), 1);
    slack.command("UANN", REVIEWER, "stop");
    slack.wait_answer("the stop", |answer| answer.contains("*pr-reviewer*: held; its turn was interrupted")).await;
    assert_eq!(told.recv().await.unwrap(), "stop pr-reviewer by Ann");
    slack.command("UANN", PR, "nudge");
    slack.wait_answer("the refused nudge", |answer| answer.contains("it has no dailyPrompt")).await;
    assert!(told.recv().await.unwrap().starts_with("nudge pr by Ann slack-command/"));
    slack.command("UANN", NOBODYS, "status");
    let status = slack.wait_answer("the status", |answer| answer.contains("the disk")).await;
    assert!(
        status.contains("*pr*") && status.contains("*pr-reviewer*") && status.contains("2 prompts wait"),
        "{status}"
    );
    slack.command("UANN", PR, "queue pr-reviewer");
    slack.wait_answer("the queue", |answer| answer.contains("what waits")).await;
    slack.command("UANN", PR, "frobnicate");
    slack
        .wait_answer("the help", |answer| answer.contains("/fleet frobnicate") && answer.contains("/fleet queue"))
        .await;
    // Its own address is gone: told in the channel, still to one person alone.
    slack.forget_addresses(true);
    slack.command("UANN", PR, "help");
    until("the whisper", || async { (slack.whispers("UANN").len() == 1).then_some(()) }).await;
    assert!(slack.whispers("UANN")[0].text.contains("/fleet nudge"));
    house.settled().await;
    bridge.kill().await;
    house.reopened().await;
    let _bridge = house.started().await;
    house.slack.redeliver_last(payload);
    house.settled().await;
    assert_eq!(house.open("pr").await.len(), 1);
    assert!(house.slack.messages_in(PR, None).is_empty(), "nobody else saw any of it");
    house.assert_clean();
}

#[tokio::test]
async fn a_command_that_nobody_could_carry_out_is_done_by_the_next_start_but_no_stop_of_another_hour() {
    let mut house = House::new().await;
    let clock = Arc::new(Moved::default());
    let mut bridge = started_at(&house, &clock).await;
    // No daemon answers: it is going down.
    bridge.asks.close();
    house.slack.command("UANN", PR, "stop");
    house.slack.command("UANN", PR, "status");
    house.slack.wait_acked().await;
    assert_eq!(house.store.open_envelopes(9).await.unwrap().len(), 2);
    bridge.kill().await;
    house.reopened().await;
    later(&clock, 60);
    let mut bridge = started_at(&house, &clock).await;
    let asks = std::mem::replace(&mut bridge.asks, mpsc::unbounded_channel().1);
    let (_daemon, mut told) = daemon(asks);
    until("both are answered", || async { (house.slack.whispers("UANN").len() == 2).then_some(()) }).await;
    let whispers: String = house.slack.whispers("UANN").into_iter().map(|whisper| whisper.text).collect();
    assert!(whispers.contains("was not done") && whispers.contains("*pr*"), "{whispers}");
    assert!(told.try_recv().is_err(), "nothing was stopped an hour later");
    house.settled().await;
    house.assert_clean();
}

#[tokio::test]
async fn the_home_shows_the_fleet_to_whom_it_may_and_follows_it_only_where_it_changes() {
    let mut house = House::new().await;
    house.options.timing.home = Duration::from_millis(50);
    house.strangers();
    house.slack.person("UINVITED", "Inn", json!({"is_restricted": true}));
    let rights = vec![(slug("pr"), only(&["UINVITED"])), (slug("pr-reviewer"), only(&["UANN"]))];
    house.rights.send_replace(Arc::new(rights));
    let mut bridge = house.started().await;
    let asks = std::mem::replace(&mut bridge.asks, mpsc::unbounded_channel().1);
    let (_daemon, _told) = daemon(asks);
    for user in ["UANN", "UGUEST", "UALIEN", "UINVITED"] {
        house.slack.open_home(user);
    }
    let slack = &house.slack;
    let home = |user: &'static str| until("a home", move || std::future::ready(slack.home(user)));
    let whole = home("UANN").await;
    assert!(whole.contains(&format!("*pr* <#{PR}> busy")) && whole.contains("*pr-reviewer*"), "{whole}");
    assert!(whole.contains("the disk"), "{whole}");
    for user in ["UGUEST", "UALIEN"] {
        let nothing = home(user).await;
        assert!(nothing.contains("nothing here") && !nothing.contains("pr"), "{user}: {nothing}");
    }
    let part = home("UINVITED").await;
    assert!(part.contains("*pr*") && !part.contains("*pr-reviewer*") && !part.contains("the disk"), "{part}");
    let published = house.slack.count("views.publish");
    assert_eq!(published, 4);
    // Rights that are taken away take the view with them.
    house.rights.send_replace(Arc::new(vec![(slug("pr"), only(&["UBOB"])), (slug("pr-reviewer"), only(&["UBOB"]))]));
    until("the guest's view is gone", || async {
        house.slack.home("UINVITED").filter(|home| home.contains("nothing here"))
    })
    .await;
    assert_eq!(house.slack.count("views.publish"), published + 1, "what did not change is not written again");
    house.assert_clean();
}

#[tokio::test]
async fn a_changed_agents_yaml_changes_who_may_speak_to_the_running_agent_and_the_log_names_who_was_refused() {
    const CHANNEL: &str = "C0000000A";
    let slack = FakeSlack::start(&[("agent-ann", CHANNEL)], Duration::from_secs(3)).await;
    slack.person("U00GUEST1", "Gus", json!({"is_restricted": true}));
    let ann = Fleet::practice("ann") + "    slackChannel: \"#agent-ann\"\n    dailyPrompt: good morning\n";
    let mut fleet = Fleet::new(&ann);
    fleet.on_slack(&slack);
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let pid = fleet.agent_pid("ann");
    until("the bridge is up", async || fleet.status().slack?.connected.then_some(())).await;
    slack.human_says(CHANNEL, None, "U00GUEST1", "refuse this");
    until("the refusal is told", || async { (!slack.whispers("U00GUEST1").is_empty()).then_some(()) }).await;
    let log = fleet.log();
    let line = log.lines().find(|line| line.contains("refused from slack")).expect("the refusal is logged");
    assert!(line.contains("U00GUEST1") && line.contains("ann") && line.contains("steer"), "{line}");
    assert!(!log.contains("refuse this"), "what nobody may say is in no log");
    fleet.configure(&(ann.clone() + "    slack: {steer: [members, U00GUEST1]}\n"));
    until("the change is taken", async || fleet.log().contains("agents.yaml was taken").then_some(())).await;
    slack.human_says(CHANNEL, None, "U00GUEST1", "hear this");
    slack.wait_message("the answer", |message| message.text.contains("hear this")).await;
    assert_eq!(fleet.agent_pid("ann"), pid);
    assert!(!fleet.transcript("ann").contains("refuse this"));

    slack.command("UANN", CHANNEL, "nudge");
    let answer = slack.wait_answer("the nudge", |answer| answer.contains("Stored for *ann*")).await;
    let id = answer.split('`').nth(1).unwrap().to_owned();
    let view = fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
    assert_eq!((view.source, view.who.as_str()), (Source::NudgeByHand, "Ann"));
    slack.command("UANN", CHANNEL, "stop ann");
    slack.wait_answer("the stop", |answer| answer.contains("*ann*: held; no turn ran")).await;
    fleet.until_state("ann", "paused").await;
    slack.command("UANN", CHANNEL, "send wait for me");
    slack.wait_answer("it is stored", |answer| answer.contains("Stored for *ann*") && !answer.contains(&id)).await;
    slack.command("UANN", CHANNEL, "queue");
    slack.wait_answer("the queue", |answer| answer.contains("wait for me")).await;
    slack.command("UANN", CHANNEL, "status");
    slack.wait_answer("the status", |answer| answer.contains("*ann* <#C0000000A> paused")).await;
    slack.open_home("UANN");
    until("the home", || async { slack.home("UANN").filter(|home| home.contains("1 prompt waits")) }).await;
    assert_eq!(slack.violations(), Vec::<String>::new());
}
