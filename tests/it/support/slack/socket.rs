//! Socket Mode of the fake: tickets, hello, envelopes, acks, redelivery, sockets that are cut off or fall silent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response as Handshake};

use super::{Command, World, lock};

pub(super) async fn redeliver(world: Arc<Mutex<World>>, patience: Duration) {
    let mut ticks = tokio::time::interval(patience / 4);
    loop {
        ticks.tick().await;
        let mut world = lock(&world);
        if world.silent || world.open_sockets() == 0 {
            continue;
        }
        let late = world.unacked.iter().filter(|(_, (_, _, at))| at.elapsed() > patience);
        for envelope in late.map(|(envelope, _)| envelope.clone()).collect::<Vec<_>>() {
            let (payload, attempt, _) = world.unacked.remove(&envelope).unwrap();
            world.attempt(payload, attempt + 1);
        }
    }
}

pub(super) async fn accept(listener: TcpListener, world: Arc<Mutex<World>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(socket(stream, Arc::clone(&world)));
    }
}

#[allow(clippy::result_large_err, reason = "the handshake's own type")]
async fn socket(stream: TcpStream, world: Arc<Mutex<World>>) {
    let check = |request: &Request, response: Handshake| {
        let ticket = request.uri().query().and_then(|query| query.strip_prefix("ticket=")).unwrap_or_default();
        if lock(&world).tickets.remove(ticket) {
            Ok(response)
        } else {
            lock(&world).violation("a socket with a ticket that was never given, or used before".to_owned());
            let mut refused = ErrorResponse::new(None);
            *refused.status_mut() = StatusCode::FORBIDDEN;
            Err(refused)
        }
    };
    let Ok(mut stream) = tokio_tungstenite::accept_hdr_async(stream, check).await else { return };
    let (sender, mut commands) = unbounded_channel();
    {
        let mut world = lock(&world);
        world.sockets.push(sender);
        if world.open_sockets() > 10 {
            world.violation("more than 10 sockets".to_owned());
        }
    }
    let hello = json!({
        "type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"},
        "debug_info": {"host": "fake", "approximate_connection_time": 18060},
    });
    if stream.send(Message::text(hello.to_string())).await.is_err() {
        return;
    }
    loop {
        if lock(&world).silent {
            // Half-open: it neither reads nor writes, until it is cut off.
            match commands.recv().await {
                Some(Command::Drop) | None => return,
                Some(Command::Send(_)) => continue,
            }
        }
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Send(text)) => {
                    if lock(&world).silent { continue }
                    if stream.send(Message::text(text)).await.is_err() { return }
                }
                Some(Command::Drop) | None => return,
            },
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let ack: Value = serde_json::from_str(&text).unwrap_or_default();
                    let mut world = lock(&world);
                    match ack["envelope_id"].as_str() {
                        Some(envelope) => drop(world.unacked.remove(envelope)),
                        None => world.violation(format!("a frame that is no ack: {text}")),
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}
