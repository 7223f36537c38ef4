//! What git's words on a remote mean, and what to do about them. They are matched in git's own language: every run of ours
//! has `LC_ALL=C`.

use std::fmt;

/// Why a remote, or another git, said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The remote wants a login, and there is none, or a wrong one.
    Login,
    /// The remote knows who asks and says no.
    Forbidden,
    /// There is no such repository, or it is hidden from this login.
    NotFound,
    /// ssh does not know the host's key.
    HostKey,
    /// The host's name leads nowhere, or nothing answers there.
    Unreachable,
    /// Another git works on the same clone at this moment.
    Busy,
    /// The disk is full.
    DiskFull,
}

/// Words of git, curl and ssh, in lower case. The first that is met counts: GitHub answers a missing key with "Permission
/// denied (publickey)" and, below it, doubts that the repository exists.
const WORDS: [(&str, Refusal); 27] = [
    ("no space left on device", Refusal::DiskFull),
    ("disk quota exceeded", Refusal::DiskFull),
    ("host key verification failed", Refusal::HostKey),
    ("no matching host key", Refusal::HostKey),
    ("permission denied (", Refusal::Login),
    ("authentication failed", Refusal::Login),
    ("could not read username", Refusal::Login),
    ("could not read password", Refusal::Login),
    ("terminal prompts disabled", Refusal::Login),
    ("user interactivity has been disabled", Refusal::Login),
    ("invalid username or", Refusal::Login),
    ("returned error: 401", Refusal::Login),
    ("returned error: 403", Refusal::Forbidden),
    ("write access to repository not granted", Refusal::Forbidden),
    ("saml sso", Refusal::Forbidden),
    ("returned error: 404", Refusal::NotFound),
    ("repository not found", Refusal::NotFound),
    ("does not appear to be a git repository", Refusal::NotFound),
    ("' not found", Refusal::NotFound),
    ("could not resolve host", Refusal::Unreachable),
    ("couldn't connect to server", Refusal::Unreachable),
    ("failed to connect to", Refusal::Unreachable),
    ("connection timed out", Refusal::Unreachable),
    ("connection refused", Refusal::Unreachable),
    ("cannot lock ref", Refusal::Busy),
    ("another git process seems to be running", Refusal::Busy),
    (".lock': file exists", Refusal::Busy),
];

impl Refusal {
    /// What a failed git's words mean; none where they tell nothing that is known here.
    pub(super) fn read(message: &str) -> Option<Self> {
        let message = message.to_lowercase();
        WORDS.iter().find(|(words, _)| message.contains(words)).map(|(_, refusal)| *refusal)
    }
}

/// What it means and what to do, as a sentence without its full stop.
impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Login => {
                "The remote wants a login: give the user that runs fleetd an SSH key, or a token by git's credential \
                 helper (`gh auth setup-git`)"
            }
            Self::Forbidden => {
                "The remote knows this login and refuses it: give it access to that repository, and let its token be \
                 approved where the organisation asks for that"
            }
            Self::NotFound => {
                "There is no such repository, or this login may not see it: look at its name in agents.yaml, and at what \
                 the login of the user that runs fleetd may read"
            }
            Self::HostKey => {
                "ssh does not know the host: as the user that runs fleetd, compare its key and add it to \
                 ~/.ssh/known_hosts (`ssh-keyscan`)"
            }
            Self::Unreachable => "The host can't be reached: look at its name in $FLEET_GIT_URL, and at network and proxy",
            Self::Busy => {
                "Another git works on that clone; it is tried again. Where none runs any more, remove the lock file that it \
                 names"
            }
            Self::DiskFull => "The disk is full: `fleet gc` shows what may go",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_no_access_reads_what_to_do_about_it() {
        for (said, refusal) in [
            (
                "remote: Repository not found.\nfatal: repository 'https://github.com/a/b.git/' not found",
                Some(Refusal::NotFound),
            ),
            ("fatal: repository 'https://…@h/a/b.git/' not found", Some(Refusal::NotFound)),
            (
                "fatal: '/srv/a/b.git' does not appear to be a git repository\nfatal: Could not read from remote repository.",
                Some(Refusal::NotFound),
            ),
            (
                "fatal: unable to access 'https://h/a.git/': The requested URL returned error: 403",
                Some(Refusal::Forbidden),
            ),
            ("fatal: Authentication failed for 'https://h/a.git/'", Some(Refusal::Login)),
            ("fatal: could not read Username for 'https://h': terminal prompts disabled", Some(Refusal::Login)),
            (
                "git@github.com: Permission denied (publickey).\nfatal: Could not read from remote repository.\n\nPlease \
                 make sure you have the correct access rights\nand the repository exists.",
                Some(Refusal::Login),
            ),
            ("Host key verification failed.\nfatal: Could not read from remote repository.", Some(Refusal::HostKey)),
            (
                "fatal: unable to access 'https://nowhere/a.git/': Could not resolve host: nowhere",
                Some(Refusal::Unreachable),
            ),
            (
                "ssh: connect to host h port 22: Connection refused\nfatal: Could not read from remote repository.",
                Some(Refusal::Unreachable),
            ),
            (
                "error: cannot lock ref 'refs/remotes/origin/a': is at 1 but expected 2\n ! 1..2 a -> origin/a  (unable to \
                 update local ref)",
                Some(Refusal::Busy),
            ),
            ("fatal: Unable to create '/c/.git/shallow.lock': File exists.", Some(Refusal::Busy)),
            ("fatal: write error: No space left on device", Some(Refusal::DiskFull)),
            ("fatal: bad revision 'x'", None),
        ] {
            assert_eq!(Refusal::read(said), refusal, "{said}");
        }
    }
}
