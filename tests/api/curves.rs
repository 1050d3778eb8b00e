//! Tests in a list, as pictures, as tables and as a page: what is told over the sources is found again in each of them.

use super::bench::{Answer, Bench};
use gateway_daemon::simulated::test_v0::Run;
use serde_json::{Value, json};

const SECTIONS: &str = "sources:\n  - { id: pcr, dialect: test-v0, origins: ['https://pcr.example'] }\n  - { id: ward, dialect: cloudevents }\n";
const SCRIPT: &str = "<script>alert(1)</script>";

/// A whole run as its analyzer tells it, without the lines whose number is left out.
async fn runs(bench: &Bench, rounds: u32, left_out: &[usize]) -> String {
    let run = Run::new(1, 3_100_000_017, 166, gateway_core::time::Timestamp(1_795_291_200_000), rounds);
    let headers = [("origin", "https://pcr.example"), ("content-type", "application/json")];
    let lines = run.lines.iter().enumerate().skip(1).filter(|(number, _)| !left_out.contains(number));
    for (_, line) in lines {
        bench.raw("POST", "/in/pcr", &headers, line.text.as_bytes()).await.expect(200);
    }
    let listed = bench.get("/api/tests?analyzer=pcr&limit=1").await.expect(200);
    listed["tests"][0]["id"].as_str().expect("an id").to_owned()
}

/// A finished test of another gateway.
fn finished(number: u32, sample: &str, qc: bool, value: &str) -> Value {
    json!({"specversion": "1.0", "type": "analyzer-gateway.TEST_FINISHED", "id": format!("e-{number}"), "source": "/b/cbc",
    "data": {"event": "TEST_FINISHED", "analyzer": "cbc", "device": {"model": "M", "sn": "7"}, "test": {
        "id": format!("00000000-0000-4000-8000-{number:012}"), "state": "DONE", "sample_id": sample,
        "instrument_sample_id": null, "patient_id": null, "qc": qc, "started_at": null, "finished_at": "2026-01-02T03:04:05",
        "results": [{"code": "WBC", "name": "", "value": value, "unit": "10*3/uL", "reference": "4 - 10", "flags": ["H"],
            "status": "F", "at": null, "at_text": "", "comments": []}]}}})
}

async fn tell(bench: &Bench, events: Vec<Value>) {
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let told = bench.raw("POST", "/in/ward", &headers, Value::Array(events).to_string().as_bytes()).await.expect(200);
    assert_ne!(told["stored"], 0, "{told}");
}

/// The body of a streamed answer, which comes in chunks.
fn whole(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    if answer.header("transfer-encoding") != Some("chunked") {
        return answer.text();
    }
    let (mut rest, mut body) = (answer.body.as_slice(), Vec::new());
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk's size");
        let size = std::str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a chunk's size");
        if size == 0 {
            return String::from_utf8(body).expect("text");
        }
        body.extend(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}

async fn of_test(bench: &Bench, id: &str, what: &str) -> Answer {
    bench.get(&format!("/api/tests/{id}/{what}")).await
}

#[tokio::test]
async fn a_run_is_listed_drawn_and_reported() {
    let bench = Bench::start(SECTIONS).await;
    let id = runs(&bench, 12, &[]).await;
    let listed = bench.get("/api/tests").await.expect(200);
    let test = &listed["tests"][0];
    assert_eq!((listed["tests"].as_array().map(Vec::len), &listed["next"]), (Some(1), &Value::Null));
    assert_eq!((&test["state"], &test["has_curve"], &test["analyzer"]), (&json!("DONE"), &json!(true), &json!("pcr")));
    assert!(test["summary"] == "POSITIVE" || test["summary"] == "NEGATIVE", "{test}");
    assert_eq!(test["results"], 3);

    let view = bench.get(&format!("/api/tests/{id}")).await.expect(200);
    assert_eq!((&view["channels"], &view["control_channel"]), (&json!([0, 1, 2, 3, 4, 5, 6]), &json!(3)));
    assert_eq!((&view["gaps"], &view["seq"]), (&json!([]), &test["seq"]));
    let samples = view["data"]["samples"].as_array().expect("samples").clone();
    assert_eq!(samples.len(), 12 * 7);

    let csv = of_test(&bench, &id, "curve.csv").await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    let csv = csv.text();
    for (number, (row, sample)) in csv.lines().skip(1).zip(&samples).enumerate() {
        let seconds = sample["samplingTime"].as_f64().expect("a figure") / 10.0;
        let (channel, value) = (&sample["startingChannel"], &sample["firstChannelResult"]);
        assert_eq!(row, format!("fluorescence,{number},{seconds:.1},,{channel},{value},63.1"));
    }
    assert_eq!(
        csv.lines().count(),
        1 + samples.len() + view["data"]["temperatureSamples"].as_array().expect("some").len()
    );

    let svg = of_test(&bench, &id, "curve.svg?theme=dark&lang=de").await;
    assert_eq!(svg.header("content-type"), Some("image/svg+xml"));
    assert_eq!(svg.header("x-content-type-options"), Some("nosniff"));
    assert!(svg.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
    let svg = svg.text();
    assert!(
        svg.contains("class=\"curve dark\"") && svg.contains("3 Kontrolle") && svg.matches("<polyline").count() > 8
    );
    let png = of_test(&bench, &id, "curve.png").await;
    assert_eq!((png.status, png.header("content-type")), (200, Some("image/png")));
    assert_eq!(&png.body[..8], b"\x89PNG\r\n\x1a\n");
    let side = |at: usize| u32::from_be_bytes(png.body[at..at + 4].try_into().expect("four bytes"));
    assert_eq!((side(16), side(20)), (1600, 900));

    let page = of_test(&bench, &id, "report.html?lang=de").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let page = page.text();
    for wanted in ["Bericht über einen Test", "SARS-CoV-2", "<svg", "3100000017", "von read"] {
        assert!(page.contains(wanted), "{wanted}");
    }
    for what in ["curve.svg?theme=pink", "curve.png?lang=xx", "report.html?lang=xx", "curve.svg?colour=1"] {
        of_test(&bench, &id, what).await.problem(400);
    }
    let none = "00000000-0000-4000-8000-000000000009";
    for what in ["curve.svg", "curve.png", "curve.csv", "report.html"] {
        of_test(&bench, none, what).await.problem(404);
        of_test(&bench, "no-id", what).await.problem(404);
    }
    let audit = bench.ask("administer", "GET", "/api/audit?limit=500", None).await.text();
    for object in ["curve.svg", "curve.png", "curve.csv", "report.html"] {
        assert!(audit.contains(&format!("test/{id}/{object}")), "{object}");
    }
    // Out of the folder of an operator who wants to look: nothing is judged by it.
    if let Some(folder) = std::env::var_os("SHOW") {
        for what in ["curve.svg", "curve.png", "report.html"] {
            let answer = of_test(&bench, &id, what).await;
            std::fs::write(std::path::Path::new(&folder).join(what), answer.body).expect("a folder");
        }
    }
    bench.gateway.stop().await;
}

#[tokio::test]
async fn a_running_test_shows_its_state_and_its_holes() {
    let bench = Bench::start(SECTIONS).await;
    // Of ten lines the end is not told yet; the data of the messages left out comes with the next one.
    let id = runs(&bench, 8, &[4, 5, 10]).await;
    let running = bench.get("/api/tests?state=TESTING").await.expect(200);
    assert_eq!(running["tests"][0]["id"], id.as_str());
    assert_eq!(bench.get("/api/tests?state=DONE").await.expect(200)["tests"], json!([]));
    let view = bench.get(&format!("/api/tests/{id}")).await.expect(200);
    assert_eq!((&view["gaps"], &view["control_channel"]), (&json!([]), &json!(3)), "nothing is missing");
    assert!(of_test(&bench, &id, "report.html").await.text().contains("Preliminary"));
    bench.get("/api/tests?state=LOST").await.problem(400);
    bench.get("/api/tests?limit=0").await.problem(400);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn results_are_exported_once_each_and_text_stays_text() {
    let bench = Bench::start(SECTIONS).await;
    tell(&bench, (0..450).map(|number| finished(number, &format!("T-{number}"), number % 10 == 0, "5.50")).collect())
        .await;
    tell(&bench, vec![finished(900, SCRIPT, false, "=cmd|' /C calc'!A0"), finished(901, "a\"b,c\nd", false, "-")])
        .await;

    let answer = bench.get("/api/results.ndjson").await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = whole(&answer).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 452);
    let ids: Vec<i64> = lines.iter().map(|line| line["id"].as_i64().expect("an id")).collect();
    assert!(ids.is_sorted_by(|one, other| one < other), "each once, oldest first");
    assert_eq!(bench.get(&format!("/api/results/{}", ids[7])).await.expect(200), lines[7]);
    let count = async |query: &str| whole(&bench.get(&format!("/api/results.ndjson?{query}")).await).lines().count();
    assert_eq!((count("qc=true").await, count("qc=false").await), (45, 407));
    assert_eq!((count("analyzer=ward").await, count("analyzer=none").await), (452, 0));
    assert_eq!((count("until=2020-01-01T00:00:00Z").await, count("since=2020-01-01T00:00:00Z").await), (0, 452));

    let answer = bench.get("/api/results.csv?versions=all").await;
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"results.csv\""));
    let csv = whole(&answer);
    assert!(csv.starts_with("result_id,event,test_id,version,"));
    assert_eq!(csv.matches("\r\n").count(), 453);
    assert!(csv.contains(",'=cmd|' /C calc'!A0,") && csv.contains(",\"a\"\"b,c\nd\",") && csv.contains(",WBC,,,,-,"));
    assert_eq!(whole(&bench.get("/api/results.csv?analyzer=none").await).lines().count(), 1, "the head alone");

    let pages = async |query: &str| {
        let (mut before, mut found) = (String::new(), Vec::new());
        loop {
            let page = bench.get(&format!("/api/tests?limit=100{query}{before}")).await.expect(200);
            let seqs = page["tests"].as_array().expect("tests").iter();
            found.extend(seqs.map(|test| test["seq"].as_i64().expect("a place")));
            if page["next"].is_null() {
                return found;
            }
            before = format!("&before={}", page["next"]);
        }
    };
    let all = pages("").await;
    assert_eq!(all.len(), 452);
    assert!(all.is_sorted_by(|newer, older| newer > older), "newest first, each once");
    assert_eq!(pages("&qc=true").await.len(), 45);
    let newest = &bench.get("/api/tests?limit=2").await.expect(200)["tests"];
    assert_eq!((&newest[1]["sample_id"], &newest[1]["flagged"]), (&json!(SCRIPT), &json!(1)));
    assert_eq!((&newest[1]["has_curve"], &newest[1]["summary"]), (&json!(false), &Value::Null));
    let id = newest[1]["id"].as_str().expect("an id");
    of_test(&bench, id, "curve.svg").await.problem(404);
    let page = of_test(&bench, id, "report.html").await.text();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script"), "{page}");
    let audit = bench.ask("administer", "GET", "/api/audit?limit=500", None).await.text();
    assert_eq!(audit.matches("\"results.csv\"").count(), 2, "an export is in the audit log once");
    for wrong in ["since=yesterday", "until=x", "versions=some", "qc=maybe", "colour=1"] {
        bench.get(&format!("/api/results.csv?{wrong}")).await.problem(400);
    }
    bench.home.assert_discreet(["alert(1)", "T-449", "calc"]);
    bench.gateway.stop().await;
}
