//! What happens, as it happens: server-sent events (WHATWG HTML, section 9.2) for those who look on.
//!
//! Invariants: no personal data is in it; nothing is kept for a slow reader but its place in the log, so it costs the others
//! nothing and goes on where it was; it ends with the gateway, and with the session or token that began it.

use super::Api;
use super::auth::{Credential, Door};
use super::extract::Query;
use super::problem::Problem;
use super::table::Route;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::sse::{Event as Message, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use gateway_core::config::Scope;
use gateway_core::event::{Event, RunDelta, Seq, TestState};
use gateway_core::time::{Mono, Timestamp};
use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// A reader that was away for longer gets the newest of them.
const BEHIND_EVENTS_MAX: i64 = 500;
/// Events in memory for one reader.
const SLICE_EVENTS: usize = 16;
/// Between two overviews.
const OVERVIEW_PAUSE: Duration = Duration::from_millis(500);
/// So that nobody on the way takes the connection for dead, and a reader that has gone is noticed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// When a reader for whom there is no room may come again.
const AGAIN_SECONDS: u32 = 5;

pub fn routes() -> Vec<Route> {
    let about =
        ("stream", "What happens, as it happens: overviews and events without personal data, as server-sent events");
    let stream = Route::new(Method::GET, "/api/stream", Some(Scope::Read), about, get(stream))
        .query::<From>()
        .header("last-event-id", "The `id` of the last event seen: goes on behind it, at most 500 events back")
        .answer_as(
            200,
            "Events named `overview` and `event`, until somebody hangs up",
            "text/event-stream",
            |_| json_schema!({ "type": "string" }),
        );
    vec![stream]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct From {
    /// The place in the log behind which to begin, at most 500 events back; absent: now.
    #[schemars(range(min = 0))]
    after: Option<u32>,
}

/// An event without what is anybody's business.
#[derive(Serialize)]
struct Line<'a> {
    seq: i64,
    event: &'static str,
    analyzer: &'a str,
    received_at: Timestamp,
    test: Option<Test>,
    run: Option<&'a RunDelta>,
}

#[derive(Serialize)]
struct Test {
    id: String,
    state: TestState,
}

async fn stream(
    State(api): State<Arc<Api>>,
    Extension(door): Extension<Door>,
    Extension(credential): Extension<Credential>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if door == Door::Mqtt {
        return Err(Problem::bad_request("this has no end: over MQTT subscribe to the topics of docs/mqtt.md instead"));
    }
    let place = Arc::clone(&api.front.entrance.streams).try_acquire_owned();
    let place = place.map_err(|_| {
        let detail = "as many look on already as there is room for: come again in a few seconds";
        Problem::come_again(StatusCode::SERVICE_UNAVAILABLE, detail, AGAIN_SECONDS)
    })?;
    let head = api.store.head().borrow().0;
    let seen = match headers.get("last-event-id").map(|value| value.to_str().ok().and_then(|text| text.parse().ok())) {
        None => from.after.map(i64::from),
        Some(Some(seen)) => Some(seen),
        Some(None) => return Err(Problem::bad_request("Last-Event-ID must be the `id` of an event of this stream")),
    };
    let after = seen.map_or(head, |seen| seen.clamp((head - BEHIND_EVENTS_MAX).max(0), head));
    let now = api.mono();
    let feed = Feed {
        after: Seq(after),
        waiting: VecDeque::new(),
        overview_due: Some(now),
        overviews: api.board.changes(),
        endings: api.front.entrance.endings(),
        life_due: now.after(SIGN_OF_LIFE),
        credential,
        api,
        _place: place,
    };
    let messages = stream::unfold(feed, |mut feed| async move {
        let message = feed.next().await?;
        Some((Ok::<_, Infallible>(message), feed))
    });
    let mut response = Sse::new(messages).into_response();
    let no_buffering = axum::http::HeaderValue::from_static("no");
    // nginx would keep the answer back until it is long enough.
    response.headers_mut().insert("x-accel-buffering", no_buffering);
    Ok(response)
}

/// One reader. It is asked for the next message only when the connection takes one.
struct Feed {
    api: Arc<Api>,
    credential: Credential,
    after: Seq,
    waiting: VecDeque<Event>,
    /// When the next overview may go; `None`: nothing has changed.
    overview_due: Option<Mono>,
    overviews: watch::Receiver<u64>,
    endings: watch::Receiver<u64>,
    life_due: Mono,
    _place: OwnedSemaphorePermit,
}

impl Feed {
    async fn next(&mut self) -> Option<Message> {
        let mut stop = self.api.stop.clone();
        let mut head = self.api.store.head();
        loop {
            if stop.is_asked() {
                return None;
            }
            let now = self.api.mono();
            if self.overview_due.is_some_and(|due| due <= now) {
                return self.overview(now);
            }
            if let Some(event) = self.waiting.pop_front() {
                return line(&event);
            }
            let newest = head.borrow_and_update();
            if newest > self.after {
                self.read(newest).await?;
                continue;
            }
            let clock = &self.api.platform.clock;
            let due = self.overview_due.map_or(self.life_due, |due| due.min(self.life_due));
            tokio::select! {
                biased;
                () = stop.asked() => return None,
                Ok(()) = self.endings.changed() => self.ask_again().await?,
                () = head.changed() => {}
                Ok(()) = self.overviews.changed(), if self.overview_due.is_none() => {
                    self.overview_due = Some(now.after(OVERVIEW_PAUSE));
                }
                () = clock.sleep_until(due) => {
                    if self.api.mono() >= self.life_due {
                        self.ask_again().await?;
                        self.life_due = self.api.mono().after(SIGN_OF_LIFE);
                        return Some(Message::default().comment("on"));
                    }
                }
            }
        }
    }

    /// `None`, the end: whoever looks on may not any more.
    async fn ask_again(&self) -> Option<()> {
        let client = self.api.still(&self.credential).await.ok().flatten()?;
        (client.scope >= Scope::Read).then_some(())
    }

    fn overview(&mut self, _: Mono) -> Option<Message> {
        self.overview_due = None;
        self.overviews.borrow_and_update();
        let overview = self.api.board.overview(self.api.platform.clock.now());
        Some(Message::default().event("overview").data(serde_json::to_string(&overview).ok()?))
    }

    /// The next events of the log. One reader at a time has them in memory as they come from the disk.
    async fn read(&mut self, newest: Seq) -> Option<()> {
        let _paging = self.api.paging.lock().await;
        // A store that does not answer ends the stream: the reader comes again.
        let events = self.api.store.events_after(self.after, SLICE_EVENTS).await.ok()?;
        self.after = events.last().map_or(newest, |event| event.seq);
        self.waiting.extend(events);
        Some(())
    }
}

fn line(event: &Event) -> Option<Message> {
    let test = event.kind.test.as_ref();
    let line = Line {
        seq: event.seq.0,
        event: event.kind.name.as_str(),
        analyzer: &event.analyzer.0,
        received_at: event.received_at,
        test: test.map(|test| Test { id: test.id.to_string(), state: test.state }),
        run: test.and_then(|test| test.data.as_ref()),
    };
    Message::default().event("event").id(line.seq.to_string()).data(serde_json::to_string(&line).ok()?).into()
}
