//! `update:`, checked: where newer systems of the box come from, and when it looks.

/// Where newer systems of the box come from, and what it does by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updates {
    /// Where newer bundles are.
    pub url: Option<String>,
    pub automatic: Automatic,
    /// In `gateway.time_zone`.
    pub between: Hours,
}

/// `update.automatic`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Automatic {
    #[default]
    Never,
    /// Looks whether there is one, and says so.
    Check,
    Install,
}

/// `update.between`: from one minute of the day to another, which is not part of it; over midnight if it is the smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    pub from_minute: u16,
    pub to_minute: u16,
}

impl Hours {
    /// Reads `02:00-05:00`.
    pub fn read(text: &str) -> Option<Hours> {
        let minute = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let (hour, minute) = (hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let (from, to) = text.split_once('-')?;
        let (from_minute, to_minute) = (minute(from)?, minute(to)?);
        (from_minute != to_minute).then_some(Hours { from_minute, to_minute })
    }

    /// Whether this minute of the day is in it.
    pub fn has(self, minute: u16) -> bool {
        let Hours { from_minute: from, to_minute: to } = self;
        if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to }
    }
}

impl Default for Updates {
    fn default() -> Self {
        Updates { url: None, automatic: Automatic::Never, between: Hours { from_minute: 120, to_minute: 300 } }
    }
}
