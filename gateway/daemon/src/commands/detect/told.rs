//! What was found, as YAML: the evidence in comments, the settings ready to paste.

use super::Answer;
use super::listen::Heard;
use crate::commands::place::yaml;
use crate::commands::plain;
use gateway_core::config::{Line, Parity, Port};
use gateway_core::detect::{Finding, Known, ONLY_CALLS, Protocol, fit, shown};
use gateway_core::drivers::driver;

/// Everything that is worth knowing of it.
pub fn report(heard: &Heard, port: &Port, answer: Option<Answer>, known: &[Known], with_data: bool) -> String {
    let mut text = String::new();
    let mut note = |line: &str| text.push_str(&format!("# {}\n", plain(line).trim_end()));
    let at = heard.uart.map(|uart| format!(" at {uart}")).unwrap_or_default();
    match &heard.finding {
        Some(finding) => {
            note(&format!("heard{at}: {}", finding.protocol.words()));
            for evidence in &finding.evidence {
                let why = if evidence == ONLY_CALLS { only_calls(answer) } else { "" };
                note(&format!("  - {why}{evidence}"));
            }
            identity(finding).iter().for_each(|said| note(&format!("  - {said}")));
        }
        None => note(&format!("heard{at}: {} bytes that no protocol explains", heard.bytes.len())),
    }
    if let Some(suspicion) = &heard.suspicion {
        note(&format!("  - {suspicion}"));
    }
    let masked = if with_data { "as it came" } else { "letters and digits that may be a patient's masked" };
    note(&format!("how it began, {masked}:"));
    shown(&heard.bytes, with_data).iter().for_each(|line| note(&format!("  {line}")));
    match &heard.finding {
        Some(finding) => text + &settings(finding, heard, port, known),
        None => {
            text + "# No settings can be proposed. Look at the analyzer's host interface menu, or try another cable.\n"
        }
    }
}

/// Why an analyzer has only called.
fn only_calls(answer: Option<Answer>) -> &'static str {
    match answer {
        None => "nobody answered them (--answer does), so ",
        Some(Answer::Busy) => "they were answered with NAK (busy; --answer read lets it say its first frame), so ",
        Some(Answer::Read) => "they were answered with ACK, and still ",
    }
}

/// Nothing came at all.
pub fn nothing(port: &Port, answer: Option<Answer>) -> String {
    let mut text =
        "# Not a byte was heard. Have the analyzer send a result, and see that its host interface is on".to_owned();
    if port.is_serial() {
        text.push_str("; if it stays\n# so, the cable may be straight where it must be crossed (null modem), or the other way round");
    }
    if answer.is_none() {
        text.push_str(".\n# Some analyzers speak only to who answers: --answer");
    }
    text + ".\n"
}

fn identity(finding: &Finding) -> Vec<String> {
    let said = |what: &str, value: &Option<String>| value.as_ref().map(|value| format!("{what} {value}"));
    [said("it calls itself", &finding.device.model), said("its serial number is", &finding.device.sn)]
        .into_iter()
        .flatten()
        .collect()
}

fn settings(finding: &Finding, heard: &Heard, port: &Port, known: &[Known]) -> String {
    let fitting = fit(finding.protocol, &heard.bytes, known);
    let profile = fitting.as_ref().and_then(|fit| known.iter().find(|known| known.name == fit.name));
    let mut text = "analyzers:\n  - id: analyzer-1\n".to_owned();
    match (&fitting, driver(finding.protocol.driver())) {
        (Some(fit), _) => text.push_str(&format!("    profile: {}  # {}\n", fit.name, plain(&fit.because))),
        (None, None) => {
            let name = finding.protocol.driver();
            return format!("# It would need the driver {name}, which this version does not have.\n");
        }
        (None, Some(_)) if finding.protocol.driver() == "text" => text.push_str(&draft(finding.protocol, &heard.bytes)),
        (None, Some(driver)) => {
            text.push_str(&format!("    driver: {}\n", driver.name()));
            match finding.protocol {
                Protocol::Records => text.push_str("    framing: none\n"),
                Protocol::SohEnvelope => text.push_str("    framing: soh\n"),
                _ => {}
            }
        }
    }
    text.push_str(&format!("    port: {}\n", yaml(port)));
    text + &line(heard, profile.map(|known| known.profile.line).unwrap_or_default())
}

/// The line's settings, as far as they are not those that are known.
fn line(heard: &Heard, known: Line) -> String {
    let Some(uart) = heard.uart else { return String::new() };
    let mut text = String::new();
    let mut write = |differs: bool, key: &str, value: &str| {
        if differs {
            text.push_str(&format!("    {key}: {value}\n"));
        }
    };
    let parity = match uart.parity {
        Parity::None => "none",
        Parity::Even => "even",
        Parity::Odd => "odd",
    };
    write(uart.baud != known.baud || uart.baud != 9600, "baud", &uart.baud.to_string());
    write(uart.data_bits != known.data_bits, "data_bits", &uart.data_bits.to_string());
    write(uart.parity != known.parity, "parity", parity);
    write(uart.stop_bits != known.stop_bits, "stop_bits", &uart.stop_bits.to_string());
    text
}

/// A first profile for text, to be made better: it takes each line of a name and a number for a result.
fn draft(protocol: Protocol, bytes: &[u8]) -> String {
    let frame = match (protocol, bytes.contains(&0x02)) {
        (_, true) => "begin: STX\n        end: ETX",
        (Protocol::FixedWidth, false) => "end: SUB",
        _ => "idle: 2s",
    };
    let result = match protocol {
        Protocol::TokenLines => r"(?m)^(?P<code>[A-Z][A-Z0-9_#%-]*);(?P<value>[0-9.]+)",
        _ => r"(?m)^\s*(?P<code>[A-Za-z][^\s:]*)[\s:]+(?P<value>[<>]?\s*[0-9]+(?:[.,][0-9]+)?)",
    };
    format!(
        "    # No profile fits. This draft takes every line of a name and a number for a result; docs/adding-an-analyzer.md\n    \
         # tells how to say where the sample's id is.\n    profile:\n      maker: Unknown\n      model: Unknown\n      \
         driver: text\n      text:\n        {frame}\n        patterns:\n          results: ['{result}']\n"
    )
}
