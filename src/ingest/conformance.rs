//! The contract as a suite that every backend must pass: each check is named for its promise.
//!
//! `conformance_tests!` takes an expression that makes a fresh, empty backend:
//!
//! ```
//! use std::sync::Arc;
//! use stratalog::ingest::conformance::Backend;
//! use stratalog::ingest::{Ingest, LocalIngest};
//!
//! struct Ephemeral(Arc<LocalIngest>);
//!
//! impl Backend for Ephemeral {
//!     fn ingest(&self) -> Arc<dyn Ingest> {
//!         Arc::clone(&self.0) as Arc<dyn Ingest>
//!     }
//! }
//!
//! fn fresh() -> Ephemeral {
//!     Ephemeral(Arc::new(LocalIngest::ephemeral().unwrap()))
//! }
//!
//! mod ephemeral {
//!     stratalog::conformance_tests!(super::fresh()); // one #[test] per promise
//! }
//! # fn main() {}
//! ```
//!
//! A check says what was expected and what was found, and gives up after a minute: a deadlock fails.
//! The checks speak to the backend through the traits alone.

mod batches;
mod callbacks;
mod conditions;
mod cursors;
mod ensure;
mod failures;
mod hand_over;
mod inline;
mod lifetime;
mod numbers;
mod purges;
mod records;
mod retries;
mod samples;
mod seen;
mod subscriptions;

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::contract::Ingest;
use crate::error;

/// A check that takes longer than this has hung.
const LONGEST_CHECK: Duration = Duration::from_secs(60);

/// One backend under test, empty when it is made.
pub trait Backend: Send {
    /// The backend as it is open now.
    fn ingest(&self) -> Arc<dyn Ingest>;

    /// Closes it and opens again what it has stored; `None` if this form forgets. By default it does.
    ///
    /// # Errors
    /// What kept it from closing or opening.
    fn restart(&mut self) -> error::Result<Option<Arc<dyn Ingest>>> {
        Ok(None)
    }
}

type Checked = Result<(), Box<dyn Error + Send + Sync>>;

/// One promise of the contract.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    name: &'static str,
    check: fn(&mut dyn Backend) -> Checked,
}

impl Promise {
    /// The promise, as a name for a test.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the backend keeps it.
    ///
    /// # Errors
    /// What was expected and what was found, in words.
    pub fn check(&self, backend: impl Backend + 'static) -> Result<(), String> {
        let (tell, told) = mpsc::channel();
        let check = self.check;
        let run = move || {
            let mut backend = backend;
            let checked = check(&mut backend).map_err(|broken| broken.to_string());
            let _ = tell.send(checked);
        };
        // Left behind if it hangs: there is no way to end it.
        let thread = thread::Builder::new().name(self.name.to_owned()).spawn(run);
        thread.map_err(|error| format!("{}: no thread to run it: {error}", self.name))?;
        match told.recv_timeout(LONGEST_CHECK) {
            Ok(checked) => checked.map_err(|broken| format!("{}: {broken}", self.name)),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err(format!("{}: expected an end within {LONGEST_CHECK:?}, found none", self.name))
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(format!("{}: it panicked", self.name)),
        }
    }
}

/// The promise of that name, for the tests that `conformance_tests!` makes.
///
/// # Errors
/// As [`Promise::check`], and if there is no such promise.
pub fn check(name: &str, backend: impl Backend + 'static) -> Result<(), String> {
    match PROMISES.iter().find(|promise| promise.name == name) {
        Some(promise) => promise.check(backend),
        None => Err(format!("expected a promise of the contract, found {name:?}")),
    }
}

/// The one list of promises: as a table, and as a macro that makes a test of each.
macro_rules! promises {
    ($dollar:tt $($group:ident { $($name:ident)* })*) => {
        /// Every promise of the contract.
        pub const PROMISES: &[Promise] =
            &[$($(Promise { name: stringify!($name), check: $group::$name },)*)*];

        /// Makes one `#[test]` per promise. The argument is an expression that makes a fresh, empty
        /// [`Backend`](crate::ingest::conformance::Backend); it is evaluated in each test.
        #[macro_export]
        macro_rules! conformance_tests {
            ($dollar backend:expr) => {
                $($(
                    #[test]
                    fn $name() -> ::std::result::Result<(), ::std::string::String> {
                        $dollar crate::ingest::conformance::check(stringify!($name), $dollar backend)
                    }
                )*)*
            };
        }
    };
}

promises! { $
    records {
        every_operation_comes_back
        nan_payloads_and_negative_zeros_come_back_bit_for_bit
        integers_at_their_ends_come_back
        int32_embeddings_stay_int32
        an_empty_embedding_is_not_an_absent_one
        an_encoding_without_an_embedding_comes_back
        texts_with_nul_and_non_ascii_come_back
        absent_and_empty_metadata_stay_different
        null_stays_apart_from_an_absent_key
        bools_stay_apart_from_zero_and_one
        lists_of_every_type_come_back
        sparse_vectors_come_back_with_tokens_and_without
        live_and_replayed_records_are_identical
        records_are_the_same_after_a_restart
    }
    batches {
        an_empty_batch_returns_nothing_and_writes_nothing
        seq_ids_are_returned_position_by_position_also_with_duplicate_ids
        one_record_submitted_alone_is_a_batch_of_one
        the_batch_limit_is_a_constant_of_at_least_100_000
        a_batch_at_the_limit_is_taken
        a_batch_over_the_limit_is_refused_by_name_and_nothing_is_written
        a_record_that_cannot_be_encoded_refuses_its_whole_batch
        batches_of_many_producers_stay_in_one_piece
        an_awaited_submit_gives_what_a_blocking_one_gives
        a_submit_that_nobody_awaits_is_written_all_the_same
    }
    numbers {
        seq_ids_are_dense_from_1_over_all_collections
        log_offsets_are_dense_from_1_in_each_collection
        numbers_go_on_after_a_restart
        seq_ids_are_not_reused_after_a_delete
        seq_ids_are_not_reused_after_a_delete_and_a_restart
        times_never_decrease
    }
    subscriptions {
        start_none_delivers_only_what_commits_after_the_call
        start_0_is_an_ordinary_start
        the_newest_seq_id_is_an_ordinary_start
        start_is_exclusive_and_end_inclusive
        a_subscription_ends_by_itself_when_its_end_is_reached
        an_end_that_is_still_to_come_is_waited_for
        an_end_that_belongs_to_another_collection_ends_it_as_well
        a_start_at_or_behind_the_end_is_an_error
        a_start_beyond_the_newest_seq_id_is_an_error
        an_id_in_use_is_an_error_and_free_again_after_unsubscribe
        other_collections_are_not_delivered
        every_subscription_gets_everything
        records_are_delivered_in_batches_within_the_limit_asked_for
        min_and_max_seq_id_are_0_and_i64_max
        status_shows_where_a_subscription_stands
    }
    hand_over {
        what_is_submitted_during_the_backfill_comes_once_and_in_order
        subscribers_that_join_amid_commits_miss_nothing
        calls_of_one_subscription_never_overlap
        a_slow_callback_holds_up_no_producer_and_no_other_subscription
    }
    failures {
        a_callback_that_fails_gets_the_same_records_again
        a_failing_callback_holds_up_nobody_else
        failures_are_counted_and_shown
        a_subscription_that_gives_up_keeps_its_error_and_skips_nothing
        a_panic_is_contained_and_is_a_failure_like_any_other
    }
    callbacks {
        unsubscribing_an_unknown_id_is_no_error
        no_call_follows_an_unsubscribe
        unsubscribe_waits_for_the_call_that_runs
        a_callback_may_unsubscribe_itself
        a_callback_may_submit
        a_callback_may_subscribe_another
        a_callback_may_advance_a_cursor
    }
    inline {
        an_inline_submit_returns_after_its_subscribers_were_called
        an_awaited_submit_completes_after_inline_subscribers_were_called
        an_inline_callback_that_fails_does_not_fail_the_submit
        an_inline_callback_may_submit
        an_inline_callback_may_unsubscribe_itself
        inline_delivery_keeps_the_order_among_many_producers
    }
    cursors {
        a_cursor_is_registered_listed_and_dropped
        a_cursor_moves_forward_only
        a_rollback_moves_a_cursor_back
        a_cursor_beyond_the_newest_record_is_refused
        cursors_of_different_names_and_collections_are_apart
        a_subscription_starts_from_a_cursor
        a_subscription_from_a_new_cursor_makes_it_and_gets_what_is_left
        to_advance_a_cursor_it_must_start_from_it
        a_subscription_advances_its_cursor_after_each_success
        a_cursor_is_not_advanced_over_records_that_failed
        cursors_are_there_after_a_restart
        a_consumer_goes_on_from_its_cursor_after_a_restart
        the_backlog_counts_what_is_behind_a_cursor
        backlogs_name_collections_with_at_least_so_many_records
    }
    purges {
        without_a_cursor_purge_log_drops_nothing
        purge_log_drops_what_every_cursor_has_passed
        a_purge_never_passes_a_cursor
        a_start_below_the_purge_point_is_told_so
        other_collections_keep_their_records
        a_cursor_is_not_set_back_below_the_purge_point
        a_deleted_collection_is_empty_and_has_no_cursors
        a_deleted_collection_can_be_written_to_again
        what_was_purged_stays_purged_after_a_restart
    }
    retries {
        a_retry_returns_the_first_result_and_writes_nothing
        a_retry_after_a_restart_returns_the_first_result
        an_older_sequence_is_refused
        producers_count_apart
        a_retry_of_a_conditional_submit_returns_the_first_result
    }
    conditions {
        a_submit_at_the_expected_offset_is_written
        a_submit_at_another_offset_is_a_conflict_that_names_both
        a_submit_is_written_if_none_of_the_ids_was
        an_id_written_meanwhile_is_a_conflict_that_names_it
        ids_written_before_do_not_count
        a_condition_on_what_was_purged_is_refused
        of_two_that_want_the_same_offset_one_gets_it
        of_two_that_looked_at_the_same_id_one_gets_it
        writers_of_other_ids_are_in_nobodys_way
        an_awaited_conditional_submit_conflicts_in_the_same_way
    }
    lifetime {
        after_a_close_every_call_says_not_running
        after_a_close_no_callback_runs
        closing_twice_is_no_error
        a_reset_drops_collections_cursors_and_subscriptions
        after_a_reset_numbers_go_on
        the_status_lists_subscriptions_and_cursors
    }
}
