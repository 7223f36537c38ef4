//! The persistent control-mode client: commands go down its input in a row, answers come back in the same order.
//!
//! When it drops or makes no sense, every call in flight is told that its answer is lost; nothing is repeated here.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::command::{Command, Sequence, control_line};
use super::exec::{Start, spawn_error, tmux};
use super::parse::{Answer, Event, Parser};
use super::server::ServerOptions;
use super::{Result, TmuxError};

/// The session that keeps the control client (and the server) alive while the fleet has none. Its pane is dead from the
/// start, so it costs no process. An agent's slug can't have this name.
pub(super) const KEEPER: &str = "_fleet";

/// A connected control client. Dropping it ends the client, not the server.
pub(super) struct Connection {
    waiting: Arc<Waiting>,
    input: mpsc::UnboundedSender<Vec<u8>>,
    /// The client's pid; none where it ended at once.
    pub(super) pid: Option<u32>,
}

/// What the reader and the callers share.
#[derive(Default)]
struct Waiting {
    /// The calls whose answers are due, oldest first; none once the connection is over.
    queue: Mutex<Option<VecDeque<Call>>>,
    /// Ends the reader.
    stop: Notify,
}

/// A call whose answer is due.
struct Call {
    what: &'static str,
    /// How many of its commands are unanswered.
    left: usize,
    lines: Vec<String>,
    reply: oneshot::Sender<Result<Vec<String>>>,
}

/// What the owner of a connection is told, in order; the last is `Closed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    SessionsChanged,
    Closed,
}

impl Connection {
    /// Starts a client on the server that runs already, creating the keeper session where it is missing.
    pub(super) fn open(options: &ServerOptions, tell: impl Fn(Happening) + Send + 'static) -> Result<Self> {
        let mut process = tmux(options, Start::Never, &["-C"]);
        process.args(super::command::exec_args(&keeper_commands(true)));
        process.stdin(Stdio::piped()).stderr(Stdio::null());
        let mut child = process.spawn().map_err(spawn_error)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(TmuxError::Lost { what: "the control client's start" });
        };
        let pid = child.id();
        let waiting = Arc::new(Waiting { queue: Mutex::new(Some(VecDeque::new())), stop: Notify::new() });
        let (input, lines) = mpsc::unbounded_channel();
        tokio::spawn(write(stdin, lines));
        tokio::spawn(read(child, stdout, Arc::clone(&waiting), tell));
        Ok(Self { waiting, input, pid })
    }

    /// Whether it can still take calls.
    pub(super) fn is_open(&self) -> bool {
        self.waiting.lock().is_some()
    }

    /// Sends `sequence` and yields what its commands printed. `Lost` and `Timeout` mean that it may have been carried out;
    /// after a `Timeout` the connection is closed, because a wedged one would not get better.
    pub(super) async fn call(
        &self,
        options: &ServerOptions,
        what: &'static str,
        sequence: &Sequence,
    ) -> Result<Vec<String>> {
        let (reply, answer) = oneshot::channel();
        {
            // The queue and the input must have the same order.
            let mut queue = self.waiting.lock();
            let Some(queue) = queue.as_mut() else { return Err(TmuxError::Lost { what }) };
            if self.input.send(control_line(sequence)).is_err() {
                return Err(TmuxError::Lost { what });
            }
            queue.push_back(Call { what, left: sequence.len(), lines: Vec::new(), reply });
        }
        match timeout(options.timeout, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_closed)) => Err(TmuxError::Lost { what }),
            Err(_elapsed) => {
                self.waiting.stop.notify_one();
                Err(TmuxError::Timeout { what, after: options.timeout })
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.waiting.stop.notify_one();
    }
}

/// The commands that make the keeper session; `attach` makes this client one of it.
pub(super) fn keeper_commands(attach: bool) -> Sequence {
    let create = Command::new("new-session").args(if attach {
        ["-A", "-f", "ignore-size,no-output"].as_slice()
    } else {
        &["-d"]
    });
    vec![
        create.args(["-s", KEEPER, "-x", "200", "-y", "50", "-c", "/"]).program(&["true".into()]),
        Command::new("set-option").args(["-w", "-t", &format!("={KEEPER}:"), "remain-on-exit", "on"]),
    ]
}

impl Waiting {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<VecDeque<Call>>> {
        // A panic elsewhere can't leave the queue half changed: each change is one push or pop.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an answer to the oldest call; false if nobody waits for one.
    fn take(&self, answer: Answer) -> bool {
        let mut queue = self.lock();
        let Some(queue) = queue.as_mut() else { return false };
        let Some(mut call) = queue.pop_front() else { return false };
        let Answer { lines, failed, cut } = answer;
        let result = if failed {
            Err(TmuxError::from_message(call.what, &lines.join("\n")))
        } else if cut {
            Err(TmuxError::Refused { command: call.what, message: "the answer is too long".to_owned() })
        } else {
            call.lines.extend(lines);
            call.left = call.left.saturating_sub(1);
            if call.left > 0 {
                queue.push_front(call);
                return true;
            }
            Ok(call.lines)
        };
        // Who no longer listens has timed out or gone, and was told so.
        drop(call.reply.send(result));
        true
    }
}

async fn write(mut stdin: ChildStdin, mut lines: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(mut line) = lines.recv().await {
        while let Ok(next) = lines.try_recv() {
            line.extend(next);
        }
        if stdin.write_all(&line).await.is_err() {
            // The reader sees the same end of the client and tells everybody.
            return;
        }
    }
}

async fn read(mut child: Child, mut stdout: ChildStdout, waiting: Arc<Waiting>, tell: impl Fn(Happening)) {
    let mut parser = Parser::default();
    let mut buffer = vec![0; 64 << 10];
    'reading: loop {
        let count = tokio::select! {
            count = stdout.read(&mut buffer) => count.unwrap_or(0),
            () = waiting.stop.notified() => 0,
        };
        if count == 0 {
            break;
        }
        for event in parser.feed(&buffer[..count]) {
            let in_step = match event {
                Event::Answer(answer) => waiting.take(answer),
                Event::SessionsChanged => {
                    tell(Happening::SessionsChanged);
                    true
                }
                Event::Exit | Event::OutOfStep => false,
            };
            if !in_step {
                break 'reading;
            }
        }
    }
    // Dropping the calls tells each that its answer is lost.
    *waiting.lock() = None;
    tell(Happening::Closed);
    if let Err(error) = child.kill().await {
        tracing::debug!(%error, "the tmux control client could not be ended");
    }
}
