//! A long text into a pane, beside the same two commands on a control client that does nothing else and finds the text in a
//! file already: the least that tmux itself takes for it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use fleetd::tmux::{NewSession, PaneId};

use crate::house::{House, SOCKET};
use crate::table::{Row, Samples};

const BYTES: usize = 100 << 10;
const PASTES: usize = 60;

/// A control client of our own, to which lines are written.
struct Client {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn attach(house: &House, session: &str) -> Self {
        let mut command = Command::new("tmux");
        command.args(["-C", "-L", SOCKET, "attach", "-f", "ignore-size,no-output", "-t", session]);
        command.env("TMUX_TMPDIR", house.path()).env_remove("TMUX").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut client = Self { process, input, output };
        client.ends(1);
        client
    }

    /// Writes a line of `commands` commands and waits for all their answers.
    fn call(&mut self, line: &str, commands: usize) -> Duration {
        let started = Instant::now();
        self.input.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.ends(commands);
        started.elapsed()
    }

    fn ends(&mut self, mut left: usize) {
        let mut line = String::new();
        while left > 0 {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the control client ended");
            assert!(!line.starts_with("%error"), "tmux refused");
            left -= usize::from(line.starts_with("%end"));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A program that takes whatever comes and shows nothing.
async fn sink(house: &House) -> PaneId {
    let new = NewSession {
        name: "sink".to_owned(),
        cwd: house.path().to_owned(),
        argv: ["sh", "-c", "stty raw -echo; exec cat >/dev/null"].map(Into::into).into(),
        tags: BTreeMap::new(),
        width: 200,
        height: 50,
    };
    house.server.create(&new).await.unwrap().id
}

/// Measures, all in turn for every sample.
pub async fn measure() -> Vec<Row> {
    let house = House::new(&[("nobody".to_owned(), "[\"true\"]".to_owned())]).await;
    let pane = sink(&house).await;
    let text: String = "what was the slowest query of the night? ".chars().cycle().take(BYTES).collect();
    let file = house.path().join("text");
    std::fs::write(&file, &text).unwrap();
    let (file, id) = (file.to_str().unwrap(), pane.as_str());
    let mut client = Client::attach(&house, "=sink");
    let line = format!("load-buffer -b raw '{file}' ; paste-buffer -p -r -d -b raw -t {id}");
    let (mut control, mut exec, mut ours) = (Samples::default(), Samples::default(), Samples::default());
    for number in 0..PASTES + 5 {
        let by_control = client.call(&line, 2);
        let started = Instant::now();
        house.raw(&["load-buffer", "-b", "raw", file, ";", "paste-buffer", "-p", "-r", "-d", "-b", "raw", "-t", id]);
        let by_exec = started.elapsed();
        let started = Instant::now();
        house.server.paste(&pane, &text).await.unwrap();
        let took = started.elapsed();
        if number < 5 {
            continue;
        }
        control.add(by_control);
        exec.add(by_exec);
        ours.add(took);
    }
    let reached = ours.median() * 2 <= control.median() * 3;
    vec![
        Row::beside("a paste of 100 KB", &ours, "load-buffer and paste-buffer on an open control client", &control)
            .reaching("ratio 1.5", reached),
        Row::beside("a paste of 100 KB", &ours, "one exec of load-buffer and paste-buffer", &exec),
    ]
}
