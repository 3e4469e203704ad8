//! A plain list: one CAIP-10 account id or bare address a line; blank lines, and everything from `#` on, do not count.

use std::io::BufRead as _;

use super::ListError;
use super::source::Source;
use super::table::{Location, Table};
use crate::screening::address::Entry;

pub(super) fn read(source: &mut Source, table: &mut Table) -> Result<(), ListError> {
    let mut line = Vec::new();
    loop {
        let number = source.line();
        line.clear();
        if source.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let entry = line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
        if entry.is_empty() {
            continue;
        }
        let malformed = |problem: &str| ListError::Malformed { line: number, problem: problem.to_owned() };
        let entry = std::str::from_utf8(entry).map_err(|_| malformed("not UTF-8"))?;
        table.add(Entry::parse(entry).map_err(malformed)?, Location::Line(number));
    }
}
