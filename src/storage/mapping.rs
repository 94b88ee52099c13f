//! Memory that shows a file.

#![allow(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// The first bytes of a file as memory, for as long as anybody holds a piece of it.
///
/// Only the storages of this crate make one; a storage of your own passes on the one it wraps,
/// or none.
#[derive(Clone)]
pub struct Mapping {
    base: *const u8,
    len: usize,
    owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: `base` points into memory that `owner` keeps alive and that is never moved; it is read
// only, through windows whose bytes nobody writes any more.
unsafe impl Send for Mapping {}
// SAFETY: as above; sharing adds nothing, all access is by shared reads.
unsafe impl Sync for Mapping {}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Mapping {
    /// # Safety
    /// `base` must be valid for reads of `len` bytes for as long as `owner` lives.
    pub(super) unsafe fn new(base: *const u8, len: usize, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Mapping { base, len, owner }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes `start..end`, shared and not copied; nothing beyond the end of the mapping.
    ///
    /// The caller vouches that nobody writes these bytes any more: they are committed, and
    /// committed bytes never change.
    pub(crate) fn window(&self, start: usize, end: usize) -> Bytes {
        let end = end.min(self.len);
        if start >= end {
            return Bytes::new();
        }
        // SAFETY: start < end <= len, so the result stays inside the mapping.
        let base = unsafe { self.base.add(start) };
        Bytes::from_owner(Window { base, len: end - start, _owner: Arc::clone(&self.owner) })
    }
}

/// Tells the processor that these bytes will be read in a moment, where there is a way to.
#[inline]
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    for line in 0..bytes.len().div_ceil(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing and never fails.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(line * 64).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = bytes;
}

struct Window {
    base: *const u8,
    len: usize,
    _owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: as for `Mapping`.
unsafe impl Send for Window {}
// SAFETY: as for `Mapping`.
unsafe impl Sync for Window {}

impl AsRef<[u8]> for Window {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: inside the mapping (see `window`), alive with `_owner`, and written by nobody.
        unsafe { std::slice::from_raw_parts(self.base, self.len) }
    }
}
