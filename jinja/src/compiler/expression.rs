//! Expressions, from the weakest operator to the strongest: `a if b else c`, `or`, `and`, `not`,
//! comparisons, `+ -`, `~`, `* / // %`, `**`, signs, filters and tests, calls and subscripts.

use alloc::{format, string::String};

use crate::{
    filters,
    lexer::Token,
    predicates,
    program::{Binary, Comparison, Op, Shape},
    value::Value,
};

use super::{Compiler, Parsed, describe};

/// Levels of operators; [`Compiler::operand`] reads those of a level and of higher ones.
const OR: u8 = 0;
const AND: u8 = 1;
const COMPARISON: u8 = 2;
const SUM: u8 = 3;
const CONCATENATION: u8 = 4;
const PRODUCT: u8 = 5;
const POWER: u8 = 6;

impl Compiler<'_> {
    /// Reads an expression, or several with commas between them as a tuple. `if` follows it in a
    /// loop's head; in a condition, there cannot be another: then `has_condition` is false.
    pub(super) fn tuple(&mut self, has_condition: bool) -> Parsed<()> {
        let mut count = 0;
        loop {
            let is_end = matches!(self.token, Token::VariableEnd | Token::BlockEnd);
            if count > 0 && (is_end || self.is_symbol(")")) {
                break;
            }
            self.expression_with(has_condition)?;
            count += 1;
            if !self.accept(",")? {
                if count == 1 {
                    return Ok(());
                }
                break;
            }
        }
        self.emit(Op::Tuple(count));
        Ok(())
    }

    /// Reads an expression.
    pub(super) fn expression(&mut self) -> Parsed<()> {
        self.expression_with(true)
    }

    fn expression_with(&mut self, has_condition: bool) -> Parsed<()> {
        let (start, depth) = (self.here(), self.depth);
        self.operand(OR)?;
        while has_condition && self.is_word("if") {
            // Each moves all steps before it: as many as there may be levels are no trouble.
            self.enter()?;
            self.condition(start)?;
        }
        self.depth = depth;
        Ok(())
    }

    /// Reads the condition of the expression that begins at `start`, and the other expression. The
    /// condition goes before the first one.
    fn condition(&mut self, start: usize) -> Parsed<()> {
        let line = self.line;
        let mut first = self.cut(start);
        self.read()?;
        self.operand(OR)?;
        let skip = self.emit(Op::JumpIfFalse(0));
        self.program.steps.append(&mut first);
        let end = self.emit(Op::Jump(0));
        self.land(skip);
        if self.accept_word("else")? {
            self.expression()?;
        } else {
            let why = format!(
                "the inline if-expression on line {line} evaluated to false and no else section \
                 was defined."
            );
            let nothing = self.constant(Value::absent(why));
            self.emit(Op::Constant(nothing));
        }
        self.land(end);
        Ok(())
    }

    /// Reads operators of this level and of higher ones.
    fn operand(&mut self, level: u8) -> Parsed<()> {
        self.enter()?;
        let mut negations = 0;
        while level <= COMPARISON && self.accept_word("not")? {
            negations += 1;
        }
        if negations > 0 {
            self.operand(COMPARISON)?;
            for _ in 0..negations {
                self.emit(Op::Not);
            }
        } else {
            self.signed()?;
        }
        while let Some((found, op)) = self.operator()
            && found >= level
        {
            match found {
                COMPARISON => self.comparisons()?,
                CONCATENATION => self.concatenation()?,
                AND | OR => {
                    self.read()?;
                    let skip = self.emit(op);
                    self.operand(found + 1)?;
                    self.land(skip);
                }
                _ => {
                    self.read()?;
                    self.operand(found + 1)?;
                    self.emit(op);
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// The operator that comes next: its level and instruction.
    fn operator(&self) -> Option<(u8, Op)> {
        Some(match self.token {
            Token::Name("or") => (OR, Op::Or(0)),
            Token::Name("and") => (AND, Op::And(0)),
            Token::Symbol("+") => (SUM, Op::Binary(Binary::Add)),
            Token::Symbol("-") => (SUM, Op::Binary(Binary::Subtract)),
            Token::Symbol("~") => (CONCATENATION, Op::Concatenate(0)),
            Token::Symbol("*") => (PRODUCT, Op::Binary(Binary::Multiply)),
            Token::Symbol("/") => (PRODUCT, Op::Binary(Binary::Divide)),
            Token::Symbol("//") => (PRODUCT, Op::Binary(Binary::FloorDivide)),
            Token::Symbol("%") => (PRODUCT, Op::Binary(Binary::Modulo)),
            Token::Symbol("**") => (POWER, Op::Binary(Binary::Power)),
            _ => (COMPARISON, Op::Compare(self.comparison()?)),
        })
    }

    fn comparison(&self) -> Option<Comparison> {
        Some(match self.token {
            Token::Symbol("==") => Comparison::Equal,
            Token::Symbol("!=") => Comparison::NotEqual,
            Token::Symbol("<") => Comparison::Less,
            Token::Symbol("<=") => Comparison::LessOrEqual,
            Token::Symbol(">") => Comparison::Greater,
            Token::Symbol(">=") => Comparison::GreaterOrEqual,
            Token::Name("in") => Comparison::In,
            Token::Name("not") if self.ahead == Token::Name("in") => Comparison::NotIn,
            _ => return None,
        })
    }

    /// Reads a chain of comparisons: `a < b <= c` is `a < b and b <= c`, but for `b`, which is
    /// computed once.
    fn comparisons(&mut self) -> Parsed<()> {
        let start = self.here();
        while let Some(comparison) = self.comparison() {
            self.read()?;
            if comparison == Comparison::NotIn {
                self.read()?;
            }
            self.operand(SUM)?;
            let op = match self.comparison() {
                Some(_) => Op::CompareChain(comparison, 0),
                None => Op::Compare(comparison),
            };
            self.emit(op);
        }
        // Jumps of this chain are those that lead nowhere yet.
        for at in start..self.here() {
            if matches!(self.program.steps[at].op, Op::CompareChain(_, 0)) {
                self.land(at);
            }
        }
        Ok(())
    }

    fn concatenation(&mut self) -> Parsed<()> {
        let mut count = 1;
        while self.accept("~")? {
            self.operand(PRODUCT)?;
            count += 1;
        }
        self.emit(Op::Concatenate(count));
        Ok(())
    }

    /// Reads signs, what they belong to, and filters and tests of that.
    fn signed(&mut self) -> Parsed<()> {
        let mut signs = String::new();
        while self.is_symbol("-") || self.is_symbol("+") {
            signs.push(if self.is_symbol("-") { '-' } else { '+' });
            self.read()?;
        }
        self.primary()?;
        self.postfix()?;
        for sign in signs.chars().rev() {
            self.emit(if sign == '-' { Op::Negate } else { Op::Plus });
        }
        loop {
            if self.is_symbol("|") {
                self.filters()?;
            } else if self.is_word("is") {
                self.test()?;
            } else if self.is_symbol("(") {
                self.call()?;
            } else {
                return Ok(());
            }
        }
    }

    fn primary(&mut self) -> Parsed<()> {
        let value = match &self.token {
            Token::Name("true" | "True") => true.into(),
            Token::Name("false" | "False") => false.into(),
            Token::Name("none" | "None") => Value::None,
            Token::Int(number) => (*number).into(),
            Token::Float(number) => (*number).into(),
            Token::Text(_) => return self.strings(),
            Token::Name(name) if !["not", "and", "or", "is", "in", "if", "else"].contains(name) => {
                let name = self.intern(name);
                self.emit(Op::Load(name));
                return self.read().map(|_| ());
            }
            Token::Symbol("(") => return self.parentheses(),
            Token::Symbol("[") => return self.list(),
            Token::Symbol("{") => return self.map(),
            token => return self.fail(format!("expected an expression, got {}", describe(token))),
        };
        let value = self.constant(value);
        self.emit(Op::Constant(value));
        self.read().map(|_| ())
    }

    /// Reads literal strings: neighbours are one.
    fn strings(&mut self) -> Parsed<()> {
        let mut text = String::new();
        while let Token::Text(part) = &mut self.token {
            text.push_str(part);
            self.read()?;
        }
        let text = self.constant(text[..].into());
        self.emit(Op::Constant(text));
        Ok(())
    }

    fn parentheses(&mut self) -> Parsed<()> {
        self.read()?;
        if self.is_symbol(")") {
            self.emit(Op::Tuple(0));
        } else {
            self.tuple(true)?;
        }
        self.expect(Token::Symbol(")"))
    }

    fn list(&mut self) -> Parsed<()> {
        let mut count = 0;
        self.read()?;
        while !self.is_symbol("]") {
            self.expression()?;
            count += 1;
            if !self.accept(",")? {
                break;
            }
        }
        self.emit(Op::List(count));
        self.expect(Token::Symbol("]"))
    }

    fn map(&mut self) -> Parsed<()> {
        let mut count = 0;
        self.read()?;
        while !self.is_symbol("}") {
            self.expression()?;
            self.expect(Token::Symbol(":"))?;
            self.expression()?;
            count += 1;
            if !self.accept(",")? {
                break;
            }
        }
        self.emit(Op::Map(count));
        self.expect(Token::Symbol("}"))
    }

    /// Reads attributes, items and calls of the value on the stack.
    fn postfix(&mut self) -> Parsed<()> {
        loop {
            if self.accept(".")? {
                self.attribute()?;
            } else if self.is_symbol("[") {
                self.subscript()?;
            } else if self.is_symbol("(") {
                self.call()?;
            } else {
                return Ok(());
            }
        }
    }

    fn attribute(&mut self) -> Parsed<()> {
        if let Token::Int(index) = self.token {
            let index = self.constant(index.into());
            self.emit(Op::Constant(index));
            self.emit(Op::Item);
            return self.read().map(|_| ());
        }
        let name = self.name()?;
        let name = self.intern(name);
        if self.is_symbol("(") {
            let shape = self.arguments()?;
            self.emit(Op::CallMethod(name, shape));
        } else {
            self.emit(Op::Attribute(name));
        }
        Ok(())
    }

    fn subscript(&mut self) -> Parsed<()> {
        self.read()?;
        let mut parts = 0;
        loop {
            let is_part = !self.is_symbol(":") && !self.is_symbol("]");
            if is_part {
                self.expression()?;
            } else {
                self.none();
            }
            parts += 1;
            if parts == 3 || !self.accept(":")? {
                // Nothing between the brackets is no slice.
                if parts == 1 && !is_part {
                    return self.fail("expected an expression, got ']'");
                }
                break;
            }
        }
        if parts == 1 {
            self.emit(Op::Item);
        } else {
            (parts..3).for_each(|_| self.none());
            self.emit(Op::Slice);
        }
        self.expect(Token::Symbol("]"))
    }

    fn none(&mut self) {
        let none = self.constant(Value::None);
        self.emit(Op::Constant(none));
    }

    fn call(&mut self) -> Parsed<()> {
        let shape = self.arguments()?;
        self.emit(Op::Call(shape));
        Ok(())
    }

    /// Reads arguments in parentheses; returns the number of their shape.
    fn arguments(&mut self) -> Parsed<u32> {
        let mut shape = Shape::default();
        self.expect(Token::Symbol("("))?;
        while !self.is_symbol(")") {
            if self.accept("**")? {
                if shape.has_map {
                    return self.fail("there are two ** arguments");
                }
                shape.has_map = true;
            } else if self.accept("*")? {
                if shape.has_list || shape.has_map {
                    return self.fail("a * argument follows one of its kind or a ** argument");
                }
                shape.has_list = true;
            } else if let Token::Name(name) = self.token
                && self.ahead == Token::Symbol("=")
            {
                if shape.has_list || shape.has_map {
                    return self.fail("a named argument follows a * or ** argument");
                }
                self.read()?;
                self.read()?;
                let name = self.intern(name);
                let name = self.program.names[name as usize].clone();
                shape.keywords.push(name);
            } else {
                if shape.has_list || shape.has_map || !shape.keywords.is_empty() {
                    return self.fail("an argument without a name follows one that has it");
                }
                shape.positional += 1;
            }
            self.expression()?;
            if !self.accept(",")? {
                break;
            }
        }
        self.expect(Token::Symbol(")"))?;
        Ok(self.shape(shape))
    }

    /// Reads filters for the value on the stack: `|name(arguments)` any number of times.
    pub(super) fn filters(&mut self) -> Parsed<()> {
        while self.accept("|")? {
            self.filter()?;
        }
        Ok(())
    }

    /// Reads a filter without the bar before it.
    pub(super) fn filter(&mut self) -> Parsed<()> {
        let name = self.name()?;
        let shape = match self.is_symbol("(") {
            true => self.arguments()?,
            false => self.shape(Shape::default()),
        };
        match filters::find(name) {
            Some(filter) => {
                self.emit(Op::Filter(filter as u32, shape));
            }
            None => self.unknown("filter", name),
        }
        Ok(())
    }

    /// Reads a test of the value on the stack, from `is` on.
    fn test(&mut self) -> Parsed<()> {
        self.read()?;
        let is_negated = self.accept_word("not")?;
        let name = self.name()?;
        if self.is_word("is") {
            return self.fail("'is' cannot follow another test without brackets");
        }
        let mut shape = Shape::default();
        let has_argument = match &self.token {
            Token::Name(word) => !["else", "or", "and", "is", "if", "not", "in"].contains(word),
            Token::Text(_) | Token::Int(_) | Token::Float(_) => true,
            Token::Symbol(symbol) => ["[", "{"].contains(symbol),
            _ => false,
        };
        let shape = if self.is_symbol("(") {
            self.arguments()?
        } else {
            if has_argument {
                self.primary()?;
                self.postfix()?;
                shape.positional = 1;
            }
            self.shape(shape)
        };
        match predicates::find(name) {
            Some(test) => {
                self.emit(Op::Test(test as u32, shape));
            }
            None => self.unknown("test", name),
        }
        if is_negated {
            self.emit(Op::Not);
        }
        Ok(())
    }

    /// Reports an unknown filter or test when it is run: a template may ask first whether there is
    /// one.
    fn unknown(&mut self, kind: &str, name: &str) {
        let message = format!("No {kind} named '{name}' found.");
        let message = self.constant(message[..].into());
        self.emit(Op::Fail(message));
    }
}
