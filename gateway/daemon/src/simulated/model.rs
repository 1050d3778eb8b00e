//! An analyzer of a given model, as its profile describes it: the codes, the places of ids, the protocol. Samples and values
//! are invented and fixed by a seed; each message is told from the others by its sample id and its time.

use super::astm::Message;
use super::messages::{BLOOD_COUNT, IMMUNOASSAY, compact};
use super::seeded::Seeded;
use gateway_core::config::Profile;
use gateway_core::reading::FieldPlace;
use gateway_core::text_rules::{ColumnIs, Layout};
use gateway_core::time::Timestamp;

/// Results in one message, at most.
const RESULTS_MAX: usize = 200;

/// One analyzer and the stream of what it measures.
pub struct Model {
    maker: String,
    model: String,
    serial: String,
    sample_id: Option<FieldPlace>,
    patient_id: Option<FieldPlace>,
    serial_number: Option<FieldPlace>,
    code: usize,
    /// The components behind the code that tell results of one code apart.
    told_apart_by: Vec<usize>,
    assays: Vec<Assay>,
    encoding: gateway_core::reading::Encoding,
    /// Named by the user, used in turn; empty: counted.
    samples: Vec<String>,
    chance: Seeded,
    next: u64,
}

struct Assay {
    code: String,
    name: String,
    unit: String,
    low: f64,
    high: f64,
    decimals: usize,
}

/// One value as it is sent.
pub struct Measured {
    pub code: String,
    pub name: String,
    pub unit: String,
    pub value: String,
    pub reference: String,
    /// `N`, `L` or `H`
    pub flag: &'static str,
}

impl Model {
    /// Equal arguments give equal messages.
    pub fn new(profile: &Profile, samples: Vec<String>, seed: u64) -> Model {
        let reading = &profile.options.reading;
        let mut chance = Seeded::new(seed);
        let serial = format!("SIM{:05}", chance.below(100_000));
        let mut assays: Vec<Assay> =
            reading.codes.iter().map(|(code, meaning)| assay(code, &meaning.name, &meaning.unit)).collect();
        if let Some(Layout::Columns(columns)) = profile.options.text.as_ref().map(|rules| &rules.layout) {
            let codes = columns.iter().filter_map(|column| match &column.is {
                ColumnIs::Result(code) => Some(code),
                ColumnIs::Part(_) => None,
            });
            assays = codes.map(|code| assay(code, "", "")).collect();
        }
        if !reading.told_apart_by.is_empty() {
            add_companions(&mut assays);
        }
        if assays.is_empty() {
            assays = BLOOD_COUNT.iter().map(|known| assay(known.0, "", known.1)).collect();
        }
        assays.truncate(RESULTS_MAX);
        Model {
            maker: profile.maker.clone(),
            model: profile.model.clone(),
            serial,
            sample_id: reading.sample_id.first().cloned(),
            patient_id: reading.patient_id.first().cloned(),
            serial_number: reading.serial_number.clone(),
            code: reading.code.first().map_or(4, |component| usize::from(*component)),
            told_apart_by: reading.told_apart_by.iter().map(|component| usize::from(*component)).collect(),
            assays,
            encoding: reading.encoding,
            samples,
            chance,
            next: 1,
        }
    }

    /// The next sample's id.
    pub fn sample(&mut self) -> String {
        let number = self.next;
        self.next += 1;
        match self.samples.len() as u64 {
            0 => format!("SIM-{number:04}"),
            many => self.samples[((number - 1) % many) as usize].clone(),
        }
    }

    /// Some patient's id.
    pub fn patient(&mut self) -> String {
        format!("P{:05}", self.chance.below(100_000))
    }

    /// What is measured of one sample.
    pub fn measure(&mut self) -> Vec<Measured> {
        let chance = &mut self.chance;
        let measured = |assay: &Assay| {
            let span = assay.high - assay.low;
            let value = chance.between(assay.low - span / 6.0, assay.high + span / 6.0).max(0.0);
            let decimals = assay.decimals;
            let flag = match () {
                () if value < assay.low => "L",
                () if value > assay.high => "H",
                () => "N",
            };
            Measured {
                code: assay.code.clone(),
                name: assay.name.clone(),
                unit: assay.unit.clone(),
                value: format!("{value:.decimals$}"),
                reference: format!("{:.decimals$}-{:.decimals$}", assay.low, assay.high),
                flag,
            }
        };
        self.assays.iter().map(measured).collect()
    }

    /// A LIS2-A2 message, H to L.
    pub fn records(&mut self, at: Timestamp) -> Message {
        let id = self.sample();
        let time = compact(at);
        let mut header = Fields::new("H|\\^&");
        header.set(5, None, &format!("{}^1.0^{}", self.model, self.serial));
        header.set(12, None, "P");
        header.set(13, None, "LIS2-A2");
        header.set(14, None, &time);
        let mut patient = Fields::new("P|1");
        let mut order = Fields::new("O|1");
        order.set(5, None, "^^^ALL");
        order.set(6, None, "R");
        order.set(8, None, &time);
        order.set(26, None, "F");
        let place = |letter: &str, field| FieldPlace { record: letter.to_owned(), field, component: None };
        let patient_id = self.patient();
        let places = [
            (self.serial_number.clone(), self.serial.as_str()),
            (Some(self.patient_id.clone().unwrap_or_else(|| place("P", 4))), patient_id.as_str()),
            // Last, so that it stands where both would.
            (Some(self.sample_id.clone().unwrap_or_else(|| place("O", 3))), id.as_str()),
        ];
        for (place, text) in places {
            let Some(place) = place else { continue };
            match place.record.as_str() {
                "H" => header.set(place.field, place.component, text),
                "P" => patient.set(place.field, place.component, text),
                _ => order.set(place.field, place.component, text),
            }
        }
        let mut records = vec![header.text('|'), patient.text('|'), order.text('|')];
        for (number, Measured { code, unit, value, reference, flag, .. }) in self.measure().iter().enumerate() {
            let test = self.test_id(code);
            records.push(format!("R|{}|{test}|{value}|{unit}|{reference}|{flag}||F||||{time}", number + 1));
        }
        records.push("L|1|N".to_owned());
        Message { id, records: records.iter().map(|record| self.encoding.encode(record)).collect() }
    }

    /// R.3 of that code: `TSH^DOSE` stands in the component of the code and in those that tell such codes apart.
    fn test_id(&self, code: &str) -> String {
        let parts = match self.told_apart_by.is_empty() {
            // A code that is a whole field brings its own places.
            true if code.contains('^') => return code.to_owned(),
            true => vec![code],
            false => code.split('^').collect(),
        };
        let mut test = Fields::new("");
        let places = std::iter::once(&self.code).chain(&self.told_apart_by);
        places.zip(parts).for_each(|(component, part)| test.set(1, Some(*component), part));
        test.text('|')
    }

    /// An HL7 2.3.1 message ORU^R01, segments ended by CR, and its sample's id.
    pub fn hl7(&mut self, at: Timestamp) -> (String, Vec<u8>) {
        let (id, time, number) = (self.sample(), compact(at), self.next);
        let mut header = Fields::new("MSH|^~\\&");
        // MSH-1 is the delimiter itself: one less than its number.
        let texts = [(3, self.model.as_str()), (4, self.maker.as_str()), (7, &time), (9, "ORU^R01"), (11, "P")];
        texts.iter().for_each(|(field, text)| header.set(*field, None, text));
        header.set(10, None, &format!("{time}{number:04}"));
        header.set(12, None, "2.3.1");
        header.set(18, None, "UNICODE");
        let mut patient = Fields::new("PID|1");
        let mut order = Fields::new("OBR|1");
        order.set(5, None, "^^");
        order.set(8, None, &time);
        let mut specimen = Fields::new("SPM|1");
        let mut place = |place: &FieldPlace, text: &str| match place.record.as_str() {
            "MSH" => header.set(place.field, place.component, text),
            "PID" => patient.set(place.field + 1, place.component, text),
            "SPM" => specimen.set(place.field + 1, place.component, text),
            _ => order.set(place.field + 1, place.component, text),
        };
        let usual = |record: &str, field| FieldPlace { record: record.to_owned(), field, component: None };
        if let Some(serial_number) = &self.serial_number {
            place(serial_number, &self.serial);
        }
        let patient_id = self.patient();
        place(&self.patient_id.clone().unwrap_or_else(|| usual("PID", 3)), &patient_id);
        place(&self.sample_id.clone().unwrap_or_else(|| usual("OBR", 3)), &id);
        let mut segments = vec![header.text('|'), patient.text('|')];
        if self.sample_id.as_ref().is_some_and(|place| place.record == "SPM") {
            segments.push(specimen.text('|'));
        }
        segments.push(order.text('|'));
        for (number, Measured { code, name, unit, value, reference, flag }) in self.measure().iter().enumerate() {
            let number = number + 1;
            let test = if code.contains('^') { code.clone() } else { format!("{code}^{name}") };
            segments.push(format!("OBX|{number}|NM|{test}||{value}|{unit}|{reference}|{flag}|||F|||{time}"));
        }
        (id, segments.iter().map(|segment| format!("{segment}\r")).collect::<String>().into_bytes())
    }
}

/// Codes that are told apart come at least in pairs: one that stood alone in its order would be called by its bare code.
fn add_companions(assays: &mut Vec<Assay>) {
    let split: Vec<(String, String)> = assays
        .iter()
        .filter_map(|assay| assay.code.split_once('^').map(|(code, apart)| (code.to_owned(), apart.to_owned())))
        .collect();
    for (code, apart) in &split {
        let is_alone = split.iter().filter(|(other, _)| other == code).count() == 1;
        let other = split.iter().map(|(_, other)| other).find(|other| *other != apart);
        if let Some(other) = other.filter(|_| is_alone) {
            assays.push(assay(&format!("{code}^{other}"), "", ""));
        }
    }
}

/// A range that people have, where it is known; else one of the unit.
fn assay(code: &str, name: &str, unit: &str) -> Assay {
    let known = BLOOD_COUNT.iter().chain(&IMMUNOASSAY).find(|known| known.0 == code);
    let (low, high, decimals) = match (known, unit) {
        (Some(known), _) => (known.2, known.3, known.4),
        (None, "%") => (5.0, 60.0, 1),
        (None, "g/dL") => (3.4, 8.3, 1),
        (None, "g/L") => (34.0, 83.0, 0),
        (None, "mmol/L") => (3.5, 7.8, 2),
        (None, "mg/dL") => (20.0, 180.0, 0),
        (None, "U/L" | "IU/L") => (10.0, 80.0, 0),
        (None, "umol/L") => (40.0, 110.0, 0),
        (None, "mmHg") => (35.0, 100.0, 1),
        (None, _) => (1.0, 50.0, 2),
    };
    let unit = if unit.is_empty() { known.map_or("", |known| known.1) } else { unit };
    Assay { code: code.to_owned(), name: name.to_owned(), unit: unit.to_owned(), low, high, decimals }
}

/// The fields of a record, the first of them its letter.
struct Fields(Vec<String>);

impl Fields {
    fn new(text: &str) -> Fields {
        Fields(text.split('|').map(str::to_owned).collect())
    }

    /// Field and component from 1.
    fn set(&mut self, field: usize, component: Option<usize>, text: &str) {
        if self.0.len() < field {
            self.0.resize(field, String::new());
        }
        let Some(component) = component else {
            text.clone_into(&mut self.0[field - 1]);
            return;
        };
        let mut parts: Vec<String> = self.0[field - 1].split('^').map(str::to_owned).collect();
        if parts.len() < component {
            parts.resize(component, String::new());
        }
        text.clone_into(&mut parts[component - 1]);
        self.0[field - 1] = parts.join("^");
    }

    fn text(&self, delimiter: char) -> String {
        self.0.join(&delimiter.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::config::{Line, Tried};
    use gateway_core::reading::{Meaning, Reading};
    use gateway_core::session::DriverOptions;
    use std::sync::Arc;

    const AT: Timestamp = Timestamp(1_795_291_200_000);

    fn profile(sample_id: &str) -> Profile {
        let meaning = Meaning { name: "Potassium".to_owned(), unit: "mmol/L".to_owned(), ..Meaning::default() };
        let reading = Reading {
            sample_id: vec![FieldPlace::parse(sample_id).expect("a place")],
            code: vec![5],
            codes: [("K".to_owned(), meaning)].into(),
            ..Reading::default()
        };
        Profile {
            maker: "Maker".to_owned(),
            model: "XQ-7".to_owned(),
            driver: "astm".to_owned(),
            line: Line::default(),
            tcp: None,
            options: DriverOptions { reading: Arc::new(reading), ..DriverOptions::default() },
            tried: Tried::Sources,
            sources: Vec::new(),
            setup: Vec::new(),
        }
    }

    #[test]
    fn what_the_profile_says_stands_where_it_says() {
        let mut model = Model::new(&profile("O.4"), Vec::new(), 3);
        let message = model.records(AT);
        let records: Vec<String> =
            message.records.iter().map(|record| String::from_utf8_lossy(record).into_owned()).collect();
        assert_eq!(message.id, "SIM-0001");
        assert!(records[0].starts_with("H|\\^&|||XQ-7^1.0^SIM"), "{records:?}");
        assert_eq!(records[2].split('|').take(5).collect::<Vec<_>>(), ["O", "1", "", "SIM-0001", "^^^ALL"]);
        assert!(records[3].starts_with("R|1|^^^^K|"), "{records:?}");
        assert_eq!(records.len(), 5);
        assert_eq!(Model::new(&profile("O.4"), Vec::new(), 3).records(AT), message);
        let mut named = Model::new(&profile("P.3.2"), vec!["A".to_owned(), "B".to_owned()], 3);
        let ids: Vec<String> = (0..3).map(|_| named.records(AT).id).collect();
        assert_eq!(ids, ["A", "B", "A"]);
        let message = named.records(AT);
        assert!(message.records[1].starts_with(b"P|1|^B"));
    }

    #[test]
    fn codes_that_are_told_apart_stand_in_the_components_of_the_profile() {
        let mut told_apart = profile("O.3");
        let codes = ["TSH^DOSE", "aHBs2^DOSE", "aHBs2^INTR"].map(|code| (code.to_owned(), Meaning::default()));
        let reading = Reading { code: vec![4], told_apart_by: vec![8], codes: codes.into(), ..Reading::default() };
        told_apart.options.reading = Arc::new(reading);
        let message = Model::new(&told_apart, Vec::new(), 3).records(AT);
        let text = String::from_utf8(message.records.join(&b'\n')).expect("text");
        let tests: Vec<&str> =
            text.lines().filter(|line| line.starts_with("R|")).filter_map(|line| line.split('|').nth(2)).collect();
        assert_eq!(tests, ["^^^TSH^^^^DOSE", "^^^aHBs2^^^^DOSE", "^^^aHBs2^^^^INTR", "^^^TSH^^^^INTR"]);
    }

    #[test]
    fn hl7_counts_its_header_as_hl7_does() {
        let mut model = Model::new(&profile("SPM.2"), Vec::new(), 3);
        let (id, message) = model.hl7(AT);
        let text = String::from_utf8(message).expect("text");
        let segments: Vec<&str> = text.split_terminator('\r').collect();
        let header: Vec<&str> = segments[0].split('|').collect();
        assert_eq!((header[2], header[8], header[11], header[17]), ("XQ-7", "ORU^R01", "2.3.1", "UNICODE"));
        assert!(segments[2].starts_with(&format!("SPM|1|{id}")), "{text}");
        assert!(segments[4].starts_with("OBX|1|NM|K^Potassium||"), "{text}");
    }
}
