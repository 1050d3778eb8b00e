//! What a drawing is made of, whoever writes it. Invariant: a shape knows its place and what it stands for, never its colour.

use super::palette::Role;

/// One drawing; its units are CSS pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    pub width: f64,
    pub height: f64,
    /// Above this there is nothing.
    pub top: f64,
    /// What it is, in a line.
    pub title: String,
    /// What it shows, for those who do not see it.
    pub about: String,
    /// In the order of painting.
    pub shapes: Vec<Shape>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    Area {
        left: f64,
        top: f64,
        width: f64,
        height: f64,
        role: Role,
    },
    Line {
        points: Vec<(f64, f64)>,
        width: f64,
        dashed: bool,
        role: Role,
    },
    /// A filled circle: a sample without neighbours, or what marks the control.
    Dot {
        at: (f64, f64),
        radius: f64,
        role: Role,
    },
    Text {
        /// The baseline.
        at: (f64, f64),
        anchor: Anchor,
        size: Size,
        text: String,
        role: Role,
    },
}

/// Which part of a text stands at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Title,
    Label,
}

impl Size {
    /// The height of its letters, in CSS pixels.
    pub fn pixels(self) -> f64 {
        match self {
            Size::Title => 16.0,
            Size::Label => 12.0,
        }
    }
}
