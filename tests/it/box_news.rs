//! What only the status channel tells: a disk that fills up, and an agent that does not stay up. Each is told once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::fleet::Fleet;
use crate::support::slack::FakeSlack;
use crate::support::wait::until;

const STATUS: &str = "C00000002";

/// A small file system of its own; gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where mounting is not allowed.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the agents still work in it.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

async fn connected(fleet: &Fleet) {
    until("the bridge is up", async || fleet.status().slack.is_some_and(|slack| slack.connected).then_some(())).await;
}

async fn low(fleet: &Fleet, whether: bool) {
    let is = |fleet: &Fleet| fleet.status().problems.iter().any(|problem| problem.contains("is nearly full: "));
    let event = if whether { "the disk is low" } else { "the disk has room" };
    until(event, async || (is(fleet) == whether).then_some(())).await;
}

#[tokio::test]
async fn a_disk_that_fills_up_is_told_when_it_begins_and_not_again_over_a_restart() {
    let slack = FakeSlack::start(&[("status", STATUS)], Duration::from_secs(3)).await;
    let mut fleet = Fleet::new("");
    fleet.configure(&(Fleet::practice("ann") + "statusChannel: \"#status\"\n"));
    let Some(disk) = SmallDisk::mount(&fleet.path("work")) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let ballast = disk.0.join("ballast");
    fleet.on_slack(&slack);
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    connected(&fleet).await;
    low(&fleet, false).await;
    slack.wait_message("the boot is told", |post| post.text.contains("fleetd is up")).await;

    std::fs::write(&ballast, vec![1; 56 << 20]).unwrap();
    low(&fleet, true).await;
    fleet.kill();
    fleet.start().await;
    low(&fleet, true).await;
    connected(&fleet).await;
    fleet.move_clock(120);
    let news = slack.wait_message("the disk is told", |post| post.text.contains("is nearly full")).await;
    assert!(news.text.contains("/work is nearly full: ") && news.text.contains("MiB left"), "{news:?}");

    std::fs::remove_file(&ballast).unwrap();
    low(&fleet, false).await;
    fleet.move_clock(240);
    std::fs::write(&ballast, vec![1; 56 << 20]).unwrap();
    low(&fleet, true).await;
    let times = || {
        let all: String = slack.messages_in(STATUS, None).into_iter().map(|post| post.text + "\n").collect();
        all.matches("is nearly full").count()
    };
    until("it is told anew once it had ended", async || (times() >= 2).then_some(())).await;
    assert_eq!(times(), 2, "{:?}", slack.messages_in(STATUS, None));
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_agent_that_does_not_stay_up_is_told_once_and_its_last_words_call_nobody() {
    let slack = FakeSlack::start(&[("status", STATUS)], Duration::from_secs(3)).await;
    let mut fleet = Fleet::new("");
    let bob = "  - slug: bob\n    runtime: command\n    command: [/bin/sh, -c, \"echo '<!channel> & bye'; exit 3\"]\n    prompt: \"❯\"\n";
    fleet.configure(&(Fleet::practice("ann") + bob + "statusChannel: \"#status\"\n"));
    fleet.on_slack(&slack);
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    connected(&fleet).await;
    slack.wait_message("the boot is told", |post| post.text.contains("fleetd is up")).await;
    until("bob crashed for the fifth time", async || fleet.log().contains("its last 5 starts").then_some(())).await;
    fleet.move_clock(120);
    let told = |text: &str| text.contains("*bob* ended soon after each of its last 5 starts");
    let news = slack.wait_message("the crashes are told", |post| told(&post.text)).await;
    assert!(!news.text.contains("<!channel>"), "{news:?}");
    // A further crash, and a restart, tell nothing anew.
    fleet.fleet(&["reconcile"]);
    fleet.kill();
    fleet.start().await;
    connected(&fleet).await;
    fleet.move_clock(240);
    slack.wait_message("the second boot is told", |post| post.text.contains("fleetd is up: 1 running")).await;
    let times = slack.messages_in(STATUS, None).iter().filter(|post| told(&post.text)).count();
    assert_eq!(times, 1, "{:?}", slack.messages_in(STATUS, None));
    fleet.until_state("ann", "idle").await;
}
