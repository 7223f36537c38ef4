//! `fleetd launch` as the command of a real pane.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fleetd::model::LaunchFile;

use crate::support::private_tmux::{Pane, PrivateTmux};
use crate::support::wait::until;

const FLEETD: &str = env!("CARGO_BIN_EXE_fleetd");
const SECRET: &str = "xoxb-a-secret-of-the-agent";

fn launch<'a>(tmux: &'a PrivateTmux, file: &LaunchFile) -> Pane<'a> {
    let path = tmux.path("launch.json");
    fs::write(&path, file.to_json().unwrap()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    tmux.start(&[("LEAKED_FROM_THE_SERVER", Path::new("yes"))], &[FLEETD.as_ref(), "launch".as_ref(), path.as_os_str()])
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

#[tokio::test]
async fn the_pane_runs_the_agent_itself_with_exactly_its_environment_and_no_secret_on_a_command_line() {
    let tmux = PrivateTmux::new();
    let transcript = tmux.path("transcript.jsonl");
    let odd = OsString::from_vec(b"\xff not text \x80".to_vec());
    let env = vec![
        ("SECRET".into(), SECRET.into()),
        ("FLEET_TRANSCRIPT".into(), transcript.clone().into_os_string()),
        ("ODD".into(), odd.clone()),
        ("TERM".into(), "the daemon's own".into()),
    ];
    let cwd = fs::canonicalize(tmux.directory.path()).unwrap();
    let mut file = LaunchFile::new(words(&[FLEETD, "practice-agent"]), env, cwd.clone());
    file.nofile = Some(500);
    let pane = launch(&tmux, &file);
    pane.shows("❯ Try:").await;

    let process = PathBuf::from(format!("/proc/{}", pane.pid()));
    let cmdline = fs::read(process.join("cmdline")).unwrap();
    assert_eq!(cmdline, [FLEETD, "practice-agent", ""].join("\0").into_bytes(), "the pane's pid is the agent's own");
    assert_eq!(fs::read_link(process.join("cwd")).unwrap(), cwd);
    assert_eq!(fs::read_to_string(process.join("task").join(pane.pid().to_string()).join("children")).unwrap(), "");
    assert!(
        fs::read_to_string(process.join("limits"))
            .unwrap()
            .lines()
            .any(|line| { line.starts_with("Max open files") && line.split_whitespace().nth(3) == Some("500") })
    );

    let environ = fs::read(process.join("environ")).unwrap();
    let mut names: Vec<&[u8]> = environ
        .split(|byte| *byte == 0)
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split(|byte| *byte == b'=').next().unwrap())
        .collect();
    names.sort_unstable();
    let expected: [&[u8]; 6] = [b"FLEET_TRANSCRIPT", b"ODD", b"SECRET", b"TERM", b"TMUX", b"TMUX_PANE"];
    assert_eq!(names, expected);
    let has = |pair: &[u8]| environ.split(|byte| *byte == 0).any(|found| found == pair);
    assert!(has(&[b"ODD=", odd.as_bytes()].concat()));
    assert!(!has(b"TERM=the daemon's own"), "the pane knows best which terminal it is");
    assert_eq!(fs::metadata(&transcript).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn an_agent_that_can_t_start_says_why_in_its_pane_and_shows_no_secret() {
    let tmux = PrivateTmux::new();
    let env = vec![("SECRET".into(), SECRET.into()), ("PATH".into(), "/usr/bin:/bin".into())];
    for (argv, cwd, reason) in [
        (words(&["no-such-agent", "--flag"]), "/", "could not start no-such-agent"),
        (words(&["true"]), "/no/such/directory", "could not enter the agent's directory"),
    ] {
        let pane = launch(&tmux, &LaunchFile::new(argv, env.clone(), cwd.into()));
        assert_eq!(pane.is_dead().await, "127");
        let screen = pane.shows(reason).await;
        assert!(!screen.contains("xoxb"), "{screen}");
    }
    fs::write(tmux.path("broken.json"), format!("{{\"version\":1,\"argv\":[\"a\"],\"env\":\"{SECRET}\"}}")).unwrap();
    let broken = tmux.path("broken.json");
    let pane = tmux.start(&[], &[FLEETD.as_ref(), "launch".as_ref(), broken.as_os_str()]);
    assert_eq!(pane.is_dead().await, "127");
    assert!(!pane.shows("not a launch file").await.contains("xoxb"));
}

#[tokio::test]
async fn a_program_is_found_on_the_agent_s_path_not_on_the_server_s() {
    let tmux = PrivateTmux::new();
    let bin = tmux.path("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/sleep", bin.join("my-agent")).unwrap();
    let env = vec![("PATH".into(), bin.into_os_string())];
    let pane = launch(&tmux, &LaunchFile::new(words(&["my-agent", "600"]), env, "/".into()));
    until("the pane runs the agent", async || {
        let cmdline = fs::read(format!("/proc/{}/cmdline", pane.pid())).unwrap_or_default();
        (cmdline == b"my-agent\x00600\x00").then_some(())
    })
    .await;
}
