//! `fleetd practice-agent`: a small agent that costs no model. It shows people what a fleet does, and gives tests an agent
//! that does what it is told, in every state a real one can be in.
//!
//! It never runs anything and never opens a socket: a shell command it is handed is written down, not run. One thread, no
//! timer while idle.

mod dialog;
mod draft;
mod keys;
mod script;
mod state;
mod terminal;
mod view;

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGTERM, SIGWINCH};

use super::append::append_line;
use crate::model::{Clock, SystemClock, TranscriptEntry, TranscriptLine};
use keys::{Key, KeyReader};
use state::{Effect, Event, State, Waits};
use terminal::Terminal;

/// How long an ESC may stand alone before it is the key: a terminal sends a sequence's rest at once.
const ESCAPE_ALONE: Duration = Duration::from_millis(25);
/// How often the gate is looked at, while a turn holds at it.
const GATE_LOOK: Duration = Duration::from_millis(20);

/// The options of the practice agent.
#[derive(Debug, Clone, clap::Args)]
pub struct PracticeArgs {
    /// Keep the record in this file, and read it back at start
    #[arg(long, env = "FLEET_TRANSCRIPT", value_name = "FILE")]
    pub transcript: Option<PathBuf>,
    /// Pause this long between two pieces of an answer; 0 answers at once
    #[arg(long, default_value_t = 40, value_name = "MILLISECONDS")]
    pub speed: u64,
    /// Let a turn that was asked to hold go on once this file exists
    #[arg(long, env = "FLEET_PRACTICE_GATE", value_name = "FILE")]
    pub gate: Option<PathBuf>,
    /// Pass over so many Enters, as a CLI does that was too slow to read them
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub lose_enter: u32,
}

/// Runs the agent until it is told to quit.
pub fn run(args: PracticeArgs) -> Result<()> {
    let mut agent = Agent::awake(args)?;
    let terminal = Terminal::enter()?;
    agent.serve(terminal)
}

/// Whether to go on after some effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Quit,
}

struct Agent {
    args: PracticeArgs,
    state: State,
    /// What it was asked to hold.
    hoard: Vec<Vec<u8>>,
}

impl Agent {
    /// The agent as its record left it.
    fn awake(args: PracticeArgs) -> Result<Self> {
        let mut agent = Self { args, state: State::default(), hoard: Vec::new() };
        if let Some(path) = &agent.args.transcript {
            read_back(path, &mut agent.state).with_context(|| format!("could not read {}", path.display()))?;
        }
        if agent.state.conversation.is_empty() {
            agent.begin_conversation()?;
        }
        Ok(agent)
    }

    fn serve(&mut self, mut terminal: Terminal) -> Result<()> {
        let resized = signal_pipe(SIGWINCH)?;
        let ended = signal_pipe(SIGTERM)?;
        let mut input = Input::default();
        let mut next_tick = Instant::now();
        loop {
            let size = Terminal::size();
            terminal.draw(&view::frame(&self.state, size.0, size.1), size)?;
            let timeout = self.timeout(&input, next_tick);
            let stdin = std::io::stdin();
            let mut fds = [
                PollFd::new(&stdin, PollFlags::IN),
                PollFd::new(&resized, PollFlags::IN),
                PollFd::new(&ended, PollFlags::IN),
            ];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("could not wait for input"),
            }
            let [typed, sized, told] = fds.map(|fd| !fd.revents().is_empty());
            if told {
                return Ok(());
            }
            if sized {
                drain(&resized)?;
            }
            if typed && !input.read_all()? {
                return Ok(());
            }
            input.settle();
            for key in input.keys.drain(..) {
                if key == Key::Enter && self.args.lose_enter > 0 {
                    self.args.lose_enter -= 1;
                    continue;
                }
                if self.happen(Event::Key(key))? == Flow::Quit {
                    return Ok(());
                }
            }
            if self.advance(&mut next_tick)? == Flow::Quit {
                return Ok(());
            }
        }
    }

    /// Lets the turn go on as far as it is due.
    fn advance(&mut self, next_tick: &mut Instant) -> Result<Flow> {
        if self.state.waits() == Waits::Gate && self.args.gate.as_ref().is_some_and(|gate| gate.exists()) {
            self.happen(Event::GateOpen)?;
        }
        let pause = Duration::from_millis(self.args.speed);
        while self.state.waits() == Waits::Tick && (pause.is_zero() || Instant::now() >= *next_tick) {
            *next_tick = Instant::now() + pause;
            if self.happen(Event::Tick)? == Flow::Quit {
                return Ok(Flow::Quit);
            }
        }
        Ok(Flow::On)
    }

    fn happen(&mut self, event: Event) -> Result<Flow> {
        for effect in self.state.step(event) {
            match effect {
                Effect::Record(entry) => self.record(entry)?,
                Effect::NewConversation => self.begin_conversation()?,
                Effect::Quit => return Ok(Flow::Quit),
                Effect::Crash => bail!("the practice agent crashed, as it was asked to"),
                // Written to, or the kernel would give no page for it.
                Effect::Allocate(megabytes) => self.hoard.push(vec![1; megabytes << 20]),
            }
        }
        Ok(Flow::On)
    }

    fn begin_conversation(&mut self) -> Result<()> {
        let id = uuid::Uuid::new_v4().to_string();
        self.state.conversation_began(id.clone());
        self.record(TranscriptEntry::Conversation { id })
    }

    fn record(&self, entry: TranscriptEntry) -> Result<()> {
        let Some(path) = &self.args.transcript else { return Ok(()) };
        let line =
            TranscriptLine { at: SystemClock.now(), entry }.to_json().context("could not write an entry down")?;
        append_line(path, &line)
    }

    /// How long to wait at most; none is for ever.
    fn timeout(&self, input: &Input, next_tick: Instant) -> Option<Timespec> {
        let turn = match self.state.waits() {
            Waits::Keys => None,
            Waits::Tick => Some(next_tick.saturating_duration_since(Instant::now())),
            Waits::Gate => self.args.gate.as_ref().map(|_| GATE_LOOK),
        };
        let escape = input.escape_at.map(|at| ESCAPE_ALONE.saturating_sub(at.elapsed()));
        let shortest = turn.into_iter().chain(escape).min()?;
        Some(Timespec { tv_sec: shortest.as_secs().try_into().ok()?, tv_nsec: shortest.subsec_nanos().into() })
    }
}

/// Keys as they come in.
#[derive(Default)]
struct Input {
    reader: KeyReader,
    keys: Vec<Key>,
    /// Since when an ESC stands alone.
    escape_at: Option<Instant>,
}

impl Input {
    /// Reads all that is there, so that a long paste is drawn once; false at the terminal's end.
    fn read_all(&mut self) -> Result<bool> {
        let stdin = std::io::stdin();
        let mut buffer = [0; 8192];
        loop {
            let count = match rustix::io::read(&stdin, &mut buffer) {
                Ok(0) | Err(rustix::io::Errno::IO) => return Ok(false),
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error).context("could not read from the terminal"),
            };
            self.reader.feed(buffer.get(..count).unwrap_or_default(), &mut self.keys);
            self.escape_at = self.reader.is_waiting().then(Instant::now);
            let mut more = [PollFd::new(&stdin, PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            if !self.keys.is_empty() || !matches!(poll(&mut more, Some(&now)), Ok(1)) {
                return Ok(true);
            }
        }
    }

    /// Takes an ESC that has stood alone for long enough as the key.
    fn settle(&mut self) {
        if self.escape_at.is_some_and(|at| at.elapsed() >= ESCAPE_ALONE) {
            self.escape_at = None;
            self.reader.settle(&mut self.keys);
        }
    }
}

/// A stream that becomes readable when the signal comes.
fn signal_pipe(signal: i32) -> Result<UnixStream> {
    let (read, write) = UnixStream::pair().context("could not make a pipe for signals")?;
    read.set_nonblocking(true).context("could not make a pipe for signals")?;
    signal_hook::low_level::pipe::register(signal, write).context("could not listen for signals")?;
    Ok(read)
}

fn drain(mut stream: &UnixStream) -> Result<()> {
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("could not read a signal"),
        }
    }
}

/// Remembers what an earlier run recorded. A line that is broken or unfinished is passed over.
fn read_back(path: &Path, state: &mut State) -> std::io::Result<()> {
    let mut lines = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let entry = std::str::from_utf8(&line).ok().and_then(TranscriptLine::from_json);
        if let Some(TranscriptLine { entry, .. }) = entry.filter(|_| line.ends_with(b"\n")) {
            state.recall(entry);
        }
        line.clear();
    }
    Ok(())
}
