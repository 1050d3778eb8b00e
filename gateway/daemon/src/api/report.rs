//! The report that also stands on the SD card, made of what is known at this moment.
//!
//! Invariant: only those who may administer see the pairing code in it.

use super::Api;
use super::auth::Client;
use super::problem::Problem;
use super::table::Route;
use crate::configuration::{self, Source};
use crate::platform::disk::aside;
use axum::extract::State;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gateway_core::appliance::light::Light;
use gateway_core::appliance::report::{Dated, Outcome, Page, Report, Settings};
use gateway_core::config::Scope;
use schemars::json_schema;
use std::sync::Arc;

const PLAIN: &str = "text/plain; charset=utf-8";

pub fn routes() -> Vec<Route> {
    let about = ("box_report", "What the box writes onto its SD card: settings, analyzers, network, what to do next");
    let report = Route::new(Method::GET, "/api/report", Some(Scope::Read), about, get(report)).answer_as(
        200,
        "As it is now",
        "text/plain",
        |_| json_schema!({ "type": "string" }),
    );
    vec![report]
}

async fn report(State(api): State<Arc<Api>>, client: Client) -> Result<Response, Problem> {
    let (mut report, _) = api.report().await;
    if client.scope < Scope::Administer {
        report.pairing_code = None;
    }
    let headers = [(header::CONTENT_TYPE, PLAIN), (header::CACHE_CONTROL, "no-store, private")];
    Ok((headers, report.text()).into_response())
}

impl Api {
    /// What the report is made from, and which light the box should show.
    pub async fn report(&self) -> (Report, Light) {
        let now = self.platform.clock.now();
        let overview = self.board.overview(now);
        let network = overview.appliance.network.as_ref();
        let addresses = network.map(|network| network.addresses.clone()).or_else(|| self.platform.machine.addresses());
        let light = Light::of(&overview, addresses.as_deref());
        let host = overview.appliance.image.as_ref().and_then(|_| self.platform.machine.host_name());
        let used: Vec<_> = self.config.analyzers.iter().map(|analyzer| analyzer.port.clone()).collect();
        let known = used.len();
        // Whoever is let in needs no code, and one that was made for a lost passphrase is not for everybody who holds the card.
        let pairing_code = match self.store.has_people().await {
            Ok(false) => self.pairing_code().await.ok().flatten(),
            _ => None,
        };
        let mut settings = self.settings_file(&overview.configuration.hash).await;
        // Nobody must switch a box off that tries other settings: the file is the one that holds if they are not confirmed.
        if overview.configuration.confirm_by.is_some() && settings.outcome == Outcome::Unread {
            settings.outcome = Outcome::InForce;
        }
        let report = Report {
            version: overview.version.clone(),
            dated: Dated::Now(now.wall, now.quality),
            settings,
            page: Page::of(&self.config.http, &addresses.unwrap_or_default(), host.as_deref()),
            overview: Some(overview),
            down: None,
            pairing_code,
            spare: self.platform.machine.spare_ports(used, known).await,
        };
        (report, light)
    }

    async fn settings_file(&self, hash: &str) -> Settings {
        let source = self.front.settings.clone().unwrap_or_else(|| Arc::new(Source::of_process(None, None)));
        let hash = hash.to_owned();
        let looked = aside(&*self.platform.disk, move || configuration::judged(&source, &hash)).await;
        looked.unwrap_or_else(|| Settings {
            file: None,
            outcome: Outcome::InForce,
            beside: Vec::new(),
            warnings: Vec::new(),
        })
    }
}
