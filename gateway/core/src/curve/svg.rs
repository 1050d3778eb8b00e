//! A drawing as SVG: colours as attributes, so that any viewer shows it, and a stylesheet that turns them for the dark.
//!
//! Invariant: no text reaches the file unescaped, and nothing in it is loaded from elsewhere or can run.

use super::Curve;
use super::drawing::{Heading, draw};
use super::palette::{Colour, Role, Theme};
use super::shapes::{Anchor, Drawing, Shape};
use crate::markup::escaped;
use crate::report::words::Words;
use std::fmt::Write;

/// The curve as an SVG file, or as an element inside of HTML.
pub fn svg(curve: &Curve, heading: &Heading, words: &Words, theme: Theme) -> String {
    write(&draw(curve, heading, words), theme)
}

fn write(drawing: &Drawing, theme: Theme) -> String {
    let Drawing { width, height, top, title, about, shapes } = drawing;
    let height = height - top;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"curve {}\" viewBox=\"0 {top} {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"curve-title curve-about\" font-family=\"system-ui, sans-serif\">\n\
         <title id=\"curve-title\">{}</title>\n<desc id=\"curve-about\">{}</desc>\n",
        theme.as_str(),
        escaped(title),
        escaped(about),
    );
    if theme != Theme::Light {
        out.push_str(&style());
    }
    for shape in shapes {
        out.push_str(&element(shape));
        out.push('\n');
    }
    out.push_str("</svg>\n");
    out
}

/// The dark colours, for `dark` and for `auto` where the reader's system is dark.
fn style() -> String {
    let rules = |theme: &str| -> String {
        let rule = |role: Role| {
            let (class, colour) = (role.class(), hex(role.colours()[1]));
            format!(".{theme} .f-{class}{{fill:{colour}}}.{theme} .s-{class}{{stroke:{colour}}}")
        };
        Role::all().map(rule).collect()
    };
    format!("<style>{}@media screen and (prefers-color-scheme:dark){{{}}}</style>\n", rules("dark"), rules("auto"))
}

fn element(shape: &Shape) -> String {
    match shape {
        Shape::Area { left, top, width, height, role } => format!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" {}/>",
            place(*left),
            place(*top),
            place(*width),
            place(*height),
            filled(*role)
        ),
        Shape::Line { points, width, dashed, role } => {
            let mut path = String::new();
            for (x, y) in points {
                // A String takes what is written.
                let _ = write!(path, "{}{},{}", if path.is_empty() { "" } else { " " }, place(*x), place(*y));
            }
            let dashes = if *dashed { " stroke-dasharray=\"7 4\"" } else { "" };
            format!(
                "<polyline points=\"{path}\" fill=\"none\" stroke-width=\"{}\" stroke-linejoin=\"round\"{dashes} {}/>",
                place(*width),
                stroked(*role)
            )
        }
        Shape::Dot { at: (x, y), radius, role } => {
            format!("<circle cx=\"{}\" cy=\"{}\" r=\"{}\" {}/>", place(*x), place(*y), place(*radius), filled(*role))
        }
        Shape::Text { at: (x, y), anchor, size, text, role } => {
            let anchor = match anchor {
                Anchor::Start => "",
                Anchor::Middle => " text-anchor=\"middle\"",
                Anchor::End => " text-anchor=\"end\"",
            };
            let (x, y, size) = (place(*x), place(*y), size.pixels());
            format!("<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\"{anchor} {}>{}</text>", filled(*role), escaped(text))
        }
    }
}

fn filled(role: Role) -> String {
    format!("class=\"f-{}\" fill=\"{}\"", role.class(), hex(role.colours()[0]))
}

fn stroked(role: Role) -> String {
    format!("class=\"s-{}\" stroke=\"{}\"", role.class(), hex(role.colours()[0]))
}

fn hex([red, green, blue]: Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// A tenth of a pixel is enough.
fn place(figure: f64) -> String {
    let text = format!("{figure:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}
