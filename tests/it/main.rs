//! The one integration-test binary: real tmux, real git, the real CLIs against a fake model, a strict fake Slack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod bad_input;
mod box_memory;
mod chaos;
mod cli;
mod coming_back;
mod doctor;
mod frozen;
mod fuzz_parsers;
mod gc;
mod git_repositories;
mod held_notes;
mod hostile_crashes;
mod hostile_fleet;
mod hostile_records;
mod line_program;
mod main_job;
mod many_agents;
mod one_message;
mod packaging;
mod practice_agent;
mod practice_hook;
mod practice_launch;
mod prompt_life;
mod real_agents;
mod real_fleet;
mod real_kills;
mod real_many;
mod real_queue;
mod real_states;
mod real_steer;
mod reload;
mod runtime_conformance;
mod slack_churn;
mod slack_in;
mod slack_manifest;
mod slack_out;
mod slack_socket;
mod support;
mod tidy;
mod tmux_failures;
mod tmux_paste;
mod tmux_sessions;
mod traps_agents;
mod traps_tmux;
