//! Go's `fmt`: how values print, and `printf`.

mod number;

use serde_json::Value;

use crate::item::{Datum, sorted};
use crate::quote::quote_with;
use crate::text::{Full, Text};

type Result<T> = std::result::Result<T, Full>;

/// The largest width or precision Go takes from a format.
const MAX_NUMBER: usize = 1_000_000;

/// Prints one value as `%v` does.
pub(crate) fn print_value(out: &mut Text, datum: &Datum<'_>) -> Result<()> {
    print_with(out, datum, 'v')
}

/// Prints one value with a plain verb.
pub(crate) fn print_with(out: &mut Text, datum: &Datum<'_>, verb: char) -> Result<()> {
    Printer {
        out,
        flags: Flags::default(),
    }
    .argument(datum, verb)
}

/// Go's `Sprint`: a blank between two values when neither is a string.
pub(crate) fn print(out: &mut Text, data: &[&Datum<'_>]) -> Result<()> {
    let is_text = |datum: &Datum<'_>| matches!(datum, Datum::Text(_));
    for (index, datum) in data.iter().enumerate() {
        if index > 0 && !is_text(datum) && !is_text(data[index - 1]) {
            out.push(" ")?;
        }
        print_value(out, datum)?;
    }
    Ok(())
}

/// Go's `Sprintln`: blanks between all values, and a newline.
pub(crate) fn println(out: &mut Text, data: &[&Datum<'_>]) -> Result<()> {
    for (index, datum) in data.iter().enumerate() {
        if index > 0 {
            out.push(" ")?;
        }
        print_value(out, datum)?;
    }
    out.push("\n")
}

/// Go's `Sprintf`, with its complaints in the output (`%!d(string=x)`, `%!v(MISSING)`).
pub(crate) fn printf(out: &mut Text, format: &str, data: &[&Datum<'_>]) -> Result<()> {
    let mut rest = format;
    let mut cursor = Cursor {
        data,
        next: 0,
        reordered: false,
    };
    while let Some(at) = rest.find('%') {
        out.push(&rest[..at])?;
        rest = directive(out, &rest[at + 1..], &mut cursor)?;
    }
    out.push(rest)?;
    if cursor.reordered || cursor.next >= data.len() {
        return Ok(());
    }
    out.push("%!(EXTRA ")?;
    for (index, datum) in data[cursor.next..].iter().enumerate() {
        if index > 0 {
            out.push(", ")?;
        }
        if !matches!(datum, Datum::Missing) {
            out.push(datum.type_name())?;
            out.push("=")?;
        }
        print_value(out, datum)?;
    }
    out.push(")")
}

/// The arguments of a format, and which is next.
struct Cursor<'d, 'a> {
    data: &'d [&'d Datum<'a>],
    next: usize,
    /// Arguments were named by number: then left-over ones are no mistake.
    reordered: bool,
}

impl<'d, 'a> Cursor<'d, 'a> {
    fn take(&mut self) -> Option<&'d Datum<'a>> {
        let datum = self.data.get(self.next).copied();
        self.next += usize::from(datum.is_some());
        datum
    }

    /// Reads `[n]`; false when it is there and wrong.
    fn index(&mut self, rest: &mut &str) -> bool {
        let Some(inside) = rest.strip_prefix('[') else {
            return true;
        };
        self.reordered = true;
        let Some(end) = inside.find(']') else {
            *rest = inside;
            return false;
        };
        *rest = &inside[end + 1..];
        match inside[..end].parse::<usize>() {
            Ok(number) if (1..=self.data.len()).contains(&number) => {
                self.next = number - 1;
                true
            }
            _ => false,
        }
    }

    /// Takes an argument for `*`.
    fn number(&mut self) -> Option<i64> {
        let limit = i64::try_from(MAX_NUMBER).unwrap_or(i64::MAX);
        match self.take() {
            Some(Datum::Int(value)) if value.abs() <= limit => Some(*value),
            _ => None,
        }
    }
}

/// Writes one directive, which begins after its `%`; returns what follows it.
fn directive<'f>(
    out: &mut Text,
    mut rest: &'f str,
    cursor: &mut Cursor<'_, '_>,
) -> Result<&'f str> {
    let mut flags = Flags::default();
    rest = flags.read(rest);
    let mut good_index = cursor.index(&mut rest);
    if let Some(after) = rest.strip_prefix('*') {
        rest = after;
        match cursor.number() {
            Some(number) => flags.set_width(number),
            None => out.push("%!(BADWIDTH)")?,
        }
    } else {
        flags.width = number(&mut rest);
    }
    if let Some(after) = rest.strip_prefix('.') {
        rest = after;
        good_index &= cursor.index(&mut rest);
        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            match cursor.number().map(usize::try_from) {
                Some(Ok(precision)) => flags.precision = Some(precision),
                // A negative precision is as none at all.
                Some(Err(_)) => {}
                None => out.push("%!(BADPREC)")?,
            }
        } else {
            flags.precision = Some(number(&mut rest).unwrap_or(0));
        }
    }
    good_index &= cursor.index(&mut rest);
    let Some(verb) = rest.chars().next() else {
        out.push("%!(NOVERB)")?;
        return Ok("");
    };
    rest = &rest[verb.len_utf8()..];
    if verb == '%' {
        out.push("%")?;
    } else if !good_index {
        complaint(out, verb, "BADINDEX")?;
    } else if let Some(datum) = cursor.take() {
        if verb == 'v' {
            flags.go_syntax = std::mem::take(&mut flags.sharp);
            // `%+v` asks for field names, which maps have anyway.
            flags.plus = false;
        }
        Printer { out, flags }.argument(datum, verb)?;
    } else {
        complaint(out, verb, "MISSING")?;
    }
    Ok(rest)
}

fn complaint(out: &mut Text, verb: char, what: &str) -> Result<()> {
    out.push("%!")?;
    out.push_char(verb)?;
    out.push(&format!("({what})"))
}

fn number(rest: &mut &str) -> Option<usize> {
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let value = rest[..digits].parse::<usize>().ok();
    *rest = &rest[digits..];
    value.filter(|value| *value <= MAX_NUMBER)
}

/// What stands between `%` and the verb.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%#v`.
    go_syntax: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Flags {
    fn read<'f>(&mut self, format: &'f str) -> &'f str {
        for (at, character) in format.char_indices() {
            match character {
                '#' => self.sharp = true,
                '0' => self.zero = !self.minus,
                '+' => self.plus = true,
                '-' => (self.minus, self.zero) = (true, false),
                ' ' => self.space = true,
                _ => return &format[at..],
            }
        }
        ""
    }

    fn set_width(&mut self, width: i64) {
        if width < 0 {
            (self.minus, self.zero) = (true, false);
        }
        self.width = usize::try_from(width.unsigned_abs()).ok();
    }
}

/// Prints values under one set of flags.
struct Printer<'o> {
    out: &'o mut Text,
    flags: Flags,
}

impl Printer<'_> {
    fn argument(&mut self, datum: &Datum<'_>, verb: char) -> Result<()> {
        match (datum, verb) {
            (_, 'T') => self.text(datum.type_name(), 's'),
            (Datum::Missing, 'v') => self.pad("<nil>"),
            (Datum::Missing, _) => self.bad_verb(datum, verb),
            _ => self.value(datum, verb),
        }
    }

    fn value(&mut self, datum: &Datum<'_>, verb: char) -> Result<()> {
        let fits = match datum {
            Datum::Missing if self.flags.go_syntax => return self.out.push("interface {}(nil)"),
            Datum::Missing => return self.out.push("<nil>"),
            Datum::Bool(_) => matches!(verb, 't' | 'v'),
            Datum::Int(_) | Datum::Uint(_) | Datum::Byte(_) => "vdboOxXcqU".contains(verb),
            Datum::Float(_) => "vgGeEfF".contains(verb),
            Datum::Text(_) => "vsxXq".contains(verb),
            Datum::List(list) => {
                return self.list(datum, list.iter().map(Datum::from), verb);
            }
            Datum::Strings(list) => {
                let texts = list.iter().map(|text| Datum::Text(text.as_str().into()));
                return self.list(datum, texts, verb);
            }
            Datum::Map(map) => return self.map(map, verb),
        };
        if !fits {
            return self.bad_verb(datum, verb);
        }
        match datum {
            Datum::Bool(value) => self.pad(if *value { "true" } else { "false" }),
            Datum::Int(value) => self.integer((*value).into(), verb),
            Datum::Byte(value) if self.flags.go_syntax => self.pad(&format!("{value:#x}")),
            Datum::Byte(value) => self.integer((*value).into(), verb),
            Datum::Uint(value) if self.flags.go_syntax => self.pad(&format!("{value:#x}")),
            Datum::Uint(value) => self.integer((*value).into(), verb),
            Datum::Float(value) => self.float(*value, verb),
            Datum::Text(text) => self.text(text, verb),
            _ => Ok(()),
        }
    }

    fn list<'d>(
        &mut self,
        datum: &Datum<'_>,
        elements: impl Iterator<Item = Datum<'d>>,
        verb: char,
    ) -> Result<()> {
        let (open, separator, close) = if self.flags.go_syntax {
            self.out.push(datum.type_name())?;
            ("{", ", ", "}")
        } else {
            ("[", " ", "]")
        };
        self.out.push(open)?;
        for (index, element) in elements.enumerate() {
            if index > 0 {
                self.out.push(separator)?;
            }
            self.value(&element, verb)?;
        }
        self.out.push(close)
    }

    fn map(&mut self, map: &serde_json::Map<String, Value>, verb: char) -> Result<()> {
        let (open, separator, close) = if self.flags.go_syntax {
            ("map[string]interface {}{", ", ", "}")
        } else {
            ("map[", " ", "]")
        };
        self.out.push(open)?;
        for (index, (key, value)) in sorted(map).into_iter().enumerate() {
            if index > 0 {
                self.out.push(separator)?;
            }
            self.value(&Datum::Text(key.as_str().into()), verb)?;
            self.out.push(":")?;
            self.value(&Datum::from(value), verb)?;
        }
        self.out.push(close)
    }

    /// `%!d(string=x)`: the verb does not fit the value.
    fn bad_verb(&mut self, datum: &Datum<'_>, verb: char) -> Result<()> {
        self.out.push("%!")?;
        self.out.push_char(verb)?;
        if matches!(datum, Datum::Missing) {
            return self.out.push("(<nil>)");
        }
        self.out.push("(")?;
        self.out.push(datum.type_name())?;
        self.out.push("=")?;
        self.value(datum, 'v')?;
        self.out.push(")")
    }

    /// Writes text to the width.
    fn pad(&mut self, text: &str) -> Result<()> {
        let length = text.chars().count();
        let missing = self.flags.width.unwrap_or(0).saturating_sub(length);
        if self.flags.minus {
            self.out.push(text)?;
            return self.out.repeat(' ', missing);
        }
        self.out
            .repeat(if self.flags.zero { '0' } else { ' ' }, missing)?;
        self.out.push(text)
    }

    fn text(&mut self, text: &str, verb: char) -> Result<()> {
        if let 'x' | 'X' = verb {
            return self.hex(text.as_bytes(), verb);
        }
        let end = self
            .flags
            .precision
            .and_then(|precision| text.char_indices().nth(precision));
        let cut = end.map_or(text, |(at, _)| &text[..at]);
        if verb != 'q' && !self.flags.go_syntax {
            return self.pad(cut);
        }
        let can_be_raw = |c: char| c != '`' && c != '\u{feff}' && (c == '\t' || c >= ' ');
        if self.flags.sharp && !cut.contains('\u{7f}') && cut.chars().all(can_be_raw) {
            return self.pad(&format!("`{cut}`"));
        }
        self.pad(&quote_with(cut, '"', self.flags.plus))
    }

    fn hex(&mut self, bytes: &[u8], verb: char) -> Result<()> {
        let bytes = &bytes[..self.flags.precision.unwrap_or(bytes.len()).min(bytes.len())];
        let mut text = Text::new(self.out.limit());
        let prefix = if verb == 'x' { "0x" } else { "0X" };
        for (index, byte) in bytes.iter().enumerate() {
            if self.flags.space && index > 0 {
                text.push(" ")?;
            }
            if self.flags.sharp && (self.flags.space || index == 0) {
                text.push(prefix)?;
            }
            text.push(&if verb == 'x' {
                format!("{byte:02x}")
            } else {
                format!("{byte:02X}")
            })?;
        }
        self.pad(&text.into_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, json: &str, expected: &str) {
        let value: Value = serde_json::from_str(json).unwrap();
        let data: Vec<Datum<'_>> = value.as_array().unwrap().iter().map(Datum::from).collect();
        let data: Vec<&Datum<'_>> = data.iter().collect();
        let mut out = Text::new(1 << 20);
        printf(&mut out, format, &data).unwrap();
        assert_eq!(out.into_string(), expected, "{format} {json}");
    }

    #[test]
    fn complaints_are_part_of_the_output() {
        check("%d", r#"["x"]"#, "%!d(string=x)");
        check("%d %v", "[1]", "1 %!v(MISSING)");
        check(
            "%d",
            r#"[1, "x", null]"#,
            "%!(EXTRA string=x, <nil>)".replace("%!", "1%!").as_str(),
        );
        check("%", "[]", "%!(NOVERB)");
        check("%[3]d", "[1]", "%!d(BADINDEX)");
        check("%*d", r#"["x", 1]"#, "%!(BADWIDTH)1");
        check("%!", "[1]", "%!!(int=1)");
    }

    #[test]
    fn output_is_bounded() {
        let mut out = Text::new(100);
        assert_eq!(printf(&mut out, "%1000d", &[&Datum::Int(1)]), Err(Full));
    }
}
