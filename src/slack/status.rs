//! How the bridge is, for `fleet status`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::model::Slug;

/// How the bridge is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BridgeStatus {
    /// Whether a socket is open on which events come.
    pub connected: bool,
    /// What is wrong with the whole bridge, and what to do about it.
    pub problem: Option<String>,
    /// What is wrong with one agent's channel.
    pub channels: BTreeMap<Slug, String>,
    /// What is wrong with the status channel.
    pub status_channel: Option<String>,
}

/// Where the tasks write how they are. A task clears only its own problem.
#[derive(Debug)]
pub(super) struct Board {
    sender: watch::Sender<BridgeStatus>,
    parts: Mutex<Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    socket: Option<String>,
    web: Option<String>,
    store: Option<String>,
    rights: Option<String>,
}

impl Board {
    pub(super) fn new(sender: watch::Sender<BridgeStatus>) -> Self {
        Self { sender, parts: Mutex::default() }
    }

    /// Whether a socket is open.
    pub(super) fn connected(&self, connected: bool) {
        self.sender.send_if_modified(|status| std::mem::replace(&mut status.connected, connected) != connected);
    }

    /// What is wrong with the socket.
    pub(super) fn socket(&self, problem: Option<String>) {
        self.change(|parts| parts.socket = problem);
    }

    /// What is wrong with the Web API.
    pub(super) fn web(&self, problem: Option<String>) {
        self.change(|parts| parts.web = problem);
    }

    /// What is wrong with the database.
    pub(super) fn store(&self, problem: Option<String>) {
        self.change(|parts| parts.store = problem);
    }

    /// Why it can't be told who may do what.
    pub(super) fn rights(&self, problem: Option<String>) {
        self.change(|parts| parts.rights = problem);
    }

    /// What is wrong with an agent's channel; logged once, when it is new.
    pub(super) fn channel(&self, agent: &Slug, problem: Option<String>) {
        self.sender.send_if_modified(|status| match problem {
            Some(problem) if status.channels.get(agent) == Some(&problem) => false,
            Some(problem) => {
                tracing::warn!("{agent} can't use its slack channel: {problem}");
                status.channels.insert(agent.clone(), problem);
                true
            }
            None => status.channels.remove(agent).is_some(),
        });
    }

    /// What is wrong with the status channel; logged once, when it is new.
    pub(super) fn status_channel(&self, problem: Option<String>) {
        self.sender.send_if_modified(|status| {
            let news = status.status_channel != problem;
            if let (true, Some(problem)) = (news, &problem) {
                tracing::warn!("the status channel can't be used: {problem}");
            }
            status.status_channel = problem;
            news
        });
    }

    fn change(&self, set: impl FnOnce(&mut Parts)) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        set(&mut parts);
        let all: Vec<&str> = [&parts.store, &parts.web, &parts.rights, &parts.socket]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let problem = Some(all.join("; ")).filter(|problem| !problem.is_empty());
        self.sender.send_if_modified(|status| {
            let news = status.problem != problem;
            if let (true, Some(problem)) = (news, &problem) {
                tracing::warn!("the bridge to slack has a problem: {problem}");
            }
            status.problem = problem;
            news
        });
    }
}
