//! Templates as Jinja2 renders them, and those that must be refused.

mod conversations;
mod data;
mod expressions;
mod jinja2;
mod limits;
mod templates;
