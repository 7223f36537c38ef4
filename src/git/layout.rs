//! Where clones and worktrees lie, as pure functions.

use std::path::{Path, PathBuf};

use crate::config::Repo;
use crate::model::Slug;

/// The branch that an agent works on.
pub fn branch(slug: &Slug) -> String {
    format!("agent/{slug}")
}

/// Where the worktree of `repo` lies in an agent's workspace: `<workspace>/<name>`, unless two of the agent's repositories
/// share that name; then each is `<workspace>/<owner>-<name>`. A repository that comes to the agent later under a name
/// already in use thus moves the first one's place, too: neither ever gets the other's files.
pub fn worktree_path(workspace: &Path, repo: &Repo, all: &[Repo]) -> PathBuf {
    let shared = all.iter().any(|other| other != repo && same_name(&other.name, &repo.name));
    if shared { workspace.join(format!("{}-{}", repo.owner, repo.name)) } else { workspace.join(&repo.name) }
}

/// The canonical place of a clone.
pub(super) fn canonical_path(repos_dir: &Path, repo: &Repo) -> PathBuf {
    repos_dir.join(&repo.owner).join(&repo.name)
}

/// Where a clone may lie that a person made before: it counts only if its origin is `repo`.
pub(super) fn flat_path(repos_dir: &Path, repo: &Repo) -> PathBuf {
    repos_dir.join(&repo.name)
}

/// The URL of `repo` below `remote_base`, for example `https://github.com`.
pub(super) fn remote_url(remote_base: &str, repo: &Repo) -> String {
    format!("{}/{}/{}.git", remote_base.trim_end_matches('/'), repo.owner, repo.name)
}

/// Whether a remote's URL (https, ssh, `git@host:owner/name`, a path) ends in `owner/name`. Forges ignore case.
pub fn owned_by(url: &str, repo: &Repo) -> bool {
    owner_and_name(url).is_some_and(|found| same_name(&found.name, &repo.name) && same_name(&found.owner, &repo.owner))
}

/// The `owner/name` at the end of a remote's URL; none where nothing stands before the owner, which would make it a host or
/// a lone path.
pub fn owner_and_name(url: &str) -> Option<Repo> {
    let url = url.trim().trim_end_matches('/');
    let url = url.strip_suffix(".git").unwrap_or(url);
    let mut parts = url.rsplit(['/', ':']);
    let (name, owner) = (parts.next()?, parts.next()?);
    parts.next().map(|_| Repo { owner: owner.to_owned(), name: name.to_owned() })
}

fn same_name(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}

/// A text without the credentials of the URLs in it: `https://user:token@host/…` becomes `https://…@host/…`.
pub(super) fn redacted(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(scheme) = rest.find("://") {
        let (before, after) = rest.split_at(scheme + 3);
        kept.push_str(before);
        // A password may hold any of the signs that end a URL's host elsewhere, but no blank.
        let word = after.find(|c: char| c.is_whitespace() || "'\"".contains(c)).unwrap_or(after.len());
        let next = after[..word].find("://").unwrap_or(word);
        rest = match after[..next].rfind('@') {
            Some(at) => {
                kept.push('…');
                &after[at..]
            }
            None => after,
        };
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn repo(text: &str) -> Repo {
        let (owner, name) = text.split_once('/').unwrap();
        Repo { owner: owner.into(), name: name.into() }
    }

    #[test]
    fn two_repositories_of_one_name_never_share_a_worktree() {
        let all = [repo("acme/demo"), repo("other/demo"), repo("acme/site"), repo("third/Demo")];
        let paths: Vec<PathBuf> = all.iter().map(|one| worktree_path(Path::new("/w"), one, &all)).collect();
        assert_eq!(paths, ["/w/acme-demo", "/w/other-demo", "/w/site", "/w/third-Demo"].map(PathBuf::from));
    }

    #[test]
    fn a_clone_of_somebody_else_s_repository_is_not_taken_for_ours() {
        let ours = repo("acme/demo");
        for url in [
            "https://github.com/acme/demo.git",
            "https://github.com/Acme/Demo",
            "git@github.com:acme/demo.git",
            "ssh://git@github.com:22/acme/demo/",
            "/srv/git/acme/demo.git",
            "https://x:y@github.com/acme/demo",
        ] {
            assert!(owned_by(url, &ours), "{url}");
        }
        for url in
            ["https://github.com/other/demo", "git@github.com:acme/demo2", "acme/demo", "demo", "", "/x/notacme/demo"]
        {
            assert!(!owned_by(url, &ours), "{url}");
        }
    }

    #[test]
    fn a_token_in_a_url_never_reaches_a_log() {
        for (text, safe) in [
            ("fatal: 'https://me:tok@en/x@host/a.git' no", "fatal: 'https://…@host/a.git' no"),
            ("https://tok@h/a and ssh://u@h/b", "https://…@h/a and ssh://…@h/b"),
            ("no url, a@b", "no url, a@b"),
            ("https://host/a@b", "https://…@b"),
            ("://", "://"),
        ] {
            assert_eq!(redacted(text), safe);
        }
    }

    proptest! {
        #[test]
        fn a_secret_in_any_url_is_redacted(before in ".*", secret in "[a-z0-9]{12}", after in ".*") {
            let text = format!("{before} https://me:{secret}@host/{after}");
            prop_assert!(before.contains(&secret) || after.contains(&secret) || !redacted(&text).contains(&secret));
        }
    }
}
