//! The table at the end: each figure, the floor beside it, their ratio, and whether the target is met.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

/// One figure.
pub struct Row {
    pub figure: String,
    pub value: String,
    pub floor: Option<String>,
    pub ratio: Option<f64>,
    pub target: Option<Target>,
}

/// What is to be reached, and whether it was.
pub struct Target {
    pub told: &'static str,
    pub reached: bool,
}

/// Samples of one thing.
#[derive(Default, Clone)]
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn quantile(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[((sorted.len() - 1) as f64 * part).round() as usize]
    }

    pub fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// Median and 95th percentile.
    pub fn told(&self) -> String {
        format!("{} (p95 {}, n {})", short(self.median()), short(self.quantile(0.95)), self.0.len())
    }
}

/// A time in the unit that suits it.
pub fn short(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.2} ms", seconds * 1e3),
        seconds => format!("{seconds:.2} s"),
    }
}

impl Row {
    /// A figure by itself.
    pub fn alone(figure: &str, value: String) -> Self {
        Self { figure: figure.to_owned(), value, floor: None, ratio: None, target: None }
    }

    /// A figure beside its floor.
    pub fn beside(figure: &str, value: &Samples, floor_name: &str, floor: &Samples) -> Self {
        Self {
            figure: figure.to_owned(),
            value: value.told(),
            floor: Some(format!("{floor_name}: {}", floor.told())),
            ratio: Some(value.median().as_secs_f64() / floor.median().as_secs_f64()),
            target: None,
        }
    }

    /// With what is to be reached.
    pub fn reaching(self, told: &'static str, reached: bool) -> Self {
        Self { target: Some(Target { told, reached }), ..self }
    }
}

/// Prints the machine and the table, in Markdown.
pub fn print(rows: &[Row]) {
    println!("\n{}\n", machine());
    println!("| figure | fleetd | floor | ratio | to reach | |\n|---|---|---|---|---|---|");
    for row in rows {
        let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let (told, reached) = row
            .target
            .as_ref()
            .map_or(("", ""), |target| (target.told, if target.reached { "reached" } else { "missed" }));
        let floor = row.floor.as_deref().unwrap_or_default();
        println!("| {} | {} | {floor} | {ratio} | {told} | {reached} |", row.figure, row.value);
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let tmux = Command::new("tmux").arg("-V").output().map(|output| output.stdout).unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut told = String::new();
    let _ = write!(
        told,
        "{cores} cores, {}, Linux {}, {}, load {}",
        model.unwrap_or("unknown processor"),
        kernel.trim(),
        String::from_utf8_lossy(&tmux).trim(),
        load.split(' ').next().unwrap_or_default()
    );
    told
}
