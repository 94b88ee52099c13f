//! Bytes taken one after the other, each take checked against what is there.

use super::DecodeError;

/// The rest of a payload, and where in the payload it begins.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// `position` says where `rest` stands in the payload; it is used in errors only.
    pub(super) fn new(rest: &'a [u8], position: usize) -> Self {
        Reader { rest, position }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    #[inline]
    pub(super) fn take(&mut self, count: usize, expected: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                self.position = self.position.saturating_add(count);
                Ok(taken)
            }
            None => Err(self.short(expected, count)),
        }
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                self.position = self.position.saturating_add(N);
                Ok(*taken)
            }
            None => Err(self.short(expected, N)),
        }
    }

    pub(super) fn u8(&mut self, expected: &'static str) -> Result<u8, DecodeError> {
        self.array(expected).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, expected: &'static str) -> Result<usize, DecodeError> {
        self.array(expected).map(|bytes| usize::from(u16::from_le_bytes(bytes)))
    }

    pub(super) fn u32(&mut self, expected: &'static str) -> Result<usize, DecodeError> {
        self.array(expected).map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    /// A count of elements of at least `width` bytes each, of which as many are there.
    #[inline]
    pub(super) fn count(&mut self, width: usize, expected: &'static str) -> Result<usize, DecodeError> {
        let position = self.position;
        let count = self.u32(expected)?;
        if count > self.rest.len().checked_div(width).unwrap_or(0) {
            let left = self.rest.len();
            return Err(malformed(position, expected, format!("{count}, and {left} bytes after it")));
        }
        Ok(count)
    }

    /// The next `count` numbers of `N` bytes.
    pub(super) fn chunks<const N: usize>(
        &mut self,
        count: usize,
        expected: &'static str,
    ) -> Result<&'a [[u8; N]], DecodeError> {
        let bytes = self.take(count.saturating_mul(N), expected)?;
        Ok(bytes.as_chunks::<N>().0)
    }

    /// The next `count` bytes, which must be UTF-8.
    #[inline]
    pub(super) fn utf8(&mut self, count: usize, expected: &'static str) -> Result<Text<'a>, DecodeError> {
        let start = self.position;
        let bytes = self.take(count, expected)?;
        // Most texts are short and ASCII, which is found out faster than UTF-8.
        if !bytes.is_ascii() {
            check_utf8(bytes, start, expected)?;
        }
        Ok(Text(bytes))
    }

    /// A length and as many bytes of UTF-8.
    #[inline]
    pub(super) fn text(&mut self, expected: &'static str) -> Result<Text<'a>, DecodeError> {
        let len = self.count(1, expected)?;
        self.utf8(len, expected)
    }

    #[cold]
    fn short(&self, expected: &'static str, count: usize) -> DecodeError {
        let left = self.rest.len();
        malformed(self.position, expected, format!("{left} bytes where it takes {count}"))
    }
}

/// Bytes that were found to be UTF-8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// To be told so a second time costs little, and the way to spare it is unsafe.
    pub(super) fn as_str(self) -> &'a str {
        std::str::from_utf8(self.0).unwrap_or_default()
    }
}

fn check_utf8(bytes: &[u8], start: usize, expected: &'static str) -> Result<(), DecodeError> {
    let Err(error) = std::str::from_utf8(bytes) else {
        return Ok(());
    };
    let at = error.valid_up_to();
    let found = bytes.get(at).copied().unwrap_or_default();
    let found = format!("byte {found:#04x}, which is not UTF-8 there");
    Err(malformed(start.saturating_add(at), expected, found))
}

#[cold]
pub(super) fn malformed(position: usize, expected: &'static str, found: impl Into<String>) -> DecodeError {
    DecodeError::Malformed { position, expected, found: found.into() }
}
