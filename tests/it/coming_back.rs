//! Whatever happens to the box, each agent comes back as the conversation it was, once, and quickly; what a dead one left
//! behind goes.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use fleetd::model::Notice;
use fleetd::store::Store;
use fleetd::tmux::{ProcessMark, ProcessStatus};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::fleet::{FLEETD, Fleet};
use crate::support::private_tmux::PrivateTmux;
use crate::support::wait::until;

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

fn lives(pid: u32) -> bool {
    ProcessStatus::read(pid).is_some()
}

async fn gone(pid: u32) {
    until(&format!("process {pid} has ended"), async || (!lives(pid)).then_some(())).await;
}

/// Waits until another process than `before` sits in the agent's pane.
async fn another(fleet: &Fleet, slug: &str, before: u32) -> u32 {
    until(&format!("another process is {slug}"), async || {
        let pane = fleet.tmux(&["display-message", "-p", "-t", &format!("={slug}:"), "#{pane_dead} #{pane_pid}"]);
        let pid = pane.strip_prefix("0 ")?.parse().ok()?;
        (pid != before && lives(pid)).then_some(pid)
    })
    .await
}

fn kill_server(fleet: &Fleet) {
    kill(fleet.tmux(&["display-message", "-p", "#{pid}"]).parse().unwrap());
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The pid that an agent's script wrote.
async fn noted(path: &Path) -> u32 {
    let read = async || std::fs::read_to_string(path).ok()?.trim().parse().ok();
    until(&format!("a pid stands in {}", path.display()), read).await
}

#[tokio::test]
async fn an_agent_that_is_killed_is_back_long_before_the_next_tick_and_again_and_again() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    let mut pid = fleet.agent_pid("ann");
    for _ in 0..2 {
        let begun = Instant::now();
        kill(pid);
        pid = another(&fleet, "ann", pid).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    assert!(fleet.fleet(&["send", "ann", "--reply", "well?"]).contains("prompt 1 of this conversation"));
}

#[tokio::test]
async fn people_can_attach_again_soon_after_the_socket_s_file_was_deleted_and_no_agent_is_started_anew() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    let pid = fleet.agent_pid("ann");
    std::fs::remove_file(fleet.tmux(&["display-message", "-p", "#{socket_path}"])).unwrap();
    assert_eq!(fleet.tmux(&["display-message", "-p", "up"]), "", "the socket is still there");
    until("tmux answers people again", async || (fleet.tmux(&["display-message", "-p", "up"]) == "up").then_some(()))
        .await;
    assert_eq!(fleet.agent_pid("ann"), pid);
}

#[tokio::test]
async fn people_are_told_once_of_an_agent_that_crashes_on_and_on() {
    let mut fleet = Fleet::new("");
    script(&fleet.path("agent"), "echo; echo out of luck; exit 3\n");
    fleet
        .configure(&format!("  - slug: ann\n    runtime: command\n    command: [{}]\n", fleet.path("agent").display()));
    fleet.start().await;
    let store = Store::open(&fleet.state().join("fleet.db")).await.unwrap();
    let crashes = async || {
        let notices = store.notices_after(0, 100).await.unwrap().into_iter();
        notices.filter(|row| matches!(row.notice, Notice::Crashed { .. })).collect::<Vec<_>>()
    };
    let told = until("people are told", async || crashes().await.pop()).await;
    let text = told.notice.to_string();
    assert!(text.contains("5 starts") && text.contains("exited with status 3, out of luck"), "{text}");
    let launches = async || store.conversation(&"ann".parse().unwrap()).await.unwrap().unwrap().launches;
    // A look at the dead pane must not tell the same in other words.
    let id = fleet.hand_in("ann", "hello");
    until("a pass has looked at its pane", async || fleet.trace(&id).held.is_some().then_some(())).await;
    let before = launches().await;
    until("it is tried again and again", async || {
        fleet.fleet(&["status"]);
        fleet.run(&["reconcile"]);
        (launches().await >= before + 3).then_some(())
    })
    .await;
    assert_eq!(crashes().await.len(), 1);
}

#[tokio::test]
async fn after_a_reboot_every_agent_is_the_conversation_it_was_whatever_the_old_files_say() {
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + &Fleet::practice("bob")));
    fleet.start().await;
    for slug in ["ann", "bob"] {
        fleet.fleet(&["send", slug, "--reply", "one"]);
    }
    let (ann, bob) = (fleet.agent_pid("ann"), fleet.agent_pid("bob"));
    fleet.kill();
    kill_server(&fleet);
    gone(ann).await;
    gone(bob).await;
    // After a boot the pids of all our files are other people's: here a process that must not be touched.
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let start = ProcessStatus::read(stranger.id()).unwrap().start;
    for file in ["agents/ann/process", "agents/bob/process", "tmux/tmux.pid", "tmux/control.pid"] {
        let other = ProcessMark { pid: stranger.id(), start: start + 1 };
        std::fs::write(fleet.state().join(file), format!("{other}\n{other}\n")).unwrap();
    }
    fleet.start().await;
    for slug in ["ann", "bob"] {
        let reply = fleet.fleet(&["send", slug, "--reply", "two"]);
        assert!(reply.contains("prompt 2 of this conversation"), "{slug}: {reply}");
    }
    assert!(stranger.try_wait().unwrap().is_none(), "a stranger of the same pid was ended");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn what_a_dead_agent_left_behind_goes_and_neither_holds_it_up_nor_takes_what_the_living_one_runs() {
    let mut fleet = Fleet::new("");
    let child = |life: u32| fleet.path(&format!("child-{life}"));
    let text = format!(
        "setsid sh -c 'trap \"\" HUP TERM; echo $$ > {}/child-'$FLEET_LAUNCH'; while :; do sleep 1; done' < /dev/null \
         > /dev/null 2>&1 &\nexec {FLEETD} practice-agent --speed 0\n",
        fleet.path("").display()
    );
    script(&fleet.path("agent"), &text);
    let (agent, left, runs) = (fleet.path("agent"), child(1), child(2));
    fleet.configure(&format!(
        "  - slug: ann\n    runtime: command\n    command: [{}]\n    prompt: \"❯\"\n",
        agent.display()
    ));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let left = noted(&left).await;
    let begun = Instant::now();
    let first = fleet.agent_pid("ann");
    kill(first);
    another(&fleet, "ann", first).await;
    assert!(begun.elapsed() < Duration::from_secs(5) && lives(left), "the agent waited for it: {:?}", begun.elapsed());
    let runs = noted(&runs).await;
    gone(left).await;
    assert!(lives(runs), "what the living agent runs was ended");
    kill(runs);
}

/// A program that is called as Claude is and keeps the same state file, and what it does then. It notes if another process
/// has the conversation.
fn like_claude(fleet: &Fleet, then: &str) -> String {
    let home = fleet.path("");
    let text = format!(
        "sessions={0}/claude/sessions\nmkdir -p $sessions\nid= before=\n\
         for word; do case $before in --session-id|--resume) id=$word;; esac; before=$word; done\n\
         for file in $sessions/*.json; do\n  [ -e \"$file\" ] || continue\n  pid=$(basename \"$file\" .json)\n  \
         grep -sq 'State:.[^ZX]' /proc/$pid/status && touch {0}/together\ndone\n\
         echo \"{{\\\"sessionId\\\":\\\"$id\\\",\\\"status\\\":\\\"idle\\\"}}\" > $sessions/$$.json\n\
         echo $id > {0}/id\necho $$ > {0}/life-$(ls $sessions | wc -l)\n{then}\n",
        home.display()
    );
    script(&fleet.path("claude-cli"), &text);
    let program = fleet.path("claude-cli");
    format!(
        "  - slug: ann\n    runtime: claude\n    command: [{}]\n    env: {{CLAUDE_CONFIG_DIR: {}/claude}}\n",
        program.display(),
        home.display()
    )
}

#[tokio::test]
async fn a_conversation_that_an_earlier_process_holds_is_not_started_twice_though_nothing_of_ours_names_it() {
    let mut fleet = Fleet::new("");
    let entry = like_claude(&fleet, "trap '' HUP TERM\nexec sleep 1000");
    fleet.configure(&entry);
    fleet.start().await;
    let first = noted(&fleet.path("life-1")).await;
    fleet.kill();
    kill_server(&fleet);
    std::fs::remove_file(ProcessMark::path(&fleet.state().join("agents/ann"))).unwrap();
    fleet.start().await;
    let second = noted(&fleet.path("life-2")).await;
    assert!(!lives(first) && !fleet.path("together").exists(), "two processes were one conversation");
    kill(second);
}

#[tokio::test]
async fn a_conversation_that_a_person_has_open_in_a_terminal_is_left_to_them_and_named() {
    let mut fleet = Fleet::new("");
    let entry = like_claude(&fleet, "read line");
    fleet.configure(&entry);
    fleet.start().await;
    let first = noted(&fleet.path("life-1")).await;
    fleet.stop();
    kill_server(&fleet);
    gone(first).await;
    let id = std::fs::read_to_string(fleet.path("id")).unwrap();
    let theirs = PrivateTmux::new();
    let program = fleet.path("claude-cli").display().to_string();
    theirs.start(&[], &[program.as_str(), "--resume", id.trim()]);
    let person = noted(&fleet.path("life-2")).await;
    fleet.start().await;
    until("the status names what holds it", async || {
        fleet.fleet(&["status"]).contains(&format!("process {person} in another terminal goes on")).then_some(())
    })
    .await;
    assert!(lives(person) && !fleet.path("life-3").exists(), "a person's conversation was disturbed");
    kill(person);
    fleet.fleet(&["reconcile"]);
    noted(&fleet.path("life-3")).await;
    assert!(!fleet.path("together").exists());
}

#[tokio::test]
async fn sessions_that_are_created_at_once_start_one_by_one_and_one_that_fails_delays_no_other() {
    let broken = "  - slug: broken\n    runtime: command\n    command: [sleep, \"1000\"]\n    repos: [no/where]\n";
    let mut fleet = Fleet::new(&(broken.to_owned() + &["ann", "bob", "cid"].map(Fleet::practice).concat()));
    let yaml = std::fs::read_to_string(fleet.path("agents.yaml")).unwrap();
    std::fs::write(fleet.path("agents.yaml"), yaml.replace("launchStagger: 0s", "launchStagger: 2s")).unwrap();
    fleet.set("FLEET_GIT_URL", fleet.path("nowhere").display().to_string());
    fleet.start().await;
    let store = Store::open(&fleet.state().join("fleet.db")).await.unwrap();
    let mut started = Vec::new();
    for slug in ["ann", "bob", "cid"] {
        let at = async || store.launched_at(&slug.parse().unwrap()).await.unwrap();
        started.push(until(&format!("{slug} is started"), at).await);
    }
    started.sort();
    let gaps: Vec<f64> = started.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs_f64()).collect();
    assert!(gaps.iter().all(|gap| *gap > 1.5), "{gaps:?}");
    // Nor is one that died held back by those that are created.
    let ann = fleet.agent_pid("ann");
    let begun = Instant::now();
    kill(ann);
    another(&fleet, "ann", ann).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(fleet.fleet(&["status"]).contains("can't clone no/where"));
}

#[tokio::test]
async fn as_a_service_the_tmux_server_gets_a_scope_of_its_own_and_starts_all_the_same_where_systemd_refuses() {
    for (answer, scoped) in [("while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"", true), ("exit 1", false)] {
        let mut fleet = Fleet::new(&Fleet::practice("ann"));
        let bin = fleet.path("bin");
        std::fs::create_dir(&bin).unwrap();
        script(&bin.join("systemd-run"), &format!("echo \"$@\" >> {}\n{answer}\n", fleet.path("asked").display()));
        fleet.set("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
        fleet.set("INVOCATION_ID", "0123");
        fleet.start().await;
        fleet.until_state("ann", "idle").await;
        let asked = std::fs::read_to_string(fleet.path("asked")).unwrap();
        assert!(asked.contains("--scope --collect") && asked.contains("-- tmux "), "{scoped} {asked}");
        assert_eq!(asked.lines().count(), 1, "{asked}");
    }
}

#[tokio::test]
async fn the_watchdog_is_fed_while_the_daemon_works_and_no_more_once_its_passes_hang() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    let socket = UnixDatagram::bind(fleet.path("notify")).unwrap();
    socket.set_nonblocking(true).unwrap();
    fleet.set("NOTIFY_SOCKET", fleet.path("notify").display().to_string());
    let told = || {
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
    };
    fleet.start().await;
    until("it says that it is ready", async || told().filter(|text| text.contains("READY=1"))).await;
    until("the watchdog is fed", async || told().filter(|text| text.contains("WATCHDOG=1"))).await;
    // A state directory on a file system that hangs: whoever opens this file waits for ever.
    let offline = fleet.state().join("offline");
    std::fs::create_dir_all(&offline).unwrap();
    let made = std::process::Command::new("mkfifo").arg(offline.join("hangs.json")).status().unwrap();
    assert!(made.success());
    let fed = std::cell::Cell::new(Instant::now());
    until("it is noticed that a pass hangs", async || {
        let noticed = fleet.log().contains("fleetd hangs");
        while let Some(text) = told() {
            if text.contains("WATCHDOG=1") {
                fed.set(Instant::now());
            }
        }
        noticed.then_some(())
    })
    .await;
    // The tick that noticed it has fed nobody: the last meal was that of the tick before.
    assert!(
        fed.get().elapsed() > Duration::from_secs(5),
        "fed by a daemon that does nothing: {:?}",
        fed.get().elapsed()
    );
    assert!(fleet.run(&["status"]).status.success(), "the event loop hangs too");
}
