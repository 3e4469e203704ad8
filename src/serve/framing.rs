//! What the bytes that a connection sends are, as far as the time for a request's headers needs to know.

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4). Anything that leaves it is HTTP/1, whatever it begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types and a flag (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Follows the bytes that are read.
pub(super) struct Framing(State);

enum State {
    /// So many bytes of the preface have come.
    Preface(usize),
    Http1,
    Http2(Frame),
}

/// The frame that is being read.
#[derive(Default)]
struct Frame {
    head: [u8; 9],
    /// How much of the head has come.
    read: usize,
    /// How much of the payload has not.
    left: usize,
    /// Whether a block of headers goes on in the next frame.
    block: bool,
}

/// What the bytes so far leave to be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The rest of an HTTP/1 head, or of the preface.
    Http1,
    /// Nothing in particular, or the rest of a body: HTTP/2.
    Http2,
    /// The rest of a frame that is no body, or of a block of headers. `again`: not the one that was awaited before.
    Partial { again: bool },
}

impl Framing {
    pub(super) fn new() -> Self {
        Self(State::Preface(0))
    }

    /// Takes what was read.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Awaited {
        if let State::Preface(before) = self.0 {
            let expected = &PREFACE[before..];
            let count = expected.len().min(bytes.len());
            if bytes[..count] != expected[..count] {
                self.0 = State::Http1;
            } else if count < expected.len() {
                self.0 = State::Preface(before + count);
            } else {
                bytes = &bytes[count..];
                self.0 = State::Http2(Frame::default());
            }
        }
        match &mut self.0 {
            State::Preface(_) | State::Http1 => Awaited::Http1,
            State::Http2(frame) => frame.take(bytes),
        }
    }
}

impl Frame {
    fn take(&mut self, mut bytes: &[u8]) -> Awaited {
        let mut again = !self.is_partial();
        while !bytes.is_empty() {
            if self.read < self.head.len() {
                let count = bytes.len().min(self.head.len() - self.read);
                self.head[self.read..self.read + count].copy_from_slice(&bytes[..count]);
                (self.read, bytes) = (self.read + count, &bytes[count..]);
                if self.read < self.head.len() {
                    break;
                }
                self.left = self.head[..3].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            }
            let count = bytes.len().min(self.left);
            (self.left, bytes) = (self.left - count, &bytes[count..]);
            if self.left == 0 {
                self.ends();
                again |= !self.is_partial();
            }
        }
        if self.is_partial() { Awaited::Partial { again } } else { Awaited::Http2 }
    }

    fn ends(&mut self) {
        self.read = 0;
        if matches!(self.head[3], HEADERS | CONTINUATION) {
            self.block = self.head[4] & END_HEADERS == 0;
        }
    }

    /// Whether the peer owes the rest of something that is no body.
    fn is_partial(&self) -> bool {
        let within = self.read > 0 && (self.read < self.head.len() || self.head[3] != DATA);
        self.block || within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame whose payload is so long.
    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        [&[0, 0, length, kind, flags, 0, 0, 0, 1][..], &vec![0; length.into()]].concat()
    }

    fn started() -> Framing {
        let mut framing = Framing::new();
        assert_eq!(framing.read(PREFACE), Awaited::Http2);
        framing
    }

    #[test]
    fn only_the_whole_preface_is_http2() {
        for text in [&b"GET / HTTP/1.1"[..], b"PRI / HTTP/1.1\r\n", b"PRI", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", b"P"] {
            assert_eq!(Framing::new().read(text), Awaited::Http1, "{text:?}");
        }
        let mut split = Framing::new();
        for byte in &PREFACE[..23] {
            assert_eq!(split.read(&[*byte]), Awaited::Http1);
        }
        assert_eq!(split.read(b"\n"), Awaited::Http2);
        let mut late = Framing::new();
        assert_eq!(late.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\nx"), Awaited::Http1);
        assert_eq!(late.read(PREFACE), Awaited::Http1, "HTTP/1 for good");
    }

    #[test]
    fn parts_of_frames_are_awaited() {
        let mut framing = started();
        let whole = frame(HEADERS, END_HEADERS, 5);
        for (at, byte) in whole.iter().enumerate() {
            let awaited = framing.read(&[*byte]);
            let expected = match at {
                0 => Awaited::Partial { again: true },
                13 => Awaited::Http2,
                _ => Awaited::Partial { again: false },
            };
            assert_eq!(awaited, expected, "{at}");
        }
        // One whole and the beginning of another.
        assert_eq!(framing.read(&[&whole[..], &whole[..3]].concat()), Awaited::Partial { again: true });
        assert_eq!(framing.read(&[&whole[3..], &whole[..3]].concat()), Awaited::Partial { again: true });
    }

    #[test]
    fn a_block_of_headers_ends_with_its_last_frame() {
        let mut framing = started();
        assert_eq!(framing.read(&frame(HEADERS, 0, 3)), Awaited::Partial { again: true });
        for _ in 0..3 {
            assert_eq!(framing.read(&frame(CONTINUATION, 0, 1)), Awaited::Partial { again: false });
        }
        assert_eq!(framing.read(&frame(CONTINUATION, END_HEADERS, 1)), Awaited::Http2);
    }

    #[test]
    fn bodies_are_not_headers() {
        let mut framing = started();
        let body = frame(DATA, 0, 200);
        assert_eq!(framing.read(&body[..9]), Awaited::Http2);
        assert_eq!(framing.read(&body[9..100]), Awaited::Http2);
        assert_eq!(framing.read(&[&body[100..], &body[..4]].concat()), Awaited::Partial { again: true });
    }
}
