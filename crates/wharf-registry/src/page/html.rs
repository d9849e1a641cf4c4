//! Text into HTML: what is markup is in the program, and all else is escaped.

/// A document that is being written.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup. Only text of the program itself can be given here.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, which may be anybody's.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Would turn the direction of what follows, and so make it read otherwise (CVE-2021-42574).
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.push('\u{fffd}'),
                c if c.is_control() && c != '\n' && c != '\t' => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Adds a link.
    pub(super) fn link(&mut self, to: &str, text: &str) -> &mut Self {
        self.raw("<a href=\"")
            .text(to)
            .raw("\">")
            .text(text)
            .raw("</a>")
    }

    /// Adds text as code.
    pub(super) fn code(&mut self, text: &str) -> &mut Self {
        self.raw("<code>").text(text).raw("</code>")
    }

    /// Adds a row of a list of terms.
    pub(super) fn term(&mut self, term: &'static str, text: &str) -> &mut Self {
        if text.is_empty() {
            return self;
        }
        self.raw("<div><dt>")
            .raw(term)
            .raw("</dt><dd>")
            .text(text)
            .raw("</dd></div>")
    }

    /// Adds a command that can be copied as a whole.
    pub(super) fn command(&mut self, command: &str) -> &mut Self {
        // In the order of the tab key, so that it can be chosen and copied without a mouse.
        self.raw("<pre class=\"command\" tabindex=\"0\"><code>")
            .text(command)
            .raw("</code></pre>")
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Writes a size for people: `12.3 MB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, so that no floating point is needed.
    let mut tenths = u128::from(bytes) * 10 / 1000;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if tenths < 10_000 {
            break;
        }
        tenths /= 1000;
        unit = larger;
    }
    if tenths >= 1000 {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// Writes a number of things.
pub(super) fn count(number: usize, one: &str, more: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (12_345_678, "12.3 MB"),
            (123_456_789, "123 MB"),
            (999_999_999, "999 MB"),
            (1_000_000_000, "1.0 GB"),
            (u64::MAX, "18446 PB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn text_cannot_become_markup(text: String) {
            let mut html = Html::default();
            html.text(&text);
            let html = html.finish();
            let marks = ['<', '>', '"', '\'', '\u{202e}', '\0'];
            proptest::prop_assert!(!html.contains(marks));
        }
    }
}
