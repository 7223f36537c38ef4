//! What a hostile moment may not do to a running fleet: people's keys in the way, crashes between two steps, daemons that
//! come and go under a client.

use std::io::Read;
use std::os::unix::net::UnixListener;

use fleetd::config::CrashPoint;
use fleetd::model::{PromptState, StateName};

use crate::support::fleet::Fleet;
use crate::support::wait::until;

#[tokio::test]
async fn words_that_a_person_types_behind_a_paste_are_never_submitted_with_it() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let id = fleet.fleet(&["send", "ann", "--no-wait", "hello"]);
    until("the paste is there", async || fleet.screen("ann").contains("hello").then_some(())).await;
    fleet.tmux(&["send-keys", "-l", "-t", "=ann:", "a draft of mine"]);
    until("the box shows it", async || fleet.screen("ann").contains("a draft of mine").then_some(())).await;
    fleet.move_clock(60);
    // Whoever was quicker: it was submitted without the draft, or it stands there with it and is told as uncertain.
    let settled = |state: &PromptState| matches!(state.name(), StateName::Uncertain | StateName::Done);
    fleet.until_prompt(&id, "settled", settled).await;
    assert!(!fleet.transcript("ann").contains("a draft of mine"), "{}", fleet.transcript("ann"));
    assert!(fleet.screen("ann").contains("a draft of mine"));
}

#[tokio::test]
async fn a_clock_that_is_set_back_leaves_no_prompt_waiting_for_the_old_time() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    fleet.kill();
    fleet.set("FLEET_CRASH_AT", CrashPoint::Pasted.name());
    fleet.launch();
    until("the daemon answers", async || fleet.run(&["status"]).status.success().then_some(())).await;
    let id = fleet.fleet(&["send", "ann", "--no-wait", "hello"]);
    until("the daemon dies", || std::future::ready(fleet.died().then_some(()))).await;
    fleet.tmux(&["send-keys", "-l", "-t", "=ann:", "x"]);
    until("the box shows both", async || fleet.screen("ann").contains("merge call.x").then_some(())).await;
    fleet.unset("FLEET_CRASH_AT");
    fleet.move_clock(-7200);
    fleet.start().await;
    until("the time is counted anew", async || {
        fleet.trace(&id).steps.iter().any(|step| step.cause.contains("set back")).then_some(())
    })
    .await;
    fleet.move_clock(-7200 + 60);
    fleet.until_prompt(&id, "told as uncertain", |state| state.name() == StateName::Uncertain).await;
    assert!(!fleet.transcript("ann").contains("\"type\":\"prompt\""));
}

#[tokio::test]
async fn a_prompt_kept_in_the_moment_in_which_the_daemon_came_up_is_delivered_without_a_restart() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    let output = fleet.run(&["send", "ann", "for later"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let offline = fleet.state().join("offline");
    let aside = fleet.path("aside");
    std::fs::rename(&offline, &aside).unwrap();
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    std::fs::rename(&aside, &offline).unwrap();
    until("the kept prompt arrives", async || fleet.transcript("ann").contains("for later").then_some(())).await;
    assert_eq!(std::fs::read_dir(&offline).unwrap().count(), 0);
}

#[tokio::test]
async fn a_kept_prompt_that_cannot_be_read_does_not_keep_the_whole_fleet_down() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.run(&["send", "ann", "for later"]);
    let offline = fleet.state().join("offline");
    std::fs::write(offline.join("broken.json"), b"\xff{").unwrap();
    std::fs::create_dir(offline.join("directory.json")).unwrap();
    fleet.start().await;
    until("the other prompt arrives", async || fleet.transcript("ann").contains("for later").then_some(())).await;
    let kept = std::fs::read_dir(&offline).unwrap().map(|entry| entry.unwrap().path());
    assert!(kept.map(|path| std::fs::read(path).unwrap_or_default()).any(|text| text == b"\xff{"), "words were lost");
}

#[tokio::test]
async fn a_daemon_that_dies_under_a_send_does_not_make_the_sender_send_again() {
    let fleet = Fleet::new(&Fleet::practice("ann"));
    std::fs::create_dir_all(fleet.state()).unwrap();
    let socket = fleet.state().join("fleetd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let dying = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        // It has the question, perhaps stored it, and dies without an answer.
        assert!(stream.read(&mut buffer).unwrap() > 0);
        std::fs::remove_file(&socket).unwrap();
    });
    let output = fleet.run(&["send", "ann", "kept all the same"]);
    dying.join().unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert_eq!(std::fs::read_dir(fleet.state().join("offline")).unwrap().count(), 1);
}

#[tokio::test]
async fn people_who_watch_do_not_keep_the_daemon_from_stopping_in_time() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    let mut tail = fleet.command(&["tail"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let socket = fleet.state().join("fleetd.sock");
    until("somebody watches", async || {
        let connected = std::fs::read_to_string("/proc/net/unix").unwrap();
        (connected.matches(socket.to_str().unwrap()).count() > 1).then_some(())
    })
    .await;
    assert_eq!(fleet.stop(), Some(0));
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert!(!fleet.log().contains("did not end in time"), "{}", fleet.log());
}
