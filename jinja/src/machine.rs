//! The machine that runs a [`Program`]: a stack of values, scopes of variables, texts that are
//! being written, and the loops and calls that it is in. All of them are on the heap, so that a
//! template cannot exhaust the processor's stack.

use alloc::{format, sync::Arc, vec::Vec};

use crate::{
    access,
    arguments::Arguments,
    compare::{compare, equal},
    context::Context,
    date::DateTime,
    error::Error,
    filters,
    limits::{CALL_DEPTH, OUTPUT, OVERHEAD, RANGE, VALUE_DEPTH},
    methods, operators, predicates,
    print::{text_of, write_str},
    program::{Op, Program},
    text::Text,
    value::{Closure, Function, Internal, List, ListKind, Object, Value},
};

/// Runs a program and returns what it wrote.
pub(crate) fn run(
    program: &Program,
    variables: &[(&str, Value)],
    now: DateTime,
) -> Result<Text, Error> {
    if let Some((name, _)) = variables
        .iter()
        .find(|(_, value)| value.depth() > VALUE_DEPTH)
    {
        let message = format!("'{name}' has lists and maps more than {VALUE_DEPTH} deep");
        return Err(Error::limit(message));
    }
    let mut machine = Machine {
        program,
        context: Context::new(now),
        at: 0,
        stack: Vec::new(),
        variables: Vec::new(),
        scopes: Vec::new(),
        captures: Vec::from([Text::default()]),
        loops: Vec::new(),
        calls: Vec::new(),
        next_number: 0,
    };
    machine.begin_scope(0);
    for (name, value) in variables {
        let names = program.names.iter();
        let number = names.zip(0..).find(|(known, _)| known.as_str() == *name);
        if let Some((_, number)) = number
            && !value.is_undefined()
        {
            machine.store(number, value.clone());
        }
    }
    machine.begin_scope(0);
    while let Some(step) = program.steps.get(machine.at) {
        machine.at += 1;
        machine.step(step.op).map_err(|error| error.at(step.line))?;
    }
    Ok(machine.captures.pop().unwrap_or_default())
}

struct Machine<'p> {
    program: &'p Program,
    context: Context,
    /// Number of the next step.
    at: usize,
    stack: Vec<Value>,
    /// Variables of all scopes, by their names' numbers.
    variables: Vec<(u32, Value)>,
    scopes: Vec<Scope>,
    /// Texts that are being written, the innermost last.
    captures: Vec<Text>,
    loops: Vec<Loop>,
    calls: Vec<Call>,
    /// Number of the next scope or loop.
    next_number: u32,
}

/// A scope that is open.
struct Scope {
    /// The scope around it in the template. That of a macro's is where it was defined.
    parent: usize,
    /// Place of its first variable.
    start: usize,
    /// No other scope has it, so that a macro knows if its scope is no more.
    number: u32,
}

/// A loop that runs.
struct Loop {
    list: Arc<List>,
    /// Number of the next item.
    next: usize,
    number: u32,
    /// Number of the name `loop`, if its body has that variable.
    variable: Option<u32>,
    /// True if a body was run to its end.
    is_complete: bool,
    /// Items that a condition keeps.
    kept: Vec<Value>,
    /// Scopes and captures there are before its body.
    scopes: usize,
    captures: usize,
    /// Argument of the last call of `changed`.
    changed: Option<Value>,
}

/// A macro's call.
struct Call {
    /// Step to go on with.
    back: usize,
    scopes: usize,
    loops: usize,
}

impl Machine<'_> {
    fn step(&mut self, op: Op) -> Result<(), Error> {
        self.context.budget.work(1)?;
        match op {
            Op::Write(constant) => {
                if let Value::Text(text) = &self.program.constants[constant as usize] {
                    self.write(text)?;
                }
            }
            Op::Print => {
                let value = self.pop();
                self.print(&value)?;
            }
            Op::Constant(constant) => {
                self.stack
                    .push(self.program.constants[constant as usize].clone());
            }
            Op::Load(name) => {
                let value = self.load(name)?;
                self.stack.push(value);
            }
            Op::Store(name) => {
                let value = self.pop();
                self.context.budget.work(self.variables.len() / 16)?;
                self.store(name, value);
            }
            Op::StoreAttribute(name, attribute) => self.store_attribute(name, attribute)?,
            Op::Unpack(count) => self.unpack(count as usize)?,
            Op::Attribute(name) => {
                let value = self.pop();
                let name = &self.program.names[name as usize];
                let value = self.attribute(&value, name)?;
                self.stack.push(value);
            }
            Op::Item => {
                let (value, key) = self.pop_two();
                let item = match &key {
                    Value::Text(name) if is_loop(&value) => self.attribute(&value, name)?,
                    _ => access::item(&value, &key, &mut self.context)?,
                };
                self.stack.push(item);
            }
            Op::Slice => {
                let step = self.pop();
                let (from, to) = self.pop_two();
                let value = self.pop();
                let part = access::slice(&value, [&from, &to, &step], &mut self.context.budget)?;
                self.stack.push(part);
            }
            Op::Negate | Op::Plus => {
                let value = self.pop();
                self.stack
                    .push(operators::signed(&value, op == Op::Negate)?);
            }
            Op::Not => {
                let value = self.pop();
                self.stack.push((!value.is_true()).into());
            }
            Op::Binary(operator) => {
                let (left, right) = self.pop_two();
                let budget = &mut self.context.budget;
                self.stack
                    .push(operators::binary(operator, &left, &right, budget)?);
            }
            Op::Compare(comparison) => {
                let (left, right) = self.pop_two();
                let is_true = compare(comparison, &left, &right, &mut self.context.budget)?;
                self.stack.push(is_true.into());
            }
            Op::CompareChain(comparison, jump) => {
                let (left, right) = self.pop_two();
                if compare(comparison, &left, &right, &mut self.context.budget)? {
                    self.stack.push(right);
                } else {
                    self.stack.push(false.into());
                    self.jump(jump);
                }
            }
            Op::Concatenate(count) => {
                let values = self.pop_many(count as usize);
                let text = operators::concatenate(&values, &mut self.context.budget)?;
                self.stack.push(text);
            }
            Op::List(count) => self.sequence(count as usize, ListKind::List)?,
            Op::Tuple(count) => self.sequence(count as usize, ListKind::Tuple)?,
            Op::Map(count) => {
                let mut items = self.pop_many(2 * count as usize).into_iter();
                let pairs = core::iter::from_fn(|| Some((items.next()?, items.next()?)));
                let map = Value::dictionary(pairs, &mut self.context.budget)?;
                self.stack.push(map);
            }
            Op::Jump(jump) => self.jump(jump),
            Op::JumpIfFalse(jump) => {
                if !self.pop().is_true() {
                    self.jump(jump);
                }
            }
            Op::And(jump) | Op::Or(jump) => {
                let is_true = self.stack.last().is_some_and(Value::is_true);
                if is_true == matches!(op, Op::Or(_)) {
                    self.jump(jump);
                } else {
                    self.pop();
                }
            }
            Op::Call(shape) => {
                let arguments = self.arguments(shape)?;
                let callee = self.pop();
                self.call(callee, arguments)?;
            }
            Op::CallMethod(name, shape) => {
                let arguments = self.arguments(shape)?;
                let value = self.pop();
                let name = &self.program.names[name as usize];
                self.call_method(&value, name, arguments)?;
            }
            Op::Filter(filter, shape) => {
                let arguments = self.arguments(shape)?;
                let value = self.pop();
                let value = filters::call(filter as usize, value, arguments, &mut self.context)?;
                self.stack.push(value);
            }
            Op::Test(test, shape) => {
                let arguments = self.arguments(shape)?;
                let value = self.pop();
                let is_true =
                    predicates::call(test as usize, &value, arguments, &mut self.context)?;
                self.stack.push(is_true.into());
            }
            Op::Fail(constant) => {
                let message = &self.program.constants[constant as usize];
                let message = text_of(message, &mut self.context.budget)?;
                return Err(Error::evaluation(message.as_str()));
            }
            Op::BeginScope => self.begin_scope(self.scopes.len() - 1),
            Op::EndScope => self.end_scopes(self.scopes.len() - 1),
            Op::BeginCapture => self.captures.push(Text::default()),
            Op::EndCapture => self.end_capture()?,
            Op::BeginLoop(variable) => self.begin_loop(variable)?,
            Op::NextItem(jump) => self.next_item(jump),
            Op::KeepItem => {
                let is_kept = self.pop().is_true();
                if let (Some(round), true) = (self.loops.last_mut(), is_kept) {
                    self.context.budget.values(1)?;
                    round.kept.push(round.list.items[round.next - 1].clone());
                }
            }
            Op::EndBody(jump) => {
                if let Some(round) = self.loops.last_mut() {
                    round.is_complete = true;
                }
                self.jump(jump);
            }
            Op::LeaveBody(jump) => {
                if let Some(round) = self.loops.last() {
                    let (scopes, captures) = (round.scopes + 1, round.captures);
                    self.end_scopes(scopes);
                    self.captures.truncate(captures);
                }
                self.jump(jump);
            }
            Op::EndLoop => {
                let round = self.end_loop();
                let is_complete = round.is_some_and(|round| round.is_complete);
                self.stack.push((!is_complete).into());
            }
            Op::EndFilter => {
                let kept = self.end_loop().map(|round| round.kept).unwrap_or_default();
                let budget = &mut self.context.budget;
                self.stack
                    .push(Value::sequence(kept, ListKind::Generator, budget)?);
            }
            Op::Macro(number) => self.make_macro(number as usize)?,
            Op::Default(name, jump) => {
                let start = self.scopes.last().map_or(0, |scope| scope.start);
                self.context.budget.work(self.variables.len() / 16)?;
                if self.variables[start..]
                    .iter()
                    .any(|(known, _)| *known == name)
                {
                    self.jump(jump);
                }
            }
            Op::Return => self.end_call()?,
        }
        Ok(())
    }

    // The stack:

    /// Takes the top of the stack. The compiler sees to it that there is one.
    fn pop(&mut self) -> Value {
        self.stack.pop().unwrap_or(Value::Undefined)
    }

    /// Takes two values, the upper one second.
    fn pop_two(&mut self) -> (Value, Value) {
        let second = self.pop();
        (self.pop(), second)
    }

    fn pop_many(&mut self, count: usize) -> Vec<Value> {
        self.stack.split_off(self.stack.len().saturating_sub(count))
    }

    fn jump(&mut self, distance: i32) {
        self.at = self.at.wrapping_add_signed(distance as isize);
    }

    fn sequence(&mut self, count: usize, kind: ListKind) -> Result<(), Error> {
        let items = self.pop_many(count);
        self.context.budget.work(count)?;
        let list = Value::sequence(items, kind, &mut self.context.budget)?;
        self.stack.push(list);
        Ok(())
    }

    fn unpack(&mut self, count: usize) -> Result<(), Error> {
        let value = self.pop();
        let list = access::iterate(&value, &mut self.context.budget)?;
        if list.items.len() != count {
            let found = list.items.len();
            let message = format!("there are {found} values for {count} names");
            return Err(Error::evaluation(message));
        }
        self.context.budget.work(count)?;
        self.stack.extend(list.items.iter().rev().cloned());
        Ok(())
    }

    // What is written:

    fn write(&mut self, text: &Text) -> Result<(), Error> {
        if let Some(out) = self.captures.last_mut() {
            out.push(text, &mut self.context.budget)?;
        }
        self.check_output()
    }

    fn print(&mut self, value: &Value) -> Result<(), Error> {
        if let Some(out) = self.captures.last_mut() {
            write_str(value, out, &mut self.context.budget)?;
        }
        self.check_output()
    }

    fn check_output(&self) -> Result<(), Error> {
        if self.captures[0].as_str().len() > OUTPUT {
            let most = OUTPUT >> 20;
            let message = format!("the template writes more than {most} MiB");
            return Err(Error::limit(message));
        }
        Ok(())
    }

    fn end_capture(&mut self) -> Result<(), Error> {
        self.context.budget.bytes(OVERHEAD)?;
        let text = self.captures.pop().unwrap_or_default();
        self.stack.push(text.into());
        Ok(())
    }

    // Variables:

    fn begin_scope(&mut self, parent: usize) {
        let number = self.number();
        let start = self.variables.len();
        self.scopes.push(Scope {
            parent,
            start,
            number,
        });
    }

    /// Ends scopes until there are so many.
    fn end_scopes(&mut self, count: usize) {
        if let Some(scope) = self.scopes.get(count) {
            self.variables.truncate(scope.start);
            self.scopes.truncate(count);
        }
    }

    fn number(&mut self) -> u32 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }

    /// Sets a variable in the innermost scope.
    fn store(&mut self, name: u32, value: Value) {
        let start = self.scopes.last().map_or(0, |scope| scope.start);
        let mut known = self.variables[start..].iter_mut();
        match known.find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.variables.push((name, value)),
        }
    }

    /// Finds a variable in the innermost scope and those around it.
    fn find(&self, name: u32) -> Option<&Value> {
        let mut scope = self.scopes.len() - 1;
        loop {
            let end = self
                .scopes
                .get(scope + 1)
                .map_or(self.variables.len(), |next| next.start);
            let variables = &self.variables[self.scopes[scope].start..end];
            let found = variables.iter().find(|(known, _)| *known == name);
            if let Some((_, value)) = found {
                return Some(value);
            }
            if scope == 0 {
                return None;
            }
            scope = self.scopes[scope].parent;
        }
    }

    fn load(&mut self, name: u32) -> Result<Value, Error> {
        self.context.budget.work(self.variables.len() / 16)?;
        if let Some(value) = self.find(name) {
            return Ok(value.clone());
        }
        let name = self.program.names[name as usize].as_str();
        let function = match name {
            "raise_exception" => Function::RaiseException,
            "strftime_now" => Function::StrftimeNow,
            "range" => Function::Range,
            "dict" => Function::Dict,
            "namespace" => Function::Namespace,
            _ => {
                self.context.budget.bytes(OVERHEAD + name.len())?;
                return Ok(Value::absent(format!("'{name}' is undefined")));
            }
        };
        Ok(Object::Function(function).into())
    }

    fn store_attribute(&mut self, name: u32, attribute: u32) -> Result<(), Error> {
        let value = self.pop();
        let object = self.load(name)?;
        let Value::Internal(Internal(Object::Namespace(namespace))) = object else {
            return Err(Error::evaluation(
                "cannot assign attribute on non-namespace object",
            ));
        };
        let name = &self.program.names[attribute as usize];
        let attributes = &mut self.context.namespaces[namespace as usize];
        self.context.budget.work(attributes.len())?;
        match attributes
            .iter_mut()
            .find(|(known, _)| known.as_str() == name.as_str())
        {
            Some((_, old)) => *old = value,
            None => {
                self.context.budget.values(2)?;
                attributes.push((name.clone(), value));
            }
        }
        Ok(())
    }

    // Loops:

    fn begin_loop(&mut self, variable: Option<u32>) -> Result<(), Error> {
        let value = self.pop();
        let list = access::iterate(&value, &mut self.context.budget)?;
        let number = self.number();
        self.loops.push(Loop {
            list,
            next: 0,
            number,
            variable,
            is_complete: false,
            kept: Vec::new(),
            scopes: self.scopes.len(),
            captures: self.captures.len(),
            changed: None,
        });
        self.begin_scope(self.scopes.len() - 1);
        Ok(())
    }

    /// Puts the next item onto the stack, in a scope of its own, or jumps to the end.
    fn next_item(&mut self, jump: i32) {
        let index = self.loops.len() as u32 - 1;
        let round = &mut self.loops[index as usize];
        let Some(item) = round.list.items.get(round.next).cloned() else {
            return self.jump(jump);
        };
        round.next += 1;
        let (scopes, number, variable) = (round.scopes, round.number, round.variable);
        self.end_scopes(scopes);
        self.begin_scope(scopes - 1);
        self.stack.push(item);
        if let Some(name) = variable {
            self.store(name, Object::Loop(index, number).into());
        }
    }

    fn end_loop(&mut self) -> Option<Loop> {
        let round = self.loops.pop()?;
        self.end_scopes(round.scopes);
        Some(round)
    }

    /// An attribute: a loop's, or that of something else.
    fn attribute(&mut self, value: &Value, name: &Arc<Text>) -> Result<Value, Error> {
        let Value::Internal(Internal(Object::Loop(index, number))) = value else {
            return access::attribute(value, name, &mut self.context);
        };
        let round = self.loops.get(*index as usize);
        let Some(round) = round.filter(|round| round.number == *number) else {
            return Err(Error::evaluation("the loop has ended"));
        };
        let (done, count) = (round.next as i64, round.list.items.len() as i64);
        Ok(match name.as_str() {
            "index" => Value::Int(done),
            "index0" => Value::Int(done - 1),
            "revindex" => Value::Int(count - done + 1),
            "revindex0" => Value::Int(count - done),
            "first" => (done == 1).into(),
            "last" => (done == count).into(),
            "length" => Value::Int(count),
            "depth" => Value::Int(1),
            "depth0" => Value::Int(0),
            "previtem" => match round.list.items.get((done - 2) as usize) {
                Some(item) if done > 1 => item.clone(),
                _ => Value::absent("there is no previous item"),
            },
            "nextitem" => match round.list.items.get(done as usize) {
                Some(item) => item.clone(),
                None => Value::absent("there is no next item"),
            },
            _ => return access::attribute(value, name, &mut self.context),
        })
    }

    /// `loop.cycle` and `loop.changed`
    fn call_loop(
        &mut self,
        (index, number): (u32, u32),
        name: &Text,
        mut arguments: Arguments,
    ) -> Result<Value, Error> {
        let budget = &mut self.context.budget;
        let values: Vec<Value> = core::mem::take(&mut arguments.positional).collect();
        arguments.end()?;
        let round = self.loops.get_mut(index as usize);
        let Some(round) = round.filter(|round| round.number == number) else {
            return Err(Error::evaluation("the loop has ended"));
        };
        match name.as_str() {
            "cycle" if !values.is_empty() => {
                let index = round.next.saturating_sub(1);
                Ok(values[index % values.len()].clone())
            }
            "changed" => {
                let values = Value::sequence(values, ListKind::Tuple, budget)?;
                let is_same = match &round.changed {
                    Some(before) => equal(before, &values, budget)?,
                    None => false,
                };
                round.changed = Some(values);
                Ok((!is_same).into())
            }
            name => Err(Error::evaluation(format!(
                "a loop has no function '{name}'"
            ))),
        }
    }

    // Calls:

    /// Takes arguments from the stack.
    fn arguments(&mut self, shape: u32) -> Result<Arguments, Error> {
        let shape = &self.program.shapes[shape as usize];
        let map = shape.has_map.then(|| self.pop());
        let list = shape.has_list.then(|| self.pop());
        let values = self.pop_many(shape.keywords.len());
        let mut keywords: Vec<_> = shape.keywords.iter().cloned().zip(values).collect();
        let mut positional = self.pop_many(shape.positional);
        self.context
            .budget
            .work(positional.len() + keywords.len())?;
        if let Some(list) = list {
            let list = access::iterate(&list, &mut self.context.budget)?;
            self.context.budget.values(list.items.len())?;
            self.context.budget.work(list.items.len())?;
            positional.extend(list.items.iter().cloned());
        }
        match map {
            None => (),
            Some(Value::Map(map)) => {
                self.context.budget.values(2 * map.entries.len())?;
                self.context.budget.work(map.entries.len())?;
                for (name, value) in &map.entries {
                    let Value::Text(name) = name else {
                        return Err(Error::evaluation("names of arguments must be strings"));
                    };
                    keywords.push((name.clone(), value.clone()));
                }
            }
            Some(_) => return Err(Error::evaluation("** needs a map")),
        }
        let positional = positional.into_iter();
        Ok(Arguments {
            positional,
            keywords,
        })
    }

    fn call_method(
        &mut self,
        value: &Value,
        name: &Arc<Text>,
        arguments: Arguments,
    ) -> Result<(), Error> {
        if access::has_method(value, name.as_str()) {
            let result = methods::call(value, name.as_str(), arguments, &mut self.context)?;
            self.stack.push(result);
            return Ok(());
        }
        match value {
            Value::Internal(Internal(Object::Loop(index, number))) => {
                let result = self.call_loop((*index, *number), name, arguments)?;
                self.stack.push(result);
                Ok(())
            }
            _ => {
                let callee = self.attribute(value, name)?;
                self.call(callee, arguments)
            }
        }
    }

    /// Calls a value. The result is on the stack then, or will be when a macro returns.
    fn call(&mut self, callee: Value, arguments: Arguments) -> Result<(), Error> {
        let result = match &callee {
            Value::Internal(Internal(Object::Macro(closure))) => {
                return self.begin_call(**closure, arguments);
            }
            Value::Internal(Internal(Object::Method(method))) => {
                methods::call(&method.0, method.1.as_str(), arguments, &mut self.context)?
            }
            Value::Internal(Internal(Object::Function(function))) => {
                self.call_function(*function, arguments)?
            }
            _ => {
                callee.refuse_undefined()?;
                let message = format!("'{}' object is not callable", callee.type_name());
                return Err(Error::evaluation(message));
            }
        };
        self.stack.push(result);
        Ok(())
    }

    fn call_function(
        &mut self,
        function: Function,
        mut arguments: Arguments,
    ) -> Result<Value, Error> {
        let budget = &mut self.context.budget;
        budget.bytes(OVERHEAD)?;
        let result = match function {
            Function::RaiseException => {
                let message = text_of(&arguments.required("message")?, budget)?;
                arguments.end()?;
                return Err(Error::Raised(message.as_str().into()));
            }
            Function::StrftimeNow => {
                let layout = text_of(&arguments.required("format")?, budget)?;
                self.context.now.strftime(&layout, budget)?.into()
            }
            Function::Range => {
                let first = arguments.int("start", 0)?;
                let (start, stop) = match arguments.positional.as_slice().is_empty() {
                    true => (0, first),
                    false => (first, arguments.int("stop", 0)?),
                };
                let step = arguments.int("step", 1)?;
                self.range(start, stop, step)?
            }
            Function::Dict | Function::Namespace => {
                let pairs = match arguments.positional.next() {
                    Some(Value::Map(map)) => map.entries.clone(),
                    None => Vec::new(),
                    Some(_) => return Err(Error::evaluation("a map is made of a map or of names")),
                };
                budget.values(2 * pairs.len())?;
                let named = core::mem::take(&mut arguments.keywords).into_iter();
                let named = named.map(|(name, value)| (Value::Text(name), value));
                let map = Value::dictionary(pairs.into_iter().chain(named), budget)?;
                match function {
                    Function::Dict => map,
                    _ => self.namespace(&map),
                }
            }
        };
        arguments.end()?;
        Ok(result)
    }

    fn namespace(&mut self, map: &Value) -> Value {
        let Value::Map(map) = map else {
            return Value::None;
        };
        let entries = map.entries.iter();
        let attributes = entries.filter_map(|(name, value)| match name {
            Value::Text(name) => Some((name.clone(), value.clone())),
            _ => None,
        });
        self.context.namespaces.push(attributes.collect());
        Object::Namespace(self.context.namespaces.len() as u32 - 1).into()
    }

    fn range(&mut self, start: i64, stop: i64, step: i64) -> Result<Value, Error> {
        if step == 0 {
            return Err(Error::evaluation("range() arg 3 must not be zero"));
        }
        let distance = match step > 0 {
            true => i128::from(stop) - i128::from(start),
            false => i128::from(start) - i128::from(stop),
        };
        let count = distance
            .max(0)
            .unsigned_abs()
            .div_ceil(step.unsigned_abs().into());
        if count > RANGE as u128 {
            let message = format!(
                "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({RANGE})."
            );
            return Err(Error::evaluation(message));
        }
        self.context.budget.work(count as usize)?;
        let numbers = (0..count as i64).map(|i| Value::Int(start + i * step));
        Value::sequence(numbers.collect(), ListKind::Range, &mut self.context.budget)
    }

    // Macros:

    fn make_macro(&mut self, number: usize) -> Result<(), Error> {
        self.context.budget.bytes(OVERHEAD)?;
        let scope = self.scopes.len() - 1;
        let closure = Closure {
            number,
            start: self.at + 1,
            scope,
            scope_number: self.scopes[scope].number,
        };
        self.stack.push(Object::Macro(Arc::new(closure)).into());
        Ok(())
    }

    fn begin_call(&mut self, closure: Closure, mut arguments: Arguments) -> Result<(), Error> {
        if self.calls.len() >= CALL_DEPTH {
            let message = format!("macros call each other more than {CALL_DEPTH} deep");
            return Err(Error::limit(message));
        }
        let program = self.program;
        let signature = &program.macros[closure.number];
        let name = program.names[signature.name as usize].as_str();
        let scope = self.scopes.get(closure.scope);
        if scope.is_none_or(|scope| scope.number != closure.scope_number) {
            let message = format!("the macro '{name}' is called outside of where it is defined");
            return Err(Error::evaluation(message));
        }
        self.calls.push(Call {
            back: self.at,
            scopes: self.scopes.len(),
            loops: self.loops.len(),
        });
        self.begin_scope(closure.scope);
        self.captures.push(Text::default());
        self.at = closure.start;
        // Each is looked for among the arguments and among those that are set already.
        let count = signature.parameters.len();
        let others = count + arguments.keywords.len();
        self.context.budget.work(count * (1 + others / 16))?;
        self.context.budget.values(2 * count)?;
        for (i, parameter) in signature.parameters.iter().enumerate() {
            let name = program.names[*parameter as usize].as_str();
            match arguments.take(name) {
                Some(value) => self.store(*parameter, value),
                None if i < signature.required => {
                    self.context.budget.bytes(OVERHEAD + name.len())?;
                    let why = format!("parameter '{name}' was not provided");
                    self.store(*parameter, Value::absent(why));
                }
                None => (),
            }
        }
        if let Some(caller) = signature.caller {
            let given = arguments.take_keyword("caller");
            self.store(
                caller,
                given.unwrap_or_else(|| Value::absent("No caller defined")),
            );
        }
        if let Some(varargs) = signature.varargs {
            let rest = core::mem::take(&mut arguments.positional).collect();
            let rest = Value::sequence(rest, ListKind::Tuple, &mut self.context.budget)?;
            self.store(varargs, rest);
        }
        if let Some(kwargs) = signature.kwargs {
            let rest = core::mem::take(&mut arguments.keywords).into_iter();
            let rest = rest.map(|(name, value)| (Value::Text(name), value));
            let rest = Value::dictionary(rest, &mut self.context.budget)?;
            self.store(kwargs, rest);
        }
        arguments.end().map_err(|error| match error {
            Error::Evaluation { line, message } => {
                let message = format!("macro '{name}': {message}");
                Error::Evaluation { line, message }
            }
            error => error,
        })
    }

    fn end_call(&mut self) -> Result<(), Error> {
        if let Some(call) = self.calls.pop() {
            self.end_scopes(call.scopes);
            self.loops.truncate(call.loops);
            self.at = call.back;
        }
        self.end_capture()
    }
}

fn is_loop(value: &Value) -> bool {
    matches!(value, Value::Internal(Internal(Object::Loop(..))))
}
