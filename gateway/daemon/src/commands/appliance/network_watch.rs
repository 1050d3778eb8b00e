//! `appliance network-watch`: whether the network works as the settings ask, for two minutes at most; else DHCP besides.
//!
//! Invariant: it ends. What is left to be looked at is looked at by its next run, which a timer starts.

use super::super::{EXIT_CONFIG, EXIT_FAILED};
use super::apply::{put_network, renderer, settle, tell};
use super::settings::{Section, settings};
use crate::platform::network::{look, pause};
use crate::platform::privileged::said;
use gateway_core::appliance::NetworkSource;
use gateway_core::appliance::network::Plan;
use gateway_core::appliance::watch::{Verdict, judge};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Between two looks.
const LOOK_SECONDS: u64 = 3;

pub fn run(root: &Path, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let config = match settings(root) {
        Ok(obeyed) => match obeyed.leaves(Section::Network) {
            None => obeyed.running.loaded.config,
            Some(reason) => {
                let _ = writeln!(err, "{reason}");
                return EXIT_CONFIG;
            }
        },
        Err(failure) => {
            let _ = writeln!(err, "{failure}");
            return EXIT_CONFIG;
        }
    };
    let renderer = renderer(root);
    let mut in_force = said(root).network.map_or(NetworkSource::Trying, |said| said.in_force);
    let (mut waited, mut failed) = (Duration::ZERO, Vec::new());
    loop {
        let seen = look(root, config.network.as_ref(), renderer);
        let (source, reason, ends) = match judge(config.network.as_ref(), in_force, &seen, waited) {
            Verdict::Wait => {
                pause(Duration::from_secs(LOOK_SECONDS));
                waited += Duration::from_secs(LOOK_SECONDS);
                continue;
            }
            Verdict::Stays(source, reason) => (source, reason, true),
            Verdict::FallBack(reason) => {
                let _ = writeln!(err, "the network settings do not work ({reason}): asking for an address by DHCP");
                failed.extend(put_network(root, &config, Plan::Fallback, out));
                (NetworkSource::Fallback, reason, false)
            }
            Verdict::Restore => {
                let _ = writeln!(err, "the network settings work now and are in force again");
                failed.extend(put_network(root, &config, Plan::Settings, out));
                (NetworkSource::Settings, String::new(), true)
            }
        };
        if let Err(error) = tell(root, &config, renderer, source, reason) {
            failed.push(format!("what holds cannot be said: {error}"));
        }
        (in_force, waited) = (source, Duration::ZERO);
        if ends {
            break;
        }
    }
    if in_force != NetworkSource::Fallback {
        settle(root);
    }
    failed.iter().for_each(|error| drop(writeln!(err, "{error}")));
    if failed.is_empty() { 0 } else { EXIT_FAILED }
}
