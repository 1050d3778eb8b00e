//! One document as a tree of elements, and why one is refused. POCT1-A keeps its values in the attribute `V` (unit `U`, display
//! name `DN`, coding system `SN`); some makers leave `V` empty and write the value between the tags.
//!
//! Invariant: no DTD is read and no entity is expanded but the five of XML itself; depth and number of elements are bounded,
//! so a document takes memory in proportion to its bytes.

use crate::reading::Encoding;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use std::borrow::Cow;

const DEPTH_MAX: usize = 64;
const ELEMENTS_MAX: usize = 100_000;
/// Where an encoding is declared, in bytes.
const DECLARATION_BYTES_MAX: usize = 200;

/// An element with what POCT1-A knows of it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Element {
    pub name: String,
    /// `V`
    pub value: String,
    /// `U`
    pub unit: String,
    /// `DN`
    pub display: String,
    /// `SN`
    pub system: String,
    /// What stands between the tags, its children's left out.
    pub text: String,
    pub children: Vec<Element>,
}

/// Why a document is not taken. Never quotes it.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    pub code: &'static str,
    pub reason: String,
}

impl Refused {
    pub fn new(code: &'static str, reason: impl Into<String>) -> Refused {
        Refused { code, reason: reason.into() }
    }
}

impl Element {
    /// The value: `V`, else what stands between the tags, blanks trimmed at the ends.
    pub fn said(&self) -> &str {
        match self.value.trim() {
            "" => self.text.trim(),
            value => value,
        }
    }

    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// What the child of that name says; empty if it says nothing.
    pub fn says(&self, name: &str) -> &str {
        self.child(name).map_or("", Element::said)
    }

    /// The first element of that name at any depth that says something.
    pub fn find(&self, name: &str) -> Option<&str> {
        let own = self.children.iter().filter(|child| child.name == name);
        let own = own.map(Element::said).find(|said| !said.is_empty());
        own.or_else(|| self.children.iter().find_map(|child| child.find(name)))
    }
}

/// The document's root.
pub(super) fn read(bytes: &[u8], encoding: Encoding) -> Result<Element, Refused> {
    let text = decoded(bytes, encoding);
    let text = text.trim_start_matches('\u{feff}');
    if text.contains(|c: char| c < ' ' && !matches!(c, '\t' | '\r' | '\n')) {
        let reason = "it holds control characters such as NUL, which XML does not allow: is the line disturbed?";
        return Err(Refused::new("not_xml", reason));
    }
    parse(text).map_err(|refused| {
        // Where a definition stands outside of a DOCTYPE the parser only sees bad XML.
        let defines = text.contains("<!ENTITY") || text.contains("<!DOCTYPE");
        if defines && refused.code == "not_xml" { dtd() } else { refused }
    })
}

/// The control id of a document that could not be read, if it can be found all the same.
pub(super) fn control_id_in(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let tag = &text[text.find("<HDR.control_id")?..];
    let tag = &tag[..tag.find('>')?];
    let value = &tag[tag.find("V=")? + 2..];
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let id = value[1..].split(quote).next()?;
    (!id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| id.to_owned())
}

fn decoded(bytes: &[u8], encoding: Encoding) -> Cow<'_, str> {
    match declared(bytes).filter(|_| encoding == Encoding::Auto) {
        Some(declared) => declared.decode_without_bom_handling(bytes).0,
        None => encoding.decode(bytes),
    }
}

/// The declared encoding, if it is another than UTF-8.
fn declared(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let head = &bytes[..bytes.len().min(DECLARATION_BYTES_MAX)];
    let head = String::from_utf8_lossy(head.split(|byte| *byte == b'>').next()?);
    let (_, label) = head.split_once("encoding")?;
    let label = label.trim_start().strip_prefix('=')?.trim_start();
    let label = label.strip_prefix(['"', '\''])?.split(['"', '\'']).next()?;
    let declared = encoding_rs::Encoding::for_label(label.as_bytes())?;
    // Bytes of one unit each: UTF-16 would have been no document.
    (declared != encoding_rs::UTF_8 && declared.is_ascii_compatible()).then_some(declared)
}

fn dtd() -> Refused {
    let reason = "it holds a document type or an entity definition (<!DOCTYPE, <!ENTITY), which POCT1-A does not use and \
                  which is never expanded";
    Refused::new("dtd", reason)
}

fn not_xml(place: u64) -> Refused {
    Refused::new("not_xml", format!("it is no well-formed XML: damaged near byte {place}"))
}

fn parse(text: &str) -> Result<Element, Refused> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut elements = 0;
    loop {
        let event = reader.read_event().map_err(|_| not_xml(reader.error_position()))?;
        let place = reader.buffer_position();
        match event {
            Event::Start(tag) | Event::Empty(tag) if root.is_some() || elements >= ELEMENTS_MAX => {
                let _ = tag;
                let reason = match root {
                    Some(_) => "it has two roots".to_owned(),
                    None => format!("it has more than {ELEMENTS_MAX} elements"),
                };
                return Err(Refused::new("not_xml", reason));
            }
            Event::Start(tag) => {
                elements += 1;
                if open.len() >= DEPTH_MAX {
                    return Err(Refused::new("too_deep", format!("its elements are nested deeper than {DEPTH_MAX}")));
                }
                open.push(element(&tag, place)?);
            }
            Event::Empty(tag) => {
                elements += 1;
                let element = element(&tag, place)?;
                close(element, &mut open, &mut root);
            }
            Event::End(_) => {
                let element = open.pop().ok_or_else(|| not_xml(place))?;
                close(element, &mut open, &mut root);
            }
            Event::Text(text) => say(&text.xml10_content(), &mut open, place)?,
            Event::CData(text) => say(&text.xml10_content(), &mut open, place)?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|_| not_xml(place))?;
                let named = || quick_xml::escape::resolve_predefined_entity(&reference.xml10_content());
                let text = character.map(String::from).or_else(|| named().map(str::to_owned));
                say(&text.ok_or_else(entity)?, &mut open, place)?;
            }
            Event::DocType(_) => return Err(dtd()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    root.filter(|_| open.is_empty()).ok_or_else(|| not_xml(text.len() as u64))
}

fn entity() -> Refused {
    Refused::new("not_xml", "it uses an entity that XML itself does not have, and none is ever expanded")
}

fn element(tag: &BytesStart<'_>, place: u64) -> Result<Element, Refused> {
    let mut element = Element { name: tag.name().as_ref().to_owned(), ..Element::default() };
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|_| {
            let reason =
                format!("an attribute near byte {place} is not written as name=\"value\", or stands there twice");
            Refused::new("not_xml", reason)
        })?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| entity())?.into_owned();
        match attribute.key.as_ref() {
            "V" => element.value = value,
            "U" => element.unit = value,
            "DN" => element.display = value,
            "SN" => element.system = value,
            _ => {}
        }
    }
    Ok(element)
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

fn say(text: &str, open: &mut [Element], place: u64) -> Result<(), Refused> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(not_xml(place)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &[u8]) -> &'static str {
        read(text, Encoding::Auto).map_or_else(|refused| refused.code, |_| "good")
    }

    #[test]
    fn values_stand_in_v_or_between_the_tags() {
        let text =
            "<A><B V=' 5 ' U='g/dL'/><C V=\"\">x &lt; <!-- -->&#956;<![CDATA[<y>]]></C><D><E V='1&amp;2'/></D></A>";
        let root = read(text.as_bytes(), Encoding::Auto).expect("XML");
        assert_eq!((root.says("B"), root.child("B").map(|b| b.unit.as_str())), ("5", Some("g/dL")));
        assert_eq!(root.says("C"), "x < \u{3bc}<y>");
        assert_eq!((root.find("E"), root.find("F"), root.says("F")), (Some("1&2"), None, ""));
    }

    #[test]
    fn what_is_no_document_of_ours_is_refused() {
        let nested = [b"<a>".repeat(100_000), b"</a>".repeat(100_000)].concat();
        let many = [b"<a>".to_vec(), b"<b/>".repeat(ELEMENTS_MAX), b"</a>".to_vec()].concat();
        for (text, expected) in [
            (&b"<a V=1/>"[..], "not_xml"),
            (b"<a V='1' V='2'/>", "not_xml"),
            (b"<a V='&b;'/>", "not_xml"),
            (b"<a>&b;</a>", "not_xml"),
            (b"<a><b></a>", "not_xml"),
            (b"<a/><b/>", "not_xml"),
            (b"<a/>text", "not_xml"),
            (b"<a>", "not_xml"),
            (b"", "not_xml"),
            (b"<a V='\0'/>", "not_xml"),
            (b"<!DOCTYPE a><a/>", "dtd"),
            (b"<!DOCTYPE a [<!ENTITY b 'c'><!ENTITY d '&b;&b;'>]><a V='&d;'/>", "dtd"),
            (b"<!ENTITY b 'c'><a>&b;</a>", "dtd"),
            (&nested, "too_deep"),
            (&many, "not_xml"),
        ] {
            assert_eq!(code(text), expected, "{:?}", String::from_utf8_lossy(&text[..text.len().min(60)]));
        }
    }

    #[test]
    fn the_declared_encoding_counts_where_it_can() {
        let value = |bytes: &[u8]| read(bytes, Encoding::Auto).expect("XML").value;
        assert_eq!(value(b"<?xml version='1.0' encoding='utf-8'?><a V='\xb5'/>"), "\u{b5}");
        assert_eq!(value("<?xml version='1.0' encoding='utf-8'?><a V='\u{b5}'/>".as_bytes()), "\u{b5}");
        assert_eq!(value(b"<?xml version='1.0' encoding=\"ISO-8859-9\"?><a V='\xde'/>"), "\u{15e}");
        assert_eq!(value(b"\xef\xbb\xbf<a V='1'/>"), "1");
        assert_eq!(read(b"<a V='\x80'/>", Encoding::Windows1252).expect("XML").value, "\u{20ac}");
    }

    #[test]
    fn the_control_id_of_a_damaged_document_is_found() {
        assert_eq!(control_id_in(b"<A><HDR><HDR.control_id V=\"17\" /><x></A>").as_deref(), Some("17"));
        assert_eq!(control_id_in(b"<A><HDR.control_id V='17'").as_deref(), None);
        assert_eq!(control_id_in(b"<A><HDR.control_id V=17/>").as_deref(), None);
        assert_eq!(control_id_in(b"<A><HDR.control_id V='<'/>").as_deref(), None);
    }
}
