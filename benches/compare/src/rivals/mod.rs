//! Other logs and stores, each used as its own documentation says is best for this work.

mod fjall;
mod okaywal;
mod open_wal;
mod raft_engine;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod sqlite;

use std::sync::Arc;

use crate::contender::Contender;

/// All that were built.
pub(crate) fn all() -> Vec<Arc<dyn Contender>> {
    vec![
        Arc::new(okaywal::OkayWal),
        Arc::new(raft_engine::RaftEngine),
        Arc::new(open_wal::OpenWal),
        Arc::new(fjall::Fjall),
        Arc::new(redb::Redb),
        Arc::new(sqlite::Sqlite),
        #[cfg(feature = "rocksdb")]
        Arc::new(rocksdb::RocksDb),
    ]
}
