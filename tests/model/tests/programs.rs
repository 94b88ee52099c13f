//! Programs are data: the same source gives the same one, and the same run.

use stratalog_model::{Program, plain, run, run_bytes};

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in (0..60).filter(|seed| seed % 16 != 15) {
        let program = Program::of_seed(seed);
        assert_eq!(run(&program, &plain), run(&program, &plain), "seed {seed}");
    }
}

#[test]
fn every_string_of_bytes_is_a_program() {
    run_bytes(&[]);
    for seed in 0u32..100 {
        let mut state = seed;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let bytes: Vec<u8> = (0..seed * 4).map(|_| byte()).collect();
        run_bytes(&bytes);
        assert!(!Program::of_bytes(&bytes).lives.is_empty());
    }
}

#[test]
fn programs_do_everything_there_is_to_do() {
    let text: String = (0..400).map(|seed| format!("{:?}", Program::of_seed(seed))).collect();
    for word in [
        "Append",
        "Submit",
        "Wait",
        "Advance",
        "Rollback",
        "DropCursor",
        "Purge {",
        "PurgePassed",
        "Delete",
        "Checkpoint",
        "Sync",
        "Tend",
        "Reopen",
        "Read",
        "Follow",
        "Pull",
        "Room",
        "WrongOffset",
        "Retry",
        "Old(",
        "Ingest",
        "Hub",
        "crowd: true",
        "fail_sync: Some",
        "full_from: Some",
        "fails: true",
        "Killed",
    ] {
        assert!(text.contains(word), "{word}");
    }
}
