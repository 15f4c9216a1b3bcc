//! Compiled templates: steps for a machine with a stack.

use alloc::{sync::Arc, vec::Vec};

use crate::{text::Text, value::Value};

/// An instruction. Those that take values take them from the top of the stack, the last one first,
/// and leave their result there. Jumps are relative to the step behind them, so that code can be
/// moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    /// Writes a constant text.
    Write(u32),
    /// Writes a value.
    Print,
    /// A constant.
    Constant(u32),
    /// A variable, by its name's number.
    Load(u32),
    /// Sets a variable of the innermost scope.
    Store(u32),
    /// Sets an attribute of a namespace: the names of both.
    StoreAttribute(u32, u32),
    /// Puts the items of a value onto the stack, the first on top; there must be so many.
    Unpack(u32),
    /// An attribute: `value.name`.
    Attribute(u32),
    /// An item: `value[key]`.
    Item,
    /// A slice: `value[from:to:step]`.
    Slice,
    /// `-value`.
    Negate,
    /// `+value`.
    Plus,
    /// `not value`.
    Not,
    /// An operator between two values.
    Binary(Binary),
    /// A comparison of two values.
    Compare(Comparison),
    /// Comparison within a chain, such as `a < b < c`: if it is true, the right value stays on the
    /// stack and the next comparison follows; otherwise it jumps.
    CompareChain(Comparison, i32),
    /// Strings of so many values, one after the other: `a ~ b`.
    Concatenate(u32),
    /// A list of so many values.
    List(u32),
    /// A tuple of so many values.
    Tuple(u32),
    /// A map of so many keys and values.
    Map(u32),
    /// Goes on elsewhere.
    Jump(i32),
    /// Goes on elsewhere if a value is false.
    JumpIfFalse(i32),
    /// `and`: if the value is false, it is the result and the right side is skipped.
    And(i32),
    /// `or`: if the value is true, it is the result and the right side is skipped.
    Or(i32),
    /// Calls a value with the arguments of a [`Shape`].
    Call(u32),
    /// Calls an attribute of a value: name and [`Shape`].
    CallMethod(u32, u32),
    /// Calls a filter: its place in the table, and [`Shape`].
    Filter(u32, u32),
    /// Calls a test.
    Test(u32, u32),
    /// Fails with a constant's sentence.
    Fail(u32),
    /// Begins a scope for variables.
    BeginScope,
    /// Ends it.
    EndScope,
    /// From here on, what is written is collected.
    BeginCapture,
    /// Ends that: the text is a value.
    EndCapture,
    /// Begins a loop over the items of a value, in a scope; with the variable `loop`, if that name
    /// is given.
    BeginLoop(Option<u32>),
    /// The next item, or the end of the loop is elsewhere.
    NextItem(i32),
    /// Keeps the current item for a later loop, if a value is true.
    KeepItem,
    /// The end of a loop's body: goes back to `NextItem`.
    EndBody(i32),
    /// Leaves scopes and captures within a loop's body, and goes on elsewhere.
    LeaveBody(i32),
    /// Ends a loop. The result is whether its body was never run to its end.
    EndLoop,
    /// Ends a loop. The result is a list of the items that were kept.
    EndFilter,
    /// Makes a macro, whose code begins two steps from here.
    Macro(u32),
    /// Skips the code that sets a parameter, by its name, to its default, if it was given.
    Default(u32, i32),
    /// Ends a macro: what it wrote is the result of its call.
    Return,
}

/// Operators between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

/// An instruction, and the line of the template that it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub op: Op,
    pub line: u32,
}

/// The arguments of a call as they lie on the stack: first those by position, then those by name,
/// then a list (`*list`), then a map (`**map`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub positional: usize,
    pub keywords: Vec<Arc<Text>>,
    pub has_list: bool,
    pub has_map: bool,
}

/// A macro's signature. Its code is where [`Op::Macro`] is.
#[derive(Debug, Default)]
pub(crate) struct Macro {
    pub name: u32,
    pub parameters: Vec<u32>,
    /// Number of parameters that have no default: the first ones.
    pub required: usize,
    /// Names of what its code uses beside them: what `call` passes, and arguments that are left.
    pub caller: Option<u32>,
    pub varargs: Option<u32>,
    pub kwargs: Option<u32>,
}

/// A whole template.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub steps: Vec<Step>,
    pub constants: Vec<Value>,
    /// Names of variables, attributes and methods, by their numbers.
    pub names: Vec<Arc<Text>>,
    pub shapes: Vec<Shape>,
    pub macros: Vec<Macro>,
}
