//! A drawing as PNG, for programs that show no SVG. It is the same drawing, at twice its size.
//!
//! Letters come from `noto-sans-mono-bitmap`, which has Latin ones; any other letter is drawn as a question mark. Invariant: the
//! picture has [`WIDTH_PIXELS`] by [`HEIGHT_PIXELS`], whatever the run holds.

use super::Curve;
use super::drawing::{Heading, draw};
use super::palette::{Colour, Role, Theme};
use super::shapes::{Anchor, Drawing, Shape, Size};
use crate::report::words::Words;
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, RasterizedChar, get_raster, get_raster_width};
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, PathBuilder, Pixmap, PixmapMut, Rect, Stroke, StrokeDash, Transform,
};

/// Pixels of the picture for one of the drawing.
const SCALE: f32 = 2.0;
pub const WIDTH_PIXELS: u32 = 1600;
pub const HEIGHT_PIXELS: u32 = 900;

/// Why there is no picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the picture cannot be made: there is not enough memory for it")]
pub struct NoPicture;

/// The curve as a PNG file, eight bits a colour. `Auto` is light here: a picture cannot ask its reader.
pub fn png(curve: &Curve, heading: &Heading, words: &Words, theme: Theme) -> Result<Vec<u8>, NoPicture> {
    let drawing = draw(curve, heading, words);
    let mut pixmap = Pixmap::new(WIDTH_PIXELS, HEIGHT_PIXELS).ok_or(NoPicture)?;
    paint(&drawing, theme, &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|_| NoPicture)
}

fn paint(drawing: &Drawing, theme: Theme, pixmap: &mut PixmapMut<'_>) {
    let transform = Transform::from_scale(SCALE, SCALE);
    let colour = |role: Role| role.colours()[usize::from(theme == Theme::Dark)];
    for shape in &drawing.shapes {
        match shape {
            Shape::Area { left, top, width, height, role } => {
                let area = Rect::from_xywh(*left as f32, *top as f32, *width as f32, *height as f32);
                if let Some(area) = area {
                    pixmap.fill_rect(area, &paint_of(colour(*role)), transform, None);
                }
            }
            Shape::Line { points, width, dashed, role } => {
                let mut path = PathBuilder::new();
                for (number, (x, y)) in points.iter().enumerate() {
                    match number {
                        0 => path.move_to(*x as f32, *y as f32),
                        _ => path.line_to(*x as f32, *y as f32),
                    }
                }
                let dash = if *dashed { StrokeDash::new(vec![7.0, 4.0], 0.0) } else { None };
                let stroke = Stroke {
                    width: *width as f32,
                    line_cap: LineCap::Butt,
                    line_join: LineJoin::Round,
                    dash,
                    ..Stroke::default()
                };
                if let Some(path) = path.finish() {
                    pixmap.stroke_path(&path, &paint_of(colour(*role)), &stroke, transform, None);
                }
            }
            Shape::Dot { at: (x, y), radius, role } => {
                if let Some(circle) = PathBuilder::from_circle(*x as f32, *y as f32, *radius as f32) {
                    pixmap.fill_path(&circle, &paint_of(colour(*role)), FillRule::Winding, transform, None);
                }
            }
            Shape::Text { at, anchor, size, text, role } => write(pixmap, *at, *anchor, *size, text, colour(*role)),
        }
    }
}

fn paint_of([red, green, blue]: Colour) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color(Color::from_rgba8(red, green, blue, 0xff));
    paint
}

/// Writes a line of text; `at` is its baseline in the drawing.
fn write(pixmap: &mut PixmapMut<'_>, at: (f64, f64), anchor: Anchor, size: Size, text: &str, colour: Colour) {
    let height = match size {
        Size::Title => RasterHeight::Size32,
        Size::Label => RasterHeight::Size24,
    };
    let advance = get_raster_width(FontWeight::Regular, height);
    let width = advance * text.chars().count();
    let across = (at.0 as f32 * SCALE).round() as i64;
    let left = match anchor {
        Anchor::Start => across,
        Anchor::Middle => across - width as i64 / 2,
        Anchor::End => across - width as i64,
    };
    // The letters' baseline lies at four fifths of their box.
    let top = (at.1 as f32 * SCALE - height.val() as f32 * 0.8).round() as i64;
    for (number, letter) in text.chars().enumerate() {
        if let Some(letter) = letter_of(letter, height) {
            blend(pixmap, &letter, left + (number * advance) as i64, top, colour);
        }
    }
}

fn letter_of(letter: char, height: RasterHeight) -> Option<RasterizedChar> {
    let drawn = |letter: char| get_raster(letter, FontWeight::Regular, height);
    let plain = match letter {
        '–' | '−' => '-',
        '…' => '.',
        other => other,
    };
    drawn(plain).or_else(|| drawn('?'))
}

/// Lays a letter over what is there; what lies outside of the picture is left out.
fn blend(pixmap: &mut PixmapMut<'_>, letter: &RasterizedChar, left: i64, top: i64, colour: Colour) {
    let (width, height) = (i64::from(pixmap.width()), i64::from(pixmap.height()));
    let data = pixmap.data_mut();
    for (row, line) in letter.rows().enumerate() {
        for (column, strength) in line.iter().enumerate() {
            let (x, y) = (left + column as i64, top + row as i64);
            if *strength == 0 || x < 0 || y < 0 || x >= width || y >= height {
                continue;
            }
            let place = ((y * width + x) * 4) as usize;
            let strength = u32::from(*strength);
            for (part, wanted) in data[place..place + 3].iter_mut().zip(colour) {
                // The ground is opaque everywhere, so the picture stays opaque.
                let mixed = u32::from(wanted) * strength + u32::from(*part) * (255 - strength);
                *part = ((mixed + 127) / 255) as u8;
            }
        }
    }
}
