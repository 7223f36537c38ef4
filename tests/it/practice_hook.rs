//! `fleetd hook` as an agent's CLI calls it: a process of its own, many at once.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const FLEETD: &str = env!("CARGO_BIN_EXE_fleetd");

fn start(spool: &Path) -> Child {
    let mut command = Command::new(FLEETD);
    command.args(["hook", "--spool"]).arg(spool).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Hands an event in, and checks that the agent would notice nothing.
fn finish(mut child: Child, event: &[u8]) {
    let mut stdin = child.stdin.take().unwrap();
    // The hook may refuse the rest of a text that is too long.
    let _ = stdin.write_all(event);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(0), 0, 0));
}

#[test]
fn hooks_that_fire_at_once_leave_whole_lines_however_long() {
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool.jsonl");
    let children: Vec<(usize, Child)> = (0..12).map(|number| (number, start(&spool))).collect();
    let threads: Vec<_> = children
        .into_iter()
        .map(|(number, child)| {
            let event = format!("{{\n  \"number\": {number},\n  \"text\": \"{}\"\n}}\n", "x".repeat(number * 30_000));
            std::thread::spawn(move || finish(child, event.as_bytes()))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let text = fs::read_to_string(&spool).unwrap();
    let mut numbers: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .inspect(|event| assert!(event["fleet_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok()))
        .map(|event| event["number"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..12).collect::<Vec<u64>>());
    assert!(text.ends_with('\n'));
    assert_eq!(fs::metadata(&spool).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_hook_never_blocks_the_agent_whatever_goes_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool.jsonl");
    let errors = directory.path().join("spool.jsonl.errors");
    for (event, complaint) in [(&b"not json"[..], "not one JSON object"), (b"\xff", "not UTF-8")] {
        finish(start(&spool), event);
        assert!(fs::read_to_string(&errors).unwrap().lines().last().unwrap().contains(complaint));
    }
    finish(start(&spool), &vec![b' '; (16 << 20) + 4096]);
    assert!(fs::read_to_string(&errors).unwrap().lines().last().unwrap().contains("more than"));
    assert!(!spool.exists());
    finish(start(Path::new("/no/such/directory/spool")), b"{}");
    let mut without = Command::new(FLEETD);
    assert!(without.arg("hook").stdin(Stdio::null()).status().unwrap().success());
}
