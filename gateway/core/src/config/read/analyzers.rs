//! `analyzers:`

use super::{command, own_id, ports, profile};
use crate::config::group::{Field, Group, either, nearest};
use crate::config::{Analyzer, ConfigError, FlowControl, Limits, Line, Parity, Place, Port, file};
use crate::drivers::{self, DRIVERS};
use crate::event::AnalyzerId;
use crate::reading::Reading;
use crate::session::{Driver, DriverOptions};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The speeds that serial adapters know.
const BAUDS: [u32; 12] = [300, 600, 1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800];

/// The driver whose device may be a keyboard.
const SCANNER: &str = "scanner";

pub fn read(root: &Group<'_>, limits: &Limits, time_zone: &str) -> Vec<Analyzer> {
    // The events that the gateway states about itself bear this id.
    let mut taken = BTreeMap::from([("gateway".to_owned(), Place::Whole)]);
    let mut used = ports::Used::default();
    let mut analyzers = Vec::new();
    for item in root.list("analyzers") {
        let group = item.group::<file::Analyzer>();
        let id = own_id(&group, &mut taken, "hematology");
        profile::either_profile_or_driver(&group);
        let profile = profile::of_analyzer(&group);
        let driver = match &profile {
            Some(profile) => drivers::driver(&profile.driver),
            None if group.get("driver").is_some() => driver(&group),
            None => None,
        };
        let port = ports::read(&group);
        if let Some(port) = &port {
            used.note(&group, port, id.as_deref());
            refuse_line_settings(&group, port);
            if matches!(port, Port::Input(_)) && driver.is_some_and(|driver| driver.name() != SCANNER) {
                let suggestion = format!("write `driver: {SCANNER}`, or the port that the analyzer is plugged into");
                group.wrong("port", "is a keyboard, which only a barcode scanner types on", &suggestion);
            }
        }
        let model = profile.as_ref().map(|known| format!("{} {}", known.maker, known.model));
        let (known, known_line) =
            profile.map_or((DriverOptions::default(), Line::default()), |known| (known.options, known.line));
        let line = line(&group, known_line);
        let encoding = profile::encoding(&group, known.reading.encoding);
        let options = DriverOptions {
            frame_bytes_max: limits.frame_bytes_max,
            message_bytes_max: limits.message_bytes_max,
            commit: profile::commit(&group, known.commit),
            framing: profile::framing(&group, known.framing),
            picture_bytes_max: group.number("picture_bytes_max", known.picture_bytes_max),
            reading: Arc::new(Reading { encoding, ..(*known.reading).clone() }),
            set_clock: group.flag_if_written("set_clock").unwrap_or(known.set_clock),
            time_zone: time_zone.to_owned(),
            text: known.text.clone(),
            line: port.as_ref().is_some_and(Port::is_serial).then(|| line.uart()),
            command: command::read(&group, known.command),
        };
        command::belongs(&group, driver.map(|driver| driver.name()), &options.command);
        let serial_number = group.text("serial_number");
        let Some(driver) = driver else { continue };
        if let Err(error) = drivers::converse(driver, &options) {
            refused_by_driver(&group, &error);
        }
        if let (Some(id), Some(port)) = (id, port) {
            let (id, driver) = (AnalyzerId(id), driver.name().to_owned());
            analyzers.push(Analyzer { id, serial_number, driver, model, port, line, options });
        }
    }
    analyzers
}

pub(super) fn driver(group: &Group<'_>) -> Option<&'static dyn Driver> {
    let names: Vec<String> = DRIVERS.iter().map(|driver| format!("driver: {}", driver.name())).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let words: Vec<(&str, &'static dyn Driver)> = DRIVERS.iter().map(|driver| (driver.name(), *driver)).collect();
    let field = group.need("driver", &format!("write {}", either(&names)))?;
    field.word("driver", &words)
}

/// The line's settings, those that are not written as in `default`.
pub(super) fn line(group: &Group<'_>, default: Line) -> Line {
    let parities = [("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)];
    let flows = [("none", FlowControl::None), ("xon-xoff", FlowControl::XonXoff), ("rts-cts", FlowControl::RtsCts)];
    Line {
        baud: group.get("baud").and_then(|field| baud(&field)).unwrap_or(default.baud),
        data_bits: group.number("data_bits", default.data_bits),
        parity: group.choice("parity", &parities, default.parity),
        stop_bits: group.number("stop_bits", default.stop_bits),
        flow_control: group.choice("flow_control", &flows, default.flow_control),
        dtr: group.flag_if_written("dtr").or(default.dtr),
        rts: group.flag_if_written("rts").or(default.rts),
    }
}

fn baud(field: &Field<'_>) -> Option<u32> {
    let text = field.text()?;
    let baud = text.parse::<u32>().ok();
    if let Some(baud) = baud.filter(|baud| BAUDS.contains(baud)) {
        return Some(baud);
    }
    let words: Vec<String> = BAUDS.iter().map(u32::to_string).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let suggestion = match nearest(text, &words) {
        Some(word) => format!("write {word}, or what the analyzer's manual says"),
        None => "write what the analyzer's manual says, most often 9600".to_owned(),
    };
    let problem = if baud.is_some() { "is not a usual speed of a serial line" } else { "must be a whole number" };
    field.wrong(problem, &suggestion);
    None
}

/// A speed that nothing uses would be ignored in silence.
fn refuse_line_settings(group: &Group<'_>, port: &Port) {
    let keys = ["baud", "data_bits", "parity", "stop_bits", "flow_control", "dtr", "rts"];
    match port {
        Port::TcpListen(_) | Port::TcpConnect(_) => {
            group.refuse(&keys, "has no meaning for a tcp port", "remove this line; the terminal server sets it");
        }
        Port::Input(_) => group.refuse(&keys, "has no meaning for a keyboard", "remove this line"),
        _ => {}
    }
}

/// A driver names the option; where it stands is known here.
pub(super) fn refused_by_driver(group: &Group<'_>, error: &ConfigError) {
    let key = error.path.rsplit('.').next().unwrap_or("driver");
    group.wrong(key, &error.problem, error.suggestion.as_deref().unwrap_or_default());
}
