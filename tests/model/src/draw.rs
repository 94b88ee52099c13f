//! Where programs come from: a seed, or bytes that somebody else has chosen.

/// Numbers that repeat.
#[derive(Debug, Clone, Copy)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }
}

/// What a program is drawn from.
#[derive(Debug)]
pub enum Source<'a> {
    /// Never ends.
    Seed(Random),
    /// Zeros when it has ended.
    Bytes(&'a [u8]),
}

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        match self {
            Source::Seed(random) => random.number() as u8,
            Source::Bytes(bytes) => {
                let Some((first, rest)) = bytes.split_first() else { return 0 };
                *bytes = rest;
                *first
            }
        }
    }

    /// A number below `n`, which is at most 65,536.
    pub fn below(&mut self, n: u64) -> u64 {
        let number = match n {
            0..=1 => return 0,
            2..=256 => u64::from(self.byte()),
            _ => u64::from(self.byte()) << 8 | u64::from(self.byte()),
        };
        number % n
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u64) -> bool {
        // Not 0, which bytes that have ended give for ever.
        self.below(n) == n - 1
    }

    /// Whether bytes that were given are used up.
    pub fn is_empty(&self) -> bool {
        matches!(self, Source::Bytes([]))
    }
}
