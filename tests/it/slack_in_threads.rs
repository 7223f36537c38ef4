//! Threads, edits, files and channels: what people do besides saying something new.

use fleetd::model::{Mode, Outcome, PromptState};
use fleetd::slack::{Ask, Interrupted};

use crate::support::bridge::{House, PR, REVIEWER, Running, ended, said, slug, started};
use crate::support::slack::{BOT_USER, Script};
use crate::support::wait::{PATIENCE, until};

async fn bodies(house: &House, agent: &str) -> Vec<String> {
    house.open(agent).await.into_iter().map(|prompt| prompt.body).collect()
}

/// Whatever came before is acted on: a message in another agent's channel is.
async fn settled(house: &House, bridge: &mut Running) {
    house.slack.human_says(REVIEWER, None, "UANN", "a mark");
    while bridge.prompted().await != slug("pr-reviewer") {}
}

#[tokio::test]
async fn an_edit_changes_what_waits_and_corrects_what_was_given() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let ts = house.slack.human_says(PR, None, "UANN", "delete everything");
    bridge.prompted().await;
    house.slack.human_edits(PR, &ts, "delete nothing");
    until("the prompt is edited", || async { (bodies(&house, "pr").await == ["delete nothing"]).then_some(()) }).await;
    let prompt = house.open("pr").await.remove(0);
    let typing = PromptState::Typing { attempt: 1, steering: false };
    assert!(house.store.begin_typing(&prompt, &[], &typing, "x", "x", prompt.created).await.unwrap());
    house.slack.human_edits(PR, &ts, "delete a little");
    bridge.prompted().await;
    let prompts = house.open("pr").await;
    assert_eq!(prompts[0].body, "delete nothing", "what is typed stays");
    assert_eq!(prompts[1].body, "correction of what was said: delete a little");
    assert_eq!((&prompts[1].place, prompts[1].mode, prompts.len()), (&prompts[0].place, Mode::Thread, 2));
    house.assert_clean();
}

#[tokio::test]
async fn a_deletion_takes_back_what_waits_and_does_nothing_to_what_was_given() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let given = house.slack.human_says(PR, None, "UANN", "given");
    let waits = house.slack.human_says(PR, None, "UANN", "waits");
    bridge.prompted().await;
    bridge.prompted().await;
    let prompt = house.open("pr").await.remove(0);
    let typing = PromptState::Typing { attempt: 1, steering: false };
    assert!(house.store.begin_typing(&prompt, &[], &typing, "x", "x", prompt.created).await.unwrap());
    house.slack.human_deletes(PR, &given);
    house.slack.human_deletes(PR, &waits);
    until("it is taken back", || async { (bodies(&house, "pr").await == ["given"]).then_some(()) }).await;
    house.assert_clean();
}

/// The next ask to break a turn off: whose, of which thread; answered so.
async fn asked(bridge: &mut Running, outcome: Interrupted) -> (String, String) {
    let ask = tokio::time::timeout(PATIENCE, bridge.asks.recv()).await.expect("nothing was asked").unwrap();
    let Ask::Interrupt { agent, place, answer } = ask else { panic!("{ask:?}") };
    answer.send(outcome).unwrap();
    (agent.to_string(), place.thread)
}

#[tokio::test]
async fn stop_in_a_thread_breaks_off_its_turn_alone_and_says_so() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let root = house.slack.human_says(PR, None, "UANN", "work");
    bridge.prompted().await;
    let stop = house.slack.human_says(PR, Some(&root), "UANN", "Stop");
    assert_eq!(asked(&mut bridge, Interrupted::Pressed).await, ("pr".into(), root.clone()));
    house.slack.wait_reaction(PR, &stop, "octagonal_sign").await;
    house.slack.human_reacts(PR, &root, "UANN", "octagonal_sign");
    assert_eq!(asked(&mut bridge, Interrupted::NotThere).await, ("pr".into(), root.clone()));
    house.slack.wait_message("the answer", |message| message.text.contains("nothing was stopped")).await;
    house.slack.human_says(PR, Some(&root), "UANN", ":octagonal_sign:");
    asked(&mut bridge, Interrupted::Failed("its pane is <gone>".into())).await;
    house.slack.wait_message("the answer", |message| message.text.contains("its pane is &lt;gone&gt;")).await;
    let nowhere = house.slack.human_says(PR, None, "UANN", "stop");
    house.slack.wait_message("the answer", |message| message.thread.as_deref() == Some(&nowhere)).await;
    assert_eq!(bodies(&house, "pr").await, ["work"], "none of it is for the agent");
    house.assert_clean();
}

#[tokio::test]
async fn an_aside_is_for_people_and_a_muted_thread_stays_silent_until_it_is_unmuted() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let root = house.slack.human_says(PR, None, "UANN", "work");
    bridge.prompted().await;
    house.slack.human_says(PR, Some(&root), "UANN", "!aside what do we think?");
    let mute = house.slack.human_says(PR, Some(&root), "UANN", "mute");
    house.slack.wait_reaction(PR, &mute, "mute").await;
    let turn = house.open("pr").await.remove(0).id;
    house.did("pr", Some(&turn), [started(), said("unheard")]).await;
    bridge.wake.notify_one();
    let read = async || house.store.feed_cursor("slack").await.unwrap() == Some(house.store.feed_end().await.unwrap());
    until("the feed is read", || async { read().await.then_some(()) }).await;
    let unmute = house.slack.human_says(PR, Some(&root), "UANN", "unmute");
    house.slack.wait_reaction(PR, &unmute, "loud_sound").await;
    house.did("pr", Some(&turn), [said("heard"), ended(Outcome::Completed)]).await;
    bridge.wake.notify_one();
    house.slack.wait_message("the answer", |message| message.text == "heard").await;
    let thread = house.slack.messages_in(PR, Some(&root));
    let told: Vec<&str> = thread.iter().filter(|m| m.user == BOT_USER).map(|m| m.text.as_str()).collect();
    assert_eq!(told, ["heard"]);
    assert_eq!(bodies(&house, "pr").await, ["work"]);
    house.assert_clean();
}

#[tokio::test]
async fn who_waits_behind_another_thread_is_told_so() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let first = house.slack.human_says(PR, None, "UANN", "fix &lt;the&gt; build");
    bridge.prompted().await;
    let second = house.slack.human_says(PR, None, "UBOB", "and the docs");
    bridge.prompted().await;
    let told = house.slack.wait_message("the place", |m| m.thread.as_deref() == Some(&second)).await;
    assert!(told.text.contains("2nd in the queue, behind Ann: fix &lt;the&gt; build"), "{}", told.text);
    house.slack.human_says(PR, Some(&first), "UANN", "more");
    bridge.prompted().await;
    settled(&house, &mut bridge).await;
    assert!(house.slack.messages_in(PR, Some(&first)).iter().all(|message| message.user != BOT_USER));
    house.assert_clean();
}

#[tokio::test]
async fn files_lie_where_the_agent_can_read_them_and_one_that_can_t_be_had_never_loses_the_message() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    house.slack.script("file", &[Script::Status(500)]);
    let files: [(&str, &str, &[u8]); 3] = [
        ("../a shot.png", "image/png", b"pixels"),
        ("notes.md", "text/markdown", b"words"),
        ("film.mp4", "video/mp4", b"frames"),
    ];
    let ts = house.slack.human_shares(PR, "UANN", "look", &files);
    house.slack.human_says(PR, Some(&ts), "UANN", "and hurry");
    bridge.prompted().await;
    bridge.prompted().await;
    let prompts = bodies(&house, "pr").await;
    let inbox = &house.options.inboxes[&slug("pr")];
    let (shot, notes) = (inbox.join("_a_shot.png"), inbox.join("notes.md"));
    let expected = format!(
        "look\n\nFiles of this message:\n- {}\n- {}\n- film.mp4: not fetched, only images and text are",
        shot.display(),
        notes.display()
    );
    assert_eq!(prompts, [expected, "and hurry".to_owned()], "what is said in a thread stays in its order");
    assert_eq!((std::fs::read(&shot).unwrap(), std::fs::read(&notes).unwrap()), (b"pixels".into(), b"words".into()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&shot).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    house.slack.script("file", &[Script::Status(404)]);
    house.slack.human_shares(PR, "UANN", "", &files[..1]);
    bridge.prompted().await;
    let last = bodies(&house, "pr").await.pop().unwrap();
    assert!(last.ends_with("- _a_shot.png: not fetched, slack answered with http status 404"), "{last}");
    house.assert_clean();
}

#[tokio::test]
async fn an_archived_channel_holds_back_what_there_is_to_say_and_says_it_when_it_is_back() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let root = house.slack.human_says(PR, None, "UANN", "work");
    bridge.prompted().await;
    house.slack.archive(PR, true);
    let away = |status: &fleetd::slack::BridgeStatus| status.channels.get(&slug("pr")).cloned();
    let told = bridge.wait_status("it is told", |status| away(status).is_some()).await;
    assert!(away(&told).unwrap().contains("archived"), "{told:?}");
    let notices = house.store.notices_after(0, 9).await.unwrap();
    assert!(notices[0].notice.to_string().contains("archived"), "{notices:?}");
    let turn = house.open("pr").await.remove(0).id;
    house.did("pr", Some(&turn), [started(), said("an answer")]).await;
    bridge.wake.notify_one();
    until("the answer waits", || async { (house.store.outbox_heads().await.unwrap().len() == 1).then_some(()) }).await;
    house.slack.archive(PR, false);
    house.slack.wait_message("the answer", |m| m.text == "an answer" && m.thread.as_deref() == Some(&root)).await;
    bridge.wait_status("all is well", |status| away(status).is_none()).await;
    house.assert_clean();
}

#[tokio::test]
async fn a_channel_that_is_renamed_or_gets_another_id_is_still_its_agent_s() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let root = house.slack.human_says(PR, None, "UANN", "before");
    bridge.prompted().await;
    let lists = house.slack.count("conversations.list");
    house.slack.rename(PR, "another-name");
    until("it looked again", || async { (house.slack.count("conversations.list") > lists).then_some(()) }).await;
    house.slack.human_says(PR, None, "UANN", "renamed");
    bridge.prompted().await;
    const MOVED: &str = "C00000077";
    house.slack.migrate(PR, MOVED);
    until("it is followed", || async { house.store.slack_thread(MOVED, &root).await.unwrap() }).await;
    let turn = house.open("pr").await.remove(0).id;
    house.did("pr", Some(&turn), [said("an answer")]).await;
    bridge.wake.notify_one();
    house.slack.wait_message("the answer", |m| m.text == "an answer" && m.thread.as_deref() == Some(&root)).await;
    until("its new id is the agent's", || async {
        house.store.slack_channel("#agent-pr").await.unwrap().filter(|id| id == MOVED)
    })
    .await;
    house.slack.human_says(MOVED, Some(&root), "UANN", "moved");
    bridge.prompted().await;
    assert_eq!(bodies(&house, "pr").await, ["before", "renamed", "moved"]);
    house.assert_clean();
}
