//! The real CLIs, each in a home of its own that holds nothing, talking to a fake model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fleetd::runtime::{Seed, merged};

use super::model::FakeModel;

/// One of the CLIs that `make agents` installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cli {
    /// Claude Code.
    Claude,
    /// Codex.
    Codex,
}

impl Cli {
    /// Its native program. A machine without it fails the test: a skipped proof proves nothing.
    pub fn program(self) -> PathBuf {
        let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/agents/node_modules");
        let found = match self {
            Self::Claude => child(&modules.join("@anthropic-ai"), "claude-code-").map(|package| package.join("claude")),
            Self::Codex => child(&modules.join("@openai"), "codex-")
                .and_then(|package| child(&package.join("vendor"), ""))
                .map(|target| target.join("bin/codex")),
        };
        let found = found.filter(|program| program.is_file());
        found.unwrap_or_else(|| panic!("{self:?} is not below {}: run `make agents`", modules.display()))
    }

    /// What the CLI is told of the fake model, for an agent's `env:`. Makes the home, and Codex's provider in it.
    pub fn environment(self, home: &Path, model: &FakeModel) -> BTreeMap<String, String> {
        std::fs::create_dir_all(home).unwrap();
        let mut variables = BTreeMap::from([("HOME".to_owned(), home.to_str().unwrap().to_owned())]);
        let mut set = |name: &str, value: String| drop(variables.insert(name.to_owned(), value));
        match self {
            Self::Claude => {
                set("ANTHROPIC_BASE_URL", model.url());
                set("ANTHROPIC_API_KEY", "sk-ant-fake-0123456789abcdefghijklmnopqrstuvwxyz".to_owned());
                for name in ["DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING"] {
                    set(name, "1".to_owned());
                }
                set("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned());
            }
            Self::Codex => {
                let codex_home = home.join("codex");
                std::fs::create_dir_all(&codex_home).unwrap();
                let url = model.url();
                let config = format!(
                    "model = \"gpt-5\"\nmodel_provider = \"fake\"\n[model_providers.fake]\nname = \"fake\"\nbase_url = \"{url}/v1\"\n\
                     env_key = \"FAKE_MODEL_KEY\"\nwire_api = \"responses\"\n"
                );
                std::fs::write(codex_home.join("config.toml"), config).unwrap();
                set("CODEX_HOME", codex_home.to_str().unwrap().to_owned());
                set("FAKE_MODEL_KEY", "fake".to_owned());
            }
        }
        variables
    }
}

fn child(directory: &Path, start: &str) -> Option<PathBuf> {
    let mut found = std::fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    found.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)))
}

/// Puts a launch's seeds in place.
pub fn sow(seeds: &[Seed]) {
    for seed in seeds {
        match seed {
            Seed::Directory { path } => std::fs::create_dir_all(path).unwrap(),
            Seed::Own { path, content } => std::fs::write(path, content).unwrap(),
            Seed::MergeJson { path, patch } => {
                if let Some(content) = merged(std::fs::read_to_string(path).ok().as_deref(), patch) {
                    std::fs::write(path, content).unwrap();
                }
            }
        }
    }
}
