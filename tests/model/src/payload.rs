//! Records that say which one they are.

use bytes::Bytes;
use stratalog::Batch;
use stratalog::ingest::{OperationRecord, RecordView};

/// A record: its number, which no other record of a program has, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) number: u64,
    pub(crate) len: u32,
}

/// Whether payloads are operation records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Coding {
    pub(crate) ingest: bool,
}

impl Coding {
    pub(crate) fn record(id: Id) -> OperationRecord {
        let text = char::from(b'a' + (id.number % 26) as u8).to_string().repeat(id.len as usize);
        OperationRecord::add(id.number.to_string()).document(text)
    }

    pub(crate) fn batch(self, ids: &[Id]) -> Batch {
        let mut batch = Batch::new();
        for id in ids {
            batch.push(&self.payload(*id));
        }
        batch
    }

    fn payload(self, id: Id) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.ingest {
            // Its limits are far away.
            let _ = Coding::record(id).encode_into(&mut bytes);
        } else {
            bytes.extend_from_slice(&id.number.to_le_bytes());
            bytes.resize(8 + id.len as usize, (id.number % 251) as u8);
        }
        bytes
    }

    /// Which record this is; `None` if it is none that a program has written.
    pub(crate) fn read(self, payload: &Bytes) -> Option<Id> {
        let id = if self.ingest {
            let view = RecordView::decode(payload.clone()).ok()?;
            Id { number: view.id().parse().ok()?, len: view.document().map_or(0, str::len) as u32 }
        } else {
            let number = u64::from_le_bytes(payload.get(..8)?.try_into().ok()?);
            Id { number, len: (payload.len() - 8) as u32 }
        };
        (self.payload(id) == payload[..]).then_some(id)
    }
}
