//! The page's door: the pairing code, signing in and out, roles, names that are not the gateway's own, guesses, and the files.

use super::bench::{Answer, Bench};
use super::commands::say;
use gateway_daemon::api::page::FILES;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

/// All files of the page together, as they travel.
const PAGE_BYTES_MAX: usize = 100_000;
const PHRASE: &str = "correct horse battery";
const OTHER: &str = "another few words";

/// A browser: its cookie, and the header that only the page knows.
struct Browser {
    cookie: String,
    csrf: String,
}

impl Browser {
    fn of(answer: &Answer) -> Browser {
        let set = answer.header("set-cookie").expect("a cookie");
        let cookie = set.split(';').next().expect("a pair").to_owned();
        Browser { cookie, csrf: answer.json()["csrf"].as_str().expect("a header").to_owned() }
    }

    async fn ask(&self, bench: &Bench, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut headers = vec![("cookie", self.cookie.as_str()), ("x-csrf-token", self.csrf.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        bench.raw(method, path, &headers, body.as_bytes()).await
    }
}

async fn send(bench: &Bench, path: &str, body: Value, more: &[(&str, &str)]) -> Answer {
    let headers: Vec<(&str, &str)> = [("content-type", "application/json")].into_iter().chain(more.to_vec()).collect();
    bench.raw("POST", path, &headers, body.to_string().as_bytes()).await
}

fn code(bench: &Bench) -> String {
    let text = std::fs::read_to_string(bench.home.state_dir().join("pairing-code")).expect("a pairing code");
    text.trim().to_owned()
}

async fn paired(bench: &Bench) -> Browser {
    let pair = json!({"code": code(bench), "name": "Anna", "passphrase": PHRASE});
    let answer = send(bench, "/api/session/pair", pair, &[]).await;
    answer.expect(201);
    Browser::of(&answer)
}

async fn signed_in(bench: &Bench, name: &str, passphrase: &str) -> Answer {
    send(bench, "/api/session", json!({"name": name, "passphrase": passphrase}), &[]).await
}

/// The code lets one person in, once; wrong ones make another one of it.
#[tokio::test]
async fn the_first_person_comes_in_by_the_pairing_code() {
    let bench = Bench::start("").await;
    let file = bench.home.state_dir().join("pairing-code");
    bench.home.eventually("a pairing code", || file.is_file().then_some(())).await;
    let mode = std::fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let first = code(&bench);
    assert_eq!(bench.raw("GET", "/api/session", &[], b"").await.expect(200)["state"], "unpaired");
    let pair = |code: &str, phrase: &str| json!({"code": code, "name": "Anna", "passphrase": phrase});
    let (_, faults) = send(&bench, "/api/session/pair", pair(&first, "short"), &[]).await.problem(422);
    assert_eq!(faults, ["/passphrase"]);
    let wrong = if first == "0000-0000" { "0000-0001" } else { "0000-0000" };
    for _ in 0..5 {
        send(&bench, "/api/session/pair", pair(wrong, PHRASE), &[]).await.problem(401);
    }
    let slowed = send(&bench, "/api/session/pair", pair(wrong, PHRASE), &[]).await;
    slowed.problem(429);
    assert!(slowed.header("retry-after").is_some());
    // From another address, behind a proxy on this box, guesses are counted for themselves.
    for _ in 0..5 {
        let from = [("x-forwarded-for", "10.0.0.9")];
        send(&bench, "/api/session/pair", pair(wrong, PHRASE), &from).await.problem(401);
    }
    let second = code(&bench);
    assert_ne!(first, second, "ten wrong tries make it another one");
    let from = [("x-forwarded-for", "10.0.0.7"), ("x-forwarded-proto", "https")];
    let bare = second.replace('-', " ");
    let answer = send(&bench, "/api/session/pair", pair(&bare, PHRASE), &from).await;
    let session = answer.expect(201);
    assert_eq!((&session["state"], &session["role"]), (&json!("signed_in"), &json!("administer")));
    let cookie = answer.header("set-cookie").expect("a cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Secure"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!file.exists());
    send(&bench, "/api/session/pair", pair(&second, PHRASE), &from).await.problem(409);
    bench.home.assert_discreet([first.as_str(), second.as_str(), PHRASE]);
    bench.gateway.stop().await;
}

/// What a browser does with its cookie, and what another page cannot.
#[tokio::test]
async fn a_session_may_what_its_role_says_until_it_ends() {
    let bench = Bench::start("").await;
    let anna = paired(&bench).await;
    let person = json!({"name": "ward 3", "role": "view", "passphrase": OTHER});
    anna.ask(&bench, "POST", "/api/people", Some(person.clone())).await.expect(201);
    anna.ask(&bench, "POST", "/api/people", Some(person)).await.problem(409);
    let answer = signed_in(&bench, "Ward 3", OTHER).await;
    assert_eq!(answer.expect(200)["role"], "view");
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(!cookie.contains("Secure"), "over plain http the browser would not send it: {cookie}");
    let ward = Browser::of(&answer);
    ward.ask(&bench, "GET", "/api/status", None).await.expect(200);
    let redrive = json!({"reason": "refused", "dry_run": true});
    let (detail, _) = ward.ask(&bench, "POST", "/api/redrive", Some(redrive.clone())).await.problem(403);
    assert!(detail.contains("your role is `view`"), "{detail}");
    anna.ask(&bench, "POST", "/api/redrive", Some(redrive.clone())).await.expect(200);
    // A page of somebody else has the cookie sent, but does not know the header.
    for headers in [
        vec![("cookie", anna.cookie.as_str())],
        vec![("cookie", anna.cookie.as_str()), ("x-csrf-token", ward.csrf.as_str())],
    ] {
        let headers: Vec<_> = headers.into_iter().chain([("content-type", "application/json")]).collect();
        bench.raw("POST", "/api/redrive", &headers, redrive.to_string().as_bytes()).await.problem(403);
        bench.raw("DELETE", "/api/session", &headers, b"").await.problem(403);
    }
    // Another role, another passphrase, gone: each ends the sessions there are.
    let change = json!({"role": "operate"});
    anna.ask(&bench, "POST", "/api/people/ward%203", Some(change)).await.expect(200);
    ward.ask(&bench, "GET", "/api/status", None).await.problem(401);
    let ward = Browser::of(&signed_in(&bench, "ward 3", OTHER).await);
    ward.ask(&bench, "POST", "/api/redrive", Some(redrive)).await.expect(200);
    assert_eq!(anna.ask(&bench, "DELETE", "/api/people/ward%203", None).await.status, 204);
    ward.ask(&bench, "GET", "/api/status", None).await.problem(401);
    anna.ask(&bench, "DELETE", "/api/people/anna", None).await.problem(409);
    let demoted = json!({"role": "view"});
    anna.ask(&bench, "POST", "/api/people/ANNA", Some(demoted)).await.problem(409);
    let audit = bench.ask("administer", "GET", "/api/audit", None).await.expect(200);
    let clients: Vec<&str> =
        audit["entries"].as_array().expect("a list").iter().filter_map(|line| line["client"].as_str()).collect();
    assert!(clients.contains(&"page:Anna") && clients.contains(&"page:ward 3"), "{audit}");
    assert_eq!(anna.ask(&bench, "DELETE", "/api/session", None).await.status, 204);
    anna.ask(&bench, "GET", "/api/status", None).await.problem(401);
    assert_eq!(bench.raw("GET", "/api/session", &[], b"").await.expect(200)["state"], "signed_out");
    let cookie = anna.cookie.split('=').nth(1).expect("a token").to_owned();
    bench.home.assert_discreet([cookie.as_str(), anna.csrf.as_str(), PHRASE, OTHER]);
    bench.gateway.stop().await;
}

/// A person's own passphrase: the one of now is asked for, the other sessions end, this one goes on under a new cookie.
#[tokio::test]
async fn people_change_their_own_passphrase() {
    let bench = Bench::start("").await;
    let anna = paired(&bench).await;
    let elsewhere = Browser::of(&signed_in(&bench, "anna", PHRASE).await);
    let change = |current: &str, new: &str| Some(json!({"current": current, "passphrase": new}));
    let path = "/api/session/passphrase";
    let (_, faults) = anna.ask(&bench, "POST", path, change(OTHER, OTHER)).await.problem(422);
    assert_eq!(faults, ["/current"]);
    let (_, faults) = anna.ask(&bench, "POST", path, change(PHRASE, "short")).await.problem(422);
    assert_eq!(faults, ["/passphrase"]);
    bench.ask("administer", "POST", path, change(PHRASE, OTHER)).await.problem(403);
    elsewhere.ask(&bench, "GET", "/api/status", None).await.expect(200);
    let answer = anna.ask(&bench, "POST", path, change(PHRASE, OTHER)).await;
    assert_eq!(answer.expect(200)["name"], "Anna");
    let renewed = Browser::of(&answer);
    assert_ne!(renewed.cookie, anna.cookie);
    renewed.ask(&bench, "GET", "/api/people", None).await.expect(200);
    for ended in [&anna, &elsewhere] {
        ended.ask(&bench, "GET", "/api/status", None).await.problem(401);
    }
    signed_in(&bench, "anna", PHRASE).await.problem(401);
    signed_in(&bench, "anna", OTHER).await.expect(200);
    bench.home.assert_discreet([PHRASE, OTHER]);
    bench.gateway.stop().await;
}

/// Whoever has signed in stays so over a restart; whoever has signed out does not come back, and no token is written down.
#[tokio::test]
async fn a_restart_signs_nobody_out_and_nobody_in() {
    let mut bench = Bench::start("").await;
    let anna = paired(&bench).await;
    let person = json!({"name": "ben", "role": "operate", "passphrase": OTHER});
    anna.ask(&bench, "POST", "/api/people", Some(person)).await.expect(201);
    let ben = Browser::of(&signed_in(&bench, "ben", OTHER).await);
    let gone = Browser::of(&signed_in(&bench, "ben", OTHER).await);
    assert_eq!(gone.ask(&bench, "DELETE", "/api/session", None).await.status, 204);
    // First asked to stop, then killed.
    for is_asked in [true, false] {
        if is_asked {
            bench.gateway.stop().await;
        } else {
            bench.gateway.kill().await;
        }
        let before = bench.home.lines(&["the API listens"]).len();
        bench.gateway = bench.home.start_ready().await;
        let again = || (bench.home.lines(&["the API listens"]).len() > before).then_some(());
        bench.home.eventually("the API", again).await;
        anna.ask(&bench, "GET", "/api/people", None).await.expect(200);
        ben.ask(&bench, "GET", "/api/status", None).await.expect(200);
        ben.ask(&bench, "GET", "/api/people", None).await.problem(403);
        gone.ask(&bench, "GET", "/api/status", None).await.problem(401);
    }
    let kept = std::fs::read_to_string(bench.home.state_dir().join("sessions.json")).expect("who has signed in");
    for token in [&anna, &ben].map(|browser| browser.cookie.split('=').nth(1).expect("a token")) {
        assert!(!kept.contains(token));
    }
    // Another boot of the box: everybody signs in again.
    bench.gateway.stop().await;
    let path = bench.home.state_dir().join("sessions.json");
    let mut kept: Value = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
    kept["boot"] = json!("01890a5d-ac96-774b-bcce-b302099a8057");
    std::fs::write(&path, kept.to_string()).expect("a folder of our own");
    bench.gateway = bench.home.start_ready().await;
    bench.home.eventually("the API", || bench.home.lines(&["the API listens"]).get(3).map(drop)).await;
    anna.ask(&bench, "GET", "/api/status", None).await.problem(401);
    bench.gateway.stop().await;
}

/// A page fetches the same again and again while it is open: that stands in the audit log once.
#[tokio::test]
async fn a_page_that_stays_open_does_not_fill_the_audit_log() {
    let bench = Bench::start("").await;
    let anna = paired(&bench).await;
    bench.post("post", "/api/registrations", json!({"sample_ids": ["looked-at-113"]})).await.expect(201);
    for _ in 0..5 {
        anna.ask(&bench, "GET", "/api/registrations?before=4294967295", None).await.expect(200);
        bench.get("/api/registrations").await.expect(200);
    }
    let audit = bench.ask("administer", "GET", "/api/audit?limit=1000", None).await.expect(200);
    let entries = audit["entries"].as_array().expect("a list");
    let reads = |client: &str| entries.iter().filter(|one| one["client"] == client && one["action"] == "read").count();
    assert_eq!((reads("page:Anna"), reads("read")), (1, 5), "{audit}");
    bench.gateway.stop().await;
}

#[tokio::test]
async fn guesses_are_slowed_down_and_nobody_else_is_locked_out() {
    let bench = Bench::start("").await;
    paired(&bench).await;
    let unknown = signed_in(&bench, "nobody", "whatever it may be").await.problem(401);
    let wrong = signed_in(&bench, "anna", "whatever it may be").await.problem(401);
    assert_eq!(unknown, wrong);
    let from = [("x-forwarded-for", "10.0.0.66")];
    let guess = json!({"name": "anna", "passphrase": "whatever it may be"});
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(send(&bench, "/api/session", guess.clone(), &from).await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    signed_in(&bench, "anna", PHRASE).await.expect(200);
    bench.gateway.stop().await;
}

/// A lost passphrase: somebody on the box makes a new code, and the old sessions end with the old passphrase.
#[tokio::test]
async fn a_lost_passphrase_is_replaced_with_a_code_made_on_the_box() {
    let bench = Bench::start("").await;
    let printed = say(&bench.home, &["pair"]).await;
    printed.told(&[code(&bench).as_str(), "https://gateway.clinic.example/"]);
    let anna = paired(&bench).await;
    say(&bench.home, &["pair"]).await.failed(1, "pair --again");
    bench.ask("operate", "POST", "/api/pairing", None).await.problem(403);
    say(&bench.home, &["pair", "--again"]).await.told(&[code(&bench).as_str()]);
    let made = bench.socket("GET", "/api/pairing", None).await.expect(200);
    assert_eq!((made["code"].as_str(), &made["seconds"]), (Some(code(&bench).as_str()), &json!(900)));
    assert_eq!(bench.raw("GET", "/api/session", &[], b"").await.expect(200)["state"], "unpaired");
    let pair = json!({"code": made["code"], "name": "anna", "passphrase": OTHER});
    send(&bench, "/api/session/pair", pair, &[]).await.expect(201);
    anna.ask(&bench, "GET", "/api/status", None).await.problem(401);
    signed_in(&bench, "anna", PHRASE).await.problem(401);
    signed_in(&bench, "anna", OTHER).await.expect(200);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn a_name_that_was_made_to_mean_this_box_gets_nothing() {
    let bench = Bench::start("").await;
    let anna = paired(&bench).await;
    for host in ["evil.example", "evil.example:8080", "localhost.evil.example", ""] {
        let headers = [("host", host), ("cookie", anna.cookie.as_str())];
        for path in ["/", "/api/session", "/api/status", "/api/stream"] {
            let answer = bench.raw("GET", path, &headers, b"").await;
            assert_eq!(answer.status, 421, "{host} {path} {}", answer.text());
        }
    }
    for host in ["127.0.0.1:8080", "[::1]", "gateway.clinic.example", "localhost"] {
        let headers = [("host", host), ("cookie", anna.cookie.as_str())];
        bench.raw("GET", "/api/status", &headers, b"").await.expect(200);
    }
    // A program with a token may call the box what it likes.
    bench
        .raw("GET", "/api/status", &[("host", "box.example"), ("authorization", "Bearer read")], b"")
        .await
        .expect(200);
    // Over MQTT and the socket a cookie is nothing; there is nobody to keep it.
    let session = json!({"name": "anna", "passphrase": PHRASE});
    bench.socket("POST", "/api/session", Some(session)).await.problem(403);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn the_page_is_small_packed_and_guarded() {
    let bench = Bench::start("").await;
    let packed: usize = FILES.iter().map(|file| file.packed.len()).sum();
    assert!(packed < PAGE_BYTES_MAX, "{packed} bytes");
    for file in FILES {
        let plain = bench.raw("GET", file.path, &[], b"").await;
        assert_eq!((plain.status, plain.body.as_slice()), (200, file.plain), "{}", file.path);
        let gzip = bench.raw("GET", file.path, &[("accept-encoding", "br, gzip")], b"").await;
        assert_eq!(gzip.header("content-encoding"), Some("gzip"));
        assert_eq!(gzip.body, file.packed);
        assert_ne!(gzip.header("etag"), plain.header("etag"), "two forms are two things");
        let tag = gzip.header("etag").expect("a tag").to_owned();
        let known =
            bench.raw("GET", file.path, &[("accept-encoding", "gzip"), ("if-none-match", tag.as_str())], b"").await;
        assert_eq!((known.status, known.body.len()), (304, 0));
        let policy = plain.header("content-security-policy").expect("a policy");
        assert!(policy.contains("script-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    let page = bench.raw("GET", "/", &[], b"").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let data = bench.get("/api/status").await;
    for answer in [&page, &data] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    }
    assert_eq!(data.header("content-security-policy"), Some("default-src 'none'; frame-ancestors 'none'"));
    for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "//etc/passwd", "/app.js/..", "/app.js%00", "/.git/config"] {
        let status = bench.raw("GET", path, &[], b"").await.status;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
    bench.gateway.stop().await;
}
