//! A program as data: what is done in each life of a log, what goes wrong in it, and how it ends.

use crate::draw::Source;

/// Streams that programs write to.
pub const STREAMS: u64 = 4;

/// Several lives of one log.
#[derive(Debug, Clone)]
pub struct Program {
    /// Of the disk: what it keeps, tears and writes back.
    pub disk_seed: u64,
    /// Whether records are those of the ingest layer.
    pub ingest: bool,
    /// One after the other.
    pub lives: Vec<Life>,
}

/// From one successful open to the next crash or close.
#[derive(Debug, Clone)]
pub struct Life {
    /// 0 sync, 1 buffered, 2 synced in intervals.
    pub durability: u8,
    /// Through what it is written to.
    pub front: Front,
    /// Reads by position instead of through maps.
    pub positioned: bool,
    /// Segments and checkpoints of twice the size.
    pub large: bool,
    /// The log's own threads run: repeats only roughly.
    pub threads: bool,
    /// Several producers at once, and consumers beside them.
    pub crowd: bool,
    /// Chance in 256, at each storage call, that something unsynced is written.
    pub write_back: u8,
    /// The clock stands further back than in the life before.
    pub clock_back: bool,
    /// What is done.
    pub ops: Vec<Op>,
    /// What goes wrong.
    pub faults: Faults,
    /// How it ends, if nothing in `faults` ends it before.
    pub close: bool,
    /// What is left of what was not synced.
    pub survives: Left,
    /// What goes wrong while the next life opens the log, one attempt after the other.
    pub recoveries: Vec<Recovery>,
}

/// What the log is written through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// The log itself.
    Log,
    /// A hub, with an inline subscription to the first stream.
    Hub,
    /// The ingest layer.
    Ingest,
}

/// What goes wrong in a life, by its storage calls, counted from 1.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The machine stops before this call.
    pub crash_at: Option<u64>,
    /// These calls fail, once each.
    pub fail: Vec<u64>,
    /// This sync of a file fails.
    pub fail_sync: Option<u64>,
    /// The disk is full from this call on, until there is [`Op::Room`].
    pub full_from: Option<u64>,
}

/// An open of the log that does not come to its end, or is not made use of.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    /// The call in question.
    pub at: u64,
    /// It fails; else the machine stops there.
    pub fails: bool,
    /// What is left afterwards.
    pub survives: Left,
}

/// What is left of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Everything, in the cache of the system: only the process died.
    Killed,
    /// Nothing: the power was cut.
    Nothing,
    /// Everything: the power was cut.
    Everything,
    /// Each piece with this chance in 256: the power was cut.
    Chance(u8),
}

/// One step of a program. A `to` is a place in what there is, from 0, the least, to 255.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A batch, waited for.
    Append {
        stream: u64,
        count: u64,
        len: u32,
        terms: On,
    },
    /// A batch, not waited for.
    Submit {
        stream: u64,
        count: u64,
        len: u32,
    },
    /// Waits for what was submitted.
    Wait,
    Advance {
        stream: u64,
        name: u64,
        to: u8,
    },
    Rollback {
        stream: u64,
        name: u64,
        to: u8,
    },
    DropCursor {
        stream: u64,
        name: u64,
    },
    Purge {
        stream: u64,
        to: u8,
    },
    PurgePassed {
        stream: u64,
    },
    Delete {
        stream: u64,
    },
    Checkpoint,
    Sync,
    /// What the log's threads would do.
    Tend,
    /// Closes the log, or drops it, and opens it again.
    Reopen {
        close: bool,
    },
    /// Reads everything in every way.
    Read,
    /// Somebody who only reads opens the log, or looks again.
    Follow,
    /// A consumer asks the hub for what is new.
    Pull {
        stream: u64,
    },
    /// A full disk gets room again.
    Room,
}

/// On what terms a batch is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// None.
    Nothing,
    /// At the offset that is due.
    Offset,
    /// At an offset that is not.
    WrongOffset,
    /// As a producer's next batch.
    Producer(u64),
    /// As a producer's last batch, once more.
    Retry(u64),
    /// As a batch that a producer has long appended.
    Old(u64),
}

impl Program {
    /// The program of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Program {
        // One in sixteen runs threads.
        let mut source = Source::Seed(crate::draw::Random(seed ^ 0x5EED_0000_0000));
        match seed % 8 {
            // One in eight uses files again and again, which others hardly ever come to.
            3 => Program::draw_wear(&mut source, seed),
            _ => Program::draw(&mut source, seed, seed % 16 == 15),
        }
    }

    /// A program of one's own bytes, single-threaded: every string of bytes is one.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Program {
        Program::draw(&mut Source::Bytes(bytes), 1, false)
    }

    fn draw(source: &mut Source<'_>, disk_seed: u64, threads: bool) -> Program {
        let ingest = source.one_in(6);
        let durability = source.below(8);
        let lives = 2 + source.below(5);
        let lives = (0..lives).map(|_| Life::draw(source, ingest, durability, threads)).collect();
        Program { disk_seed: disk_seed ^ (source.below(65_536) << 40), ingest, lives }
    }

    /// One stream that is filled and purged: segments are freed, and their files make the next ones.
    fn draw_wear(source: &mut Source<'_>, disk_seed: u64) -> Program {
        let lives = 2 + source.below(4);
        let lives = (0..lives).map(|_| {
            let mut life = Life { large: false, ..Life::draw(source, false, 0, false) };
            if let Some(at) = &mut life.faults.crash_at {
                *at = 1 + source.below(1_000);
            }
            let count = 20 + source.below(60);
            life.ops = (0..count).map(|_| Op::draw_wear(source)).collect();
            life
        });
        let lives = lives.collect();
        Program { disk_seed: disk_seed ^ (source.below(65_536) << 40), ingest: false, lives }
    }

    /// How many operations it has.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.lives.iter().map(|life| life.ops.len()).sum()
    }
}

impl Life {
    fn draw(source: &mut Source<'_>, ingest: bool, durability: u64, threads: bool) -> Life {
        // Half of the programs keep to Sync, a quarter changes from life to life.
        let durability = match durability {
            0..=3 => 0,
            4 => 1,
            5 => 2,
            _ => source.below(3) as u8,
        };
        let front = match source.below(8) {
            0..=1 => Front::Hub,
            2..=5 if ingest => Front::Ingest,
            _ => Front::Log,
        };
        let count = [3, 8, 16, 30, 50][source.below(5) as usize];
        let mut life = Life {
            durability,
            front,
            positioned: source.one_in(3),
            large: source.one_in(4),
            threads,
            crowd: threads && source.below(2) == 0,
            write_back: [0, 0, 10, 60][source.below(4) as usize],
            clock_back: source.one_in(8),
            ops: Vec::new(),
            faults: Faults::draw(source),
            close: source.one_in(3),
            survives: Left::draw(source),
            recoveries: Vec::new(),
        };
        for _ in 0..source.below(3) {
            let reach = [6, 20, 60][source.below(3) as usize];
            let at = 1 + source.below(reach);
            life.recoveries.push(Recovery { at, fails: source.one_in(4), survives: Left::draw(source) });
        }
        for _ in 0..count {
            if source.is_empty() {
                break;
            }
            life.ops.push(Op::draw(source));
        }
        life
    }
}

impl Faults {
    fn draw(source: &mut Source<'_>) -> Faults {
        let mut faults = Faults::default();
        let reach = [20, 60, 200, 600][source.below(4) as usize];
        if !source.one_in(6) {
            faults.crash_at = Some(1 + source.below(reach));
        }
        match source.below(10) {
            0 => faults.fail_sync = Some(1 + source.below(reach / 4)),
            1 => faults.fail.push(1 + source.below(reach)),
            2 => faults.fail.extend((0..3).map(|_| 1 + source.below(reach))),
            3 => faults.full_from = Some(1 + source.below(reach)),
            _ => {}
        }
        faults
    }
}

impl Left {
    fn draw(source: &mut Source<'_>) -> Left {
        match source.below(8) {
            0..=1 => Left::Killed,
            2 => Left::Nothing,
            3 => Left::Everything,
            _ => Left::Chance(source.below(256) as u8),
        }
    }
}

impl Op {
    fn draw(source: &mut Source<'_>) -> Op {
        let stream = source.below(STREAMS);
        let name = source.below(2);
        let count = 1 + source.below(4);
        match source.below(40) {
            0..=9 => {
                let terms = match source.below(10) {
                    0..=3 => On::Nothing,
                    4 => On::Offset,
                    5 => On::WrongOffset,
                    6..=7 => On::Producer(name),
                    8 => On::Retry(name),
                    _ => On::Old(name),
                };
                Op::Append { stream, count, len: draw_len(source), terms }
            }
            10..=14 => Op::Submit { stream, count, len: draw_len(source) },
            15 => Op::Wait,
            16..=19 => Op::Advance { stream, name, to: source.below(256) as u8 },
            20 => Op::Rollback { stream, name, to: source.below(256) as u8 },
            21 => Op::DropCursor { stream, name },
            22..=23 => Op::Purge { stream, to: source.below(256) as u8 },
            24..=25 => Op::PurgePassed { stream },
            26 => Op::Delete { stream },
            27..=28 => Op::Checkpoint,
            29 => Op::Sync,
            30..=31 => Op::Tend,
            32 => Op::Reopen { close: source.below(2) == 0 },
            33..=34 => Op::Read,
            35..=36 => Op::Follow,
            37 => Op::Pull { stream },
            38 => Op::Room,
            _ => {
                Op::Append { stream, count: 1 + source.below(40), len: draw_len(source), terms: On::Nothing }
            }
        }
    }
}

impl Op {
    fn draw_wear(source: &mut Source<'_>) -> Op {
        let len = [300, 3_000, 9_000, 9_000, 15_000][source.below(5) as usize];
        let (stream, count) = (0, 1 + source.below(4));
        match source.below(24) {
            0..=11 => Op::Append { stream, count, len, terms: On::Nothing },
            12 => Op::Submit { stream, count, len },
            13..=16 => Op::Purge { stream, to: 100 + source.below(156) as u8 },
            17..=19 => Op::Tend,
            20 => Op::Read,
            21..=22 => Op::Follow,
            _ => Op::draw(source),
        }
    }
}

fn draw_len(source: &mut Source<'_>) -> u32 {
    [8, 20, 20, 300, 600, 3_000, 3_000, 9_000, 9_000, 30_000, 70_000][source.below(11) as usize]
}
