//! Sessions: ours, a person's, and the difference.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;

use fleetd::tmux::{Death, Key, Notice, Pane, Server, TmuxError, wait_for_exit};
use rustix::process::Signal;

use crate::support::tmux::{Tmux, session, shown, signal};
use crate::support::wait::until;

const STAY: &str = "echo up; exec sleep 1000";

/// How a pane's process ended, by the first list in which it is dead.
async fn dead(server: &Server, pane: &Pane) -> Death {
    until("the pane is dead", async || {
        let panes = server.panes().await.unwrap();
        panes.into_iter().find(|found| found.id == pane.id)?.death
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_daemon_finds_every_agent_by_its_tags() {
    let (tmux, server) = Tmux::started().await;
    assert_eq!(server.panes().await.unwrap(), []);
    let new = session("optimizer", tmux.path(), STAY);
    let made = server.create(&new).await.unwrap();
    assert_eq!((made.session.as_str(), &made.tags), ("optimizer", &new.tags));
    assert_eq!((made.width, made.height, made.attached, made.death), (200, 50, 0, None));

    let later = tmux.server();
    later.start().await.unwrap();
    let [found] = later.panes().await.unwrap().try_into().unwrap();
    assert_eq!((&found.id, found.pid, &found.tags), (&made.id, made.pid, &new.tags));
    assert_eq!(later.pane(&found.id).await.unwrap().unwrap().tags, new.tags);

    let tags = BTreeMap::from([("@fleet_slug".to_owned(), "it's \"new\"; \\ #{pid} -".to_owned())]);
    later.set_tags(&found.id, &tags).await.unwrap();
    let [found] = server.panes().await.unwrap().try_into().unwrap();
    assert_eq!(found.tags["@fleet_slug"], tags["@fleet_slug"]);
    assert_eq!(found.tags["@fleet_owner"], new.tags["@fleet_owner"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pr_never_gets_what_is_meant_for_pr_reviewer() {
    let (tmux, server) = Tmux::started().await;
    let reviewer = server.create(&session("pr-reviewer", tmux.path(), STAY)).await.unwrap();
    let pr = server.create(&session("pr", tmux.path(), STAY)).await.unwrap();
    assert_eq!(pr.tags["@fleet_slug"], "pr");
    assert_eq!(server.pane(&reviewer.id).await.unwrap().unwrap().tags["@fleet_slug"], "pr-reviewer");
    let taken = server.create(&session("pr", tmux.path(), STAY)).await;
    assert!(matches!(taken, Err(TmuxError::SessionExists(name)) if name == "pr"));
    server.kill_session(&pr.id).await.unwrap();
    assert_eq!(server.pane(&pr.id).await.unwrap(), None);
    assert!(server.look(&pr.id).await.unwrap().is_none());
    assert!(matches!(server.kill_session(&pr.id).await, Err(TmuxError::NoSuchPane(_))));
    assert!(server.pane(&reviewer.id).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_agent_is_seen_with_its_status_and_comes_back_in_its_own_pane() {
    let (tmux, server) = Tmux::started().await;
    let pane = server
        .create(&session("a", tmux.path(), "echo up; read line; printf '\\n\\nlast words'; exit 7"))
        .await
        .unwrap();
    shown(&server, &pane, "up").await;
    server.press(&pane.id, Key::Enter).await.unwrap();
    wait_for_exit(pane.pid).await.unwrap();
    assert_eq!(dead(&server, &pane).await, Death::Exited(7));
    shown(&server, &pane, "last words").await;

    let argv: Vec<OsString> = ["sh", "-c", "pwd; exec sleep 1000"].map(Into::into).into();
    let state = tmux.path().join("state");
    server.respawn(&pane.id, &state, &argv).await.unwrap();
    shown(&server, &pane, &state.to_string_lossy()).await;
    let back = server.pane(&pane.id).await.unwrap().unwrap();
    assert_eq!((&back.session, &back.tags, back.death), (&pane.session, &pane.tags, None));
    assert_ne!(back.pid, pane.pid);

    assert!(matches!(server.respawn(&pane.id, tmux.path(), &argv).await, Err(TmuxError::PaneAlive(_))));
    assert_eq!(server.pane(&pane.id).await.unwrap().unwrap().pid, back.pid);
    server.replace(&pane.id, tmux.path(), &argv).await.unwrap();
    let replaced = server.pane(&pane.id).await.unwrap().unwrap();
    assert_ne!(replaced.pid, back.pid);
    signal(replaced.pid, Signal::KILL);
    assert_eq!(dead(&server, &pane).await, Death::Killed(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_s_session_and_a_pane_split_off_ours_carry_no_tag() {
    let (tmux, server) = Tmux::started().await;
    tmux.by_hand(&["new-session", "-d", "-s", "mine", "-n", "w", "sleep 1000"]);
    let ours = server.create(&session("a", tmux.path(), STAY)).await.unwrap();
    tmux.by_hand(&["split-window", "-t", "=a:", "sleep 1000"]);
    tmux.by_hand(&["new-window", "-d", "-t", "=a:", "sleep 1000"]);
    let panes = server.panes().await.unwrap();
    assert_eq!(panes.len(), 4);
    let tagged: Vec<_> = panes.iter().filter(|pane| !pane.tags.is_empty()).map(|pane| &pane.id).collect();
    assert_eq!(tagged, [&ours.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_never_passes_through_a_shell_or_a_tmux_format() {
    let (tmux, server) = Tmux::started().await;
    let trap = tmux.path().join("trap");
    let cwd = tmux.path().join(format!("#(touch trap) #{{pid}} ; $HOME '~' {}", "ü"));
    std::fs::create_dir(&cwd).unwrap();
    let mut new = session("a", &cwd, "");
    new.argv = vec!["sh".into(), "-c".into(), "pwd > out; printf '%s|' \"$@\" >> out; exec sleep 1000".into()];
    let odd = ["x", "", "a;", ";", "\\;", "$HOME", "~", "#{pid}", "it's", "two\nlines", "-t"];
    new.argv.extend(odd.map(OsString::from));
    let expected = format!("{}\n{}|", cwd.display(), odd[1..].join("|"));
    let pane = server.create(&new).await.unwrap();
    let written = || async { std::fs::read_to_string(cwd.join("out")).ok().filter(|text| *text == expected) };
    until("the program saw its arguments as they are, in its own directory", written).await;

    std::fs::remove_file(cwd.join("out")).unwrap();
    server.replace(&pane.id, &cwd, &new.argv).await.unwrap();
    until("so did its successor", written).await;

    // A lone word is what tmux itself would give to a shell.
    server.replace(&pane.id, tmux.path(), &["touch trap; #".into()]).await.unwrap();
    wait_for_exit(server.pane(&pane.id).await.unwrap().unwrap().pid).await.unwrap();
    assert!(!trap.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_not_started_in_the_home_directory_because_its_own_is_missing() {
    let (tmux, server) = Tmux::started().await;
    for (name, cwd) in [("a", tmux.path().join("nowhere")), ("a.b", tmux.path().into()), ("a:b", tmux.path().into())] {
        assert!(server.create(&session(name, &cwd, STAY)).await.is_err(), "{name}");
    }
    let mut new = session("a", tmux.path(), STAY);
    new.tags.insert("@fleet_slug".to_owned(), "a\tb".to_owned());
    assert!(matches!(server.create(&new).await, Err(TmuxError::Refused { .. })));
    assert_eq!(server.panes().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_types_is_seen_on_the_screen_with_the_cursor_and_what_is_dim() {
    let (tmux, server) = Tmux::started().await;
    let script = r"printf '\033]2;✳ title\033\\> \033[2mTry this\033[0m 日本🦀'; exec sleep 1000";
    let pane = server.create(&session("a", tmux.path(), script)).await.unwrap();
    shown(&server, &pane, "🦀").await;
    let (pane, screen) = server.look(&pane.id).await.unwrap().unwrap();
    assert_eq!((pane.title.as_str(), pane.command.as_deref()), ("✳ title", Some("sleep")));
    assert_eq!((screen.rows.len(), screen.cursor_row, screen.cursor_column), (50, 0, 17));
    let row = &screen.rows[0];
    assert_eq!((row.text.as_str(), row.dim.as_slice()), ("> Try this 日本🦀", std::slice::from_ref(&(2..10))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_comes_or_goes_wakes_the_daemon() {
    let (tmux, server) = Tmux::started().await;
    let mut events = server.events();
    tmux.by_hand(&["new-session", "-d", "-s", "mine", "sleep 1000"]);
    assert_eq!(events.recv().await.unwrap(), Notice::SessionsChanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_files_are_private_and_the_server_has_room_for_many_agents() {
    let (tmux, _server) = Tmux::started().await;
    let mode = |name: &str| std::fs::metadata(tmux.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state"), mode("state/tmux.conf"), mode("state/tmux.pid")), (0o700, 0o600, 0o600));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", tmux.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = [3, 4].map(|place| files.split_whitespace().nth(place).unwrap().parse().unwrap_or(u64::MAX));
    assert!(soft >= hard.min(65_536), "{files}");
    // 2 MB of a full pane; fifty thousand lines took 50.
    assert_eq!(tmux.by_hand(&["show-options", "-gv", "history-limit"]).trim(), "2000");
}
