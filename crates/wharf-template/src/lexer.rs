//! Text to tokens.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A lexical error; the token's text is the message.
    Error,
    Bool,
    /// A printable ASCII character that means nothing by itself, such as a comma.
    Char,
    CharConstant,
    Assign,
    Declare,
    End,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Dot,
    Nil,
    Keyword(Keyword),
}

/// The reserved words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

/// A token, with its place in the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) pos: usize,
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::End => f.write_str("EOF"),
            Kind::Error => f.write_str(&self.text),
            Kind::Keyword(_) | Kind::Nil | Kind::Dot => write!(f, "<{}>", self.text),
            _ if self.text.len() > 10 => {
                let cut = self
                    .text
                    .char_indices()
                    .nth(10)
                    .map_or(self.text.len(), |(at, _)| at);
                write!(f, "{}...", crate::quote::quote(&self.text[..cut]))
            }
            _ => f.write_str(&crate::quote::quote(&self.text)),
        }
    }
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

fn keyword(word: &str) -> Option<Kind> {
    Some(Kind::Keyword(match word {
        "block" => Keyword::Block,
        "break" => Keyword::Break,
        "continue" => Keyword::Continue,
        "define" => Keyword::Define,
        "else" => Keyword::Else,
        "end" => Keyword::End,
        "if" => Keyword::If,
        "range" => Keyword::Range,
        "template" => Keyword::Template,
        "with" => Keyword::With,
        "nil" => return Some(Kind::Nil),
        "true" | "false" => return Some(Kind::Bool),
        _ => return None,
    }))
}

/// `%#U`: the code point, and the character itself where it can be shown.
fn unicode(character: Option<char>) -> String {
    match character {
        None => "U+FFFFFFFFFFFFFFFF".to_owned(),
        Some(c) if crate::quote::is_printable(c) => format!("U+{:04X} '{c}'", u32::from(c)),
        Some(c) => format!("U+{:04X}", u32::from(c)),
    }
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// Splits a whole template into tokens; the last is `End` or `Error`.
pub(crate) fn tokens(input: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        input,
        start: 0,
        pos: 0,
        parens: 0,
        line: 1,
        tokens: Vec::new(),
    };
    // An error is already the last token: there is nothing more to say about it here.
    if lexer.text().is_ok() {
        lexer.emit(Kind::End);
    }
    lexer.tokens
}

/// Scanning has ended with an error token.
struct Stopped;

struct Lexer<'a> {
    input: &'a str,
    start: usize,
    pos: usize,
    parens: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.input[self.pos..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.pos += character.len_utf8();
        Some(character)
    }

    fn accept(&mut self, valid: &str) -> bool {
        let accepted = self.peek().is_some_and(|c| valid.contains(c));
        if accepted {
            self.pos += 1;
        }
        accepted
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn ignore(&mut self) {
        let skipped = &self.input[self.start..self.pos];
        self.line += skipped.matches('\n').count();
        self.start = self.pos;
    }

    fn emit(&mut self, kind: Kind) {
        let text = self.input[self.start..self.pos].to_owned();
        self.tokens.push(Token {
            kind,
            pos: self.start,
            line: self.line,
            text,
        });
        self.ignore();
    }

    fn error(&mut self, message: String) -> Stopped {
        self.tokens.push(Token {
            kind: Kind::Error,
            pos: self.start,
            line: self.line,
            text: message,
        });
        Stopped
    }

    /// Scans to the end of input, action by action.
    fn text(&mut self) -> Result<(), Stopped> {
        while let Some(offset) = self.rest().find(LEFT) {
            let delimiter = self.pos + offset;
            let text = &self.input[self.start..delimiter];
            let trim = starts_with_trim(&self.input[delimiter + LEFT.len()..]);
            let kept = if trim {
                text.trim_end_matches(SPACES)
            } else {
                text
            };
            self.pos = self.start + kept.len();
            if self.pos > self.start {
                self.emit(Kind::Text);
            }
            self.pos = delimiter;
            self.ignore();
            self.left_delimiter(trim)?;
        }
        self.pos = self.input.len();
        if self.pos > self.start {
            self.emit(Kind::Text);
        }
        Ok(())
    }

    fn left_delimiter(&mut self, trim: bool) -> Result<(), Stopped> {
        self.pos += LEFT.len();
        let marker = if trim { 2 } else { 0 };
        if self.rest()[marker..].starts_with("/*") {
            self.pos += marker;
            self.ignore();
            return self.comment();
        }
        self.emit(Kind::LeftDelim);
        self.pos += marker;
        self.ignore();
        self.parens = 0;
        while !self.inside_action()? {}
        Ok(())
    }

    fn comment(&mut self) -> Result<(), Stopped> {
        self.pos += 2;
        let Some(end) = self.rest().find("*/") else {
            return Err(self.error("unclosed comment".to_owned()));
        };
        self.pos += end + 2;
        let Some(trim) = self.at_right_delimiter() else {
            return Err(self.error("comment ends before closing delimiter".to_owned()));
        };
        self.after_right_delimiter(trim, None);
        Ok(())
    }

    /// Says whether an action ends here, and if so whether it trims.
    fn at_right_delimiter(&self) -> Option<bool> {
        let rest = self.rest();
        if rest.starts_with(RIGHT) {
            return Some(false);
        }
        let after = rest.strip_prefix(SPACES)?.strip_prefix('-')?;
        after.starts_with(RIGHT).then_some(true)
    }

    fn after_right_delimiter(&mut self, trim: bool, kind: Option<Kind>) {
        if trim {
            self.pos += 2;
            self.ignore();
        }
        self.pos += RIGHT.len();
        if let Some(kind) = kind {
            self.emit(kind);
        }
        if trim {
            let rest = self.rest();
            self.pos += rest.len() - rest.trim_start_matches(SPACES).len();
        }
        self.ignore();
    }

    /// Scans one token of an action; true at its end.
    fn inside_action(&mut self) -> Result<bool, Stopped> {
        if let Some(trim) = self.at_right_delimiter() {
            if self.parens > 0 {
                return Err(self.error("unclosed left paren".to_owned()));
            }
            self.after_right_delimiter(trim, Some(Kind::RightDelim));
            return Ok(true);
        }
        let Some(character) = self.next() else {
            return Err(self.error("unclosed action".to_owned()));
        };
        match character {
            c if SPACES.contains(&c) => self.space(),
            '=' => self.emit(Kind::Assign),
            ':' if self.next() == Some('=') => self.emit(Kind::Declare),
            ':' => return Err(self.error("expected :=".to_owned())),
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', "unterminated quoted string", Kind::String)?,
            '\'' => self.quoted('\'', "unterminated character constant", Kind::CharConstant)?,
            '`' => self.raw_quoted()?,
            '$' => self.field_or_variable(Kind::Variable, Kind::Variable)?,
            '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) && self.peek().is_some() => {
                self.field_or_variable(Kind::Field, Kind::Dot)?;
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.pos = self.start;
                self.number()?;
            }
            c if is_word(c) => self.identifier()?,
            '(' => {
                self.emit(Kind::LeftParen);
                self.parens += 1;
            }
            ')' => {
                self.emit(Kind::RightParen);
                let Some(parens) = self.parens.checked_sub(1) else {
                    return Err(self.error("unexpected right paren U+0029 ')'".to_owned()));
                };
                self.parens = parens;
            }
            c if c.is_ascii_graphic() => self.emit(Kind::Char),
            c => {
                let shown = unicode(Some(c));
                return Err(self.error(format!("unrecognized character in action: {shown}")));
            }
        }
        Ok(false)
    }

    /// Scans blanks, but leaves the one that begins ` -}}`.
    fn space(&mut self) {
        loop {
            self.pos -= 1;
            let closes = self.at_right_delimiter() == Some(true);
            if closes {
                break;
            }
            self.pos += 1;
            if !self.peek().is_some_and(|c| SPACES.contains(&c)) {
                break;
            }
            self.pos += 1;
        }
        if self.pos > self.start {
            self.emit(Kind::Space);
        }
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(_) => self.rest().starts_with(RIGHT),
        }
    }

    fn word(&mut self) -> Result<(), Stopped> {
        while self.peek().is_some_and(is_word) {
            self.next();
        }
        if self.at_terminator() {
            return Ok(());
        }
        let shown = unicode(self.peek());
        Err(self.error(format!("bad character {shown}")))
    }

    fn identifier(&mut self) -> Result<(), Stopped> {
        self.word()?;
        let kind = keyword(&self.input[self.start..self.pos]).unwrap_or(Kind::Identifier);
        self.emit(kind);
        Ok(())
    }

    fn field_or_variable(&mut self, named: Kind, bare: Kind) -> Result<(), Stopped> {
        if self.at_terminator() {
            self.emit(bare);
            return Ok(());
        }
        self.word()?;
        self.emit(named);
        Ok(())
    }

    fn quoted(&mut self, end: char, unclosed: &str, kind: Kind) -> Result<(), Stopped> {
        loop {
            let mut character = self.next();
            let escaped = character == Some('\\');
            if escaped {
                character = self.next();
            }
            match character {
                None | Some('\n') => return Err(self.error(unclosed.to_owned())),
                Some(c) if c == end && !escaped => break,
                Some(_) => {}
            }
        }
        self.emit(kind);
        Ok(())
    }

    fn raw_quoted(&mut self) -> Result<(), Stopped> {
        let Some(end) = self.rest().find('`') else {
            self.pos = self.input.len();
            return Err(self.error("unterminated raw quoted string".to_owned()));
        };
        self.pos += end + 1;
        self.emit(Kind::RawString);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Stopped> {
        if self.scan_number() && !matches!(self.peek(), Some('+' | '-')) {
            self.emit(Kind::Number);
            return Ok(());
        }
        let shown = crate::quote::quote(&self.input[self.start..self.pos]);
        Err(self.error(format!("bad number syntax: {shown}")))
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        let mut exponent = "eE";
        if self.accept("0") {
            if self.accept("xX") {
                (digits, exponent) = ("0123456789abcdefABCDEF_", "pP");
            } else if self.accept("oO") {
                (digits, exponent) = ("01234567_", "");
            } else if self.accept("bB") {
                (digits, exponent) = ("01_", "");
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_word) {
            self.next();
            return false;
        }
        true
    }
}

fn starts_with_trim(text: &str) -> bool {
    text.strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(SPACES))
}
