//! Registrations, tests and results: told, linked with what an analyzer says, fetched at seed 004's addresses, verified, erased.

use super::bench::{Bench, free_port};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const RECORDS: &str = "H|\\^&|||XP-100|||||||P|1394-97|20261121201403\rP|1||PAT-4711\rO|1|TUBE-113||^^^WBC|R|||||||||||||||||||F\r\
                       R|1|^^^WBC|5.5|10*3/uL||N||F||||20261121201400\rL|1|N\r";

/// A gateway that an analyzer can call, and what the analyzer then says.
async fn with_analyzer() -> (Bench, u16) {
    let port = free_port();
    let bench = Bench::start(&format!(
        "analyzers:\n  - {{ id: blood, driver: astm, framing: none, port: {{ tcp: {{ listen: '127.0.0.1:{port}' }} }} }}\n"
    ))
    .await;
    (bench, port)
}

async fn says(port: u16) {
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    stream.write_all(RECORDS.as_bytes()).await.expect("the gateway listens");
    stream.shutdown().await.expect("the gateway listens");
}

#[tokio::test]
async fn a_sample_on_its_whole_way() {
    let (bench, port) = with_analyzer().await;
    let new = json!({"id": "1234-5678", "sample_ids": ["TUBE-113"], "patient": {"family_name": "Muster"},
                     "tests": [{"code": "WBC"}], "partner": {"patient": 77}});
    let made = bench.post("post", "/api/registrations", new.clone()).await;
    assert_eq!(made.header("location"), Some("https://gateway.clinic.example/api/registrations/1234-5678"));
    assert!(!made.text().contains("Muster"), "who may only post learns nothing of the person");
    let brief = made.expect(201);
    assert_eq!((&brief["id"], &brief["number"]), (&json!("1234-5678"), &json!(1)));
    bench.post("post", "/api/registrations", new).await.problem(409);

    let whole = bench.get("/api/test_registration/1234-5678/").await.expect(200);
    assert_eq!(whole["url"], "https://gateway.clinic.example/api/test_registration/1234-5678/");
    assert_eq!(whole["registration"]["patient"]["family_name"], "Muster");
    assert_eq!(bench.get("/api/registrations/1234-5678").await.expect(200), whole);
    let results = "/api/test_registration/1234-5678/lab_results/";
    assert_eq!(bench.get(results).await.expect(200)["results"], json!([]));
    bench.post("operate", "/api/registrations/1234-5678/verify", json!({})).await.problem(409);

    says(port).await;
    let there = bench.eventually("read", results, |answer| answer["results"] != json!([])).await;
    let result = &there["results"][0];
    assert_eq!(result["test"]["results"][0]["value"], "5.5");
    let id = result["id"].as_i64().expect("an integer id");
    assert_eq!(result["url"], format!("https://gateway.clinic.example/api/results/{id}"));
    assert_eq!(&bench.get(&format!("/api/results/{id}")).await.expect(200), result);
    let event = result["event"].as_str().expect("an id");
    assert_eq!(&bench.get(&format!("/api/results/{event}")).await.expect(200), result);
    let test = result["test"]["id"].as_str().expect("an id");
    let test = bench.get(&format!("/api/tests/{test}")).await.expect(200);
    assert_eq!((&test["results"][0], &test["test"]["sample_id"]), (&result["url"], &json!("TUBE-113")));

    bench.post("post", "/api/registrations/1234-5678/lab_id", json!({"lab_id": "123-456"})).await.expect(200);
    bench.post("post", "/api/registrations/1234-5678/lab_id", json!({"lab_id": "other"})).await.problem(409);
    bench.post("read", "/api/registrations/1234-5678/verify", json!({})).await.problem(403);
    let verify =
        async |by: &str| bench.post("operate", "/api/registrations/1234-5678/verify", json!({ "by": by })).await;
    assert_eq!(verify("A. Name").await.problem(422).1, ["/by"]);
    let verified = verify("staff-7").await.expect(200);
    assert!(verified["verified_at"].is_string());
    assert_eq!(bench.get("/api/registrations/1234-5678").await.expect(200)["registration"]["verified_by"], "staff-7");
    let names = bench.names().await;
    for name in [
        "REGISTRATION_CREATED",
        "REGISTRATION_COMPLETED",
        "TEST_FINISHED",
        "REGISTRATION_RESULTS_COMPLETE",
        "REGISTRATION_LAB_ID_ASSIGNED",
        "REGISTRATION_RESULT_VERIFIED",
    ] {
        assert_eq!(names.iter().filter(|known| *known == name).count(), 1, "{name} in {names:?}");
    }

    let erased = bench.post("administer", "/api/erasures", json!({"sample_id": "TUBE-113"})).await.expect(200);
    assert_eq!(erased["registrations"], json!(["1234-5678"]), "{erased}");
    let left = [
        bench.get("/api/events").await.text(),
        bench.get(results).await.text(),
        bench.get("/api/registrations/1234-5678").await.text(),
    ];
    for text in left {
        assert!(!["TUBE-113", "Muster", "PAT-4711"].iter().any(|word| text.contains(word)), "{text}");
    }
    bench.home.assert_discreet(["TUBE-113", "Muster", "PAT-4711"]);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_twice_to_who_has_it() {
    let bench = Bench::start("").await;
    bench.post("post", "/api/registrations", json!({"id": "a-1"})).await.expect(201);
    let path = "/api/test_registration/a-1/";
    let tag = bench.get(path).await.header("etag").expect("a tag").to_owned();
    let known = async |tag: &str| {
        let headers = [("authorization", "Bearer read"), ("if-none-match", tag)];
        bench.raw("GET", path, &headers, b"").await
    };
    let same = known(&tag).await;
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(tag.as_str())));
    assert_eq!(known(&format!("\"other\", {tag}")).await.status, 304);
    assert_eq!(known("\"other\"").await.status, 200);
    bench.post("post", "/api/registrations/a-1/sample_received", json!({})).await.expect(200);
    assert_eq!(known(&tag).await.status, 200, "it has changed");
    bench.gateway.stop().await;
}

#[tokio::test]
async fn registrations_are_changed_and_listed() {
    let bench = Bench::start("").await;
    let made = bench.post("post", "/api/registrations", json!({})).await.expect(201);
    let id = made["id"].as_str().expect("an id of its own").to_owned();
    assert_eq!((id.len(), id.as_bytes()[4]), (9, b'-'), "as in seed 004: {id}");
    let path = format!("/api/registrations/{id}");
    let body = json!({"sample_ids": ["T-9"], "patient": {"id": "P-9"}});
    bench.ask("post", "PATCH", &path, Some(body)).await.expect(200);
    let list = bench.get("/api/registrations?sample_id=T-9").await.expect(200);
    assert_eq!(list["registrations"][0]["registration"]["patient"]["id"], "P-9");
    assert_eq!(bench.get("/api/registrations?sample_id=T-8").await.expect(200)["registrations"], json!([]));
    assert_eq!(bench.get("/api/registrations?after=1").await.expect(200)["next"], 1);
    let (_, faults) = bench.ask("post", "PATCH", &path, Some(json!({"sample_ids": [7], "x": 1}))).await.problem(422);
    assert_eq!(faults.len(), 2, "{faults:?}");
    let at = json!({"sample_received_at": "2023-06-01T14:52:32+01:00"});
    let brief = bench.post("post", &format!("{path}/sample_received"), at).await.expect(200);
    assert_eq!(brief["sample_received_at"], "2023-06-01T13:52:32.000Z");
    let bad = json!({"sample_received_at": "yesterday"});
    assert_eq!(
        bench.post("post", &format!("{path}/sample_received"), bad).await.problem(422).1,
        ["/sample_received_at"]
    );
    for path in ["sample_received", "verify"] {
        bench.post("operate", &format!("/api/registrations/none/{path}"), json!({})).await.problem(404);
    }
    bench.ask("post", "PATCH", "/api/registrations/none", Some(json!({}))).await.problem(404);
    bench.get("/api/test_registration/none/").await.problem(404);
    bench.get("/api/test_registration/none/lab_results/").await.problem(404);
    bench.get("/api/tests/none").await.problem(404);
    bench.get("/api/results/1").await.problem(404);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn a_key_is_good_for_one_request() {
    let bench = Bench::start("").await;
    let ask = async |method: &str, path: &str, body: Value| {
        let headers =
            [("authorization", "Bearer operate"), ("content-type", "application/json"), ("idempotency-key", "k")];
        bench.raw(method, &format!("/api/registrations{path}"), &headers, body.to_string().as_bytes()).await
    };
    let tube = |id: &str| json!({"sample_ids": [id]});
    let first = ask("POST", "", tube("T-1")).await.expect(201);
    assert_eq!(ask("POST", "", tube("T-1")).await.expect(201), first);
    let (detail, _) = ask("POST", "", tube("T-2")).await.problem(422);
    assert!(detail.contains("Idempotency-Key") && !detail.contains("T-2"), "{detail}");
    assert_eq!(bench.get("/api/registrations").await.expect(200)["registrations"].as_array().map(Vec::len), Some(1));

    let one = format!("/{}", first["id"].as_str().expect("an id"));
    let second = bench.post("post", "/api/registrations", json!({"id": "other"})).await.expect(201);
    let lab_id = |id: &str| json!({"lab_id": id});
    ask("POST", &format!("{one}/lab_id"), lab_id("L-1")).await.expect(200);
    ask("POST", &format!("{one}/lab_id"), lab_id("L-2")).await.problem(422);
    let of_other = ask("POST", "/other/lab_id", lab_id("L-2")).await.expect(200);
    assert_eq!((&of_other["id"], &of_other["lab_id"]), (&second["id"], &json!("L-2")));

    // What no event follows from is known again too.
    ask("PATCH", &one, tube("T-3")).await.expect(200);
    bench.ask("post", "PATCH", &format!("/api/registrations{one}"), Some(tube("T-4"))).await.expect(200);
    ask("PATCH", &one, tube("T-3")).await.expect(200);
    let now = bench.get(&format!("/api/registrations{one}")).await.expect(200);
    assert_eq!(now["registration"]["sample_ids"], json!(["T-4"]), "a late repeat undoes nothing");

    bench.post("administer", "/api/erasures", json!({"sample_id": "T-4"})).await.expect(200);
    let (detail, _) = ask("PATCH", &one, tube("T-9")).await.problem(409);
    assert!(detail.contains("erased"), "no hash of what was asked stays: {detail}");
    bench.gateway.stop().await;
}

#[tokio::test]
async fn an_erasure_says_whose() {
    let bench = Bench::start("").await;
    bench.post("operate", "/api/erasures", json!({"sample_id": "x"})).await.problem(403);
    for body in
        [json!({}), json!({"sample_id": "a", "patient_id": "b"}), json!({"sample_id": "a", "email": "b@c.example"})]
    {
        bench.post("administer", "/api/erasures", body).await.problem(422);
    }
    assert_eq!(
        bench.post("administer", "/api/erasures", json!({"sample_id": " "})).await.problem(422).1,
        ["/sample_id"]
    );
    let nothing = bench.post("administer", "/api/erasures", json!({"patient_id": "nobody"})).await.expect(200);
    assert_eq!((&nothing["events"], &nothing["registrations"]), (&json!(0), &json!([])));
    let audit: Value = bench.ask("administer", "GET", "/api/audit", None).await.expect(200);
    assert!(!audit.to_string().contains("nobody"));
    bench.gateway.stop().await;
}
