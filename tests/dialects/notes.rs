//! What `docs/dialects.md` says of single dialects beyond what the code can be asked.

/// Paragraphs of Markdown; empty for a dialect that its facts and its catalogue describe.
pub fn notes(dialect: &str) -> &'static str {
    match dialect {
        "cloudevents" => CLOUDEVENTS,
        "fhir" => FHIR,
        "hl7" => HL7,
        "template" => TEMPLATE,
        _ => "",
    }
}

pub const SIGNATURES: &str = "
## Signatures and personal data

A secret `whsec_` (24 to 64 random bytes in base64) signs with HMAC-SHA256, `v1`; `whsk_` (an ed25519 seed of 32 bytes, or seed and
public key) signs with ed25519, `v1a`, and the receiver needs only its public key, `whpk_`. With several secrets there is one signature
each, in one header. `signatures:` of a webhook adds to any dialect's own headers: `standard_webhooks: <secret>` those of Standard
Webhooks, `mac: <header>` with its `secret` the header `hmac-sha256=<hex>` over the body. No header stands twice: a dialect's own stays.

`personal_data: none` leaves out who somebody is: ids of patients and samples are null or absent, comments are gone, and so are the
session and the personal keys of what other programs posted. Codes, values, units, flags and states stay. In `cloudevents`, `fhir`,
`hl7` and `template`, `documented` is the same as `all`.
";

const CLOUDEVENTS: &str = "
`mode: structured` (the default) sends the envelope as `application/cloudevents+json`. Where `batch` allows more than one event and more
than one is due, they are a JSON array, `application/cloudevents-batch+json`; then `webhook-id` is derived from the ids of its events,
`x-gateway-event-id` and `x-gateway-ordinal` are the first event's, `x-gateway-ordinals` has the number of each event in the array's order,
and each envelope carries its own id. `mode: binary` sends the attributes as `ce-` headers and `data` alone as the body, one event a request.

`type` is `analyzer-gateway.` and the event's name. A correction is the same `TEST_FINISHED` with the earlier test's id, the next
`version` (absent: 1) and the codes that it changed in `corrected`; it carries every result. Events that other programs posted for another
dialect come only with `posted: true`, under their own name, with all of it in `data.posted`.
";

const FHIR: &str = "
Only `TEST_FINISHED` with results has a form: a `transaction` Bundle with one Device, one DiagnosticReport, a Specimen where the sample's id is
known, and an Observation for each result. `url` is the server's base address. Each resource has an identifier of ours (`urn:ietf:rfc:3986`,
`urn:uuid:...`) and is created with `ifNoneExist` on it, so that a bundle sent twice changes nothing.

- A result with a number is a `valueQuantity`, any other text a `valueString`, none a `dataAbsentReason`. Units are text as the analyzer wrote it.
- `loinc:` of the webhook gives codes, before those of the analyzer's profile; a code that has none is `code.text` alone.
- Flags that are exactly H, L, N, HH, LL or A are interpretation codes; others are text.
- Status F is `final`, P and R `preliminary`, C `corrected`, I `registered`, X `cancelled`, anything else `unknown`.
- Times get the offset of `gateway.time_zone`.
- The patient is a logical reference: the id as it was read, and no Patient resource.
- Quality control has the tag Q of table 0369 in `meta`, a calibration C.
- A later version of a test (a correction) has the identifiers of the first and updates those resources (`PUT` with the identifier); the report
  and the results that it changed are `corrected`.
- An amplification run gives its overall result, that of each subgroup, and a `valueSampledData` for each channel: one point a round, `E` for a
  round that was not heard, the period in milliseconds.

Of an OperationOutcome only the issue codes are shown: its texts may name the patient. 409 is tried again. The probe is an empty `batch` Bundle.
";

const HL7: &str = "
Only `TEST_FINISHED` with results has a form. `mllp://` or `mllps://` sends the message over TCP, framed; `https://` posts the same bytes as
`application/hl7-v2`. The character set is UTF-8 (MSH-18), the message is the same on every attempt, and MSH-10 is 20 characters derived from the
event's id. Of a later version of a test (a correction) OBR-25 is C, and so is OBX-11 of each result that it changed; the others stand there as
they were. SPM-11 is Q for quality control, C for a calibration.

The answer's MSA decides, over HTTP as well, where a status alone is no acknowledgment:

| MSA-1 | what the gateway does |
|---|---|
| AA, CA | delivered |
| AE, CE | tries again |
| AR, CR | gives this event up, as a dead letter |
| none, another one, or an MSA-2 that is not ours | tries again |

| field | what stands there |
|---|---|
| MSH-3, MSH-4 | `analyzer-gateway`, the gateway's id |
| MSH-5, MSH-6 | `receiving_application`, `receiving_facility` |
| MSH-7, OBR-22 | when the event was received |
| PID-3 | the patient's id, where there is one and it may be sent |
| OBR-3, SPM-2 | the sample's id; without one OBR-3 is the test's |
| OBX-2, OBX-5 | NM where the value is a plain decimal, else ST |
| OBX-3 | the analyzer's code (`L`); where `loinc:` of the webhook or the analyzer's profile has a LOINC code, that one first (`LN`) |
| OBX-6, OBX-7, OBX-8 | unit, reference range, flags as the analyzer wrote them |
| OBX-11 | its status; R where it said none |
| OBX-14 | the time of the result with the offset of `gateway.time_zone` |
| OBX-18 | serial number and model of the analyzer |
| NTE | comments, after OBR or after the result they belong to |
| SPM-11 | Q for quality control, P for a patient's sample |

The probe has T in MSH-11 and carries no OBX.
";

const TEMPLATE: &str = "
`template.body` and the values of `template.headers` are written in Jinja's language, without includes and macros. They see `event` (the data
object that `cloudevents` has under `data`), `gateway`, `ordinal` and `attempt`; whoever writes `attempt` into the body gives up that a
repeat has the same body.

- `{{ event.test.sample_id | tojson }}` writes a value as JSON, quotes and all; without `tojson` the bare text.
- A value that an event does not have is a fault where it is written, and false in an `if`; `default('')` gives another.
- `content-type` is `application/json` unless a header says otherwise; then what is written must be JSON.
- A body has at most 1 MiB, and the work is bounded.

Faults of the language, unknown filters and unknown variables are told when the settings are read. A fault that shows only with an event holds
the webhook: the event is kept, and goes out when the template is mended. The probe fills the template with a test of quality control whose
texts all read `WEBHOOK-TEST`.
";
