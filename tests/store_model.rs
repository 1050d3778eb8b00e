//! What the store promises, told against a plain model, torn logs, damaged pages and full disks.

#![allow(clippy::unwrap_used)]

#[path = "store_model/commits.rs"]
mod commits;
#[path = "store_model/damage.rs"]
mod damage;
#[path = "store_model/erasure.rs"]
mod erasure;
#[path = "store_model/filters.rs"]
mod filters;
#[path = "store_model/listing.rs"]
mod listing;
#[path = "store_model/manifests.rs"]
mod manifests;
#[path = "store_model/model.rs"]
mod model;
#[path = "store_model/numbering.rs"]
mod numbering;
#[path = "store_model/redecoding.rs"]
mod redecoding;
#[path = "store_model/registrations.rs"]
mod registrations;
#[path = "store_model/retention.rs"]
mod retention;
#[path = "store_model/versions.rs"]
mod versions;

use gateway_core::event::{AnalyzerId, EventKind, EventName, Id, RunDelta, Test, TestState};
use gateway_core::time::Now;
use gateway_daemon::platform::{Clock, Disk};
use gateway_daemon::store::{DestinationId, Filter, NewEntry, Store, StoreError};
use gateway_tests::ports::{FixedClock, InlineDisk};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// A folder for one store, and the ports that it runs on.
struct Place {
    folder: TempDir,
    clock: FixedClock,
    disk: InlineDisk,
}

impl Place {
    fn new() -> Place {
        // In memory where that is possible: what these tests cut off is bytes of files, and a slow disk would only slow them.
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        Place { folder, clock: FixedClock::new(1), disk: InlineDisk::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }

    async fn try_open(&self) -> Result<Store, StoreError> {
        self.open_on(Arc::new(self.disk.clone())).await
    }

    async fn open_on(&self, disk: Arc<dyn Disk>) -> Result<Store, StoreError> {
        Store::open(&self.path(), Arc::new(self.clock.clone()), disk).await
    }

    /// A child that another test starts holds our lock for the moment between its fork and its exec.
    async fn open(&self) -> Store {
        for _ in 0..1_000 {
            match self.try_open().await {
                Err(error) if error.0.contains("another analyzer-gateway") => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
        self.try_open().await.unwrap()
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn entry(&self, capture: &[u8], events: &[(u64, EventKind)], complete: bool) -> NewEntry {
        NewEntry {
            analyzer: analyzer(),
            at: self.now(),
            capture: capture.to_vec(),
            events: events.iter().map(|(number, kind)| (id(*number), kind.clone())).collect(),
            complete,
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(future)
}

fn analyzer() -> AnalyzerId {
    AnalyzerId("hematology".into())
}

fn id(number: u64) -> Id {
    Id::derived(&[&number.to_be_bytes()])
}

fn mqtt() -> DestinationId {
    DestinationId("mqtt".into())
}

fn everything() -> Filter {
    Filter::default()
}

/// An event of a test, with as many new samples as asked for.
fn of_test(name: EventName, test: u64, from: usize, samples: usize) -> EventKind {
    let state = if name == EventName::TestFinished { TestState::Done } else { TestState::Testing };
    let samples = (from..from + samples).map(|at| serde_json::json!({ "time": at, "ch1": at * 7 })).collect();
    let data = RunDelta { temperatures_from: from, samples_from: from, temperatures: Vec::new(), samples };
    let test = Test { data: (name == EventName::NewData).then_some(data), ..Test::new(id(test), state) };
    EventKind::about_test(name, None, test)
}

fn bare() -> EventKind {
    EventKind::bare(EventName::DeviceReady)
}
