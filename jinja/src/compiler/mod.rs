//! From a template's source to a [`Program`], in one pass: every function here reads a part of the
//! language and appends its steps. Expressions are in [`expression`].

mod expression;

use alloc::{boxed::Box, collections::BTreeMap, format, string::String, sync::Arc, vec::Vec};

use crate::{
    error::Error,
    lexer::{Lexer, Token},
    limits::SYNTAX_DEPTH,
    program::{Macro, Op, Program, Shape, Step},
    text::{Source, Text},
    value::Value,
};

/// Compiles a template whose line ends are normal.
pub(crate) fn compile(source: &str) -> Parsed<Program> {
    let mut lexer = Lexer::new(source);
    let (token, line) = lexer.read()?;
    let (ahead, ahead_line) = lexer.read()?;
    let mut compiler = Compiler {
        lexer,
        token,
        line,
        ahead,
        ahead_line,
        depth: 0,
        loops: Vec::new(),
        names: BTreeMap::new(),
        program: Program::default(),
    };
    compiler.body(&[])?;
    Ok(compiler.program)
}

/// Result of a function of the compiler. The error is boxed, because it is on the stack for each
/// level of what is nested.
type Parsed<T> = Result<T, Box<Error>>;

struct Compiler<'s> {
    lexer: Lexer<'s>,
    /// The token to be read next, and its line.
    token: Token<'s>,
    line: u32,
    /// The token behind it.
    ahead: Token<'s>,
    ahead_line: u32,
    /// Statements and expressions that we are in.
    depth: usize,
    /// Loops that we are in.
    loops: Vec<LoopCode>,
    names: BTreeMap<&'s str, u32>,
    program: Program,
}

/// A loop that is being compiled.
struct LoopCode {
    /// Place of its [`Op::NextItem`].
    next: usize,
    /// Jumps to its end.
    breaks: Vec<usize>,
}

/// Target of an assignment.
enum Target {
    Name(u32),
    Attribute(u32, u32),
    Tuple(Vec<Target>),
}

impl<'s> Compiler<'s> {
    // Tokens:

    fn fail<T>(&self, message: impl Into<String>) -> Parsed<T> {
        let (line, message) = (self.line, message.into());
        Err(Box::new(Error::Syntax { line, message }))
    }

    /// Reads a token.
    fn read(&mut self) -> Parsed<Token<'s>> {
        let (ahead, line) = self.lexer.read()?;
        self.line = self.ahead_line;
        self.ahead_line = line;
        let token = core::mem::replace(&mut self.ahead, ahead);
        Ok(core::mem::replace(&mut self.token, token))
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        self.token == Token::Symbol(symbol)
    }

    fn is_word(&self, word: &str) -> bool {
        self.token == Token::Name(word)
    }

    /// Reads a symbol if it is next.
    fn accept(&mut self, symbol: &str) -> Parsed<bool> {
        let is_next = self.is_symbol(symbol);
        if is_next {
            self.read()?;
        }
        Ok(is_next)
    }

    /// Reads a word if it is next.
    fn accept_word(&mut self, word: &str) -> Parsed<bool> {
        let is_next = self.is_word(word);
        if is_next {
            self.read()?;
        }
        Ok(is_next)
    }

    fn expect(&mut self, token: Token<'static>) -> Parsed<()> {
        if self.token != token {
            let (wanted, found) = (describe(&token), describe(&self.token));
            return self.fail(format!("expected {wanted}, got {found}"));
        }
        self.read().map(|_| ())
    }

    fn name(&mut self) -> Parsed<&'s str> {
        let Token::Name(name) = self.token else {
            let found = describe(&self.token);
            return self.fail(format!("expected a name, got {found}"));
        };
        self.read()?;
        Ok(name)
    }

    // Steps:

    /// Appends a step and returns its place.
    fn emit(&mut self, op: Op) -> usize {
        let line = self.line;
        self.program.steps.push(Step { op, line });
        self.here() - 1
    }

    /// Place of the next step.
    fn here(&self) -> usize {
        self.program.steps.len()
    }

    /// Makes the jump at `from` one to the next step.
    fn land(&mut self, from: usize) {
        let to = self.here();
        self.aim(from, to);
    }

    /// Makes the jump at `from` one to `to`.
    fn aim(&mut self, from: usize, to: usize) {
        let distance = to as i32 - (from as i32 + 1);
        match &mut self.program.steps[from].op {
            Op::CompareChain(_, jump)
            | Op::Default(_, jump)
            | Op::Jump(jump)
            | Op::JumpIfFalse(jump)
            | Op::And(jump)
            | Op::Or(jump)
            | Op::NextItem(jump)
            | Op::EndBody(jump)
            | Op::LeaveBody(jump) => *jump = distance,
            _ => (),
        }
    }

    /// Takes away the steps from `start` on, to be appended later.
    fn cut(&mut self, start: usize) -> Vec<Step> {
        self.program.steps.split_off(start)
    }

    fn paste(&mut self, steps: Vec<Step>) {
        self.program.steps.extend(steps);
    }

    fn constant(&mut self, value: Value) -> u32 {
        self.program.constants.push(value);
        self.program.constants.len() as u32 - 1
    }

    /// The number of a name.
    fn intern(&mut self, name: &'s str) -> u32 {
        let next = self.program.names.len() as u32;
        let number = *self.names.entry(name).or_insert(next);
        if number == next {
            let name = Text::new(name, Source::TEMPLATE);
            self.program.names.push(Arc::new(name));
        }
        number
    }

    fn shape(&mut self, shape: Shape) -> u32 {
        self.program.shapes.push(shape);
        self.program.shapes.len() as u32 - 1
    }

    /// Goes one level down, if that is not too deep.
    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > SYNTAX_DEPTH {
            let message =
                format!("statements and expressions are nested more than {SYNTAX_DEPTH} deep");
            return Err(Box::new(Error::limit(message).at(self.line)));
        }
        Ok(())
    }

    // Statements:

    /// Reads text and tags up to a block with one of the names, of which the name is read and
    /// returned; or up to the end of the template, if there are no names.
    fn body(&mut self, ends: &[&str]) -> Parsed<&'s str> {
        self.enter()?;
        loop {
            match self.token {
                Token::End if ends.is_empty() => break,
                Token::End => {
                    return self.fail(format!("the template ends where '{}' is missing", ends[0]));
                }
                Token::Data(text) => {
                    let text = self.constant(text.into());
                    self.emit(Op::Write(text));
                    self.read()?;
                }
                Token::VariableBegin => {
                    self.read()?;
                    self.tuple(true)?;
                    self.emit(Op::Print);
                    self.expect(Token::VariableEnd)?;
                }
                _ => {
                    self.expect(Token::BlockBegin)?;
                    let name = self.name()?;
                    if ends.contains(&name) {
                        self.depth -= 1;
                        return Ok(name);
                    }
                    self.statement(name)?;
                    self.expect(Token::BlockEnd)?;
                }
            }
        }
        self.depth -= 1;
        Ok("")
    }

    /// Reads the end of a block's tag, then [`Compiler::body`].
    fn block(&mut self, ends: &[&str]) -> Parsed<&'s str> {
        self.accept(":")?;
        self.expect(Token::BlockEnd)?;
        self.body(ends)
    }

    /// Compiles a block in a scope of its own.
    fn scoped_block(&mut self, ends: &[&str]) -> Parsed<()> {
        self.emit(Op::BeginScope);
        self.block(ends)?;
        self.emit(Op::EndScope);
        Ok(())
    }

    fn statement(&mut self, name: &str) -> Parsed<()> {
        // Called through a pointer, they are not merged into one function: the stack would have to
        // hold the variables of all of them for each level.
        let statement: fn(&mut Self) -> Parsed<()> = match name {
            "if" => Self::if_,
            "for" => Self::for_,
            "set" => Self::set,
            "macro" => Self::macro_,
            "call" => Self::call_block,
            "filter" => Self::filter_block,
            "with" => Self::with,
            "generation" => Self::generation,
            "break" => |this| this.leave(true),
            "continue" => |this| this.leave(false),
            "include" | "import" | "from" | "extends" | "block" => {
                let message = "is not supported: a chat template is one file";
                return self.fail(format!("'{name}' {message}"));
            }
            "autoescape" | "print" => return self.fail(format!("'{name}' is not supported")),
            _ => return self.fail(format!("unknown tag '{name}'")),
        };
        statement(self)
    }

    /// transformers' own: it tells which tokens are an assistant's.
    fn generation(&mut self) -> Parsed<()> {
        self.scoped_block(&["endgeneration"])
    }

    fn if_(&mut self) -> Parsed<()> {
        let mut ends = Vec::new();
        loop {
            self.tuple(false)?;
            let skip = self.emit(Op::JumpIfFalse(0));
            let end = self.block(&["endif", "elif", "else"])?;
            if end != "endif" {
                ends.push(self.emit(Op::Jump(0)));
            }
            self.land(skip);
            match end {
                "elif" => continue,
                "else" => self.block(&["endif"])?,
                _ => "",
            };
            break;
        }
        ends.into_iter().for_each(|end| self.land(end));
        Ok(())
    }

    /// A loop: over the items that its condition keeps, if it has one. Jinja2 asks for the
    /// condition when the item is next; where the body uses `loop`, which knows of items to come,
    /// we ask for all of them before.
    fn for_(&mut self) -> Parsed<()> {
        let target = self.target()?;
        if !self.accept_word("in")? {
            return self.fail("expected 'in'");
        }
        self.tuple(false)?;
        let mut filter = None;
        if self.accept_word("if")? {
            let start = self.here();
            self.expression()?;
            filter = Some(self.cut(start));
        }
        if self.is_word("recursive") {
            return self.fail("recursive loops are not supported");
        }
        let has_loop = self.body_mentions_loop();
        if has_loop && let Some(filter) = filter.take() {
            self.emit(Op::BeginLoop(None));
            let next = self.emit(Op::NextItem(0));
            self.store(&target);
            self.paste(filter);
            self.emit(Op::KeepItem);
            let back = self.emit(Op::EndBody(0));
            self.aim(back, next);
            self.land(next);
            self.emit(Op::EndFilter);
        }
        let variable = has_loop.then(|| self.intern("loop"));
        self.emit(Op::BeginLoop(variable));
        let next = self.emit(Op::NextItem(0));
        self.store(&target);
        if let Some(filter) = filter {
            self.paste(filter);
            self.emit(Op::Not);
            let run = self.emit(Op::JumpIfFalse(0));
            let skip = self.emit(Op::LeaveBody(0));
            self.aim(skip, next);
            self.land(run);
        }
        self.loops.push(LoopCode {
            next,
            breaks: Vec::new(),
        });
        let end = self.block(&["endfor", "else"])?;
        let back = self.emit(Op::EndBody(0));
        self.aim(back, next);
        self.land(next);
        let code = self.loops.pop();
        for leave in code.into_iter().flat_map(|code| code.breaks) {
            self.land(leave);
        }
        self.emit(Op::EndLoop);
        let skip = self.emit(Op::JumpIfFalse(0));
        if end == "else" {
            self.scoped_block(&["endfor"])?;
        }
        self.land(skip);
        Ok(())
    }

    /// Looks ahead to the end of the loop for its variable.
    fn body_mentions_loop(&self) -> bool {
        let mut lexer = self.lexer.clone();
        let mut open = 1;
        let mut before = self.token.clone();
        let mut token = self.ahead.clone();
        while open > 0 && token != Token::End {
            match token {
                Token::Name("loop") => return true,
                Token::Name("for") if before == Token::BlockBegin => open += 1,
                Token::Name("endfor") if before == Token::BlockBegin => open -= 1,
                _ => (),
            }
            before = token;
            token = lexer.read().map_or(Token::End, |(token, _)| token);
        }
        false
    }

    /// `break`, or `continue`.
    fn leave(&mut self, is_break: bool) -> Parsed<()> {
        let leave = self.emit(Op::LeaveBody(0));
        let Some(code) = self.loops.last_mut() else {
            return self.fail("'break' and 'continue' belong in a loop");
        };
        let next = code.next;
        match is_break {
            true => code.breaks.push(leave),
            false => self.aim(leave, next),
        }
        Ok(())
    }

    fn set(&mut self) -> Parsed<()> {
        let target = self.target()?;
        if self.accept("=")? {
            self.tuple(true)?;
        } else {
            let start = self.here();
            self.filters()?;
            let filters = self.cut(start);
            self.emit(Op::BeginCapture);
            self.scoped_block(&["endset"])?;
            self.emit(Op::EndCapture);
            self.paste(filters);
        }
        self.store(&target);
        Ok(())
    }

    fn filter_block(&mut self) -> Parsed<()> {
        let start = self.here();
        self.filter()?;
        self.filters()?;
        let filters = self.cut(start);
        self.emit(Op::BeginCapture);
        self.scoped_block(&["endfilter"])?;
        self.emit(Op::EndCapture);
        self.paste(filters);
        self.emit(Op::Print);
        Ok(())
    }

    fn with(&mut self) -> Parsed<()> {
        let mut targets = Vec::new();
        while self.token != Token::BlockEnd {
            if !targets.is_empty() {
                self.expect(Token::Symbol(","))?;
            }
            targets.push(self.target()?);
            self.expect(Token::Symbol("="))?;
            self.expression()?;
        }
        self.emit(Op::BeginScope);
        targets.iter().rev().for_each(|target| self.store(target));
        self.block(&["endwith"])?;
        self.emit(Op::EndScope);
        Ok(())
    }

    fn macro_(&mut self) -> Parsed<()> {
        let name = self.name()?;
        let name = self.intern(name);
        let (parameters, defaults) = self.signature()?;
        self.closure(name, parameters, defaults, "endmacro")?;
        self.emit(Op::Store(name));
        Ok(())
    }

    /// A call whose body is passed to the macro as `caller`.
    fn call_block(&mut self) -> Parsed<()> {
        let (mut parameters, mut defaults) = (Vec::new(), Vec::new());
        if self.is_symbol("(") {
            (parameters, defaults) = self.signature()?;
        }
        self.expression()?;
        let call = self.program.steps.pop().map(|step| step.op);
        let Some(Op::Call(shape) | Op::CallMethod(_, shape)) = call else {
            return self.fail("'call' needs a call");
        };
        let mut shape = self.program.shapes[shape as usize].clone();
        if shape.has_list || shape.has_map {
            return self.fail("'call' with *arguments is not supported");
        }
        let caller = self.intern("caller");
        self.closure(caller, parameters, defaults, "endcall")?;
        shape
            .keywords
            .push(self.program.names[caller as usize].clone());
        let shape = self.shape(shape);
        self.emit(match call {
            Some(Op::CallMethod(name, _)) => Op::CallMethod(name, shape),
            _ => Op::Call(shape),
        });
        self.emit(Op::Print);
        Ok(())
    }

    /// Reads the parameters of a macro; returns them, and the steps that set those that were not
    /// given to their defaults.
    fn signature(&mut self) -> Parsed<(Vec<u32>, Vec<Step>)> {
        let mut parameters = Vec::new();
        let start = self.here();
        self.expect(Token::Symbol("("))?;
        while !self.is_symbol(")") {
            if !parameters.is_empty() {
                self.expect(Token::Symbol(","))?;
            }
            let name = self.name()?;
            let name = self.intern(name);
            parameters.push(name);
            if self.accept("=")? {
                let given = self.emit(Op::Default(name, 0));
                self.expression()?;
                self.emit(Op::Store(name));
                self.land(given);
            } else if self.here() > start {
                return self.fail("a parameter without a default follows one that has it");
            }
        }
        self.read()?;
        Ok((parameters, self.cut(start)))
    }

    /// Compiles the body of a macro and leaves the macro on the stack.
    fn closure(
        &mut self,
        name: u32,
        parameters: Vec<u32>,
        defaults: Vec<Step>,
        end: &str,
    ) -> Parsed<()> {
        let number = self.program.macros.len();
        self.program.macros.push(Macro::default());
        self.emit(Op::Macro(number as u32));
        let skip = self.emit(Op::Jump(0));
        let start = self.here();
        let with_default = defaults
            .iter()
            .filter(|step| matches!(step.op, Op::Default(..)));
        let required = parameters.len() - with_default.count();
        self.paste(defaults);
        // Loops around it are not its own.
        let loops = core::mem::take(&mut self.loops);
        self.block(&[end])?;
        self.loops = loops;
        self.emit(Op::Return);
        self.land(skip);
        let steps = &self.program.steps[start..];
        let used = |name: &str| {
            let name = *self.names.get(name)?;
            steps
                .iter()
                .any(|step| step.op == Op::Load(name))
                .then_some(name)
        };
        self.program.macros[number] = Macro {
            caller: used("caller").filter(|caller| !parameters.contains(caller)),
            varargs: used("varargs"),
            kwargs: used("kwargs"),
            required,
            name,
            parameters,
        };
        Ok(())
    }

    // Targets of assignments:

    /// Reads what is assigned to: a name, an attribute of a namespace, or several, with commas.
    fn target(&mut self) -> Parsed<Target> {
        let first = self.single_target()?;
        if !self.is_symbol(",") {
            return Ok(first);
        }
        let mut targets = alloc::vec![first];
        while self.accept(",")? {
            if !matches!(self.token, Token::Name(name) if name != "in") && !self.is_symbol("(") {
                break;
            }
            targets.push(self.single_target()?);
        }
        Ok(Target::Tuple(targets))
    }

    fn single_target(&mut self) -> Parsed<Target> {
        if self.accept("(")? {
            self.enter()?;
            let target = self.target()?;
            self.depth -= 1;
            self.expect(Token::Symbol(")"))?;
            return Ok(target);
        }
        let name = self.name()?;
        if ["true", "false", "none", "True", "False", "None", "loop"].contains(&name) {
            return self.fail(format!("'{name}' cannot be assigned to"));
        }
        let name = self.intern(name);
        if !self.accept(".")? {
            return Ok(Target::Name(name));
        }
        let attribute = self.name()?;
        Ok(Target::Attribute(name, self.intern(attribute)))
    }

    /// Assigns the value on the stack.
    fn store(&mut self, target: &Target) {
        match target {
            Target::Name(name) => {
                self.emit(Op::Store(*name));
            }
            Target::Attribute(name, attribute) => {
                self.emit(Op::StoreAttribute(*name, *attribute));
            }
            Target::Tuple(targets) => {
                self.emit(Op::Unpack(targets.len() as u32));
                targets.iter().for_each(|target| self.store(target));
            }
        }
    }
}

/// Says what a token is.
fn describe(token: &Token<'_>) -> String {
    match token {
        Token::Data(_) => "text".into(),
        Token::VariableBegin => "'{{'".into(),
        Token::VariableEnd => "'}}'".into(),
        Token::BlockBegin => "'{%'".into(),
        Token::BlockEnd => "'%}'".into(),
        Token::Name(name) => format!("'{name}'"),
        Token::Text(_) => "a string".into(),
        Token::Int(number) => format!("{number}"),
        Token::Float(number) => format!("{number:?}"),
        Token::Symbol(symbol) => format!("'{symbol}'"),
        Token::End => "the end of the template".into(),
    }
}
