//! A forge on the disk: bare repositories, and git called by hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A directory of bare repositories.
pub struct Forge {
    directory: TempDir,
}

impl Forge {
    /// A forge with these repositories, each with one commit on `trunk`, its HEAD.
    pub fn of(names: &[&str]) -> Self {
        let forge = Self { directory: tempfile::tempdir().unwrap() };
        for name in names {
            let seed = forge.directory.path().join("seed").join(name);
            std::fs::create_dir_all(&seed).unwrap();
            forge.git(&seed, &["init", "--quiet", "-b", "trunk"]);
            std::fs::write(seed.join(".gitignore"), "target/\n*.local\n").unwrap();
            forge.commit(&seed, "README");
            forge.git(&seed, &["clone", "--quiet", "--bare", ".", &forge.bare(name).to_string_lossy()]);
            forge.git(&seed, &["remote", "add", "origin", &forge.bare(name).to_string_lossy()]);
        }
        forge
    }

    /// Where the clones come from.
    pub fn url(&self) -> String {
        format!("file://{}", self.directory.path().display())
    }

    /// A bare repository.
    pub fn bare(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.git"))
    }

    /// Commits a file with this name in a working tree.
    pub fn commit(&self, tree: &Path, name: &str) {
        std::fs::write(tree.join(name), name).unwrap();
        self.git(tree, &["add", "--", "."]);
        self.git(tree, &["commit", "--quiet", "-m", name]);
    }

    /// Pushes a new commit to a repository's `trunk`, and answers its id.
    pub fn advance(&self, name: &str, file: &str) -> String {
        let seed = self.directory.path().join("seed").join(name);
        self.commit(&seed, file);
        self.git(&seed, &["push", "--quiet", "origin", "trunk"]);
        self.git(&seed, &["rev-parse", "HEAD"])
    }

    /// Runs git by hand.
    pub fn git(&self, directory: &Path, args: &[&str]) -> String {
        let mut command = Command::new("git");
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            command.env_remove(name);
        }
        command.env("HOME", self.directory.path()).env("GIT_EDITOR", "true");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "ann").env(format!("GIT_{who}_EMAIL"), "ann@example.org");
        }
        let output = command.args(args).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}
