//! Colours by what they stand for. Invariant: every line keeps a contrast of at least 3 to 1 to its ground (WCAG 2.1, 1.4.11),
//! every text of 4.5 to 1 (1.4.3), and none is told by its colour alone.

/// Light or dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    #[default]
    Light,
    Dark,
    /// As the reader's system has it; where there is no reader to ask, light.
    Auto,
}

impl Theme {
    /// The word in an address: `light`, `dark`, `auto`.
    pub fn of_word(word: &str) -> Option<Theme> {
        [Theme::Light, Theme::Dark, Theme::Auto].into_iter().find(|theme| theme.as_str() == word)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Theme::Light => "light",
            Theme::Dark => "dark",
            Theme::Auto => "auto",
        }
    }
}

/// What a shape stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Ground,
    Grid,
    Axis,
    Ink,
    Soft,
    Gap,
    Temperature,
    Channel(u32),
}

/// Red, green, blue.
pub type Colour = [u8; 3];

/// Light and dark, one a channel; further channels begin again.
const CHANNELS: [[Colour; 2]; 8] = [
    [[0x0b, 0x6b, 0xcb], [0x6c, 0xb4, 0xff]],
    [[0xb4, 0x5f, 0x06], [0xf2, 0xa6, 0x5a]],
    [[0x0a, 0x7d, 0x4f], [0x4f, 0xd1, 0xa1]],
    [[0x33, 0x3b, 0x45], [0xe8, 0xed, 0xf2]],
    [[0x8e, 0x3b, 0x9e], [0xd3, 0x9b, 0xe3]],
    [[0xb0, 0x13, 0x5a], [0xff, 0x7f, 0xb6]],
    [[0x00, 0x79, 0x8c], [0x5a, 0xd1, 0xe0]],
    [[0x6b, 0x6b, 0x00], [0xd6, 0xd6, 0x5c]],
];

impl Role {
    /// Its colour in light and in dark.
    pub fn colours(self) -> [Colour; 2] {
        match self {
            Role::Ground => [[0xff, 0xff, 0xff], [0x14, 0x18, 0x1d]],
            Role::Grid => [[0xe4, 0xe7, 0xeb], [0x2b, 0x32, 0x3a]],
            Role::Axis => [[0x5f, 0x6b, 0x7a], [0x8b, 0x97, 0xa5]],
            Role::Ink => [[0x1b, 0x25, 0x30], [0xe8, 0xed, 0xf2]],
            Role::Soft => [[0x4e, 0x59, 0x66], [0xb3, 0xbe, 0xca]],
            Role::Gap => [[0xfb, 0xe6, 0xc4], [0x4a, 0x3a, 0x1c]],
            Role::Temperature => [[0xc0, 0x3a, 0x14], [0xff, 0x9b, 0x70]],
            Role::Channel(channel) => CHANNELS[channel as usize % CHANNELS.len()],
        }
    }

    /// The class in a stylesheet.
    pub fn class(self) -> String {
        match self {
            Role::Ground => "ground".to_owned(),
            Role::Grid => "grid".to_owned(),
            Role::Axis => "axis".to_owned(),
            Role::Ink => "ink".to_owned(),
            Role::Soft => "soft".to_owned(),
            Role::Gap => "gap".to_owned(),
            Role::Temperature => "temperature".to_owned(),
            Role::Channel(channel) => format!("channel-{}", channel as usize % CHANNELS.len()),
        }
    }

    /// Each role that has a class of its own.
    pub fn all() -> impl Iterator<Item = Role> {
        let roles = [Role::Ground, Role::Grid, Role::Axis, Role::Ink, Role::Soft, Role::Gap, Role::Temperature];
        roles.into_iter().chain((0..CHANNELS.len() as u32).map(Role::Channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2.1's relative luminance.
    fn luminance(colour: Colour) -> f64 {
        let linear = colour.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    fn contrast(one: Colour, other: Colour) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        one.max(other) / one.min(other)
    }

    #[test]
    fn everything_can_be_seen_on_its_ground_and_on_a_gap() {
        for theme in 0..2 {
            for role in Role::all() {
                let wanted = match role {
                    Role::Ground | Role::Grid | Role::Gap => continue,
                    Role::Ink | Role::Soft => 4.5,
                    _ => 3.0,
                };
                for under in [Role::Ground, Role::Gap] {
                    let seen = contrast(role.colours()[theme], under.colours()[theme]);
                    assert!(seen >= wanted, "{role:?} on {under:?} in {theme}: {seen}");
                }
            }
        }
    }
}
