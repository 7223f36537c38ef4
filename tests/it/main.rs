//! The one integration-test binary: real tmux, real git, the real CLIs against a fake model, a strict fake Slack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod slack_churn;
mod slack_in;
mod slack_manifest;
mod slack_out;
mod slack_socket;
mod support;
