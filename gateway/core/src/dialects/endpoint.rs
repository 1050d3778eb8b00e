//! What an endpoint's settings say to its dialect.

use super::template::Template;
use crate::event::{Event, Payload, Posted, Test};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Everything that the YAML can say about the form of the requests to one endpoint.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Endpoint {
    /// `http.public_url`, without a slash at its end: what absolute URLs begin with.
    pub public_url: Option<String>,
    /// `gateway.time_zone`: the offset of an analyzer's local times.
    pub time_zone: String,
    /// Which personal data may leave.
    pub personal_data: PersonalData,
    /// `partner`: whose events are sent; `None`: everybody's.
    pub audience: Option<String>,
    /// `cloudevents`: where the attributes stand.
    pub mode: Mode,
    /// How requests are signed beside what the dialect itself does.
    pub signatures: Vec<Signature>,
    /// Statuses that mean success, instead of the dialect's own.
    pub success_statuses: Option<Vec<RangeInclusive<u16>>>,
    /// The integrator's own body and headers (`template`).
    pub template: Option<Template>,
    /// The analyzers' codes as LOINC (`fhir`, `hl7`); a code that is not here stays without one.
    pub loinc: BTreeMap<String, String>,
    /// `hl7`: MSH-5 and MSH-6.
    pub receiving_application: Option<String>,
    pub receiving_facility: Option<String>,
    /// `hl7`: the url begins with `mllp://`, so a message goes bare over TCP instead of in a POST.
    pub mllp: bool,
    /// Events of other programs that go to endpoints of other dialects go here as well.
    pub posted: bool,
}

/// `personal_data`
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PersonalData {
    /// Nothing that tells who somebody is: ids of patients and samples are null, comments (free text) are gone, and so are
    /// the session of a posted event and the keys of its payload that its catalogue calls personal. Codes, values, units,
    /// flags and states of results stay: they are what the receiver is there for.
    None,
    /// What the receiver's document asks for, and nothing else. The default. The gateway's own dialects (`cloudevents`,
    /// `fhir`, `hl7`, `template`) document everything, so there it is the same as `all`.
    #[default]
    Documented,
    /// Everything that was read.
    All,
}

/// `mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Structured,
    Binary,
}

/// `signatures[]`: headers beside those of the dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`. A secret `whsec_` signs `v1`, one `whsk_` signs `v1a`.
    StandardWebhooks(super::Secret),
    /// `hmac-sha256=` and the hexadecimal HMAC of the body, in a header of this (lower-case) name.
    Mac { header: String, secret: super::Secret },
}

impl Endpoint {
    /// `http.public_url` and these parts of a path, each escaped; an empty last one gives a slash at the end. `None` without
    /// a public URL.
    pub fn link(&self, path: &[&str]) -> Option<String> {
        let mut url = url::Url::parse(self.public_url.as_deref()?).ok()?;
        url.path_segments_mut().ok()?.pop_if_empty().extend(path);
        Some(url.into())
    }

    /// What a receiver may see of this event: the event itself, or a copy with the personal data left out
    /// ([`PersonalData::None`] says what that is).
    pub fn visible<'a>(&self, event: &'a Event) -> Cow<'a, Event> {
        match self.personal_data {
            PersonalData::None => Cow::Owned(anonymous(event.clone())),
            PersonalData::Documented | PersonalData::All => Cow::Borrowed(event),
        }
    }
}

fn anonymous(mut event: Event) -> Event {
    let kind = &mut event.kind;
    kind.test.iter_mut().chain(&mut kind.partial).for_each(forget_person);
    if let Some(query) = &mut kind.query {
        query.sample_ids.clear();
    }
    if let Some(registration) = &mut kind.registration {
        registration.sample_id = None;
        registration.lab_id = None;
        registration.patient = None;
    }
    if let Some(posted) = &mut kind.posted {
        posted.session = None;
        posted.payload = anonymous_payload(posted);
    }
    event
}

fn forget_person(test: &mut Test) {
    test.sample_id = None;
    test.instrument_sample_id = None;
    test.patient_id = None;
    test.comments.clear();
    for result in &mut test.results {
        result.comments.clear();
    }
}

/// The payload without its personal keys; of an event that no catalogue knows, nothing.
fn anonymous_payload(posted: &Posted) -> Payload {
    let entry = super::dialect(&posted.dialect).and_then(|dialect| dialect.entry(&posted.event));
    let (Some(entry), Some(fields)) = (entry, posted.payload.expose().as_object()) else { return Payload::default() };
    let is_plain = |name: &str| entry.payload.iter().any(|key| key.name == name && !key.personal);
    let plain = fields.iter().filter(|(name, _)| is_plain(name));
    Payload::new(plain.map(|(name, value)| (name.clone(), value.clone())).collect())
}
