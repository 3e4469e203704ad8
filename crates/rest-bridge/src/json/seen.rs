//! Which members of an object, or parameters of a query, have been given: each may be given once.

use super::Reader;
use crate::fail::{Fail, Reason, Result};

/// One bit for each field of a message, `N` words of 64.
#[derive(Debug)]
pub struct Seen<const N: usize>([u64; N]);

impl<const N: usize> Default for Seen<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Seen<N> {
    /// Marks field `index`.
    ///
    /// # Errors
    /// The field was marked before.
    pub fn mark(&mut self, index: usize) -> Result<()> {
        let bit = 1_u64 << (index % 64);
        match self.0.get_mut(index / 64) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                Ok(())
            }
            _ => Err(Fail::new(Reason::DuplicateField, "given more than once")),
        }
    }

    /// Marks field `index` and reads its value; `null` leaves it unset.
    ///
    /// # Errors
    /// As [`Self::mark`], and those of `read`.
    pub fn field<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        index: usize,
        read: impl FnOnce(&mut Reader<'a>) -> Result<()>,
    ) -> Result<()> {
        self.mark(index)?;
        if reader.null()? { Ok(()) } else { read(reader) }
    }
}
