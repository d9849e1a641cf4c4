//! Tokens to a syntax tree.

mod number;

use std::collections::BTreeMap;

use crate::ParseError;
use crate::lexer::{self, Keyword, Kind, Token};
use crate::node::{
    Branch, BranchKeyword, Command, List, Node, NodeKind, Operand, OperandKind, Pipe,
};
use crate::quote::{quote, unquote};

/// How deep blocks and parentheses may nest: the parser, the executor and the tree's destructor
/// are recursive, and a template is foreign input.
const MAX_DEPTH: usize = 100;

/// Parses `text` into its named trees; the template itself is the one called `name`.
pub(crate) fn parse(name: &str, text: &str) -> Result<BTreeMap<String, List>> {
    let mut parser = Parser {
        name,
        tokens: lexer::tokens(text),
        at: 0,
        line: 1,
        action_line: None,
        variables: vec!["$".to_owned()],
        range_depth: 0,
        depth: 0,
        trees: BTreeMap::new(),
    };
    parser.template()?;
    Ok(parser.trees)
}

/// What ended a list.
enum Terminator {
    End,
    Else,
    /// `else if` or `else with`, up to and with the keyword.
    ElseBranch(BranchKeyword),
}

impl std::fmt::Display for Terminator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::End => "{{end}}",
            Self::Else | Self::ElseBranch(_) => "{{else}}",
        })
    }
}

enum Parsed {
    Node(Node),
    Terminator(Terminator),
}

struct Parser<'a> {
    name: &'a str,
    tokens: Vec<Token>,
    at: usize,
    /// The line of the last token taken: where Go reports an error.
    line: usize,
    action_line: Option<usize>,
    variables: Vec<String>,
    range_depth: usize,
    depth: usize,
    trees: BTreeMap<String, List>,
}

type Result<T> = std::result::Result<T, ParseError>;

impl Parser<'_> {
    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(ParseError {
            name: self.name.to_owned(),
            line: self.line,
            message: message.into(),
        })
    }

    /// The token after the last repeats for ever, as the lexer's end or error does.
    fn peek(&mut self) -> &Token {
        let token = &self.tokens[self.at.min(self.tokens.len() - 1)];
        self.line = token.line;
        token
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn next_non_space(&mut self) -> Token {
        self.skip_space();
        self.next()
    }

    fn peek_non_space(&mut self) -> &Token {
        self.skip_space();
        self.peek()
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Result<T> {
        if token.kind != Kind::Error {
            return self.error(format!("unexpected {token} in {context}"));
        }
        match self.action_line {
            Some(line) if line != token.line => {
                // Not "action in action".
                let joint = if token.text.ends_with(" action") {
                    ""
                } else {
                    " in action"
                };
                self.error(format!("{token}{joint} started at {}:{line}", self.name))
            }
            _ => self.error(token.text.clone()),
        }
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token> {
        let token = self.next_non_space();
        if token.kind == kind {
            Ok(token)
        } else {
            self.unexpected(&token, context)
        }
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == MAX_DEPTH {
            return self.error(format!("exceeded maximum nesting depth ({MAX_DEPTH})"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn template(&mut self) -> Result<()> {
        let mut list = List::default();
        while self.peek().kind != Kind::End {
            if self.peek().kind == Kind::LeftDelim {
                let delimiter = self.at;
                self.at += 1;
                if self.next_non_space().kind == Kind::Keyword(Keyword::Define) {
                    self.definition()?;
                    continue;
                }
                self.at = delimiter;
            }
            match self.text_or_action()? {
                Parsed::Node(node) => list.0.push(node),
                Parsed::Terminator(found) => return self.error(format!("unexpected {found}")),
            }
        }
        self.add(self.name.to_owned(), list)
    }

    fn definition(&mut self) -> Result<()> {
        const CONTEXT: &str = "define clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        self.expect(Kind::RightDelim, CONTEXT)?;
        let list = self.tree(CONTEXT)?;
        self.add(name, list)
    }

    /// Parses the body of a `define` or `block`, which has variables of its own.
    fn tree(&mut self, context: &str) -> Result<List> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let (list, terminator) = self.list()?;
        if !matches!(terminator, Terminator::End) {
            return self.error(format!("unexpected {terminator} in {context}"));
        }
        self.variables = variables;
        self.range_depth = range_depth;
        Ok(list)
    }

    /// Registers a tree; of two with one name, all but one must be blank.
    fn add(&mut self, name: String, list: List) -> Result<()> {
        match self.trees.get(&name) {
            Some(present) if !present.is_blank() => {
                if list.is_blank() {
                    return Ok(());
                }
                let name = quote(&name);
                self.error(format!("template: multiple definition of template {name}"))
            }
            _ => {
                self.trees.insert(name, list);
                Ok(())
            }
        }
    }

    fn list(&mut self) -> Result<(List, Terminator)> {
        self.nested(|parser| {
            let mut list = List::default();
            while parser.peek_non_space().kind != Kind::End {
                match parser.text_or_action()? {
                    Parsed::Node(node) => list.0.push(node),
                    Parsed::Terminator(terminator) => return Ok((list, terminator)),
                }
            }
            parser.error("unexpected EOF")
        })
    }

    fn text_or_action(&mut self) -> Result<Parsed> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Parsed::Node(Node {
                pos: token.pos,
                kind: NodeKind::Text(token.text),
            })),
            Kind::LeftDelim => {
                self.action_line = Some(token.line);
                let parsed = self.action()?;
                self.action_line = None;
                Ok(parsed)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Result<Parsed> {
        let token = self.next_non_space();
        let Kind::Keyword(keyword) = token.kind else {
            self.at -= 1;
            let pos = self.peek().pos;
            let pipe = self.pipeline("command", Kind::RightDelim)?;
            return Ok(Parsed::Node(Node {
                pos,
                kind: NodeKind::Action(pipe),
            }));
        };
        let node = match keyword {
            Keyword::Block => self.block()?,
            Keyword::Break => self.leave_loop("{{break}}", token.pos, NodeKind::Break)?,
            Keyword::Continue => self.leave_loop("{{continue}}", token.pos, NodeKind::Continue)?,
            Keyword::Else => return self.otherwise().map(Parsed::Terminator),
            Keyword::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Parsed::Terminator(Terminator::End));
            }
            Keyword::If => self.branch(BranchKeyword::If)?,
            Keyword::Range => self.branch(BranchKeyword::Range)?,
            Keyword::With => self.branch(BranchKeyword::With)?,
            Keyword::Template => self.call_template()?,
            Keyword::Define => return self.unexpected(&token, "command"),
        };
        Ok(Parsed::Node(node))
    }

    fn leave_loop(&mut self, name: &str, pos: usize, kind: NodeKind) -> Result<Node> {
        self.expect(Kind::RightDelim, name)?;
        if self.range_depth == 0 {
            return self.error(format!("{name} outside {{{{range}}}}"));
        }
        Ok(Node { pos, kind })
    }

    fn otherwise(&mut self) -> Result<Terminator> {
        let keyword = match self.peek_non_space().kind {
            Kind::Keyword(Keyword::If) => BranchKeyword::If,
            Kind::Keyword(Keyword::With) => BranchKeyword::With,
            _ => {
                self.expect(Kind::RightDelim, "else")?;
                return Ok(Terminator::Else);
            }
        };
        Ok(Terminator::ElseBranch(keyword))
    }

    fn branch(&mut self, keyword: BranchKeyword) -> Result<Node> {
        let variables = self.variables.len();
        let pipe = self.pipeline(keyword.name(), Kind::RightDelim)?;
        let in_range = usize::from(keyword == BranchKeyword::Range);
        self.range_depth += in_range;
        let (list, terminator) = self.list()?;
        self.range_depth -= in_range;
        let otherwise = match terminator {
            Terminator::End => None,
            Terminator::Else => {
                let (list, terminator) = self.list()?;
                if !matches!(terminator, Terminator::End) {
                    return self.error(format!("expected end; found {terminator}"));
                }
                Some(list)
            }
            // `else if` in an `if`, `else with` in a `with`: the one `end` ends both.
            Terminator::ElseBranch(next) if next == keyword => {
                self.next();
                Some(List(vec![self.nested(|parser| parser.branch(next))?]))
            }
            Terminator::ElseBranch(_) => {
                let token = self.next();
                return self.unexpected(&token, "else");
            }
        };
        self.variables.truncate(variables);
        let pos = pipe.pos;
        let branch = Branch {
            keyword,
            pipe,
            list,
            otherwise,
        };
        Ok(Node {
            pos,
            kind: NodeKind::Branch(branch),
        })
    }

    fn block(&mut self) -> Result<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelim)?;
        let list = self.tree(CONTEXT)?;
        self.add(name.clone(), list)?;
        Ok(Node {
            pos: token.pos,
            kind: NodeKind::Template {
                name,
                pipe: Some(pipe),
            },
        })
    }

    fn call_template(&mut self) -> Result<Node> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = if self.peek_non_space().kind == Kind::RightDelim {
            self.next();
            None
        } else {
            Some(self.pipeline(CONTEXT, Kind::RightDelim)?)
        };
        Ok(Node {
            pos: token.pos,
            kind: NodeKind::Template { name, pipe },
        })
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Result<String> {
        match token.kind {
            Kind::String | Kind::RawString => self.unquoted(&token.text),
            _ => self.unexpected(token, context),
        }
    }

    fn unquoted(&self, literal: &str) -> Result<String> {
        match unquote(literal) {
            Some(text) => Ok(text),
            None => self.error("invalid syntax"),
        }
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe> {
        let pos = self.peek_non_space().pos;
        let mut pipe = Pipe {
            pos,
            assigns: false,
            variables: Vec::new(),
            commands: Vec::new(),
        };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.at -= 1;
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        self.check_pipeline(&pipe, context)?;
        Ok(pipe)
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Result<()> {
        if pipe.commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            if let OperandKind::Bool(_)
            | OperandKind::Dot
            | OperandKind::Nil
            | OperandKind::Number(_)
            | OperandKind::String { .. } = command.operands[0].kind
            {
                let stage = index + 1;
                return self.error(format!("non executable command in pipeline stage {stage}"));
            }
        }
        Ok(())
    }

    /// Takes `$x :=`, `$x =` or, in a range, `$i, $x :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<()> {
        while self.peek_non_space().kind == Kind::Variable {
            let before = self.at;
            let variable = self.next();
            let next = self.peek_non_space().clone();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    self.next();
                    pipe.assigns = next.kind == Kind::Assign;
                    pipe.variables.push(variable.text.clone());
                    self.variables.push(variable.text);
                    return Ok(());
                }
                Kind::Char if next.text == "," => {
                    self.next();
                    pipe.variables.push(variable.text.clone());
                    self.variables.push(variable.text);
                    if context != "range" || pipe.variables.len() >= 2 {
                        return self.error(format!("too many declarations in {context}"));
                    }
                    if !matches!(
                        self.peek_non_space().kind,
                        Kind::Variable | Kind::RightDelim | Kind::RightParen
                    ) {
                        return self.error("range can only initialize variables");
                    }
                }
                _ => {
                    self.at = before;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command> {
        let mut command = Command {
            pos: self.peek_non_space().pos,
            operands: Vec::new(),
        };
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                command.operands.push(operand);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => {}
                Kind::RightDelim | Kind::RightParen => {
                    self.at -= 1;
                    break;
                }
                Kind::Pipe => break,
                _ => return self.unexpected(&token, "operand"),
            }
        }
        if command.operands.is_empty() {
            return self.error("empty command");
        }
        Ok(command)
    }

    /// A term and the fields that follow it without a blank.
    fn operand(&mut self) -> Result<Option<Operand>> {
        let Some(mut term) = self.term()? else {
            return Ok(None);
        };
        let first = self.peek();
        if first.kind != Kind::Field {
            return Ok(Some(term));
        }
        // Go reports errors in a chain at the first field after the term.
        let pos = first.pos;
        let mut chained = Vec::new();
        while self.peek().kind == Kind::Field {
            chained.push(self.next().text[1..].to_owned());
        }
        match &mut term.kind {
            OperandKind::Field(fields) | OperandKind::Variable { fields, .. } => {
                fields.extend(chained);
                term.pos = pos;
            }
            OperandKind::Bool(_)
            | OperandKind::String { .. }
            | OperandKind::Number(_)
            | OperandKind::Nil
            | OperandKind::Dot => {
                let shown = quote(&term.to_string());
                return self.error(format!("unexpected . after term {shown}"));
            }
            _ => {
                let kind = OperandKind::Chain {
                    term: Box::new(term),
                    fields: chained,
                };
                term = Operand { pos, kind };
            }
        }
        Ok(Some(term))
    }

    fn term(&mut self) -> Result<Option<Operand>> {
        let token = self.next_non_space();
        let kind = match token.kind {
            Kind::Identifier => {
                if !crate::functions::exists(&token.text) {
                    return self.error(format!("function {} not defined", quote(&token.text)));
                }
                OperandKind::Function(token.text)
            }
            Kind::Dot => OperandKind::Dot,
            Kind::Nil => OperandKind::Nil,
            Kind::Variable => {
                if !self.variables.contains(&token.text) {
                    return self.error(format!("undefined variable {}", quote(&token.text)));
                }
                OperandKind::Variable {
                    name: token.text,
                    fields: Vec::new(),
                }
            }
            Kind::Field => OperandKind::Field(vec![token.text[1..].to_owned()]),
            Kind::Bool => OperandKind::Bool(token.text == "true"),
            Kind::Number => OperandKind::Number(self.number(&token.text)?),
            Kind::CharConstant => OperandKind::Number(self.character(&token.text)?),
            Kind::LeftParen => {
                let pipe = self
                    .nested(|parser| parser.pipeline("parenthesized pipeline", Kind::RightParen))?;
                OperandKind::Pipe(pipe)
            }
            Kind::String | Kind::RawString => {
                let text = self.unquoted(&token.text)?;
                OperandKind::String {
                    quoted: token.text,
                    text,
                }
            }
            _ => {
                self.at -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Operand {
            pos: token.pos,
            kind,
        }))
    }
}
