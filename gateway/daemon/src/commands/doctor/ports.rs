//! The analyzers' ports: whether they are there and may be opened, and what could tear them away.
//!
//! Invariant: a port that any gateway holds is not opened.

use super::{Finding, Patient};
use crate::platform::{devices, holder, reach};
use gateway_core::config::{Analyzer, Port};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub fn look(patient: &Patient) -> Vec<Finding> {
    let mut findings: Vec<Finding> = patient.config.analyzers.iter().map(|analyzer| port(patient, analyzer)).collect();
    let root = &patient.root;
    for device in devices::unbound(root, &devices::ports(root)) {
        let evidence = format!(
            "USB device {:04x}:{:04x} looks like a serial adapter, but the kernel does not know it",
            device.vendor, device.product
        );
        let next = "`analyzer-gateway devices` says how to make it known.";
        findings.push(Finding::warn("usb", device.name.unwrap_or_default(), evidence, next));
    }
    findings.extend(rules(patient));
    findings
}

fn port(patient: &Patient, analyzer: &Analyzer) -> Finding {
    let subject = analyzer.id.to_string();
    match &analyzer.port {
        Port::TcpListen(address) if patient.running => {
            Finding::ok("port", subject, format!("the gateway that runs listens at {address} itself"))
        }
        Port::TcpListen(address) => match reach::can_listen(address) {
            Ok(()) => Finding::ok("port", subject, format!("{address} is free to listen at")),
            Err(error) => {
                let next = "Stop the program that has it (`ss -ltnp` names it), or write another address.";
                Finding::fail("port", subject, format!("cannot listen at {address}: {error}"), next)
            }
        },
        Port::TcpConnect(address) => {
            Finding::skipped("port", subject, format!("{address} is not called: most analyzers take one caller only"))
        }
        device => match devices::resolve(&patient.root, device) {
            Ok(path) => opened(patient, subject, &path, matches!(device, Port::Input(_))),
            Err(error) => {
                let next = "Plug the adapter in; `analyzer-gateway devices` lists what is there.";
                Finding::fail("port", subject, error.to_string(), next)
            }
        },
    }
}

fn opened(patient: &Patient, subject: String, path: &Path, read_only: bool) -> Finding {
    let shown = path.display();
    let file = match fs::metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let next = "Plug the adapter in; `analyzer-gateway devices` lists what is there.";
            return Finding::fail("port", subject, format!("there is no {shown}"), next);
        }
        Err(error) => return Finding::skipped("port", subject, format!("{shown} cannot be looked at: {error}")),
    };
    if let Some(process) = holder::gateway_at(path) {
        return Finding::ok("port", subject, format!("{shown} is open in the gateway (process {process})"));
    }
    if !reach::may(path, !read_only) {
        let group = group_name(&patient.root, file.gid());
        let next =
            format!("Let the service's user into the group: usermod -aG {group} analyzer-gateway, then restart it.");
        return Finding::fail("port", subject, format!("you may not open {shown}; its group is {group}"), next);
    }
    if read_only || patient.running {
        return Finding::ok("port", subject, format!("{shown} is there"));
    }
    match reach::can_open(path) {
        Ok(()) => Finding::ok("port", subject, format!("{shown} opens")),
        Err(error) if error.kind() == ErrorKind::ResourceBusy => {
            let next = "Find the program (`fuser -v` on the device names it) and stop it.";
            Finding::fail("port", subject, format!("another program has {shown} for itself"), next)
        }
        Err(error) => {
            let next = "Unplug the adapter and plug it in again; if it stays so, try another one.";
            Finding::fail("port", subject, format!("{shown} does not open: {error}"), next)
        }
    }
}

/// The group's name in /etc/group, or its number.
fn group_name(root: &Path, gid: u32) -> String {
    let groups = fs::read_to_string(root.join("etc/group")).unwrap_or_default();
    let named = groups.lines().find_map(|line| {
        let mut columns = line.split(':');
        let name = columns.next()?;
        (columns.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| gid.to_string())
}

/// udev's rules of ours, and the programs that they are against.
fn rules(patient: &Patient) -> Vec<Finding> {
    if !patient.config.analyzers.iter().any(|analyzer| analyzer.port.is_serial()) {
        return vec![Finding::skipped("udev", "", "no analyzer is at a serial port")];
    }
    let folders = ["etc/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d", "run/udev/rules.d"];
    let has = |part: &str| {
        let names = folders.iter().flat_map(|folder| fs::read_dir(patient.root.join(folder))).flatten().flatten();
        names.filter_map(|entry| entry.file_name().into_string().ok()).any(|name| name.contains(part))
    };
    let ours = has("60-analyzer-gateway");
    let install = "Copy systemd/udev/60-analyzer-gateway.rules into /etc/udev/rules.d, then: udevadm control --reload.";
    let mut findings = vec![match ours {
        true => Finding::ok("udev", "", "the rules for serial adapters are there"),
        false => Finding::warn("udev", "", "the rules for serial adapters are not installed", install),
    }];
    if has("brltty") && !has("analyzer-gateway-brltty") {
        let evidence =
            "brltty is installed: it takes some serial adapters for braille displays and tears the port away";
        let next = "Remove it (apt remove brltty), or install systemd/udev/99-analyzer-gateway-brltty.rules.";
        findings.push(Finding::fail("brltty", "", evidence, next));
    }
    if runs(&patient.root, "ModemManager") && !ours {
        let evidence = "ModemManager runs: it opens new ports and writes AT commands to the analyzer";
        findings.push(Finding::fail("modem_manager", "", evidence, install));
    }
    findings
}

/// Whether a program of this name runs.
fn runs(root: &Path, name: &str) -> bool {
    let processes = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    let mut names = processes.filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok());
    names.any(|comm| comm.trim() == name)
}
