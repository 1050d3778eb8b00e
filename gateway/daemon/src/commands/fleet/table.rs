//! How a fleet is shown: a line for a change, a list, and a list that is drawn in place.
//!
//! Invariant: every text has been through [`gateway_core::fleet::Fleet`], which leaves nothing in it that steers a terminal.

use gateway_core::fleet::{Census, Standing};
use gateway_core::time::Timestamp;
use gateway_core::trouble::Urgency;
use serde::Serialize;
use std::io::{self, Write};

/// Where a terminal does not say how many lines it has.
const LINES_USUAL: usize = 24;
/// Lines of a picture above the gateways.
const HEAD_LINES: usize = 3;

/// One gateway has changed.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    /// By this machine's clock.
    pub at: Timestamp,
    #[serde(flatten)]
    pub standing: &'a Standing,
}

impl Line<'_> {
    pub fn write(&self, out: &mut dyn Write, json: bool) -> io::Result<()> {
        if json {
            return writeln!(out, "{}", serde_json::to_string(self).map_err(io::Error::other)?);
        }
        match self.standing.troubles.as_slice() {
            [] => writeln!(out, "{}  well    {}", self.at, self.standing.gateway),
            troubles => troubles.iter().try_for_each(|one| writeln!(out, "{}  {}", self.at, row(self.standing, one))),
        }
    }
}

/// All that is shown at one time.
#[derive(Serialize)]
pub(super) struct Listing {
    /// By this machine's clock.
    pub at: Timestamp,
    pub census: Census,
    /// Those that need somebody most first.
    pub gateways: Vec<Standing>,
}

impl Listing {
    pub fn write(mut self, out: &mut dyn Write, json: bool, all: bool) -> io::Result<()> {
        if !all {
            self.gateways.retain(Standing::needs_a_person);
        }
        if json {
            return writeln!(out, "{}", serde_json::to_string(&self).map_err(io::Error::other)?);
        }
        self.head().into_iter().try_for_each(|line| writeln!(out, "{line}"))?;
        self.rows(all).try_for_each(|line| writeln!(out, "{line}"))
    }

    /// The numbers, and what casts doubt on them.
    fn head(&self) -> Vec<String> {
        let Census { gateways, now, today, watch, well, .. } = &self.census;
        let boxes = if *gateways == 1 { "gateway" } else { "gateways" };
        let mut head = vec![format!("{gateways} {boxes}: {now} now, {today} today, {watch} to watch, {well} well")];
        if self.census.own_clock_doubtful {
            head.push("Most clocks disagree with this machine's: check this one first.".to_owned());
        }
        if self.census.left_out > 0 {
            head.push(format!("{} messages of further gateways are not shown.", self.census.left_out));
        }
        head
    }

    fn rows(&self, all: bool) -> impl Iterator<Item = String> + '_ {
        let shown = self.gateways.iter().filter(move |one| all || one.needs_a_person());
        shown.flat_map(|one| match one.troubles.is_empty() {
            true => vec![format!("well    {}", one.gateway)],
            false => one.troubles.iter().map(|trouble| row(one, trouble)).collect(),
        })
    }
}

fn row(one: &Standing, trouble: &gateway_core::trouble::Trouble) -> String {
    let urgency = match trouble.urgency {
        Urgency::Now => "NOW",
        Urgency::Today => "today",
        Urgency::Watch => "watch",
    };
    format!("{urgency:<6}  {}  {}  -> {}", one.gateway, trouble.sentence(), trouble.next_step)
}

/// A list on a terminal.
#[derive(Default)]
pub(super) struct Screen {
    drawn: bool,
}

impl Screen {
    /// Draws from the top left (ECMA-48: CUP, EL, ED), and no more lines than there are.
    pub fn draw(&mut self, out: &mut dyn Write, listing: &Listing, all: bool) -> io::Result<()> {
        let (lines, columns) = size();
        let mut picture = String::new();
        if !self.drawn {
            self.drawn = true;
            picture.push_str("\x1b[2J");
        }
        picture.push_str("\x1b[H");
        let head = listing.head();
        let room = lines.saturating_sub(head.len().max(HEAD_LINES)).max(1);
        let mut rows: Vec<String> = listing.rows(all).take(room + 1).collect();
        if rows.len() > room {
            rows.truncate(room.saturating_sub(1));
            rows.push("... and more: make the window taller, or use --once".to_owned());
        }
        for line in head.iter().chain(&rows) {
            picture.extend(line.chars().take(columns));
            picture.push_str("\x1b[K\r\n");
        }
        picture.push_str("\x1b[J");
        out.write_all(picture.as_bytes())?;
        out.flush()
    }
}

/// Lines and columns of the terminal.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_row > 0 => (usize::from(size.ws_row), usize::from(size.ws_col).max(40)),
        _ => (LINES_USUAL, 80),
    }
}
