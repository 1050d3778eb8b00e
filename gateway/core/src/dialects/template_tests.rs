//! What a template may say, what its faults are called, and where they are.

use super::property_tests::attempt;
use super::*;
use crate::event::{Personal, ResultValue, Test, TestState};
use proptest::prelude::*;

fn event(value: &str) -> Event {
    let result: ResultValue = serde_json::from_value(serde_json::json!({
        "code": "WBC", "name": "", "value": value, "unit": "10*3/uL", "reference": "", "flags": [], "status": "F",
        "at": null, "at_text": "", "comments": [], "number": 5.5,
    }))
    .expect("a result");
    let test = Test {
        sample_id: Some(Personal::new("S-0001")),
        results: vec![result],
        ..Test::new(Id([4; 16]), TestState::Done)
    };
    let endpoint = Endpoint::default();
    let kind = EventKind::about_test(EventName::TestFinished, None, test);
    probe_event(Id([1; 16]), &attempt(&endpoint, &[], &[]), kind)
}

fn filled(body: &str, headers: &[(&str, &str)], event: Event) -> Result<HttpRequest, RenderError> {
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let template = Some(Template::compile(body, &headers).expect("a good template"));
    let endpoint = Endpoint { template, ..Endpoint::default() };
    let dialect = dialect("template").expect("a dialect");
    match dialect.render(&[event], &attempt(&endpoint, &[], &[]))? {
        Some(Request::Http(request)) => Ok(request),
        _ => panic!("a POST"),
    }
}

fn body(text: &str) -> String {
    let request = filled(text, &[("content-type", "text/plain")], event("a\"b<ü")).expect("filled");
    String::from_utf8(request.body).expect("text")
}

#[test]
fn a_template_sees_the_data_object() {
    assert_eq!(body("{{ gateway }} {{ ordinal }} {{ attempt }} {{ event.event }}"), "clinic-7 1 1 TEST_FINISHED");
    assert_eq!(body("{% for r in event.test.results %}{{ r.code }}={{ r.number }};{% endfor %}"), "WBC=5.5;");
    assert_eq!(body("{{ event.test.results[0].value }}"), "a\"b<ü");
    assert_eq!(body("{% if event.alarm %}alarm{% else %}none{% endif %}"), "none");
    let json = filled("{\"v\": {{ event.test.results[0].value | tojson }}}", &[], event("a\"b<ü")).expect("filled");
    let json: serde_json::Value = serde_json::from_slice(&json.body).expect("JSON");
    assert_eq!(json["v"], "a\"b<ü");
}

#[test]
fn headers_are_templates_and_json_is_the_default() {
    let request = filled("{}", &[("X-Sample", "id {{ event.test.sample_id }}")], event("1")).expect("filled");
    assert_eq!(request.headers[0], ("content-type".to_owned(), "application/json".to_owned()));
    assert_eq!(request.headers[1], ("x-sample".to_owned(), "id S-0001".to_owned()));
}

#[test]
fn a_fault_of_the_language_has_its_place() {
    for (text, line, column) in [
        ("{{ event.event", 1, 10),
        ("{\n  \"a\": {{ event.event | nosuch }}\n}", 2, 25),
        ("ü {{ evnt }}", 1, 6),
        ("a\nb {% include 'x' %}", 2, 6),
        ("a\n{% endfor %}", 2, 4),
        ("  ", 1, 1),
    ] {
        let fault = Template::compile(text, &[]).expect_err("a bad template");
        assert_eq!((fault.line, fault.column, fault.header.clone()), (line, column, None), "{text}: {fault}");
    }
    let bad = |name: &str, value: &str| Template::compile("{}", &[(name.to_owned(), value.to_owned())]).is_err();
    assert!(bad("x-a", "{{") && bad("x a", "1") && bad("X-Gateway-Ordinal", "1") && bad("webhook-id", "1"));
    let twice = [("X-A".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())];
    assert_eq!(Template::compile("{}", &twice).expect_err("twice").header.as_deref(), Some("x-a"));
}

#[test]
fn a_fault_at_run_time_holds_the_event_and_quotes_none_of_it() {
    for (text, says) in [
        ("{{ event.alarm.code }}", "no such value"),
        ("{\"v\": {{ event.test.results[0].value }}}", "not JSON"),
        ("{{ event.test.results[0].value | int }}", "line 1, column 34"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "too much work"),
        ("{% for a in range(9999) %}{{ 'x' * 999 }}{% endfor %}", "more than 1048576 bytes"),
    ] {
        let Err(error) = filled(text, &[], event("Musterfrau")) else { panic!("{text} was filled") };
        assert!(error.is_settings && error.problem.contains(says), "{text}: {error}");
        assert!(!error.problem.contains("Musterfrau"), "{error}");
    }
    let error =
        filled("{}", &[("x-a", "{{ event.test.results[0].value }}")], event("Müller")).err().expect("not ASCII");
    assert!(error.is_settings && error.problem.contains("`x-a`"), "{error}");
}

#[test]
fn an_endpoint_without_a_template_is_told_so() {
    let dialect = dialect("template").expect("a dialect");
    let faults = dialect.check_endpoint(&Endpoint::default());
    assert_eq!(faults.iter().map(|fault| fault.key).collect::<Vec<_>>(), ["template"]);
}

#[test]
fn a_probe_says_what_it_is() {
    let headers = [("content-type".to_owned(), "text/plain".to_owned())];
    let template = Template::compile("{{ event.test.sample_id }}/{{ event.test.results[0].value }}", &headers);
    let endpoint = Endpoint { template: Some(template.expect("a template")), ..Endpoint::default() };
    let dialect = dialect("template").expect("a dialect");
    let Ok(Request::Http(request)) = dialect.probe(Id([3; 16]), &attempt(&endpoint, &[], &[])) else {
        panic!("a POST")
    };
    assert_eq!(request.body, b"WEBHOOK-TEST/WEBHOOK-TEST");
    assert!(request.headers.contains(&("x-gateway-test".to_owned(), "true".to_owned())));
}

proptest! {
    #[test]
    fn no_text_makes_the_check_panic(text in prop_oneof![any::<String>(), "[{}%# a-z.|()\n\"'ü\\[\\]]{0,40}"]) {
        if let Err(fault) = Template::compile(&text, &[("x-a".to_owned(), text.clone())]) {
            prop_assert!(fault.line >= 1 && fault.column >= 1);
            prop_assert!(fault.line <= text.matches('\n').count() + 1);
        }
    }
}
