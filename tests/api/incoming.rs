//! Webhooks that come in: from a browser's page, and from those who know a key.

use super::bench::{Answer, Bench};
use serde_json::{Value, json};

const SECTIONS: &str = "sources:
  - { id: pcr, dialect: test-v0, origins: ['https://pcr.example'] }
  - { id: booking, dialect: partner, secret: 'a-long-and-difficult-key' }
  - { id: ward, dialect: cloudevents }
";

fn run(samples: usize, state: &str, event: &str) -> Value {
    let sample = |index: usize| {
        json!({"sampleType": 1, "sampleStreamNumber": 166, "currentDataIndex": index / 7, "totalNumberOfSamples": 36,
               "startingChannel": index % 7, "numberOfChannels": 1, "samplingTime": 301 + 601 * (index / 7),
               "samplingTemperature": 63.1, "firstChannelResult": 768})
    };
    let samples: Vec<Value> = (0..samples).map(sample).collect();
    json!({"version": 0, "event": event,
           "device": {"hwVersion": "H", "swVersion": "S", "deviceModel": "M", "sn": 4123456789_u32, "configuration": "C"},
           "test": {"state": state, "data": {"temperatureSamples": [{"time": "2026-11-21T20:14:03Z", "temp": 63.1}], "samples": samples}}})
}

async fn page(bench: &Bench, method: &str, origin: &str, body: &Value) -> Answer {
    let headers = [("origin", origin), ("content-type", "application/json")];
    bench.raw(method, "/in/pcr", &headers, body.to_string().as_bytes()).await
}

#[tokio::test]
async fn a_page_in_a_browser_sends_its_cumulative_data() {
    let bench = Bench::start(SECTIONS).await;
    let asked = bench.raw("OPTIONS", "/in/pcr", &[("origin", "https://pcr.example")], b"").await;
    assert_eq!(asked.status, 204);
    assert_eq!(asked.header("access-control-allow-origin"), Some("https://pcr.example"));
    assert_eq!(asked.header("access-control-allow-methods"), Some("POST"));
    assert!(asked.header("access-control-allow-headers").is_some_and(|allowed| allowed.contains("content-type")));
    page(&bench, "OPTIONS", "https://other.example", &json!({})).await.problem(403);
    page(&bench, "POST", "https://other.example", &run(0, "TESTING", "TEST_STARTED")).await.problem(403);

    let send = async |body: &Value| page(&bench, "POST", "https://pcr.example", body).await;
    let first = send(&run(0, "TESTING", "TEST_STARTED")).await;
    assert_eq!(first.header("access-control-allow-origin"), Some("https://pcr.example"));
    assert_eq!(first.expect(200)["stored"], 1);
    assert_eq!(send(&run(7, "TESTING", "NEW_DATA")).await.expect(200)["stored"], 1);
    assert_eq!(send(&run(14, "TESTING", "NEW_DATA")).await.expect(200)["stored"], 1);
    let again = send(&run(14, "TESTING", "NEW_DATA")).await.expect(200);
    assert_eq!((&again["stored"], &again["repeated"]), (&json!(0), &json!(1)), "a repeat is stored once");
    let events = bench.events().await;
    let newest = &events.last().expect("events")["data"]["test"];
    assert_eq!(newest["data"]["samples"].as_array().map(Vec::len), Some(7), "only what is new");
    assert_eq!(newest["data"]["samples_from"], 7);
    let test = newest["id"].as_str().expect("an id");
    let whole = bench.get(&format!("/api/tests/{test}")).await.expect(200);
    assert_eq!(whole["data"]["samples"].as_array().map(Vec::len), Some(14));
    assert_eq!(whole["analyzer"], "pcr");

    send(&json!({"version": 0})).await.problem(422);
    bench.raw("POST", "/in/pcr", &[], b"no json").await.problem(400);
    bench.raw("POST", "/in/none", &[], b"{}").await.problem(404);
    bench.raw("GET", "/in/pcr", &[], b"").await.problem(405);
    bench.raw("POST", "/in/pcr", &[], &vec![b' '; 5 << 20]).await.problem(413);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn only_who_knows_the_key_is_heard() {
    let bench = Bench::start(SECTIONS).await;
    let created = json!({"eventName": "appointmentCreated", "data": {
        "dashboardUrl": "https://clinic.example/a/1", "userUrl": "https://clinic.example/u/1", "appointmentId": 1,
        "locationId": 2, "datetime": "2020-11-16 10:00:00+00", "paymentMethod": "stripe"}});
    let send = async |key: &str, body: &Value| {
        let headers = [("x-api-key", key), ("content-type", "application/json")];
        bench.raw("POST", "/in/booking", &headers, body.to_string().as_bytes()).await
    };
    send("a-wrong-key", &created).await.problem(401);
    assert_eq!(bench.events().await, Vec::<Value>::new(), "nothing of a forged one is stored");
    send("a-long-and-difficult-key", &created).await.expect(200);
    assert_eq!(bench.names().await, ["appointmentCreated"]);
    let mut wrong = created.clone();
    wrong["data"]["appointmentId"] = json!("one");
    send("a-long-and-difficult-key", &wrong).await.problem(422);
    let audit = bench.ask("administer", "GET", "/api/audit", None).await.expect(200);
    let refused = audit["entries"].as_array().expect("a list").iter().filter(|line| line["client"] == "source:booking");
    assert_eq!(refused.map(|line| line["outcome"].clone()).collect::<Vec<_>>(), ["refused: 401", "ok", "refused: 422"]);
    bench.home.assert_discreet(["a-long-and-difficult-key", "a-wrong-key"]);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn who_asks_to_be_forgotten_is_forgotten() {
    let bench = Bench::start(SECTIONS).await;
    let patient = json!({"id": "f-1", "sample_ids": ["TUBE-77"], "patient": {"family_name": "Muster", "email": "erika@muster.example"},
                         "partner": {"user": 123}});
    bench.post("post", "/api/registrations", patient).await.expect(201);
    let request = json!({"eventName": "dataDeletionRequest", "data": {
        "userId": 123, "userEmail": "erika@muster.example", "userPhoneNumber": "+39000000000"}});
    let headers = [("x-api-key", "a-long-and-difficult-key"), ("content-type", "application/json")];
    bench.raw("POST", "/in/booking", &headers, request.to_string().as_bytes()).await.expect(200);
    let erased = |names: &Value| {
        names["events"]
            .as_array()
            .is_some_and(|events| events.iter().any(|event| event["data"]["event"] == "DATA_ERASED"))
    };
    bench.eventually("read", "/api/events?limit=500", erased).await;
    let text = bench.get("/api/registrations/f-1").await.text();
    assert!(!["Muster", "TUBE-77", "erika"].iter().any(|word| text.contains(word)), "{text}");
    let audit = bench.ask("administer", "GET", "/api/audit?limit=1000", None).await.text();
    assert!(audit.contains("erase") && !audit.contains("erika"), "{audit}");
    bench.home.assert_discreet(["erika", "Muster", "TUBE-77"]);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn who_may_not_erase_is_not_obeyed_and_an_id_names_one_event() {
    let bench = Bench::start(SECTIONS).await;
    let patient = json!({"id": "f-2", "patient": {"family_name": "Muster"}, "partner": {"user": 123}});
    bench.post("post", "/api/registrations", patient).await.expect(201);
    let payload = json!({"userId": 123, "userEmail": "erika@muster.example", "userPhoneNumber": "+39000000000"});
    let request = json!({"dialect": "partner", "event": "dataDeletionRequest", "payload": payload});
    bench.post("post", "/api/events", request).await.expect(202);
    let confirm = |audit: &Value| {
        let lines = audit["entries"].as_array().cloned().unwrap_or_default();
        lines.iter().any(|line| line["action"] == "erase" && line["outcome"].to_string().contains("confirm"))
    };
    bench.eventually("administer", "/api/audit?limit=1000", confirm).await;
    assert!(bench.get("/api/registrations/f-2").await.text().contains("Muster"));

    let send = async |amount: u32| {
        let body = json!({"eventName": "sampleUpdated", "data": {"sampleId": amount}});
        let headers = [("x-api-key", "a-long-and-difficult-key"), ("webhook-id", "msg-1"), ("x-gateway-test", "true")];
        bench.raw("POST", "/in/booking", &headers, body.to_string().as_bytes()).await
    };
    assert_eq!(send(1).await.expect(200)["stored"], 1, "no probe: it looks like an event");
    assert_eq!(send(1).await.expect(200)["repeated"], 1);
    send(2).await.problem(409);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn the_events_of_another_gateway_stay_what_they_are_until_they_are_erased() {
    let bench = Bench::start(SECTIONS).await;
    let event = |number: u32, sample: &str| {
        json!({"specversion": "1.0", "type": "analyzer-gateway.TEST_FINISHED", "id": format!("e-{number}"), "source": "/b/cbc",
        "data": {"event": "TEST_FINISHED", "analyzer": "cbc", "new_key": 1, "device": {"model": "M", "sn": "7"}, "test": {
            "id": format!("00000000-0000-4000-8000-00000000000{number}"), "state": "DONE", "sample_id": sample,
            "instrument_sample_id": null, "patient_id": format!("PAT-{sample}"), "qc": false, "started_at": null,
            "finished_at": "2026-01-02T03:04:05", "results": [{"code": "WBC", "name": "", "value": "5.50", "number": 5.5,
            "unit": "10*3/uL", "reference": "", "flags": ["H"], "status": "F", "at": null, "at_text": "", "comments": []}]}}})
    };
    let batch = json!([event(1, "TUBE-4711"), event(2, "TUBE-0815")]).to_string();
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let answer = bench.raw("POST", "/in/ward", &headers, batch.as_bytes()).await.expect(200);
    assert_eq!(answer["stored"], 2);
    let test = bench.events().await[0]["data"]["test"].clone();
    assert_eq!((&test["sample_id"], &test["patient_id"]), (&json!("TUBE-4711"), &json!("PAT-TUBE-4711")));
    assert_eq!((&test["finished_at"], &test["results"][0]["value"]), (&json!("2026-01-02T03:04:05"), &json!("5.50")));
    bench.post("administer", "/api/erasures", json!({"patient_id": "PAT-TUBE-4711"})).await.expect(200);
    let holds = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    let files =
        ["events.db", "events.db-wal"].map(|name| std::fs::read(bench.home.state_dir().join(name)).unwrap_or_default());
    assert!(!files.iter().any(|file| holds(file, "TUBE-4711")), "neither in the event nor in a received body");
    assert!(files.iter().any(|file| holds(file, "TUBE-0815")), "the other event of the batch is whole");
    let empty = json!({"specversion": "1.0", "type": "analyzer-gateway.TEST_FINISHED", "id": "e-3", "source": "/b/cbc",
                       "data": {"event": "TEST_FINISHED"}});
    let headers = [("content-type", "application/cloudevents+json")];
    bench.raw("POST", "/in/ward", &headers, empty.to_string().as_bytes()).await.problem(422);
    bench.gateway.stop().await;
}
