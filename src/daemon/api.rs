//! The local API on the unix socket: thin, every answer from the store or a fresh look. Only the user who runs the daemon,
//! and root, may speak to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::SignedDuration;
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::net::UnixListener;
use tokio::sync::watch;

use super::event::Event;
use super::fleet::Running;
use super::protocol::{
    Ask, Awake, Done, FeedPage, FeedQuery, Keep, KeepAwake, Kept, OnWordOf, Plan, PlanQuestion, Problem, PromptView,
    Queue, QueueQuery, Reconcile, Reconciled, Status, Stop, Stopped, Until, VERSION, VERSION_HEADER,
};
use super::{gc, idle, nudge, queue, reload, secrets, status, worker};
use crate::model::{NewPrompt, Prompt, PromptId, Slug, Source, StateName};

/// The longest prompt, in bytes. tmux, both CLIs and their records take it; a larger one is no prompt but a file.
pub const LONGEST_PROMPT: usize = 4 * 1024 * 1024;

/// The longest wait of one question; a client that wants to wait longer asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Rows of the feed in one answer.
const PAGE: u32 = 500;

/// Listens. A socket file that a dead daemon left is replaced: the lock says that we are the only one.
pub fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("can't replace {}", path.display()));
        }
        _ => {}
    }
    // Private from its first moment: in a state directory of looser rights anybody could connect before it is protected.
    let usual = umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    umask(usual);
    let listener = bound.with_context(|| format!("can't listen on {}", path.display()))?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, private).with_context(|| format!("can't protect {}", path.display()))?;
    Ok(listener)
}

/// Serves until the daemon stops.
pub async fn serve(listener: UnixListener, running: Arc<Running>) -> anyhow::Result<()> {
    let mut stop = running.stop.subscribe();
    let routes = Router::new()
        .route("/v1/prompts", post(keep))
        .route("/v1/prompts/{id}", get(prompt))
        .route("/v1/prompts/{id}/cancel", post(cancel))
        .route("/v1/prompts/{id}/retry", post(retry))
        .route("/v1/queue", get(waiting))
        .route("/v1/agents/{slug}/pause", post(pause))
        .route("/v1/agents/{slug}/resume", post(resume))
        .route("/v1/stop", post(stop_agents))
        .route("/v1/status", get(fleet_status))
        .route("/v1/feed", get(feed))
        .route("/v1/agents/{slug}/nudge", post(nudge_now))
        .route("/v1/reconcile", post(reconcile))
        .route("/v1/keep-awake", post(keep_awake))
        .route("/v1/plan", post(plan))
        .route("/v1/gc", post(gc::answer))
        .layer(middleware::from_fn_with_state(Arc::clone(&running), same_version))
        // The outermost of those that answer: nothing goes past it.
        .layer(middleware::from_fn_with_state(Arc::clone(&running), secrets::clean))
        // A prompt may grow sixfold as JSON.
        .layer(DefaultBodyLimit::max(6 * LONGEST_PROMPT + 4096))
        .with_state(running);
    let stopped = async move {
        // An error means that the sender is gone, which is a stop too.
        stop.wait_for(|stop| *stop).await.ok();
    };
    axum::serve(listener, routes).with_graceful_shutdown(stopped).await.context("the local API ended")
}

/// An answer that is an error.
pub struct Failure(StatusCode, anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(Problem { error: format!("{:#}", self.1) })).into_response()
    }
}

type Answer<T> = Result<Json<T>, Failure>;
type Fleet = State<Arc<Running>>;

async fn same_version(State(running): Fleet, request: Request, next: Next) -> Response {
    let theirs = request.headers().get(VERSION_HEADER).and_then(|value| value.to_str().ok()).unwrap_or(VERSION);
    if theirs != VERSION {
        let error = format!(
            "this fleetd speaks version {VERSION} of the local API, the client version {theirs}: use the same release for both"
        );
        return (StatusCode::BAD_REQUEST, Json(Problem { error })).into_response();
    }
    if request.method() == Method::POST {
        idle::acted(&running);
    }
    let mut response = next.run(request).await;
    response.headers_mut().insert(VERSION_HEADER, HeaderValue::from_static(VERSION));
    response
}

async fn keep(State(running): Fleet, Json(keep): Json<Keep>) -> Answer<Kept> {
    let id = store_prompt(&running, keep).await?;
    Ok(Json(Kept { id }))
}

/// Stores a prompt that somebody sent from a shell.
async fn store_prompt(running: &Running, keep: Keep) -> Result<PromptId, Failure> {
    known_agent(running, &keep.agent)?;
    if keep.body.trim().is_empty() {
        return Err(Failure(StatusCode::BAD_REQUEST, anyhow::anyhow!("the prompt is empty")));
    }
    if keep.body.len() > LONGEST_PROMPT {
        let error = anyhow::anyhow!(
            "the prompt has {} bytes, the most is {LONGEST_PROMPT}: put it into a file and name that",
            keep.body.len()
        );
        return Err(Failure(StatusCode::BAD_REQUEST, error));
    }
    let new = from_shell(keep);
    let inserted = running.store.insert_prompt(&new, running.clock.now()).await?;
    running.tell(Event::Inbox(new.agent));
    Ok(inserted.id().clone())
}

/// A prompt from a shell, sent now or kept while no daemon ran. The client's id is its dedup key.
pub fn from_shell(keep: Keep) -> NewPrompt {
    NewPrompt {
        dedup_key: format!("cli/{}", keep.id),
        id: keep.id,
        agent: keep.agent,
        source: Source::Cli,
        who: keep.who,
        body: keep.body,
        place: None,
        expires: None,
        mode: keep.mode,
    }
}

fn known_agent(running: &Running, slug: &Slug) -> Result<(), Failure> {
    match running.agent(slug) {
        Some(_) => Ok(()),
        None => Err(Failure(StatusCode::NOT_FOUND, anyhow::anyhow!("{}", unknown_agent(running, slug)))),
    }
}

fn unknown_agent(running: &Running, slug: &Slug) -> String {
    crate::model::text::unknown_agent(slug.as_str(), running.roster().agents.iter().map(|post| post.slug().as_str()))
}

async fn prompt(State(running): Fleet, UrlPath(id): UrlPath<PromptId>, Query(ask): Query<Ask>) -> Answer<PromptView> {
    let settled = |state: StateName| {
        let ends = state.is_given_up() || state == StateName::Done;
        ends || ask.until.is_none() || (ask.until, state) == (Some(Until::Confirmed), StateName::Confirmed)
    };
    let until = deadline(ask.seconds);
    let mut news = running.news.subscribe();
    let mut stop = running.stop.subscribe();
    loop {
        news.mark_unchanged();
        let prompt = known_prompt(&running, &id).await?;
        if !settled(prompt.state.name()) && wait(&mut news, &mut stop, until).await {
            continue;
        }
        let held = match (prompt.state.name(), running.agent(&prompt.agent)) {
            (StateName::Queued | StateName::Deferred, Some(post)) => post.hold(),
            _ => None,
        };
        let view = PromptView {
            steps: running.store.trace(&id).await?,
            turn: running.store.feed_of_turn(prompt.lead.as_ref().unwrap_or(&id)).await?,
            verdicts: running.store.verdicts_of(prompt.lead.as_ref().unwrap_or(&id)).await?,
            id: prompt.id,
            agent: prompt.agent,
            source: prompt.source,
            who: prompt.who,
            body: prompt.body,
            mode: prompt.mode,
            lead: prompt.lead,
            held,
        };
        return Ok(Json(view));
    }
}

async fn waiting(State(running): Fleet, Query(query): Query<QueueQuery>) -> Answer<Queue> {
    if let Some(slug) = &query.agent {
        known_agent(&running, slug)?;
    }
    Ok(Json(Queue { prompts: queue::waiting(&running, query.agent.as_ref()).await? }))
}

async fn cancel(State(running): Fleet, UrlPath(id): UrlPath<PromptId>, Json(word): Json<OnWordOf>) -> Answer<Done> {
    let prompt = known_prompt(&running, &id).await?;
    queue::cancel(&running, &prompt, &word.who).await.map_err(refused)?;
    Ok(Json(Done { changed: true }))
}

async fn retry(State(running): Fleet, UrlPath(id): UrlPath<PromptId>, Json(word): Json<OnWordOf>) -> Answer<Kept> {
    let prompt = known_prompt(&running, &id).await?;
    known_agent(&running, &prompt.agent)?;
    let id = queue::retry(&running, &prompt, &word.who).await.map_err(refused)?;
    Ok(Json(Kept { id }))
}

async fn pause(State(running): Fleet, UrlPath(slug): UrlPath<Slug>, Json(word): Json<OnWordOf>) -> Answer<Done> {
    known_agent(&running, &slug)?;
    queue::pause(&running, &[slug], &word.who).await?;
    Ok(Json(Done { changed: true }))
}

async fn stop_agents(State(running): Fleet, Json(question): Json<Stop>) -> Answer<Stopped> {
    let mut agents = question.agents;
    for slug in &agents {
        known_agent(&running, slug)?;
    }
    if agents.is_empty() {
        agents = running.roster().agents.iter().map(|post| post.slug().clone()).collect();
    }
    Ok(Json(Stopped { agents: queue::stop(&running, &agents, &question.who).await? }))
}

async fn resume(State(running): Fleet, UrlPath(slug): UrlPath<Slug>) -> Answer<Done> {
    known_agent(&running, &slug)?;
    Ok(Json(Done { changed: queue::resume(&running, &slug).await? }))
}

async fn known_prompt(running: &Running, id: &PromptId) -> Result<Prompt, Failure> {
    let prompt = running.store.prompt(id).await?;
    prompt.ok_or_else(|| Failure(StatusCode::NOT_FOUND, anyhow::anyhow!("there is no prompt {id}")))
}

fn refused(error: anyhow::Error) -> Failure {
    Failure(StatusCode::BAD_REQUEST, error)
}

async fn fleet_status(State(running): Fleet) -> Answer<Status> {
    Ok(Json(status::status(&running).await?))
}

async fn feed(State(running): Fleet, Query(query): Query<FeedQuery>) -> Answer<FeedPage> {
    let mut agents = Vec::new();
    for slug in query.agents.iter().flat_map(|list| list.split(',')).filter(|slug| !slug.is_empty()) {
        let slug: Slug = slug.parse().map_err(|error| Failure(StatusCode::BAD_REQUEST, anyhow::Error::from(error)))?;
        known_agent(&running, &slug)?;
        agents.push(slug);
    }
    let Some(mut after) = query.after else {
        return Ok(Json(FeedPage { rows: Vec::new(), next: running.store.feed_end().await? }));
    };
    let until = deadline(query.seconds);
    let mut news = running.news.subscribe();
    let mut stop = running.stop.subscribe();
    loop {
        news.mark_unchanged();
        let mut rows = running.store.feed_after(after, PAGE).await?;
        after = rows.last().map_or(after, |row| row.seq);
        let more = rows.len() == PAGE as usize;
        rows.retain(|row| agents.is_empty() || agents.contains(&row.agent));
        if rows.is_empty() && (more || wait(&mut news, &mut stop, until).await) {
            continue;
        }
        return Ok(Json(FeedPage { rows, next: after }));
    }
}

async fn nudge_now(State(running): Fleet, UrlPath(slug): UrlPath<Slug>) -> Answer<Kept> {
    known_agent(&running, &slug)?;
    let new = nudge::by_hand(&running, &slug).map_err(|error| Failure(StatusCode::BAD_REQUEST, error))?;
    let inserted = running.store.insert_prompt(&new, running.clock.now()).await?;
    running.tell(Event::Inbox(slug));
    Ok(Json(Kept { id: inserted.id().clone() }))
}

async fn keep_awake(State(running): Fleet, Json(question): Json<KeepAwake>) -> Answer<Awake> {
    let until = match question.seconds {
        Some(seconds) if seconds <= 0 => {
            return Err(refused(anyhow::anyhow!("a time that is over keeps no box up: try `fleet keep-awake 2h`")));
        }
        Some(seconds) => Some(
            running
                .clock
                .now()
                .checked_add(SignedDuration::from_secs(seconds))
                .map_err(|_| refused(anyhow::anyhow!("that is too long: try `fleet keep-awake 2h`")))?,
        ),
        None => None,
    };
    idle::keep_awake(&running, until).await?;
    Ok(Json(Awake { until }))
}

async fn reconcile(State(running): Fleet, Json(question): Json<Reconcile>) -> Answer<Reconciled> {
    Ok(Json(Reconciled { steps: worker::reconcile(&running, question.dry_run).await? }))
}

async fn plan(State(running): Fleet, Json(question): Json<PlanQuestion>) -> Answer<Plan> {
    let changes = reload::plan(&running, &question.text, &question.path).await.map_err(refused)?;
    Ok(Json(Plan { changes }))
}

fn deadline(seconds: u64) -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(seconds).min(LONGEST_WAIT)
}

/// Waits for news; false once the time is over or the daemon stops.
async fn wait(news: &mut watch::Receiver<u64>, stop: &mut watch::Receiver<bool>, until: tokio::time::Instant) -> bool {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => false,
        changed = tokio::time::timeout_at(until, news.changed()) => matches!(changed, Ok(Ok(()))),
    }
}
