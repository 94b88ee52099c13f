//! Looking into the files of a log, and mending them.
//!
//! * [`verify`] reads every byte of every file and lists all damage. It writes nothing, takes no
//!   lock and may run beside a writer.
//! * [`inspect`] shows what one file holds, for people.
//! * [`repair`] makes a damaged log whole again: without the records that the damage hit, with all
//!   others, under the numbers they had. Nothing else in this crate repairs anything.
//!
//! What is damage, and what a crash may leave, is told apart by the rule of recovery: see
//! `docs/design.md`.

mod chain;
mod control_facts;
mod controls;
mod examination;
mod examine;
mod files;
mod finding;
mod frames;
mod freed;
mod indexes;
mod inspect;
mod marks;
mod numbers;
mod repair;
mod rewrite;
mod salvage;
mod settle;
mod verify;
mod walk;
mod workshop;

pub use control_facts::{ControlFacts, NoteFacts};
pub use finding::{Finding, Progress, Severity};
pub use inspect::{
    CheckpointFacts, CheckpointStream, DamagedRecord, FrameFacts, FrameKind, IndexFacts, Inspected,
    SegmentFacts, inspect,
};
pub use repair::{RepairAction, RepairReport, plan_repair, repair};
pub use verify::{VerifyReport, verify};
