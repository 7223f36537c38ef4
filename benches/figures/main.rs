//! The figures by which fleetd is judged, each beside the raw floor of the same machine in the same run. A time alone says
//! little on a machine that others share; its ratio to what tmux itself takes there says something.
//!
//! `make bench` runs all of it in some four minutes once it is built; `cargo bench -- idle` (delivery, send, paste, cost, post, respawn, create, pass) runs one figure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod cost;
mod create;
mod daemon;
mod delivery;
mod house;
mod idle;
mod pass;
mod paste;
mod post;
mod respawn;
mod send;
mod table;

#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::time::Duration;

use criterion::Criterion;
use table::Row;

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| name.contains(wanted.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(30)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let mut rows: Vec<Row> = Vec::new();
    if wanted("delivery") {
        rows.extend(delivery::measure(&mut criterion, &runtime));
    }
    if wanted("send") {
        rows.extend(runtime.block_on(send::measure()));
    }
    if wanted("paste") {
        rows.extend(runtime.block_on(paste::measure()));
    }
    if wanted("cost") {
        rows.extend(runtime.block_on(cost::measure()));
    }
    if wanted("post") {
        rows.extend(runtime.block_on(post::measure()));
    }
    if wanted("respawn") {
        rows.extend(runtime.block_on(respawn::measure()));
    }
    if wanted("create") {
        rows.extend(runtime.block_on(create::measure()));
    }
    if wanted("pass") {
        rows.extend(pass::measure(&mut criterion, &runtime));
    }
    if wanted("idle") {
        rows.extend(runtime.block_on(idle::measure()));
    }
    criterion.final_summary();
    table::print(&rows);
}
