//! How exactly a thread's waits end.

/// Short waits of this thread end when they are over, not when it suits the system: Linux takes up to 50 us
/// more, to wake several at once. Elsewhere nothing changes.
pub(crate) fn end_waits_on_time() {
    #[cfg(all(target_os = "linux", not(miri)))]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}
