//! tmux itself fails: its client, its socket, its server.

use std::io::Write;
use std::process::Child;
use std::time::{Duration, Instant};

use fleetd::tmux::{Key, Notice, ProcessMark, ProcessStatus, Server, TmuxError};
use rustix::process::Signal;

use crate::support::tmux::{Tmux, session, shown, signal};
use crate::support::wait::until;

const STAY: &str = "echo up; exec sleep 1000";

/// The pid of the control client.
fn client(tmux: &Tmux) -> Option<u32> {
    tmux.by_hand(&["list-clients", "-F", "#{client_pid}"]).parse().ok()
}

/// A control client whose daemon died before it had read everything: tmux 3.3a keeps such a one attached for ever.
fn abandoned_client(tmux: &Tmux) -> Child {
    let mut child = tmux.control_client();
    let mut input = child.stdin.take().unwrap();
    // Far more than the pipe holds, and nobody reads it.
    input.write_all("list-keys\n".repeat(3000).as_bytes()).unwrap();
    drop((input, child.stdout.take()));
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_client_that_a_killed_daemon_left_is_ended_by_the_next_one_and_by_no_other() {
    let (tmux, server) = Tmux::started().await;
    drop(server);
    let mut child = abandoned_client(&tmux);
    let left = child.id();
    let listed = || tmux.by_hand(&["list-clients", "-F", "#{client_pid}"]).lines().any(|pid| pid == left.to_string());
    until("the abandoned client is attached", async || listed().then_some(())).await;
    let start = ProcessStatus::read(left).unwrap().start;
    let note = tmux.path().join("state/control.pid");
    let living = ProcessMark::of_this_process().unwrap();
    std::fs::write(&note, format!("{left} {start}\n{living}\n")).unwrap();
    let server = tmux.server();
    server.start().await.unwrap();
    connected(&server).await;
    assert!(listed(), "the client of a daemon that lives was ended");
    drop(server);
    std::fs::write(&note, format!("{left} {start}\n{} {}\n", living.pid, living.start + 1)).unwrap();
    let server = tmux.server();
    server.start().await.unwrap();
    connected(&server).await;
    until("the abandoned client is gone", async || (!listed()).then_some(())).await;
    child.wait().unwrap();
}

async fn connected(server: &Server) {
    until("the control client is connected", async || server.is_connected().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_is_still_seen_and_typed_to_when_the_control_client_dies() {
    let (tmux, server) = Tmux::started().await;
    let pane = server.create(&session("a", tmux.path(), STAY)).await.unwrap();
    let mut events = server.events();
    for _ in 0..3 {
        signal(client(&tmux).unwrap(), Signal::KILL);
        while events.recv().await.unwrap() != Notice::Disconnected {}
        assert_eq!(server.panes().await.unwrap().len(), 1);
        server.paste(&pane.id, "x").await.unwrap();
        connected(&server).await;
        assert_eq!(server.panes().await.unwrap().len(), 1);
    }
    drop(server);
    until("the control client has gone with its owner", async || client(&tmux).is_none().then_some(())).await;
    assert_eq!(tmux.server().panes().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_socket_never_makes_a_second_server_beside_the_fleet() {
    let (tmux, server) = Tmux::started().await;
    let pane = server.create(&session("a", tmux.path(), STAY)).await.unwrap();
    let pid = tmux.pid();
    for restarted in [false, true] {
        std::fs::remove_file(tmux.socket()).unwrap();
        let later = tmux.server();
        let server = if restarted { &later } else { &server };
        server.start().await.unwrap();
        assert_eq!(tmux.pid(), pid);
        assert_eq!(server.panes().await.unwrap()[0].id, pane.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_told_and_started_again() {
    let (tmux, server) = Tmux::started().await;
    server.create(&session("a", tmux.path(), STAY)).await.unwrap();
    let mut events = server.events();
    signal(tmux.pid(), Signal::KILL);
    while events.recv().await.unwrap() != Notice::Disconnected {}
    assert!(matches!(server.panes().await, Err(TmuxError::NoServer)));
    server.start().await.unwrap();
    assert!(server.is_connected());
    assert_eq!(server.panes().await.unwrap(), []);
    server.create(&session("a", tmux.path(), STAY)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_right_after_the_end_does_not_meet_the_old_server() {
    let (tmux, server) = Tmux::started().await;
    for _ in 0..8 {
        server.create(&session("a", tmux.path(), STAY)).await.unwrap();
        tmux.by_hand(&["kill-server"]);
        server.start().await.unwrap();
        assert_eq!(server.panes().await.unwrap(), []);
    }
    server.kill_server().await.unwrap();
    assert!(matches!(server.panes().await, Err(TmuxError::NoServer)));
    server.kill_server().await.unwrap();
    server.start().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_before_any_start_never_starts_a_server() {
    let tmux = Tmux::new();
    let server = tmux.server();
    assert!(matches!(server.panes().await, Err(TmuxError::NoServer)));
    let created = server.create(&session("a", tmux.path(), STAY)).await;
    assert!(matches!(created, Err(TmuxError::NoServer)), "{created:?}");
    assert!(!tmux.socket().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_lives_on_with_no_agent_and_without_its_keeper() {
    let (tmux, server) = Tmux::started().await;
    let pid = tmux.pid();
    tmux.by_hand(&["kill-session", "-t", "=_fleet"]);
    let pane = until("a session can be made again", async || {
        connected(&server).await;
        server.create(&session("a", tmux.path(), STAY)).await.ok()
    })
    .await;
    server.kill_session(&pane.id).await.unwrap();
    server.start().await.unwrap();
    assert_eq!(tmux.pid(), pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_server_is_told_in_time_and_nothing_is_typed_twice() {
    let (tmux, _kept) = Tmux::started().await;
    let server = tmux.server_within(Duration::from_millis(300));
    server.start().await.unwrap();
    let script = "stty raw -echo; echo ready; exec cat > got";
    let pane = server.create(&session("a", tmux.path(), script)).await.unwrap();
    shown(&server, &pane, "ready").await;
    let pid = tmux.pid();
    signal(pid, Signal::STOP);
    let begun = Instant::now();
    let pressed = server.press(&pane.id, Key::Char('x')).await;
    let looked = server.panes().await;
    let pasted = server.paste(&pane.id, "late").await;
    let took = begun.elapsed();
    signal(pid, Signal::CONT);
    assert!(matches!(looked, Err(TmuxError::Timeout { .. })), "{looked:?}");
    assert!(matches!(pressed, Err(TmuxError::Timeout { .. } | TmuxError::Lost { .. })), "{pressed:?}");
    assert!(matches!(pasted, Err(TmuxError::Timeout { .. } | TmuxError::Lost { .. })), "{pasted:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");

    until("the server answers again", async || server.panes().await.ok()).await;
    until("the end marker is typed", async || server.press(&pane.id, Key::Char('$')).await.ok()).await;
    let got = until("the end marker arrived", async || {
        let got = std::fs::read_to_string(tmux.path().join("got")).unwrap();
        got.contains('$').then_some(got)
    })
    .await;
    assert!(got.matches('x').count() <= 1 && !got.contains("late"), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_without_an_answer_is_not_typed_again_behind_the_caller_s_back() {
    let tmux = Tmux::new();
    let server = tmux.server_within(Duration::from_secs(1));
    server.start().await.unwrap();
    let pane = server.create(&session("a", tmux.path(), STAY)).await.unwrap();
    for what in ["press", "paste", "create"] {
        connected(&server).await;
        let mut events = server.events();
        signal(tmux.pid(), Signal::STOP);
        let stopped = tmux.noted_pid().unwrap();
        let (door, id, new) = (server.clone(), pane.id.clone(), session("b", tmux.path(), STAY));
        let typing = tokio::spawn(async move {
            match what {
                "press" => door.press(&id, Key::Char('x')).await,
                "paste" => door.paste(&id, "x").await,
                _ => door.create(&new).await.map(drop),
            }
        });
        // From here on an exec would get through.
        while events.recv().await.unwrap() != Notice::Disconnected {}
        signal(stopped, Signal::CONT);
        let typed = typing.await.unwrap();
        assert!(matches!(typed, Err(TmuxError::Timeout { .. } | TmuxError::Lost { .. })), "{what}: {typed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_old_tmux_is_told_with_what_to_do() {
    let tmux = Tmux::new();
    let with_tmux = |script: Option<&str>| {
        let bin = tmux.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        if let Some(script) = script {
            use std::os::unix::fs::OpenOptionsExt;
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o755)
                .open(bin.join("tmux"))
                .unwrap();
            std::io::Write::write_all(&mut file, script.as_bytes()).unwrap();
        }
        Server::new(fleetd::tmux::ServerOptions {
            socket: "fleet-test".to_owned(),
            directory: tmux.path().join("state"),
            timeout: Duration::from_secs(10),
            environment: [("PATH".into(), bin.into_os_string())].into(),
            tags: vec![],
            scope: None,
        })
    };
    let missing = with_tmux(None).start().await.unwrap_err();
    assert!(matches!(missing, TmuxError::Missing) && missing.to_string().contains("apt-get install tmux"), "{missing}");
    let old = with_tmux(Some("#!/bin/sh\necho tmux 2.9a\n")).start().await.unwrap_err();
    assert_eq!(
        old.to_string(),
        "tmux 2.9 is too old, 3.2 or newer is needed: upgrade it, for example with `apt-get install tmux`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_at_once_each_get_their_own_answer() {
    let (tmux, server) = Tmux::started().await;
    let mut panes = Vec::new();
    for number in 0..12 {
        panes.push(server.create(&session(&format!("a{number}"), tmux.path(), STAY)).await.unwrap());
    }
    let asked = panes.iter().cycle().take(600).map(|pane| {
        let (server, pane) = (server.clone(), pane.clone());
        tokio::spawn(async move {
            let gone = "%99".parse().unwrap();
            assert!(server.look(&gone).await.unwrap().is_none());
            assert_eq!(server.look(&pane.id).await.unwrap().unwrap().0.session, pane.session);
            assert_eq!(server.pane(&pane.id).await.unwrap().unwrap().session, pane.session);
        })
    });
    for task in asked.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert!(server.is_connected());
}
