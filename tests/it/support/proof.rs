//! What a test asks of a prompt that had to wait: it was named while it waited, and came whole and once.

use std::path::Path;

use fleetd::model::{StateName, TranscriptEntry, TranscriptLine, text};

use super::fleet::Fleet;
use super::wait::until;

impl Fleet {
    /// A practice agent's entry, whose `practice: hold` holds until the file `gate` exists.
    pub fn gated(slug: &str, gate: &Path) -> String {
        Self::practice(slug) + &format!("    args: [--gate, {}]\n", gate.display())
    }

    /// A fleet of these agents that runs, the first one idle.
    pub async fn running(agents: &str) -> Self {
        let mut fleet = Self::new(agents);
        fleet.start().await;
        let first = fleet.status().agents[0].agent.to_string();
        fleet.until_state(&first, "idle").await;
        fleet
    }

    /// Hands in a prompt and answers its id.
    pub fn hand_in(&self, slug: &str, body: &str) -> String {
        self.fleet(&["send", slug, "--no-wait", body])
    }

    /// Leaves a prompt for the daemon's next start and answers its id.
    pub fn leave(&self, slug: &str, body: &str) -> String {
        let output = self.run(&["send", slug, body]);
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let id = told.split("kept as ").nth(1).and_then(|rest| rest.split(' ').next());
        id.expect("it names the prompt").to_owned()
    }

    /// The prompts that an agent's own record shows, oldest first.
    pub fn taken(&self, slug: &str) -> Vec<String> {
        let record = self.transcript(slug);
        let entries = record.lines().filter_map(TranscriptLine::from_json).map(|line| line.entry);
        entries
            .filter_map(|entry| if let TranscriptEntry::Prompt { text } = entry { Some(text) } else { None })
            .collect()
    }

    /// Waits until `fleet status` and `fleet trace` both tell that this is what holds the prompt back.
    pub async fn until_held(&self, slug: &str, id: &str, why: &str) {
        let line = format!("{slug}: next prompt waits: ");
        until(&format!("the status tells that {why:?} holds {id} back"), async || {
            let status = self.fleet(&["status"]);
            status.lines().any(|told| told.starts_with(&line) && told.contains(why)).then_some(())
        })
        .await;
        until(&format!("the trace tells that {why:?} holds {id} back"), async || {
            let trace = self.fleet(&["trace", id]);
            trace.lines().any(|told| told.starts_with("held back: ") && told.contains(why)).then_some(())
        })
        .await;
        self.assert_untouched(slug, id);
    }

    /// Nothing of a prompt was typed yet.
    pub fn assert_untouched(&self, slug: &str, id: &str) {
        let steps = self.trace(id).steps;
        assert!(steps.iter().all(|step| step.state.name() == StateName::Queued), "it was touched: {steps:?}");
        assert!(!self.screen(slug).contains(id), "it was typed:\n{}", self.screen(slug));
        assert!(!self.transcript(slug).contains(id), "it was taken:\n{}", self.transcript(slug));
    }

    /// Waits until a prompt's turn is over; the agent's own record must show it once, and all of it.
    pub async fn until_arrived_once(&self, slug: &str, id: &str, body: &str) {
        self.until_prompt(id, "done", |state| state.name() == StateName::Done).await;
        let taken = self.taken(slug);
        let of_this: Vec<&String> =
            taken.iter().filter(|prompt| text::header_id(prompt).is_some_and(|found| found.as_str() == id)).collect();
        let [prompt] = of_this[..] else { panic!("{id} was taken {} times: {taken:?}", of_this.len()) };
        let after_header = prompt.split_once('\n').expect("a header line stands above it").1;
        assert!(after_header.starts_with(text::printable(body).trim_end()), "{body:?} arrived as {prompt:?}");
        assert!(prompt.starts_with("[fleet · "), "something stands before it: {prompt:?}");
    }
}
