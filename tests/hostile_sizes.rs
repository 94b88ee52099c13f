//! A file that claims to be terabytes costs no memory.
#![allow(clippy::unwrap_used)]
mod support;

use stratalog::ReadMode;
use support::{all, batch, small, stream};

#[test]
fn a_sparse_checkpoint_or_index_of_terabytes_is_damage_like_any_other() {
    for mode in [ReadMode::Mapped, ReadMode::Positioned] {
        for swollen in ["checkpoint-0", "checkpoint-1", ".index"] {
            let dir = tempfile::tempdir().unwrap();
            let log = small().open(dir.path()).unwrap();
            for n in 0..60 {
                log.append(stream(1), &batch(n, 1, 4_000)).unwrap();
            }
            log.checkpoint().unwrap();
            log.checkpoint().unwrap();
            log.close().unwrap();
            for entry in std::fs::read_dir(dir.path()).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name().to_string_lossy().ends_with(swollen) {
                    let file = std::fs::File::options().write(true).open(entry.path()).unwrap();
                    file.set_len(8 << 40).unwrap();
                }
            }
            let log = small().read_mode(mode).open(dir.path()).unwrap();
            assert_eq!(all(&log).len(), 60);
            assert_eq!(support::all_of(&log, stream(1)).len(), 60);
        }
    }
}
