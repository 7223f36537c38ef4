//! What people get besides the program: the unit, the demonstration, the installation, the README.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::wait::until;

const FLEETD: &str = env!("CARGO_BIN_EXE_fleetd");

fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(in_tree(path)).unwrap()
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; `make test` installs what the tests need"))
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn systemd_takes_the_unit_without_a_word() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("fleetd.service");
    fs::write(&copy, text("systemd/fleetd.service").replace("/usr/local/bin/fleetd", FLEETD)).unwrap();
    let verified = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy));
    // An unknown key is only a warning to it, and the line would do nothing.
    assert!(verified.status.success() && shown(&verified).is_empty(), "{}", shown(&verified));
}

#[test]
fn a_restart_of_the_service_ends_no_agent_and_a_fleet_without_tokens_starts() {
    let unit = text("systemd/fleetd.service");
    let lines: Vec<&str> = unit.lines().collect();
    for needed in [
        "Type=notify",
        "WatchdogSec=60",
        "Restart=on-failure",
        "RestartPreventExitStatus=2",
        "KillMode=process",
        "OOMPolicy=continue",
        "StateDirectory=fleet",
        "StateDirectoryMode=0700",
        "User=fleet",
        "LimitNOFILE=65536",
        "ExecStart=/usr/local/bin/fleetd --config /etc/fleet/agents.yaml",
    ] {
        assert!(lines.contains(&needed), "{needed}");
    }
    // An absolute path to a missing token would keep the unit from starting.
    let credentials: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("LoadCredential=")).collect();
    assert!(credentials.iter().any(|line| line.starts_with("SLACK_BOT_TOKEN:")), "{credentials:?}");
    assert!(credentials.iter().any(|line| line.starts_with("SLACK_APP_TOKEN:")), "{credentials:?}");
    assert!(!credentials.iter().any(|line| line.contains('/')), "{credentials:?}");
    // Each of these would hide the tmux socket from `fleet attach`, or keep agents from their work for ever after.
    for harmful in ["PrivateTmp=", "ProtectHome=", "NoNewPrivileges=", "SystemCallFilter=", "PrivateUsers="] {
        assert!(!lines.iter().any(|line| line.starts_with(harmful)), "{harmful}");
    }
}

#[test]
fn an_installation_is_whole_and_goes_without_a_trace() {
    let root = tempfile::tempdir().unwrap();
    let (prefix, units) = (root.path().join("usr"), root.path().join("units"));
    let make = |target: &str| {
        let set = |name: &str, path: &Path| format!("{name}={}", path.display());
        let words = [set("PREFIX", &prefix), set("UNITDIR", &units), format!("BUILT={FLEETD}")];
        let made = run(Command::new("make").arg("-C").arg(in_tree("")).arg(target).args(words));
        assert!(made.status.success(), "{}", shown(&made));
    };
    make("install");
    for file in [
        "bin/fleetd",
        "share/man/man1/fleet.1",
        "share/man/man1/fleet-send.1",
        "share/bash-completion/completions/fleet",
        "share/zsh/site-functions/_fleet",
        "share/fish/vendor_completions.d/fleet.fish",
    ] {
        assert!(fs::metadata(prefix.join(file)).is_ok_and(|found| found.len() > 100), "{file}");
    }
    let fleet = run(Command::new(prefix.join("bin/fleet")).arg("--version"));
    assert!(shown(&fleet).starts_with("fleet "), "{}", shown(&fleet));
    let unit = fs::read_to_string(units.join("fleetd.service")).unwrap();
    assert!(unit.contains(&format!("\nExecStart={}/bin/fleetd --config", prefix.display())), "{unit}");
    make("uninstall");
    assert_eq!(files_below(root.path()), Vec::<PathBuf>::new());
}

#[test]
fn whoever_reads_the_readme_finds_every_key_and_every_verb() {
    let readme = text("README.md");
    let schema: serde_json::Value = serde_json::from_slice(&run(Command::new(FLEETD).arg("schema")).stdout).unwrap();
    for shape in ["File", "AgentEntry"] {
        for key in schema["$defs"][shape]["properties"].as_object().unwrap().keys() {
            assert!(readme.contains(&format!("| `{key}` |")), "the key {key} of {shape}");
        }
    }
    let help = shown(&run(Command::new(FLEETD).arg("--help")));
    let verbs = help.split("Commands:\n").nth(1).unwrap().lines().take_while(|line| !line.is_empty());
    for verb in verbs.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()) {
        assert!(readme.contains(&format!("`fleet {verb}")) || readme.contains(&format!("`fleetd {verb}")), "{verb}");
    }
}

#[tokio::test]
async fn the_demonstration_shows_three_nudges_answered_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let shown = run(demo(root.path()).env("DEMO_ONCE", "1"));
    let said = self::shown(&shown);
    assert!(shown.status.success(), "{said}");
    for agent in ["reviewer", "dependency-keeper", "bug-hunter"] {
        assert!(said.contains(&format!(" for {agent}: nudge by schedule: Good morning.")), "{agent}: {said}");
        assert!(said.contains(&format!(" {agent} ■ done")), "{agent}: {said}");
    }
    assert_eq!(said.matches("confirmed by transcript").count(), 3, "{said}");
    assert!(said.contains("reviewer: confirmed in "), "{said}");
    nothing_left(root.path());
}

#[tokio::test]
async fn a_demonstration_that_is_stopped_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let log = root.path().join("said");
    let said = fs::File::create(&log).unwrap();
    let mut demo = demo(root.path()).stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
    until("the demonstration's last words", || {
        let text = fs::read_to_string(&log).unwrap();
        assert!(demo.try_wait().unwrap().is_none(), "it ended: {text}");
        std::future::ready(text.contains("Ctrl-C ends the fleet").then_some(()))
    })
    .await;
    kill_process(Pid::from_child(&demo), Signal::TERM).unwrap();
    let ended = until("the demonstration's end", || std::future::ready(demo.try_wait().unwrap())).await;
    assert_eq!(ended.code(), Some(143), "{}", fs::read_to_string(&log).unwrap());
    fs::remove_file(&log).unwrap();
    nothing_left(root.path());
}

/// The demonstration with everything it makes below `root`.
fn demo(root: &Path) -> Command {
    let mut demo = Command::new(in_tree("tests/demo.sh"));
    demo.env("FLEETD", FLEETD).env("TMPDIR", root).env("TMUX_TMPDIR", root).stdin(Stdio::null());
    for other in ["RUNTIME", "DEMO_ONCE", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "TMUX"] {
        demo.env_remove(other);
    }
    demo
}

/// No file, and no process that was told of `root`.
fn nothing_left(root: &Path) {
    assert_eq!(files_below(root), Vec::<PathBuf>::new());
    let needle = root.as_os_str().as_encoded_bytes();
    for process in fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()) {
        // One that ends meanwhile, or is another user's, can't be read and isn't ours.
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let told = environment.windows(needle.len()).any(|window| window == needle);
        assert!(!told, "{} still runs: {:?}", process.display(), fs::read_to_string(process.join("cmdline")));
    }
}

/// Every file and link below a directory; empty directories don't count.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir() && !path.is_symlink());
    files.extend(directories.iter().flat_map(|directory| files_below(directory)));
    files
}
