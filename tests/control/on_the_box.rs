//! Settings pushed to a box whose card is root's: tried, and put onto the card by the privileged half when they are confirmed.

use super::bench::{Bench, free_port, hash};
use super::home::Home;
use serde_json::json;
use std::fs;
use std::path::PathBuf;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw0s";

/// A gateway below a folder that stands for `/` of a box.
struct OnTheBox {
    bench: Bench,
    root: PathBuf,
}

impl OnTheBox {
    async fn start() -> OnTheBox {
        let home = Home::new();
        let root = home.path("box");
        for folder in ["run/analyzer-gateway", "boot/firmware", "data/system", "usr/lib/analyzer-gateway"] {
            fs::create_dir_all(root.join(folder)).expect("a folder of our own");
        }
        fs::write(root.join("usr/lib/analyzer-gateway/image.json"), r#"{"version":"1.2.0","compatible":"vm"}"#)
            .expect("a folder of our own");
        let port = free_port();
        let settings = format!(
            "gateway: {{ id: box, state_dir: {} }}\nmqtt: {{ url: 'mqtt://127.0.0.1:9' }}\nhttp:\n  listen: '127.0.0.1:{port}'\n  \
             tokens: [{{ id: administer, scope: administer, hash: {} }}, {{ id: read, scope: read, hash: {} }}]\n\
             webhooks:\n  - id: lims\n    url: http://127.0.0.1:9/hook\n    secret: {SECRET}\n",
            home.state_dir().display(),
            hash("administer"),
            hash("read"),
        );
        fs::write(root.join("boot/firmware/gateway.yaml"), settings).expect("a folder of our own");
        let gateway = OnTheBox::gateway(&home, &root);
        home.ready(&gateway).await;
        let bench = Bench { home, gateway, port };
        bench.home.says(&["the API listens"]).await;
        OnTheBox { bench, root }
    }

    fn gateway(home: &Home, root: &std::path::Path) -> super::home::Gateway {
        let (card, root) = (root.join("boot/firmware/gateway.yaml"), root.display().to_string());
        home.start_so(&["run", "--config", &card.to_string_lossy(), "--root", &root])
    }

    fn card(&self) -> String {
        fs::read_to_string(self.root.join("boot/firmware/gateway.yaml")).expect("settings on the card")
    }

    /// Pushes other settings and waits until they are in force.
    async fn push(&self) -> String {
        let yaml = self.card().replace(SECRET, "\"***\"");
        let yaml = format!("# mine\n{yaml}retention: {{ events_kept_days: 77 }}\n");
        let pushed = self.bench.post("administer", "/api/config", json!({ "yaml": yaml })).await.expect(202);
        let tried = pushed["hash"].as_str().expect("a hash").to_owned();
        self.bench.eventually("read", "/api/config", |config| config["hash"] == tried.as_str()).await;
        tried
    }

    /// What the unit of root does once somebody has asked.
    async fn other_half(&self) {
        let request = self.root.join("run/analyzer-gateway/requests/settings.json");
        self.bench.home.eventually("a request", || request.exists().then_some(())).await;
        let root = self.root.display().to_string();
        let done = self.bench.home.command(&["appliance", "keep-settings", "--root", &root]).output().await;
        assert!(done.expect("it runs").status.code().is_some());
    }

    async fn confirm(&self) -> super::bench::Answer {
        let confirm = self.bench.post("administer", "/api/config/confirm", json!({}));
        tokio::join!(confirm, self.other_half()).0
    }
}

#[tokio::test]
async fn confirmed_settings_get_onto_the_card_and_outlast_a_start() {
    let made = OnTheBox::start().await;
    let before = made.card();
    let tried = made.push().await;
    assert_eq!(made.card(), before, "nothing is written before somebody confirms");
    made.confirm().await.expect(200);
    let now = made.card();
    assert!(now.starts_with("# mine\n") && now.contains(SECRET) && !now.contains("***"), "{now}");
    assert_eq!(fs::read_to_string(made.root.join("boot/firmware/gateway.before.yaml")).expect("the former"), before);
    let OnTheBox { bench: Bench { home, gateway, port }, root } = made;
    gateway.stop().await;
    let gateway = OnTheBox::gateway(&home, &root);
    home.ready(&gateway).await;
    let bench = Bench { home, gateway, port };
    bench.eventually("read", "/api/config", |config| config["hash"] == tried.as_str()).await;
    bench.home.assert_discreet([SECRET]);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn what_somebody_has_edited_meanwhile_stays() {
    let made = OnTheBox::start().await;
    made.push().await;
    let edited = format!("{}# by hand\n", made.card());
    fs::write(made.root.join("boot/firmware/gateway.yaml"), &edited).expect("a folder of our own");
    let refused = made.bench.post("administer", "/api/config/confirm", json!({})).await.expect(409);
    assert_eq!(refused["code"], "file_changed", "{refused}");
    assert_eq!(made.card(), edited);
    made.bench.gateway.stop().await;
}

#[tokio::test]
async fn a_card_that_takes_no_writes_refuses_a_push_before_anything_is_tried() {
    let made = OnTheBox::start().await;
    let says = made.root.join("run/analyzer-gateway-appliance");
    fs::create_dir_all(&says).expect("a folder of our own");
    let card = json!({"written": false, "reason": "the card is full", "at": "2026-11-21T20:14:03.120Z"});
    fs::write(says.join("card.json"), card.to_string()).expect("a folder of our own");
    let refused = made.bench.post("administer", "/api/config", json!({ "yaml": made.card() })).await.expect(409);
    assert_eq!((&refused["code"], &refused["detail"]), (&json!("not_writable"), &json!("the card is full")));
    made.bench.gateway.stop().await;
}

#[tokio::test]
async fn a_second_update_is_refused_with_who_asked_for_the_first_and_how_far_it_is() {
    let made = OnTheBox::start().await;
    let ask = |action: &str| made.bench.post("administer", "/api/update", json!({ "action": action }));
    ask("check").await.expect(202);
    let refused = ask("install").await.expect(409);
    let detail = refused["detail"].as_str().expect("a detail");
    assert_eq!(refused["code"], "update_going_on");
    assert!(detail.starts_with("administer asked to look for an update"), "{detail}");
    let request = made.root.join("run/analyzer-gateway/requests/update.json");
    assert!(fs::read_to_string(&request).expect("the first one").contains("\"check\""));
    // It was taken and goes on.
    fs::remove_file(request).expect("it is there");
    let says = made.root.join("run/analyzer-gateway-appliance");
    fs::create_dir_all(&says).expect("a folder of our own");
    let update = json!({"phase": "waiting_for_test", "to": "1.3.0", "reason": "", "at": "2026-11-21T20:14:03.120Z"});
    fs::write(says.join("update.json"), update.to_string()).expect("a folder of our own");
    let refused = ask("rollback").await.expect(409);
    let detail = refused["detail"].as_str().expect("a detail");
    assert!(detail.contains("to 1.3.0") && detail.contains("(waiting for test, asked for by administer)"), "{detail}");
    made.bench.gateway.stop().await;
}
