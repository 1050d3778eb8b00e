//! What the observation reviewer sends, as XML: acknowledgements, requests, directives, lists and ends.
//!
//! Invariant: every value is escaped; no document holds a line end, since some devices read up to one.

use crate::event::Personal;
use crate::registration::Patient;
use quick_xml::escape::escape;

/// The document, its root's name in its header.
pub(super) fn document(root: &str, control_id: u64, created: &str, body: &str) -> String {
    let header = [
        element("HDR.message_type", root),
        element("HDR.control_id", &control_id.to_string()),
        element("HDR.version_id", "POCT1"),
        element("HDR.creation_dttm", created),
    ];
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><{root}><HDR>{}</HDR>{body}</{root}>", header.concat())
}

/// The body of an ACK.R01: `AA` taken, `AE` not.
pub(super) fn acknowledgement(taken: bool, acknowledged: &str, note: &str) -> String {
    let kind = element("ACK.type_cd", if taken { "AA" } else { "AE" });
    let note = if note.is_empty() { String::new() } else { element("ACK.note_txt", note) };
    format!("<ACK>{kind}{}{note}</ACK>", element("ACK.ack_control_id", acknowledged))
}

/// The body of a REQ.R01: `ROBS` new observations, `RDEV` device events.
pub(super) fn request(code: &str) -> String {
    format!("<REQ>{}</REQ>", element("REQ.request_cd", code))
}

/// The body of a DTV.R01.
pub(super) fn directive(command: &str) -> String {
    format!("<DTV>{}</DTV>", element("DTV.command_cd", command))
}

/// The body of a DTV.R02 that sets the device's clock.
pub(super) fn set_time(moment: &str) -> String {
    format!("{}<TM>{}</TM>", directive("SET_TIME"), element("TM.dttm", moment))
}

/// The body of an EOT.R01.
pub(super) fn end_of_topic(topic: &str) -> String {
    format!("<EOT>{}</EOT>", element("EOT.topic_cd", topic))
}

/// The body of an END.R01.
pub(super) fn end() -> String {
    format!("<TRM>{}</TRM>", element("TRM.reason_cd", "NRM"))
}

/// One patient of a PTL.R01.
pub(super) fn patient(id: &Personal, known: Option<&Patient>) -> String {
    let told =
        |part: fn(&Patient) -> &Option<Personal>| known.and_then(|known| part(known).as_ref()).map(Personal::expose);
    let (family, given) = (told(|patient| &patient.family_name), told(|patient| &patient.given_name));
    let mut parts = vec![element("PT.patient_id", id.expose())];
    if family.is_some() || given.is_some() {
        let whole = [given, family].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let part = |name: &str, text: Option<&str>| text.map(|text| element(name, text)).unwrap_or_default();
        let (family, given) = (part("FAM", family), part("GIV", given));
        parts.push(format!("<PT.name V=\"{}\">{family}{given}</PT.name>", escape(whole.as_str())));
    }
    parts.extend(told(|patient| &patient.birth_date).map(|date| element("PT.birth_date", date)));
    let sex = told(|patient| &patient.sex).and_then(|sex| match sex {
        "female" => Some("F"),
        "male" => Some("M"),
        "other" => Some("O"),
        "unknown" => Some("U"),
        _ => None,
    });
    parts.extend(sex.map(|sex| element("PT.gender_cd", sex)));
    format!("<PT>{}</PT>", parts.concat())
}

fn element(name: &str, value: &str) -> String {
    let value = value.replace(|c: char| c.is_control(), " ");
    format!("<{name} V=\"{}\"/>", escape(value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_parts_that_are_not_known_are_left_out() {
        let id = Personal::new("P<1>\"&\n");
        assert_eq!(patient(&id, None), "<PT><PT.patient_id V=\"P&lt;1&gt;&quot;&amp; \"/></PT>");
        let known = Patient {
            family_name: Some(Personal::new("M\u{fc}ller")),
            birth_date: Some(Personal::new("1980-02-29")),
            sex: Some(Personal::new("female")),
            ..Patient::default()
        };
        let expected = "<PT><PT.patient_id V=\"7\"/><PT.name V=\"M\u{fc}ller\"><FAM V=\"M\u{fc}ller\"/></PT.name>\
                        <PT.birth_date V=\"1980-02-29\"/><PT.gender_cd V=\"F\"/></PT>";
        assert_eq!(patient(&Personal::new("7"), Some(&known)), expected);
    }
}
