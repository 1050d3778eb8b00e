//! The laboratory's own ids: asked for until they come, by a worker that nothing waits for.

#![allow(clippy::unwrap_used)]

use gateway_core::config::{Config, Registrations, Secret, Webhook};
use gateway_core::delivery::{Reason, ReasonCode};
use gateway_core::dialects::{Request, Response};
use gateway_core::event::{EventName, Id, Seq};
use gateway_core::registration::NewRegistration;
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use gateway_daemon::board::Board;
use gateway_daemon::platform::{BoxFuture, Clock, Entropy, HttpClient, Platform, SendError};
use gateway_daemon::pulse::{Pulse, Stopper, stop_channel};
use gateway_daemon::registrar::Registrar;
use gateway_daemon::store::Store;
use gateway_tests::ports::InlineDisk;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Virtual time.
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Now {
        let passed = self.0.elapsed();
        let wall = Timestamp(1_795_292_043_000 + passed.as_millis() as i64);
        Now { mono: Mono::default().after(passed), wall, quality: ClockQuality::Synchronized }
    }
    fn boot(&self) -> Id {
        Id([1; 16])
    }
    fn sleep_until(&self, due: Mono) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(due.since(self.now().mono)))
    }
}

struct NoChance;

impl Entropy for NoChance {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// A laboratory with a script of answers; with none left it gives every registration its id.
struct Laboratory {
    clock: Arc<TokioClock>,
    script: Mutex<VecDeque<Result<Response, SendError>>>,
    /// When it was asked, and what for.
    asked: Mutex<Vec<(Duration, String)>>,
}

impl HttpClient for Laboratory {
    fn send(&self, webhook: &Webhook, request: Request) -> BoxFuture<'static, Result<Response, SendError>> {
        assert_eq!(webhook.url, "https://lab.example.org/ids");
        assert!(webhook.headers.contains(&("authorization".into(), "Bearer let-me-in".into())));
        let Request::Http(request) = request else { panic!("it is a POST") };
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body.as_object().unwrap().len(), 1, "the id and nothing else");
        let id = body["testregistration_id"].as_str().unwrap().to_owned();
        self.asked.lock().unwrap().push((self.clock.0.elapsed(), id.clone()));
        let scripted = self.script.lock().unwrap().pop_front();
        Box::pin(std::future::ready(
            scripted.unwrap_or_else(|| Ok(answer(200, &format!(r#"{{"lab_id":"LAB-{id}"}}"#)))),
        ))
    }
}

fn answer(status: u16, body: &str) -> Response {
    Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

struct Bench {
    _folder: TempDir,
    clock: Arc<TokioClock>,
    laboratory: Arc<Laboratory>,
    board: Arc<Board>,
    store: Store,
}

impl Bench {
    async fn new(script: Vec<Result<Response, SendError>>) -> Bench {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(TokioClock(Instant::now()));
        let path = folder.path().join("events.db");
        let store = Store::open(&path, clock.clone(), Arc::new(InlineDisk::default())).await.unwrap();
        let laboratory =
            Laboratory { clock: clock.clone(), script: Mutex::new(script.into()), asked: Mutex::default() };
        let board = Arc::new(Board::new(&Config::default(), clock.boot(), clock.now()));
        Bench { _folder: folder, clock, laboratory: Arc::new(laboratory), board, store }
    }

    fn start(&self) -> (Stopper, JoinHandle<()>) {
        let settings = Registrations {
            proxy: None,
            lab_id_url: Some("https://lab.example.org/ids".into()),
            lab_id_token: Some(Secret::new("let-me-in")),
        };
        let platform = Platform {
            clock: self.clock.clone(),
            entropy: Arc::new(NoChance),
            http: self.laboratory.clone(),
            disk: Arc::new(InlineDisk::default()),
            ..Platform::real()
        };
        let (store, board) = (self.store.clone(), self.board.clone());
        let (stopper, stop) = stop_channel();
        let registrar = Registrar { settings, platform, store, board, pulse: Pulse::default() };
        (stopper, tokio::spawn(registrar.run(stop)))
    }

    async fn register(&self, id: &str, complete: bool) {
        let new = if complete { json!({ "id": id, "patient": { "id": "P-7" } }) } else { json!({ "id": id }) };
        let new = NewRegistration::from_json(&new).unwrap();
        self.store.register(new, self.clock.now(), Id::derived(&[id.as_bytes()])).await.unwrap().unwrap();
    }

    async fn lab_id(&self, id: &str) -> Option<String> {
        self.store.registration(id).await.unwrap().unwrap().lab_id
    }

    fn asked(&self) -> Vec<(u64, String)> {
        let asked = self.laboratory.asked.lock().unwrap();
        asked.iter().map(|(at, id)| (at.as_secs(), id.clone())).collect()
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(future)
}

#[test]
fn a_laboratory_in_trouble_is_asked_again_and_the_status_says_so_meanwhile() {
    run(async {
        let refused = Reason::new(ReasonCode::ConnectionRefused, "the connection was refused");
        let script = vec![
            Err(SendError::Passing(refused)),
            Ok(answer(500, "")),
            Ok(answer(200, r#"{"lab_id":""}"#)),
            Ok(answer(200, "not JSON: S-1")),
        ];
        let bench = Bench::new(script).await;
        bench.register("tube-1", true).await;
        let (stopper, running) = bench.start();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(bench.board.status_line(Now::default()).contains("lab ids: the laboratory answered with status 500"));
        tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
        assert_eq!(bench.lab_id("tube-1").await, None);
        assert!(
            bench.board.status_line(Now::default()).contains("holds no `lab_id`")
                && !bench.board.status_line(Now::default()).contains("S-1")
        );
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        assert_eq!(bench.lab_id("tube-1").await.as_deref(), Some("LAB-tube-1"));
        assert!(!bench.board.status_line(Now::default()).contains("lab ids"));
        // 0, 5 s, 5 min, 30 min, 2 h after each other; looked at every five seconds.
        let times: Vec<u64> = bench.asked().into_iter().map(|(at, _)| at).collect();
        for (at, due) in times.iter().zip([0, 5, 305, 2_105, 9_305]) {
            assert!((due..due + 30).contains(at), "{times:?}");
        }
        assert_eq!(times.len(), 5, "and never again");
        let events = bench.store.events_after(Seq(0), 10).await.unwrap();
        let assigned = events.last().unwrap();
        assert_eq!(assigned.kind.name, EventName::RegistrationLabIdAssigned);
        assert_eq!(assigned.kind.registration.as_ref().unwrap().lab_id.as_deref(), Some("LAB-tube-1"));
        stopper.stop();
        running.await.unwrap();
    });
}

#[test]
fn one_that_fails_holds_up_no_other_and_a_restart_forgets_nobody() {
    run(async {
        let script = vec![Ok(answer(503, "")), Ok(answer(200, r#"{"lab_id":"LAB-2"}"#)), Ok(answer(503, ""))];
        let bench = Bench::new(script).await;
        bench.register("tube-1", true).await;
        bench.register("tube-2", true).await;
        bench.register("tube-3", false).await;
        let (stopper, running) = bench.start();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((bench.lab_id("tube-1").await, bench.lab_id("tube-2").await), (None, Some("LAB-2".to_owned())));
        stopper.stop();
        running.await.unwrap();
        let (_stopper, _running) = bench.start();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(bench.lab_id("tube-1").await.as_deref(), Some("LAB-tube-1"));
        // A new one is asked for when it is complete, not at the next look.
        bench.register("tube-4", true).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(bench.lab_id("tube-4").await.as_deref(), Some("LAB-tube-4"));
        assert!(bench.asked().iter().all(|(_, id)| id != "tube-3"), "it has no patient yet");
    });
}
