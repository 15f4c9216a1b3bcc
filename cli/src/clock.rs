//! The system's clock.

use chrono::{Datelike, Local, Timelike};
use llama2_engine::chat::{DateTime, NO_CLOCK};

/// Local date and time, which chat templates are told.
pub fn now() -> DateTime {
    let now = Local::now();
    let Ok(year) = u16::try_from(now.year()) else {
        return NO_CLOCK;
    };
    DateTime {
        year,
        month: now.month() as u8,
        day: now.day() as u8,
        hour: now.hour() as u8,
        minute: now.minute() as u8,
        second: now.second() as u8,
    }
}
