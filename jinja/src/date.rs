//! Dates as templates write them.

use alloc::format;

use crate::{
    error::Error,
    limits::Budget,
    text::{Source, Text},
};

const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A moment by a clock on the wall, of no particular time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// Year, such as 2024.
    pub year: u16,
    /// Month, from 1 to 12.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
    /// Hour, from 0 to 23.
    pub hour: u8,
    /// Minute, from 0 to 59.
    pub minute: u8,
    /// Second, from 0 to 59.
    pub second: u8,
}

impl DateTime {
    /// Day of the week, from 0 for Sunday.
    fn weekday(self) -> usize {
        // Days since a Sunday: 365 a year and the leap days before it, then those in this year.
        let before = usize::from(self.year).saturating_sub(1);
        let leaps = before / 4 - before / 100 + before / 400;
        (before + leaps + self.day_of_year()) % 7
    }

    /// Day of the year, from 1.
    fn day_of_year(self) -> usize {
        let is_leap = self.year.is_multiple_of(4) && !self.year.is_multiple_of(100)
            || self.year.is_multiple_of(400);
        let february = 28 + usize::from(is_leap);
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let months = usize::from(self.month).clamp(1, 12) - 1;
        lengths[..months].iter().sum::<usize>() + usize::from(self.day)
    }

    /// Writes the date in C's `strftime` format, in English. Directives that are not known are
    /// left as they are.
    pub(crate) fn strftime(self, layout: &Text, budget: &mut Budget) -> Result<Text, Error> {
        let mut out = Text::default();
        let mut chars = layout.chars().peekable();
        while let Some((source, c)) = chars.next() {
            let mut buffer = [0; 4];
            if c != '%' {
                out.push_str(c.encode_utf8(&mut buffer), source, budget)?;
                continue;
            }
            let is_plain = chars.next_if(|(_, c)| *c == '-').is_some();
            let directive = chars.next().map_or('%', |(_, c)| c);
            self.directive(directive, is_plain, &mut out, budget)?;
        }
        Ok(out)
    }

    /// Writes one directive, `is_plain` without leading zeros.
    fn directive(
        self,
        directive: char,
        is_plain: bool,
        out: &mut Text,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let weekday = self.weekday();
        let day_name = WEEKDAYS[weekday];
        let month_name = MONTHS[usize::from(self.month).clamp(1, 12) - 1];
        let number = |number: usize, width: usize| match is_plain {
            true => format!("{number}"),
            false => format!("{number:0width$}"),
        };
        let two = |value: u8| number(value.into(), 2);
        let whole =
            |layout: &str| self.strftime(&Text::new(layout, Source::TEMPLATE), &mut Budget::new());
        let hour = match self.hour % 12 {
            0 => 12,
            hour => hour,
        };
        let week = |first: usize| (self.day_of_year() + 6 - (weekday + 7 - first) % 7) / 7;
        let words = match directive {
            'Y' => number(self.year.into(), 4),
            'C' => number(usize::from(self.year) / 100, 2),
            'y' => number(usize::from(self.year) % 100, 2),
            'm' => two(self.month),
            'd' => two(self.day),
            'e' if is_plain => format!("{}", self.day),
            'e' => format!("{:2}", self.day),
            'H' => two(self.hour),
            'I' => two(hour),
            'M' => two(self.minute),
            'S' => two(self.second),
            'f' => "000000".into(),
            'p' => (if self.hour < 12 { "AM" } else { "PM" }).into(),
            'A' => day_name.into(),
            'a' => day_name[..3].into(),
            'B' => month_name.into(),
            'b' | 'h' => month_name[..3].into(),
            'w' => format!("{weekday}"),
            'u' => format!("{}", (weekday + 6) % 7 + 1),
            'j' => number(self.day_of_year(), 3),
            'U' => number(week(0), 2),
            'W' => number(week(1), 2),
            'c' => whole("%a %b %e %H:%M:%S %Y")?.as_str().into(),
            'D' | 'x' => whole("%m/%d/%y")?.as_str().into(),
            'F' => whole("%Y-%m-%d")?.as_str().into(),
            'R' => whole("%H:%M")?.as_str().into(),
            'T' | 'X' => whole("%H:%M:%S")?.as_str().into(),
            'z' | 'Z' => "".into(),
            'n' => "\n".into(),
            't' => "\t".into(),
            '%' => "%".into(),
            _ => format!("%{directive}"),
        };
        out.push_str(&words, Source::TEMPLATE, budget)
    }
}
