//! What comes from outside line by line, mangled: records of each CLI, and screens. Nothing panics, no whole line after a bad
//! one is lost, and an endless line costs a bounded amount of memory. tmux's control mode is mangled beside its parser.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetd::files::lines;
use fleetd::model::StateName;
use fleetd::runtime::{Claude, Codex, Command, InputBox, RecordKind, Runtime};
use fleetd::tmux::Screen;
use proptest::prelude::*;

use crate::support::fleet::Fleet;
use crate::support::wait::until;

fn fixtures(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

fn runtimes() -> [(&'static str, Arc<dyn Runtime>); 3] {
    [
        ("claude-2.1.197", Arc::new(Claude::new())),
        ("codex-0.169.0", Arc::new(Codex::new())),
        ("practice-agent", Arc::new(Command::new(Some("❯".into())))),
    ]
}

/// Every line that a real CLI wrote, and one of each kind of our own.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        r#"{"at":"2026-11-20T09:00:04Z","type":"prompt","text":"[fleet · cli · ann · 0123456789ab]\nx"}"#,
        r#"{"at":"2026-11-20T09:00:04Z","type":"turn_ended","outcome":"completed","usage":{"input":1,"output":2}}"#,
        r#"{"at":"2026-11-20T09:00:04Z","type":"tool","tool":"shell","detail":"ls"}"#,
    ]
    .map(|line| line.as_bytes().to_vec())
    .into();
    for (version, _) in runtimes() {
        for entry in fs::read_dir(fixtures("records").join(version)).into_iter().flatten() {
            let text = fs::read(entry.unwrap().path()).unwrap();
            seeds.extend(text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
        }
    }
    assert!(seeds.len() > 50, "there are no seeds any more: {}", seeds.len());
    seeds
}

/// One wound in a line.
#[derive(Debug, Clone)]
enum Wound {
    Cut(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, &'static [u8]),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
}

fn wound() -> impl Strategy<Value = Wound> {
    let pieces: [&[u8]; 16] = [
        b"null",
        b"-1",
        b"1e999",
        b"18446744073709551616",
        b"[",
        b"{",
        b"}",
        b"\"",
        b"\\ud83e",
        b"\\u0000",
        b"\xff\xfe",
        b"\"type\":",
        b"[[[[[[[[[[[[[[[[",
        b"\0",
        b"true",
        b"\"\"",
    ];
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Wound::Cut),
        (at(), any::<u8>()).prop_map(|(at, byte)| Wound::Flip(at, byte)),
        (at(), prop::sample::select(pieces.to_vec())).prop_map(|(at, piece)| Wound::Insert(at, piece)),
        (at(), 1_usize..40).prop_map(|(at, count)| Wound::Remove(at, count)),
        (at(), 1_usize..200).prop_map(|(at, count)| Wound::Repeat(at, count)),
    ]
}

/// The line with its wounds, still one line.
fn wounded(line: &[u8], wounds: &[Wound]) -> Vec<u8> {
    let mut line = line.to_vec();
    for wound in wounds {
        let length = line.len();
        let place = |at: &prop::sample::Index| at.index(length + 1);
        match wound {
            Wound::Cut(at) => line.truncate(place(at)),
            Wound::Flip(at, byte) => {
                let at = place(at);
                line.splice(at..(at + 1).min(line.len()), [*byte]);
            }
            Wound::Insert(at, piece) => drop(line.splice(place(at)..place(at), piece.iter().copied())),
            Wound::Remove(at, count) => {
                let at = place(at);
                line.drain(at..(at + count).min(line.len()));
            }
            Wound::Repeat(at, count) => {
                let at = place(at);
                let piece = line[at..(at + 20).min(line.len())].repeat(*count);
                line.splice(at..at, piece);
            }
        }
    }
    line.retain(|byte| *byte != b'\n');
    line
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_mangled_record_never_panics_and_hides_no_line_behind_it(
        picks in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(wound(), 0..4)), 1..8),
        unfinished in any::<bool>(),
    ) {
        let seeds = seeds();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut written = Vec::new();
        for (pick, wounds) in &picks {
            let seed = pick.get(&seeds);
            let mangled = wounded(seed, wounds);
            written.extend([mangled, seed.clone()]);
        }
        let mut bytes = written.join(&b'\n');
        bytes.push(b'\n');
        let end = bytes.len() as u64;
        if unfinished {
            bytes.extend_from_slice(b"{\"type\":\"half a li");
        }
        file.write_all(&bytes).unwrap();
        let reading = lines::read(file.path(), lines::Place::default()).unwrap().unwrap();
        prop_assert_eq!(reading.lines.len(), written.len());
        for (line, bytes) in reading.lines.iter().zip(&written) {
            prop_assert_eq!(&line.text, &String::from_utf8_lossy(bytes));
        }
        prop_assert_eq!(reading.end, end);
        for (_, runtime) in runtimes() {
            for kind in [RecordKind::Hooks, RecordKind::Transcript] {
                for line in &reading.lines {
                    runtime.read_record(kind, &line.text);
                    runtime.record_time(&line.text);
                }
            }
        }
    }

    #[test]
    fn a_mangled_screen_never_panics_and_no_mangling_invents_a_place_outside_the_screen(
        pick in any::<prop::sample::Index>(),
        wounds in prop::collection::vec((any::<prop::sample::Index>(), wound()), 0..12),
        cursor in (0_usize..300, 0_usize..80),
    ) {
        for (version, runtime) in runtimes() {
            let mut screens: Vec<PathBuf> = fs::read_dir(fixtures("screens").join(version))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "ansi"))
                .collect();
            screens.sort();
            let text = fs::read(pick.get(&screens)).unwrap();
            let mut rows: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            for (row, wound) in &wounds {
                let row = row.index(rows.len());
                rows[row] = wounded(&rows[row], std::slice::from_ref(wound));
            }
            let rows: Vec<String> = rows.iter().map(|row| String::from_utf8_lossy(row).into_owned()).collect();
            let screen = Screen::parse(rows.iter().map(String::as_str), cursor.0, cursor.1);
            let reading = runtime.read_screen(&screen);
            if let InputBox::Holds(held) = &reading.input {
                prop_assert!(!held.chars().any(|c| c.is_control() && c != '\n'), "{:?}", held);
            }
            prop_assert_eq!(reading, runtime.read_screen(&screen));
        }
    }

    #[test]
    fn a_mangled_state_file_of_claude_s_tells_nothing_or_what_it_says(wounds in prop::collection::vec(wound(), 0..4)) {
        let file = br#"{"pid":42,"sessionId":"a","status":"waiting","waitingFor":"permission prompt","updatedAt":1}"#;
        let text = String::from_utf8_lossy(&wounded(file, &wounds)).into_owned();
        Claude::new().read_state_file(&text);
    }
}

/// What a process had in memory at most since the last [`forget_peak`], in bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Appends a line of this many bytes, in pieces as a program writes it.
fn append_long(path: &Path, start: &str, bytes: usize, end: &str) {
    let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
    file.write_all(start.as_bytes()).unwrap();
    let piece = vec![b'x'; 4 << 20];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece.len());
        file.write_all(&piece[..now]).unwrap();
        left -= now;
    }
    file.write_all(end.as_bytes()).unwrap();
}

/// Two agents: one with a record of its own, one a Claude of which only the hooks are there.
async fn with_records() -> Fleet {
    let mut fleet = Fleet::new("");
    let script = fleet.path("claude");
    fs::write(&script, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let claude = format!("  - slug: claude\n    runtime: claude\n    command: {}\n", script.display());
    fleet.configure(&(Fleet::practice("ann") + &claude));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    until("the other agent is up", async || (!fleet.tmux(&["list-panes", "-t", "=claude:"]).is_empty()).then_some(()))
        .await;
    fleet
}

const MEGABYTE: usize = 1 << 20;

#[tokio::test]
async fn a_line_of_100_megabytes_costs_bounded_memory_and_hides_no_line_behind_it() {
    let fleet = with_records().await;
    let agents = fleet.state().join("agents");
    let before = peak(fleet.pid());
    forget_peak(fleet.pid());
    append_long(&agents.join("ann/transcript.jsonl"), "{\"text\":\"", 100 * MEGABYTE, "\"}\n");
    let id = fleet.hand_in("ann", "behind it");
    fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
    append_long(&agents.join("claude/hooks.jsonl"), "{\"prompt\":\"", 100 * MEGABYTE, "\"}\n");
    append_long(
        &agents.join("claude/hooks.jsonl"),
        r#"{"fleet_at":"2026-11-20T09:00:00Z","session_id":"x","hook_event_name":"UserPromptSubmit","prompt":"behind the long line"}"#,
        0,
        "\n",
    );
    until("the hook behind it is told", async || {
        fleet.feed().iter().any(|row| format!("{:?}", row.fact).contains("behind the long line")).then_some(())
    })
    .await;
    let grew = peak(fleet.pid()).saturating_sub(before) / MEGABYTE as u64;
    println!("a line of 100 MB: fleetd's memory grew by {grew} MB at most");
    assert!(grew < 100, "{grew} MB");
}
