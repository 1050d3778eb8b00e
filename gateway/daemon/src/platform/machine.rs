//! What this machine says of itself: `/proc`, `/sys` and the file system.
//!
//! Invariant: what is not there is absent, and nothing here fails.

use super::{BoxFuture, Machine};
use gateway_core::overview::Vitals;
use std::fs;
use std::path::{Path, PathBuf};

/// The machine that the gateway runs on.
pub struct ThisMachine;

impl Machine for ThisMachine {
    fn vitals(&self, state_dir: &Path) -> BoxFuture<'static, Vitals> {
        let state_dir = state_dir.to_owned();
        Box::pin(async move { tokio::task::spawn_blocking(move || vitals(&state_dir)).await.unwrap_or_default() })
    }

    fn host_name(&self) -> Option<String> {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        name.split('.').next().filter(|name| !name.is_empty()).map(str::to_owned)
    }
}

/// A machine of which nothing is known: that of a simulation.
pub struct Unmeasured;

impl Machine for Unmeasured {
    fn vitals(&self, _: &Path) -> BoxFuture<'static, Vitals> {
        Box::pin(std::future::ready(Vitals::default()))
    }
}

fn vitals(state_dir: &PathBuf) -> Vitals {
    let own = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let disk = rustix::fs::statvfs(state_dir).ok();
    let first = |path: &str| fs::read_to_string(path).ok()?.split_whitespace().next()?.parse::<f64>().ok();
    Vitals {
        load: first("/proc/loadavg"),
        process_bytes: kilobytes(&own, "VmRSS:"),
        process_anonymous_bytes: kilobytes(&own, "RssAnon:"),
        memory_total_bytes: kilobytes(&memory, "MemTotal:"),
        memory_available_bytes: kilobytes(&memory, "MemAvailable:"),
        disk_total_bytes: disk.as_ref().map(|disk| disk.f_blocks * disk.f_frsize),
        disk_free_bytes: disk.as_ref().map(|disk| disk.f_bavail * disk.f_frsize),
        uptime_seconds: first("/proc/uptime").map(|seconds| seconds as u64),
        ..Vitals::default()
    }
}

/// The value of a line such as `VmRSS:     9640 kB`, in bytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line[key.len()..].split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
