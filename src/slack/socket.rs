//! One socket, from its ticket to its end. A frame is on the disk before it is acked, and acked before anything comes of it.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::Bridge;
use super::arrival::{Frame, read_frame};
use super::connector::{Dial, Ended, News, Phase};
use super::web::CallError;
use crate::store::slack_in::NewEnvelope;

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Waits, opens a socket, lives on it and tells how it goes, `News::Ended` last.
pub(super) async fn live(bridge: Arc<Bridge>, dial: Dial, news: UnboundedSender<News>) {
    tokio::time::sleep(dial.wait).await;
    let now = Instant::now();
    let mut socket =
        Socket { bridge, news, run: dial.run, phase: Phase::Dialling, since: now, heard: now, arrived: now };
    let why = match socket.open().await {
        Ok(stream) => socket.read(stream).await,
        Err(why) => why,
    };
    let ended = News::Ended { run: socket.run, phase: socket.phase, lived: socket.since.elapsed(), why };
    socket.tell(ended);
}

struct Socket {
    bridge: Arc<Bridge>,
    news: UnboundedSender<News>,
    run: u64,
    phase: Phase,
    since: Instant,
    /// When anything came on it, a pong too.
    heard: Instant,
    /// When the last arrival came on it.
    arrived: Instant,
}

impl Socket {
    fn tell(&self, news: News) {
        // Nobody listens any more only while the whole bridge goes down.
        let _ = self.news.send(news);
    }

    async fn open(&mut self) -> Result<Stream, Ended> {
        let url = self.bridge.web.open_connection().await.map_err(|error| match error {
            CallError::RateLimited { wait, .. } => Ended::Told { wait, what: error.to_string() },
            CallError::Token { .. } | CallError::Refused { .. } => Ended::Refused(error.to_string()),
            CallError::Unreachable { .. } | CallError::Lost { .. } => Ended::Broken(error.to_string()),
        })?;
        // What the dial says of an error may repeat the address, which is the ticket: only its kind is told.
        let dial = tokio_tungstenite::connect_async(url.expose_secret());
        match timeout(self.bridge.timing.call, dial).await {
            Ok(Ok((stream, _))) => Ok(stream),
            Ok(Err(error)) => Err(Ended::Broken(format!("the socket can't be opened: {}", kind(&error)))),
            Err(_) => Err(Ended::Broken("the socket can't be opened in time".to_owned())),
        }
    }

    async fn read(&mut self, mut stream: Stream) -> Ended {
        let timing = self.bridge.timing;
        (self.heard, self.since, self.arrived) = (Instant::now(), Instant::now(), Instant::now());
        let mut missed = self.bridge.missed.subscribe();
        let mut pings = interval(timing.ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = stream.next() => {
                    self.heard = Instant::now();
                    let done = match message {
                        Some(Ok(Message::Text(text))) => self.take(&mut stream, &text).await,
                        Some(Ok(Message::Close(_))) | None => Err(Ended::Closed),
                        Some(Ok(_)) => Ok(()),
                        Some(Err(error)) => Err(Ended::Broken(format!("the socket broke: {}", kind(&error)))),
                    };
                    if let Err(why) = done {
                        return why;
                    }
                }
                Ok(()) = missed.changed() => {
                    // On a socket that has brought something since, what was missed may still come.
                    let deaf = missed.borrow_and_update().is_some_and(|said| self.arrived <= said);
                    if deaf && self.phase == Phase::Live {
                        tracing::warn!("a socket of slack's is deaf: it is replaced");
                        self.leave();
                    }
                }
                _ = pings.tick() => {
                    if self.heard.elapsed() > timing.silence {
                        return Ended::Broken(format!("nothing came on the socket for {} s", timing.silence.as_secs()));
                    }
                    if self.phase == Phase::Dialling && self.since.elapsed() > timing.call {
                        return Ended::Broken("the socket never said hello".to_owned());
                    }
                    if self.phase == Phase::Leaving && self.since.elapsed() > timing.drain {
                        return Ended::Closed;
                    }
                    if let Err(why) = self.send(&mut stream, Message::Ping(Default::default())).await {
                        return why;
                    }
                }
            }
        }
    }

    /// It is read on, and another takes its place.
    fn leave(&mut self) {
        self.tell(News::Leaving { run: self.run, lived: self.since.elapsed() });
        (self.phase, self.since) = (Phase::Leaving, Instant::now());
    }

    async fn take(&mut self, stream: &mut Stream, text: &str) -> Result<(), Ended> {
        match read_frame(text) {
            Some(Frame::Hello) => {
                if self.phase == Phase::Dialling {
                    (self.phase, self.since) = (Phase::Live, Instant::now());
                    self.tell(News::Up);
                }
                Ok(())
            }
            Some(Frame::Disconnect { reason }) if reason == "link_disabled" => Err(Ended::Refused(
                "socket mode is switched off for the app: switch it on in the app's settings".to_owned(),
            )),
            Some(Frame::Disconnect { reason }) => {
                if self.phase == Phase::Live {
                    self.leave();
                    return Ok(());
                }
                match self.phase {
                    Phase::Leaving => Ok(()),
                    _ => Err(Ended::Broken(format!("slack closed the socket at once: {reason}"))),
                }
            }
            Some(Frame::Arrival { envelope_id, key, about }) => {
                self.arrived = Instant::now();
                let new = NewEnvelope { key, about, payload: text.to_owned() };
                let stored = self.bridge.store.store_envelope(&new, self.bridge.clock.now()).await;
                if let Err(error) = stored {
                    // Not acked: Slack sends it again, here or on the next socket.
                    self.bridge.board.store(Some(format!("{error:#}")));
                    return Ok(());
                }
                self.bridge.board.store(None);
                self.ack(stream, &envelope_id).await?;
                self.bridge.arrived.notify_one();
                Ok(())
            }
            Some(Frame::Unused { envelope_id }) => self.ack(stream, &envelope_id).await,
            None => {
                tracing::warn!("slack sent a frame of {} bytes that can't be read; it is not acked", text.len());
                Ok(())
            }
        }
    }

    async fn ack(&self, stream: &mut Stream, envelope_id: &str) -> Result<(), Ended> {
        let ack = serde_json::json!({ "envelope_id": envelope_id }).to_string();
        self.send(stream, Message::text(ack)).await
    }

    async fn send(&self, stream: &mut Stream, message: Message) -> Result<(), Ended> {
        match timeout(self.bridge.timing.call, stream.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Ended::Broken(format!("the socket broke: {}", kind(&error)))),
            Err(_) => Err(Ended::Broken("the socket takes nothing any more".to_owned())),
        }
    }
}

/// The error without any address in it.
fn kind(error: &tokio_tungstenite::tungstenite::Error) -> String {
    use tokio_tungstenite::tungstenite::Error;
    match error {
        Error::Io(error) => error.kind().to_string(),
        Error::Http(response) => format!("http status {}", response.status().as_u16()),
        Error::ConnectionClosed | Error::AlreadyClosed => "it was closed".to_owned(),
        Error::Tls(_) => "tls failed; are the system's certificates in order?".to_owned(),
        Error::Protocol(error) => error.to_string(),
        Error::Capacity(_) => "a frame was too large".to_owned(),
        Error::Url(_) => "its address is not usable".to_owned(),
        _ => "the websocket protocol was not kept".to_owned(),
    }
}
