//! Typing: what is pasted arrives exactly, and only where it can arrive.

use std::path::PathBuf;

use fleetd::tmux::{Key, Pane, Server, TmuxError};

use crate::support::tmux::{Tmux, session, shown};
use crate::support::wait::until;

/// A program that asks for bracketed paste and writes down every byte that it gets.
struct Reader {
    pane: Pane,
    file: PathBuf,
}

impl Reader {
    async fn start(tmux: &Tmux, server: &Server, name: &str) -> Self {
        let script = format!(r"stty raw -echo; printf '\033[?2004hready'; exec cat > {name}");
        let pane = server.create(&session(name, tmux.path(), &script)).await.unwrap();
        shown(server, &pane, "ready").await;
        Self { pane, file: tmux.path().join(name) }
    }

    async fn got(&self, expected: &str) {
        let start: String = expected.chars().take(40).collect();
        until(&format!("the program got exactly {start:?}… ({} bytes)", expected.len()), async || {
            let got = std::fs::read(&self.file).unwrap();
            assert!(expected.as_bytes().starts_with(&got), "got {:?}", String::from_utf8_lossy(&got));
            (got == expected.as_bytes()).then_some(())
        })
        .await;
    }
}

fn prompts() -> Vec<String> {
    let mut prompts: Vec<String> = [
        "!ls",
        "/clear",
        "-x",
        "--",
        "a\\",
        "a;",
        ";",
        "~",
        "$HOME \"'`",
        "#{pid} #(touch trap)",
        "👩‍💻 ü 日本",
        "tab\tx",
        "\n",
        "%end 1 2 1",
    ]
    .map(str::to_owned)
    .into();
    prompts.push((1..=40).map(|line| format!("line {line}\n")).collect());
    prompts.push("0123456789 äöü🦀\n".repeat(100 * 1024 / 20));
    prompts
}

#[tokio::test(flavor = "multi_thread")]
async fn every_prompt_arrives_exactly_as_it_was_written() {
    let (tmux, connected) = Tmux::started().await;
    let by_exec = tmux.server();
    for (name, server) in [("control", &connected), ("exec", &by_exec)] {
        assert_eq!(server.is_connected(), name == "control");
        let reader = Reader::start(&tmux, server, name).await;
        let mut expected = String::new();
        for prompt in prompts() {
            server.paste(&reader.pane.id, &prompt).await.unwrap();
            expected.push_str(&format!("\x1b[200~{prompt}\x1b[201~"));
            reader.got(&expected).await;
        }
        for (key, bytes) in [
            (Key::Enter, "\r"),
            (Key::Escape, "\x1b"),
            (Key::Tab, "\t"),
            (Key::BackTab, "\x1b[Z"),
            (Key::Backspace, "\x7f"),
            (Key::Up, "\x1b[A"),
            (Key::Down, "\x1b[B"),
            (Key::Right, "\x1b[C"),
            (Key::Left, "\x1b[D"),
            (Key::Control('u'), "\x15"),
            (Key::Char('1'), "1"),
            (Key::Char(';'), ";"),
            (Key::Char('-'), "-"),
            (Key::Char('ü'), "ü"),
        ] {
            server.press(&reader.pane.id, key).await.unwrap();
            expected.push_str(bytes);
            reader.got(&expected).await;
        }
    }
    assert!(!tmux.path().join("trap").exists());
    assert_leaves_nothing(&tmux);
}

fn assert_leaves_nothing(tmux: &Tmux) {
    assert_eq!(tmux.by_hand(&["list-buffers"]), "");
    let names = std::fs::read_dir(tmux.path().join("state")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().starts_with("paste-")).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_for_a_pane_that_is_gone_says_so_and_leaves_neither_file_nor_buffer() {
    let (tmux, connected) = Tmux::started().await;
    let gone = "%77".parse().unwrap();
    for server in [&connected, &tmux.server()] {
        assert!(matches!(server.paste(&gone, "secret").await, Err(TmuxError::NoSuchPane(_))));
        assert!(matches!(server.press(&gone, Key::Enter).await, Err(TmuxError::NoSuchPane(_))));
        assert!(matches!(server.capture(&gone).await, Err(TmuxError::NoSuchPane(_))));
        assert!(server.pane(&gone).await.unwrap().is_none());
    }
    assert_leaves_nothing(&tmux);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_character_never_becomes_a_keystroke() {
    let (tmux, server) = Tmux::started().await;
    let reader = Reader::start(&tmux, &server, "a").await;
    for text in ["a\x1b[201~b", "\x03", "\0", "a\rb", "\u{9b}"] {
        assert!(matches!(server.paste(&reader.pane.id, text).await, Err(TmuxError::Refused { .. })), "{text:?}");
    }
    for key in [Key::Char('\r'), Key::Char('\x1b'), Key::Control('['), Key::Control('A')] {
        assert!(matches!(server.press(&reader.pane.id, key).await, Err(TmuxError::Refused { .. })), "{key:?}");
    }
    server.press(&reader.pane.id, Key::Char('x')).await.unwrap();
    reader.got("x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_s_copy_mode_is_seen_and_left_so_that_the_paste_is_whole() {
    let (tmux, server) = Tmux::started().await;
    let reader = Reader::start(&tmux, &server, "a").await;
    let id = &reader.pane.id;
    server.leave_mode(id).await.unwrap();
    for mode in ["copy-mode", "clock-mode"] {
        tmux.by_hand(&[mode, "-t", id.as_str()]);
        assert!(server.pane(id).await.unwrap().unwrap().in_mode, "{mode}");
        server.leave_mode(id).await.unwrap();
        assert!(!server.pane(id).await.unwrap().unwrap().in_mode, "{mode}");
    }
    server.paste(id, "whole").await.unwrap();
    server.press(id, Key::Enter).await.unwrap();
    reader.got("\x1b[200~whole\x1b[201~\r").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pane_that_drops_all_input_is_seen() {
    let (tmux, server) = Tmux::started().await;
    let reader = Reader::start(&tmux, &server, "a").await;
    assert!(!server.pane(&reader.pane.id).await.unwrap().unwrap().input_off);
    tmux.by_hand(&["select-pane", "-d", "-t", reader.pane.id.as_str()]);
    assert!(server.panes().await.unwrap()[0].input_off);
}
