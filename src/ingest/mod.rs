//! What a vector database puts into the log, and gets out of it again.
//!
//! [`Producer`] and [`Consumer`] are the contract, in Chroma's terms; [`LocalIngest`] keeps it over a
//! log and a hub of this process; `conformance` (feature `test-util`) is the suite that it and every
//! other backend must pass.
//!
//! An [`OperationRecord`] is one change to one record of a collection. The log stores it as
//! bytes: [`OperationRecord::encode_into`] makes them, [`RecordView::decode`] checks them once
//! and reads them in place. With the feature `json`, `parse_line` and `write_line` turn a record
//! into one line of JSON and back. Every way through is exact to the bit.
//!
//! ```
//! use bytes::Bytes;
//! use stratalog::ingest::{OperationRecord, RecordView};
//!
//! let record = OperationRecord::add("libc6")
//!     .embedding([0.5f32, -0.25, 1.0])
//!     .document("GNU C Library: shared libraries")
//!     .metadata_entry("section", "libs")
//!     .metadata_entry("installed_kib", 12_988i64);
//!
//! let mut payload = Vec::new();
//! record.encode_into(&mut payload)?;
//!
//! let view = RecordView::decode(Bytes::from(payload))?;
//! assert_eq!(view.id(), "libc6");
//! assert_eq!(view.document(), Some("GNU C Library: shared libraries"));
//! assert_eq!(view.to_record(), record);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codec;
#[cfg(feature = "test-util")]
pub mod conformance;
mod contract;
#[cfg(feature = "json")]
mod json;
mod local;
mod log_record;
mod options;
mod pending;
mod record;
mod terms;
#[cfg(test)]
mod tests;

pub use codec::{
    DecodeError, EmbeddingView, EncodeError, MAX_ID_BYTES, MAX_KEY_BYTES, MAX_METADATA_ENTRIES,
    MAX_PAYLOAD_BYTES, MetadataView, RECORD_VERSION, RecordView, ValueView,
};
pub use contract::{Consume, Consumer, Ingest, IngestStatus, Producer};
#[cfg(feature = "json")]
pub use json::{Envelope, JsonError, JsonLine, parse_line, write_line};
pub use local::{LocalIngest, NotARecord};
pub use log_record::LogRecord;
pub use options::{ConsumeOptions, IngestOptions};
pub use pending::PendingSubmit;
pub use record::{
    DuplicateKeyError, Embedding, Encoding, Metadata, MetadataValue, Operation, OperationRecord,
    SparseVector, SparseVectorError,
};
pub use terms::{Condition, SubmitTerms};

/// The programs in the paper are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/ingest.md")]
mod paper {}
