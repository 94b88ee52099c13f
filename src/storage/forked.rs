//! Whether this is still the process that made something, at the cost of a load: `getpid` is a system
//! call, and this is asked at every commit.

#![allow(unsafe_code)]

use memmap2::MmapMut;

/// A page that the system empties in a forked child, where it can; elsewhere the process's id is compared.
#[derive(Debug)]
pub(super) struct Birthplace {
    pid: u32,
    page: Option<MmapMut>,
}

impl Birthplace {
    pub(super) fn here() -> Self {
        Birthplace { pid: std::process::id(), page: marked() }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn is_here(&self) -> bool {
        match &self.page {
            // SAFETY: the first byte of a page of our own. The system may have emptied it behind our back,
            // hence volatile.
            Some(page) => unsafe { page.as_ptr().read_volatile() == MARK },
            None => std::process::id() == self.pid,
        }
    }
}

const MARK: u8 = 1;

#[cfg(target_os = "linux")]
fn marked() -> Option<MmapMut> {
    let mut page = MmapMut::map_anon(1).ok()?;
    // SAFETY: the page is ours and nobody else looks at it.
    unsafe { rustix::mm::madvise(page.as_mut_ptr().cast(), page.len(), rustix::mm::Advice::LinuxWipeOnFork) }
        .ok()?;
    *page.first_mut()? = MARK;
    Some(page)
}

#[cfg(not(target_os = "linux"))]
fn marked() -> Option<MmapMut> {
    None
}
