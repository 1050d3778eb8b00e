//! A root shell in the guest, for the judge alone. It is not in the image: the machine's owner hands systemd a unit more at the start
//! (systemd-debug-generator(8), `systemd.extra-unit.*`; systemd.system-credentials(7), SMBIOS).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const UNIT: &str = "[Unit]
DefaultDependencies=no
After=systemd-journald.socket
[Service]
ExecStart=/bin/sh -c 'stty -echo -onlcr && exec /bin/sh'
Restart=always
RestartSec=0
StandardInput=tty
StandardOutput=tty
StandardError=journal
TTYPath=/dev/LINE
IgnoreSIGPIPE=no
";
const WANTED: &str = "[Unit]\nWants=judge.service\n";

/// QEMU's arguments that put it in, at this line of the guest.
pub fn arguments(line: &str) -> [String; 4] {
    let given =
        |name: &str, text: &str| format!("type=11,value=io.systemd.credential.binary:{name}={}", STANDARD.encode(text));
    [
        "-smbios".to_owned(),
        given("systemd.extra-unit.judge.service", &UNIT.replace("LINE", line)),
        "-smbios".to_owned(),
        given("systemd.unit-dropin.sysinit.target", WANTED),
    ]
}

/// Between two knocks at a shell that may not be there yet.
const KNOCK: Duration = Duration::from_secs(2);

/// A command that is on its way when the guest restarts is lost: nobody ever answers it.
const LOST: Duration = Duration::from_secs(30);

pub struct Shell {
    stream: UnixStream,
    open: bool,
    asked: u32,
}

impl Shell {
    pub async fn connect(path: &Path) -> std::io::Result<Shell> {
        Ok(Shell { stream: UnixStream::connect(path).await?, open: false, asked: 0 })
    }

    /// Knocks until somebody answers: what is said before the guest has opened the line is lost, and not all of it.
    async fn opened(&mut self) {
        let mut heard = String::new();
        loop {
            self.stream.write_all(b"\necho judge-$((6 * 7))\n").await.expect("QEMU lives");
            let mut buffer = [0; 4096];
            while let Ok(read) = tokio::time::timeout(KNOCK, self.stream.read(&mut buffer)).await {
                let count = read.expect("QEMU lives");
                assert!(count > 0, "QEMU ended: {heard}");
                heard += &String::from_utf8_lossy(&buffer[..count]);
            }
            if heard.contains("judge-42") {
                return;
            }
        }
    }

    /// Runs a line and returns its status and what it printed. It may wait long for a machine that is starting.
    pub async fn run(&mut self, line: &str) -> (i32, String) {
        let answered = tokio::time::timeout(super::machine::DEADLINE, self.answer(line)).await;
        answered.unwrap_or_else(|_| panic!("the guest's shell does not answer `{line}`"))
    }

    /// The same for a guest that may restart meanwhile; a line that does no harm twice.
    pub async fn run_again(&mut self, line: &str) -> (i32, String) {
        let trying = async {
            loop {
                if let Ok(answer) = tokio::time::timeout(LOST, self.answer(line)).await {
                    return answer;
                }
                self.open = false;
            }
        };
        let answered = tokio::time::timeout(super::machine::DEADLINE, trying).await;
        answered.unwrap_or_else(|_| panic!("the guest's shell does not answer `{line}`"))
    }

    async fn answer(&mut self, line: &str) -> (i32, String) {
        if !self.open {
            self.opened().await;
            self.open = true;
        }
        self.asked += 1;
        let mark = format!("=={}==", self.asked);
        // What is still said to a knock comes before the first mark.
        let begin = format!("begin {mark}");
        let line = format!("echo '{begin}'; {{ {line}; }} </dev/null 2>&1; printf '\\n{mark}%d\\n' $?\n");
        self.stream.write_all(line.as_bytes()).await.expect("QEMU lives");
        let mut heard = String::new();
        loop {
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).await.expect("QEMU lives");
            assert!(count > 0, "QEMU ended: {heard}");
            heard += &String::from_utf8_lossy(&buffer[..count]).replace('\r', "");
            let end = heard.rsplit_once(&format!("\n{mark}"));
            if let Some((said, status)) = end.and_then(|(said, rest)| Some((said, rest.strip_suffix('\n')?))) {
                let said = said.rsplit_once(&begin).map_or(said, |(_, said)| said);
                return (status.parse().unwrap_or(-1), said.trim().to_owned());
            }
        }
    }
}
