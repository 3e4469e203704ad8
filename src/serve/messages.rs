//! The framing of gRPC messages: five bytes of prefix, a flag and the length of what follows (gRPC over HTTP/2,
//! "Length-Prefixed-Message").

/// Where a body is among its messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Whether messages may be marked as compressed.
    compressed: bool,
    prefix: [u8; 5],
    /// Bytes of the prefix that have come; all of them until the message is complete.
    read: usize,
    /// Bytes of the message that have not.
    left: usize,
    complete: usize,
    malformed: bool,
}

impl Messages {
    /// Of a body whose messages may be compressed, or may not.
    pub(super) fn new(compressed: bool) -> Self {
        Self { compressed, ..Self::default() }
    }

    /// Takes the next bytes.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.read < self.prefix.len() {
                let count = bytes.len().min(self.prefix.len() - self.read);
                self.prefix[self.read..self.read + count].copy_from_slice(&bytes[..count]);
                (self.read, bytes) = (self.read + count, &bytes[count..]);
                self.malformed |= self.prefix[0] > u8::from(self.compressed);
                if self.read < self.prefix.len() {
                    return;
                }
                let [_, length @ ..] = self.prefix;
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            }
            let count = bytes.len().min(self.left);
            (self.left, bytes) = (self.left - count, &bytes[count..]);
            if self.left == 0 {
                (self.read, self.complete) = (0, self.complete + 1);
            }
        }
    }

    /// Whether every message so far has a flag that there is.
    pub(super) fn is_well_formed(&self) -> bool {
        !self.malformed
    }

    /// Bytes that are yet to come of the message that has begun.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Whether no message has begun that is not complete.
    pub(super) fn is_between(&self) -> bool {
        self.read == 0
    }

    /// Whether there was a message, and nothing after the last.
    pub(super) fn is_whole(&self) -> bool {
        self.is_between() && self.complete > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_followed_across_any_cut() {
        let body = [&[0, 0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0, 0], &[0, 0, 0, 1, 0], &[7; 256]].concat();
        let between = |at: usize| [0, 8, 13, 274].contains(&at);
        for step in [1, 2, 5, 7, 300] {
            let (mut messages, mut at) = (Messages::default(), 0);
            for part in body.chunks(step) {
                messages.take(part);
                at += part.len();
                assert_eq!(messages.is_between(), between(at), "step {step}, at {at}");
            }
            assert!(messages.is_whole() && messages.is_well_formed());
        }
    }

    #[test]
    fn only_whole_messages_are_well_formed() {
        let taken = |compressed: bool, bytes: &[u8]| {
            let mut messages = Messages::new(compressed);
            messages.take(bytes);
            messages
        };
        let broken: [&[u8]; 5] = [&[], &[0], &[0, 0, 0, 0, 2, 7], &[0, 0, 0, 0, 0, 0], &[0, 255, 255, 255, 255, 1]];
        for bytes in broken {
            let messages = taken(false, bytes);
            assert!(messages.is_well_formed() && !messages.is_whole(), "{bytes:?}");
        }
        assert!(!taken(false, &[1]).is_well_formed());
        assert!(taken(true, &[1, 0, 0, 0, 0]).is_whole() && taken(true, &[1]).is_well_formed());
        assert!(!taken(true, &[2]).is_well_formed());
        let left: [(&[u8], usize); 4] =
            [(&[0, 0, 0, 1], 0), (&[0, 0, 0, 1, 0], 256), (&[0, 0, 0, 0, 2, 7], 1), (&[0, 0, 0, 0, 1, 7, 0], 0)];
        for (bytes, left) in left {
            assert_eq!(taken(false, bytes).left(), left, "{bytes:?}");
        }
    }
}
