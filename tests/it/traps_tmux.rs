//! The traps of tmux, each with the test that walks into it. Real tmux, the real daemon, practice agents; a prompt waits in
//! each: nothing is typed wrongly, what holds it back is named, and once the trap is gone it arrives whole and once.
//!
//! | trap | test |
//! |---|---|
//! | copy mode swallows keys | `copy_mode_swallows_no_enter_and_no_person_loses_it_before_the_prompt_is_due` |
//! | clock mode swallows keys | `clock_mode_swallows_no_enter_and_no_person_loses_it_before_the_prompt_is_due` |
//! | tree mode swallows keys | `tree_mode_swallows_no_enter_and_no_person_loses_it_before_the_prompt_is_due` |
//! | a paste in a mode comes without brackets | `a_person_s_copy_mode_is_seen_and_left_so_that_the_paste_is_whole` |
//! | input switched off drops keys in silence | `input_that_is_switched_off_swallows_no_prompt` |
//! | `-t foo` hits `foobar` | `each_agent_gets_only_its_own_prompts_even_where_one_name_begins_like_the_other` |
//! | the same, for every verb of the door | `pr_never_gets_what_is_meant_for_pr_reviewer` |
//! | asking for a pane that is gone succeeds and prints nothing | `a_prompt_for_a_pane_that_is_gone_says_so_and_leaves_neither_file_nor_buffer` |
//! | names with dots and colons are rewritten or split | `a_name_that_tmux_would_rewrite_makes_no_session` |
//! | `a;` loses its end, `-x` is an option | `every_prompt_arrives_exactly_as_it_was_written` |
//! | `ESC[201~`, `^C` and NUL pass raw | `control_characters_in_a_prompt_press_no_key` |
//! | the same, at the door | `a_control_character_never_becomes_a_keystroke` |
//! | 16,384 bytes are too many for a command line | `every_prompt_arrives_exactly_as_it_was_written` |
//! | a line over 4,096 bytes is cut by a canonical terminal | `a_line_that_the_terminal_would_cut_is_refused_and_none_of_it_is_typed` |
//! | `LC_ALL=C` mangles what tmux prints and draws | `without_a_locale_every_letter_arrives` |
//! | the server's table of open files is full | `a_server_without_room_for_one_more_file_loses_no_prompt` |
//! | the limit that the server inherits | `our_files_are_private_and_the_server_has_room_for_many_agents` |
//! | `kill-server` and a new session at once | `after_kill_server_the_waiting_prompt_arrives_once` |
//! | the same, at the door, eight times | `a_restart_right_after_the_end_does_not_meet_the_old_server` |
//! | the socket's file is deleted | `a_deleted_socket_loses_no_prompt_and_makes_no_second_server` |
//! | kill -9 of the server in the middle of a paste, the daemon dead too | `a_server_killed_between_paste_and_enter_loses_no_prompt_and_doubles_none` |
//! | the same under a living daemon | `a_server_killed_under_a_living_daemon_in_the_middle_of_a_paste_doubles_no_prompt` |
//! | an agent that ignores its terminal's end outlives the server | `an_agent_that_outlived_its_terminal_never_shares_its_conversation_with_a_second_one` |
//! | the user's `~/.tmux.conf` | `the_user_s_own_tmux_conf_changes_nothing_for_the_fleet` |
//! | a person's terminal resizes the window for good | `a_person_s_small_terminal_does_not_fold_the_agent_s_screen` |
//! | a person's half-typed text is submitted with the prompt | `a_person_s_half_typed_draft_is_never_fused_with_a_prompt` |
//! | a person types behind the paste | `words_that_a_person_types_behind_a_paste_are_never_submitted_with_it` |
//! | the server stays in its starter's cgroup | `a_restart_of_the_service_ends_no_agent_and_a_fleet_without_tokens_starts` |
//! | a person types right now | `nothing_is_typed_under_the_hands_of_a_person_who_types_and_it_is_once_they_pause` |
//! | automatic buffers are few, and a person's | `a_person_s_paste_buffers_are_neither_lost_nor_doubled` |
//! | the pane is dead | `a_prompt_for_a_dead_pane_waits_and_arrives_once_it_lives` |
//! | a dead pane without a status | `a_dead_agent_is_seen_with_its_status_and_comes_back_in_its_own_pane` |
//! | a shell sits in the pane | `a_prompt_never_reaches_a_shell_and_arrives_once_the_agent_is_back` |
//! | a person's own process replaced the agent | `a_program_that_only_looks_like_the_agent_gets_nothing` |
//! | another program has the agent's terminal | `a_program_in_the_agent_s_foreground_gets_nothing` |
//! | two fleets on one socket | `two_fleets_on_one_tmux_never_type_into_each_other_s_panes` |
//! | a person killed the session | `a_session_that_a_person_killed_is_made_again_and_its_prompt_arrives_once` |
//! | the control client is stopped or dies | `a_control_client_that_is_stopped_or_killed_costs_no_prompt` |
//! | the control client exits at once | `a_tmux_whose_control_client_exits_at_once_still_delivers` |
//! | the control client answers nothing | `a_tmux_whose_control_client_never_answers_still_delivers` |
//! | the server hangs | `a_server_that_hangs_for_a_while_loses_no_prompt_and_doubles_none` |
//! | the same, at the door | `a_hanging_server_is_told_in_time_and_nothing_is_typed_twice` |
//! | a client that a killed daemon left keeps the server from ending | `a_control_client_that_a_killed_daemon_left_is_ended_by_the_next_one_and_by_no_other` |

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use fleetd::config::CrashPoint;
use fleetd::tmux::{ProcessStatus, TmuxError};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::support::fleet::{FLEETD, Fleet};
use crate::support::private_tmux::PrivateTmux;
use crate::support::tmux::{Tmux, session};
use crate::support::wait::until;

const BODY: &str = "the one that had to wait\nand its second line; -x 'ü' 👩‍💻";

fn process(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).unwrap()
}

fn kill(pid: u32) {
    kill_process(process(pid), Signal::KILL).unwrap();
}

fn server_pid(fleet: &Fleet) -> u32 {
    fleet.tmux(&["display-message", "-p", "#{pid}"]).parse().unwrap()
}

/// Waits until a process has ended; nobody may have collected its status yet.
async fn gone(pid: u32) {
    until(&format!("process {pid} has ended"), async || ProcessStatus::read(pid).is_none().then_some(())).await;
}

async fn mode_swallows_nothing(command: &[&str]) {
    let gate = tempfile::tempdir().unwrap();
    let fleet = Fleet::running(&Fleet::gated("ann", &gate.path().join("open"))).await;
    fleet.fleet(&["send", "ann", "practice: hold"]);
    fleet.tmux(&[command, &["-t", "=ann:"]].concat());
    let in_mode = || fleet.tmux(&["display-message", "-p", "-t", "=ann:", "#{pane_in_mode}"]);
    until("the mode is on", async || (in_mode() == "1").then_some(())).await;
    let id = fleet.hand_in("ann", BODY);
    fleet.until_held("ann", &id, "its pane is in copy mode").await;
    assert_eq!(in_mode(), "1", "a person was thrown out of the mode though nothing could be typed yet");
    std::fs::write(gate.path().join("open"), "").unwrap();
    fleet.until_arrived_once("ann", &id, BODY).await;
    assert_eq!(in_mode(), "0");
    assert_eq!(fleet.taken("ann").len(), 2);
}

#[tokio::test]
async fn copy_mode_swallows_no_enter_and_no_person_loses_it_before_the_prompt_is_due() {
    mode_swallows_nothing(&["copy-mode"]).await;
}

#[tokio::test]
async fn clock_mode_swallows_no_enter_and_no_person_loses_it_before_the_prompt_is_due() {
    mode_swallows_nothing(&["clock-mode"]).await;
}

#[tokio::test]
async fn tree_mode_swallows_no_enter_and_no_person_loses_it_before_the_prompt_is_due() {
    mode_swallows_nothing(&["choose-tree"]).await;
}

#[tokio::test]
async fn input_that_is_switched_off_swallows_no_prompt() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    fleet.tmux(&["select-pane", "-d", "-t", "=ann:"]);
    let id = fleet.hand_in("ann", BODY);
    fleet.until_held("ann", &id, "input to its pane is switched off").await;
    fleet.tmux(&["select-pane", "-e", "-t", "=ann:"]);
    fleet.until_arrived_once("ann", &id, BODY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_tmux_would_rewrite_makes_no_session() {
    let (tmux, server) = Tmux::started().await;
    for name in ["a.b", "a:b", "-a", "", "a b", "a;b", "ä"] {
        let made = server.create(&session(name, tmux.path(), "exec sleep 1000")).await;
        assert!(matches!(made, Err(TmuxError::Refused { .. })), "{name:?}: {made:?}");
    }
    assert_eq!(server.panes().await.unwrap(), []);
}

#[tokio::test]
async fn control_characters_in_a_prompt_press_no_key() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    let body = "before\u{1b}[201~\r!touch executed\r\u{3}\u{3}\u{4}\u{0}\u{9b}201~after\u{1b}";
    let file = fleet.path("prompt");
    std::fs::write(&file, body).unwrap();
    let id = fleet.fleet(&["send", "ann", "--no-wait", "--file", file.to_str().unwrap()]);
    fleet.until_arrived_once("ann", &id, body).await;
    assert!(!fleet.transcript("ann").contains("\"tool\":\"shell\""), "{}", fleet.transcript("ann"));
    fleet.fleet(&["send", "ann", "--reply", "it still lives"]);
}

#[tokio::test]
async fn without_a_locale_every_letter_arrives() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.set("LC_ALL", "C");
    fleet.start().await;
    let body = "ü ß 日本 👩‍👩‍👧 ❯ ─ e\u{301}";
    let id = fleet.hand_in("ann", body);
    fleet.until_arrived_once("ann", &id, body).await;
    assert!(fleet.screen("ann").contains('❯'));
}

/// A process whose table of open files is full. Its own limit alone is lowered, and raised again at the end, whatever that is:
/// calls of tmux would hang until then.
struct FullTable(u32);

impl FullTable {
    async fn of(pid: u32) -> Self {
        let full = Self(pid);
        let (mut most, mut still) = (0, 0);
        // What is open for a moment only, a call's own connection, would leave room when it closes.
        until("nothing is opened or closed any more", || {
            let open: Vec<u64> = std::fs::read_dir(format!("/proc/{pid}/fd"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
                .collect();
            let free = (0..).find(|fd| !open.contains(fd)).unwrap();
            still = if free == most { still + 1 } else { 0 };
            most = free;
            std::future::ready((still >= 10).then_some(()))
        })
        .await;
        limit_open_files(pid, most);
        full
    }
}

impl Drop for FullTable {
    fn drop(&mut self) {
        limit_open_files(self.0, 1024);
    }
}

fn limit_open_files(pid: u32, most: u64) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let maximum = line.split_whitespace().nth(4).unwrap().parse().ok();
    prlimit(Some(process(pid)), Resource::Nofile, Rlimit { current: Some(most), maximum }).unwrap();
}

#[tokio::test]
async fn a_server_without_room_for_one_more_file_loses_no_prompt() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    let server = server_pid(&fleet);
    let full = FullTable::of(server).await;
    let id = fleet.hand_in("ann", BODY);
    until("the trace tells why it was not typed", async || {
        let steps = fleet.trace(&id).steps;
        steps.iter().any(|step| step.cause.contains("can't paste into ann")).then_some(())
    })
    .await;
    until("the status tells it too", async || {
        fleet.fleet(&["status"]).contains("next prompt waits: can't paste into ann").then_some(())
    })
    .await;
    assert_eq!(fleet.taken("ann").len(), 0);
    drop(full);
    fleet.until_arrived_once("ann", &id, BODY).await;
    assert_eq!(server_pid(&fleet), server, "a second server was started");
}

#[tokio::test]
async fn after_kill_server_the_waiting_prompt_arrives_once() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    fleet.tmux(&["select-pane", "-d", "-t", "=ann:"]);
    let id = fleet.hand_in("ann", BODY);
    fleet.until_held("ann", &id, "input to its pane is switched off").await;
    let server = server_pid(&fleet);
    fleet.tmux(&["kill-server"]);
    fleet.until_arrived_once("ann", &id, BODY).await;
    assert_ne!(server_pid(&fleet), server);
}

#[tokio::test]
async fn a_deleted_socket_loses_no_prompt_and_makes_no_second_server() {
    let mut fleet = Fleet::running(&Fleet::practice("ann")).await;
    let (server, agent) = (server_pid(&fleet), fleet.agent_pid("ann"));
    let socket = fleet.tmux(&["display-message", "-p", "#{socket_path}"]);
    std::fs::remove_file(&socket).unwrap();
    let id = fleet.hand_in("ann", BODY);
    fleet.until_arrived_once("ann", &id, BODY).await;
    fleet.kill();
    let id = fleet.leave("ann", BODY);
    fleet.start().await;
    fleet.until_arrived_once("ann", &id, BODY).await;
    assert_eq!((server_pid(&fleet), fleet.agent_pid("ann")), (server, agent));
}

#[tokio::test]
async fn a_server_killed_between_paste_and_enter_loses_no_prompt_and_doubles_none() {
    let mut fleet = Fleet::running(&Fleet::practice("ann")).await;
    let points = [
        CrashPoint::TypingStored,
        CrashPoint::Pasted,
        CrashPoint::PasteShown,
        CrashPoint::EnterPressed,
        CrashPoint::Submitted,
    ];
    let mut clock = 0;
    for point in points {
        fleet.kill();
        let body = format!("{BODY}, killed at {}", point.name());
        let id = fleet.leave("ann", &body);
        fleet.set("FLEET_CRASH_AT", point.name());
        fleet.launch();
        until(&format!("the daemon dies at {}", point.name()), || std::future::ready(fleet.died().then_some(()))).await;
        let server = server_pid(&fleet);
        kill(server);
        gone(server).await;
        // Past the time in which a record may still show it, and well before it is given up.
        clock += 11;
        fleet.move_clock(clock);
        fleet.unset("FLEET_CRASH_AT");
        fleet.start().await;
        fleet.until_arrived_once("ann", &id, &body).await;
    }
    assert_eq!(fleet.taken("ann").len(), points.len());
}

#[tokio::test]
async fn a_server_killed_under_a_living_daemon_in_the_middle_of_a_paste_doubles_no_prompt() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    let server = server_pid(&fleet);
    let id = fleet.hand_in("ann", BODY);
    until("the paste shows", async || fleet.screen("ann").contains(&id).then_some(())).await;
    kill(server);
    gone(server).await;
    fleet.move_clock(11);
    fleet.until_arrived_once("ann", &id, BODY).await;
    assert_eq!(fleet.taken("ann").len(), 1);
}

#[tokio::test]
async fn the_user_s_own_tmux_conf_changes_nothing_for_the_fleet() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    let executed = fleet.path("executed");
    let conf = format!(
        "set -g @users yes\nset -g base-index 7\nset -g pane-base-index 3\nset -g default-command 'touch {0}'\n\
         set -g default-shell /bin/false\nset -g destroy-unattached on\nset -g remain-on-exit off\n\
         set -g automatic-rename on\nset-hook -g after-new-session 'run-shell \"touch {0}\"'\n",
        executed.display()
    );
    std::fs::create_dir_all(fleet.path("home/.config/tmux")).unwrap();
    for name in ["home/.tmux.conf", "home/.config/tmux/tmux.conf"] {
        std::fs::write(fleet.path(name), &conf).unwrap();
    }
    fleet.start().await;
    let id = fleet.hand_in("ann", BODY);
    fleet.until_arrived_once("ann", &id, BODY).await;
    assert_eq!(fleet.tmux(&["show-options", "-gqv", "@users"]), "");
    assert!(!executed.exists());
}

#[tokio::test]
async fn a_person_s_small_terminal_does_not_fold_the_agent_s_screen() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    let terminal = PrivateTmux::new();
    let pane = terminal.start(&[], &fleet.attach("ann"));
    pane.resize(60, 12);
    until("a person is attached", async || {
        (fleet.tmux(&["display-message", "-p", "-t", "=ann:", "#{session_attached}"]) == "1").then_some(())
    })
    .await;
    let id = fleet.hand_in("ann", BODY);
    fleet.until_arrived_once("ann", &id, BODY).await;
    let size = fleet.tmux(&["display-message", "-p", "-t", "=ann:", "#{window_width}x#{window_height}"]);
    assert_eq!(size, "200x50");
}

#[tokio::test]
async fn a_person_s_half_typed_draft_is_never_fused_with_a_prompt() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    fleet.tmux(&["send-keys", "-l", "-t", "=ann:", "half a thou"]);
    until("the draft shows", async || fleet.screen("ann").contains("half a thou").then_some(())).await;
    let id = fleet.hand_in("ann", BODY);
    fleet.until_held("ann", &id, "somebody's text stands in its input box").await;
    assert!(fleet.screen("ann").contains("half a thou") && fleet.taken("ann").is_empty());
    fleet.tmux(&["send-keys", "-t", "=ann:", "C-u"]);
    fleet.until_arrived_once("ann", &id, BODY).await;
    assert_eq!(fleet.taken("ann").len(), 1, "the draft was submitted");
}

#[tokio::test]
async fn nothing_is_typed_under_the_hands_of_a_person_who_types_and_it_is_once_they_pause() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    let terminal = PrivateTmux::new();
    let pane = terminal.start(&[], &fleet.attach("ann"));
    until("a person is attached", async || {
        (fleet.tmux(&["display-message", "-p", "-t", "=ann:", "#{session_attached}"]) == "1").then_some(())
    })
    .await;
    // What they type is gone again at once: only that they type holds the prompt back.
    let types = || ["x", "BSpace"].into_iter().for_each(|key| pane.key(key));
    types();
    let id = fleet.hand_in("ann", BODY);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(7) {
        types();
        until("the status tells that somebody types", async || {
            let waits = fleet.fleet(&["status"]).contains("somebody types in its pane");
            assert!(fleet.taken("ann").is_empty(), "typed between a person's keys");
            if !waits {
                types();
            }
            waits.then_some(())
        })
        .await;
    }
    let last = Instant::now();
    types();
    fleet.until_arrived_once("ann", &id, BODY).await;
    // tmux tells whole seconds.
    assert!(last.elapsed() >= Duration::from_secs(4), "typed {:?} after the last key", last.elapsed());
    assert!(last.elapsed() < Duration::from_secs(20), "a person who only watches holds it back: {:?}", last.elapsed());
}

#[tokio::test]
async fn a_person_s_paste_buffers_are_neither_lost_nor_doubled() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    for number in 0..50 {
        fleet.tmux(&["set-buffer", &format!("a person's own text {number}")]);
    }
    let listed = || fleet.tmux(&["list-buffers", "-F", "#{buffer_name} #{buffer_sample}"]);
    let before = listed();
    assert_eq!(before.lines().count(), 50);
    for number in 0..3 {
        let body = format!("{BODY} {number}");
        let id = fleet.hand_in("ann", &body);
        fleet.until_arrived_once("ann", &id, &body).await;
    }
    assert_eq!(listed(), before);
}

#[tokio::test]
async fn a_prompt_for_a_dead_pane_waits_and_arrives_once_it_lives() {
    let directory = tempfile::tempdir().unwrap();
    let mended = directory.path().join("mended");
    let script = format!("test -e {} || exit 3; exec {FLEETD} practice-agent --speed 0", mended.display());
    let entry =
        format!("  - slug: ann\n    runtime: command\n    command: [sh, -c, \"{script}\"]\n    prompt: \"❯\"\n");
    let mut fleet = Fleet::new(&entry);
    fleet.start().await;
    let id = fleet.hand_in("ann", BODY);
    fleet.until_held("ann", &id, "its process has ended").await;
    fleet.until_state("ann", "ended").await;
    std::fs::write(mended, "").unwrap();
    fleet.fleet(&["reconcile"]);
    fleet.until_arrived_once("ann", &id, BODY).await;
}

#[tokio::test]
async fn a_prompt_never_reaches_a_shell_and_arrives_once_the_agent_is_back() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    fleet.tmux(&["respawn-pane", "-k", "-t", "=ann:", "env", "PS1=❯ ", "bash", "--norc", "-i"]);
    fleet.until_state("ann", "elsewhere").await;
    let marker = fleet.path("executed");
    let body = format!("x\ntouch {}", marker.display());
    let id = fleet.hand_in("ann", &body);
    fleet.until_held("ann", &id, "bash runs in its pane instead of the agent").await;
    fleet.tmux(&["send-keys", "-t", "=ann:", "exit", "Enter"]);
    until("the shell has ended", async || (!fleet.fleet(&["reconcile"]).contains("ann: runs")).then_some(())).await;
    fleet.until_arrived_once("ann", &id, &body).await;
    assert!(!marker.exists(), "a prompt was executed by a shell");
}

#[tokio::test]
async fn a_program_that_only_looks_like_the_agent_gets_nothing() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    // A person starts the very same program, with a record of its own: its box looks the same.
    let record = fleet.path("another-record");
    let other = ["env", "--", FLEETD, "practice-agent", "--transcript", record.to_str().unwrap()];
    fleet.tmux(&[["respawn-pane", "-k", "-t", "=ann:"].as_slice(), &other].concat());
    fleet.until_state("ann", "elsewhere").await;
    until("its box shows", async || fleet.screen("ann").contains('❯').then_some(())).await;
    let id = fleet.hand_in("ann", BODY);
    fleet.until_held("ann", &id, "fleetd runs in its pane instead of the agent").await;
    kill(fleet.agent_pid("ann"));
    fleet.until_arrived_once("ann", &id, BODY).await;
    assert!(!std::fs::read_to_string(record).unwrap().contains("\"type\":\"prompt\""));
}

#[tokio::test]
async fn a_program_in_the_agent_s_foreground_gets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (taken, script) = (directory.path().join("taken"), directory.path().join("agent"));
    // An interactive shell gives each of its programs the terminal, as an agent does that opens an editor.
    std::fs::write(
        &script,
        format!(
            "#!/bin/bash\nset -m\nprintf '❯ '; cat > {}\nexec {FLEETD} practice-agent --speed 0\n",
            taken.display()
        ),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let entry =
        format!("  - slug: ann\n    runtime: command\n    command: [{}]\n    prompt: \"❯\"\n", script.display());
    let mut fleet = Fleet::new(&entry);
    fleet.start().await;
    fleet.until_state("ann", "elsewhere").await;
    let id = fleet.hand_in("ann", BODY);
    fleet.until_held("ann", &id, "cat has its terminal").await;
    fleet.tmux(&["send-keys", "-t", "=ann:", "C-d"]);
    fleet.until_arrived_once("ann", &id, BODY).await;
    assert_eq!(std::fs::read_to_string(taken).unwrap(), "");
}

#[tokio::test]
async fn two_fleets_on_one_tmux_never_type_into_each_other_s_panes() {
    let mut first = Fleet::running(&(Fleet::practice("ann") + &Fleet::practice("bob"))).await;
    let mut second = Fleet::beside(&first, &(Fleet::practice("ann") + &Fleet::practice("cid")));
    second.start().await;
    let id = second.hand_in("ann", BODY);
    second.until_held("ann", &id, "its session is not up").await;
    let status = second.fleet(&["status"]);
    assert!(status.contains("a tmux session named ann is there already and belongs to another fleet"), "{status}");
    for (fleet, slug) in [(&first, "ann"), (&first, "bob"), (&second, "cid")] {
        let body = format!("{BODY} for {slug}");
        let id = fleet.hand_in(slug, &body);
        fleet.until_arrived_once(slug, &id, &body).await;
    }
    assert!(!first.transcript("ann").contains(&id), "the other fleet's prompt was typed here");
    // The first fleet is given up, and a person ends its session.
    first.stop();
    first.tmux(&["kill-session", "-t", "=ann"]);
    second.fleet(&["reconcile"]);
    second.until_arrived_once("ann", &id, BODY).await;
    assert_eq!(first.taken("ann").len(), 1);
}

#[tokio::test]
async fn a_session_that_a_person_killed_is_made_again_and_its_prompt_arrives_once() {
    let fleet = Fleet::running(&(Fleet::practice("ann") + &Fleet::practice("bob"))).await;
    fleet.tmux(&["select-pane", "-d", "-t", "=ann:"]);
    let id = fleet.hand_in("ann", BODY);
    fleet.until_held("ann", &id, "input to its pane is switched off").await;
    let (ann, bob) = (fleet.agent_pid("ann"), fleet.agent_pid("bob"));
    fleet.tmux(&["kill-session", "-t", "=ann"]);
    fleet.until_arrived_once("ann", &id, BODY).await;
    assert_ne!(fleet.agent_pid("ann"), ann);
    assert_eq!(fleet.agent_pid("bob"), bob);
}

#[tokio::test]
async fn a_control_client_that_is_stopped_or_killed_costs_no_prompt() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    for (number, how) in [Signal::STOP, Signal::KILL, Signal::HUP].into_iter().enumerate() {
        let client = until("there is a control client", async || {
            fleet.tmux(&["list-clients", "-F", "#{client_pid}"]).parse::<u32>().ok()
        })
        .await;
        let body = format!("{BODY} {number}");
        let id = fleet.hand_in("ann", &body);
        kill_process(process(client), how).unwrap();
        fleet.until_arrived_once("ann", &id, &body).await;
        if how == Signal::STOP {
            kill(client);
        }
        gone(client).await;
    }
    assert_eq!(fleet.taken("ann").len(), 3);
}

/// An agent whose first life ignores its terminal's end, and `more`; the second one is a practice agent that notes whether
/// the first one still lived.
fn stubborn(fleet: &Fleet, more: &str) -> String {
    let script = fleet.path("agent");
    let (first, together) = (fleet.path("first"), fleet.path("together"));
    let text = format!(
        "#!/bin/sh\nif [ -e {first} ]; then\n  grep -sq 'State:.[^ZX]' /proc/$(cat {first})/status && touch {together}\n  \
         exec {FLEETD} practice-agent --speed 0\nfi\ntrap '' HUP {more}\necho $$ > {first}\nexec sleep 1000\n",
        first = first.display(),
        together = together.display(),
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("  - slug: ann\n    runtime: command\n    command: [{}]\n    prompt: \"❯\"\n", script.display())
}

#[tokio::test]
async fn an_agent_that_outlived_its_terminal_never_shares_its_conversation_with_a_second_one() {
    for more in ["", "TERM"] {
        let mut fleet = Fleet::new("");
        fleet.configure(&stubborn(&fleet, more));
        fleet.start().await;
        let first = until("the first life has begun", async || {
            std::fs::read_to_string(fleet.path("first")).ok()?.trim().parse::<u32>().ok()
        })
        .await;
        let id = fleet.hand_in("ann", BODY);
        fleet.until_held("ann", &id, "it is busy").await;
        let server = server_pid(&fleet);
        kill(server);
        gone(server).await;
        fleet.until_arrived_once("ann", &id, BODY).await;
        assert!(!fleet.path("together").exists(), "two processes were one conversation");
        gone(first).await;
    }
}

/// A tmux whose control clients do this instead; all else is the real one.
fn broken_control(fleet: &mut Fleet, instead: &str) {
    let path = std::env::var_os("PATH").unwrap();
    let real = std::env::split_paths(&path).map(|bin| bin.join("tmux")).find(|tmux| tmux.is_file()).unwrap();
    let bin = fleet.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\nfor word; do [ \"$word\" = -C ] && {{ {instead}; }}; done\nexec {} \"$@\"\n",
        real.display()
    );
    std::fs::write(bin.join("tmux"), script).unwrap();
    std::fs::set_permissions(bin.join("tmux"), std::fs::Permissions::from_mode(0o755)).unwrap();
    fleet.set("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
}

async fn delivers_without_control(instead: &str) {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    broken_control(&mut fleet, instead);
    fleet.start().await;
    for number in 0..3 {
        let body = format!("{BODY} {number}");
        let id = fleet.hand_in("ann", &body);
        fleet.until_arrived_once("ann", &id, &body).await;
    }
    assert_eq!(fleet.taken("ann").len(), 3);
    assert_eq!(fleet.tmux(&["list-clients"]), "", "a control client got through");
}

#[tokio::test]
async fn a_tmux_whose_control_client_exits_at_once_still_delivers() {
    delivers_without_control("echo %exit; exit 0").await;
}

#[tokio::test]
async fn a_tmux_whose_control_client_never_answers_still_delivers() {
    delivers_without_control("exec sleep 1000").await;
}

/// A process that is stopped, and goes on at the end, whatever that is.
struct Stopped(u32);

impl Stopped {
    fn of(pid: u32) -> Self {
        kill_process(process(pid), Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        kill_process(process(self.0), Signal::CONT).ok();
    }
}

#[tokio::test]
async fn a_server_that_hangs_for_a_while_loses_no_prompt_and_doubles_none() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    let server = server_pid(&fleet);
    let hangs = async |times: usize| {
        until("the log tells of the hanging server", async || {
            (fleet.log().matches("tmux did not answer").count() >= times).then_some(())
        })
        .await;
    };
    let stopped = Stopped::of(server);
    let before = fleet.hand_in("ann", BODY);
    hangs(1).await;
    drop(stopped);
    fleet.until_arrived_once("ann", &before, BODY).await;

    let body = format!("{BODY}, pasted");
    let pasted = fleet.hand_in("ann", &body);
    until("the paste shows", async || fleet.screen("ann").contains(&pasted).then_some(())).await;
    let times = fleet.log().matches("tmux did not answer").count();
    let stopped = Stopped::of(server);
    hangs(times + 1).await;
    drop(stopped);
    fleet.until_arrived_once("ann", &pasted, &body).await;
    assert_eq!((fleet.taken("ann").len(), server_pid(&fleet)), (2, server));
}
