//! QEMU's own hand: pulls and plugs cables, presses the power button (QEMU Machine Protocol, one JSON object a line).

use serde_json::{Value, json};
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

pub struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    pub async fn connect(path: &Path) -> std::io::Result<Qmp> {
        let mut qmp = Qmp { stream: BufReader::new(UnixStream::connect(path).await?) };
        qmp.ask("qmp_capabilities", json!({})).await;
        Ok(qmp)
    }

    /// Does one thing; events in between are let go.
    pub async fn ask(&mut self, execute: &str, arguments: Value) {
        self.attempt(execute, arguments).await.unwrap_or_else(|said| panic!("{execute}: {said}"));
    }

    /// The same; the error is QEMU's.
    pub async fn attempt(&mut self, execute: &str, arguments: Value) -> Result<(), Value> {
        let line = format!("{}\n", json!({"execute": execute, "arguments": arguments}));
        self.stream.write_all(line.as_bytes()).await.expect("QEMU lives");
        self.answer(execute).await
    }

    async fn answer(&mut self, what: &str) -> Result<(), Value> {
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line);
            let read = tokio::time::timeout(super::machine::DEADLINE, read).await.expect("QEMU answers");
            assert!(read.expect("QEMU lives") > 0, "QEMU ended before {what}");
            let said: Value = serde_json::from_str(&line).expect("JSON");
            if !said["error"].is_null() {
                return Err(said);
            }
            if !said["return"].is_null() {
                return Ok(());
            }
        }
    }
}
