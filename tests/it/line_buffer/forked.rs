//! A forked child may write into its parent's buffer, and may not read it.

use std::io::Write;
use std::sync::Arc;

use linering::ReadError;

use super::{small, texts, unfinished, while_writing, with_cells, write};
use crate::common::{Actor, Gate, die, fork};

#[test]
fn a_forked_childs_lines_come_too_and_never_mix_with_its_parents() {
    let buffer = small(20);
    write(&buffer, b"parent 1\nparent ");
    let (written, go_on) = (Gate::new(), Gate::new());
    let child = fork(|| {
        let first = (&buffer).write_all(b"child 1\nchild ").is_ok();
        written.open();
        go_on.pass();
        let second = (&buffer).write_all(b"2\n").is_ok() && buffer.finish_line().is_ok();
        u8::from(!(first && second))
    });
    written.pass();
    assert_eq!(texts(&buffer), ["parent 1", "child 1", "parent ", "child "]);
    write(&buffer, b"2\n");
    go_on.open();
    child.succeeds();
    assert_eq!(texts(&buffer), ["parent 1", "child 1", "parent 2", "child 2"]);
}

#[test]
fn the_unfinished_line_of_a_dead_child_is_kept_and_flagged() {
    let buffer = small(20);
    let child = fork(|| {
        let _ = (&buffer).write_all(b"whole\nlast words");
        die()
    });
    assert!(child.status().code().is_none());
    assert_eq!(texts(&buffer), ["whole", "last words"]);
    assert_eq!(unfinished(&buffer), ["last words"]);
    write(&buffer, b"parent\n");
    let mut lines = texts(&buffer);
    lines.sort();
    assert_eq!(lines, ["last words", "parent", "whole"]);
    assert_eq!(unfinished(&buffer), ["last words"]);
}

#[test]
fn a_forked_child_may_not_read() {
    let buffer = small(20);
    write(&buffer, b"1\n2");
    let child = fork(|| {
        let refused = [
            matches!(buffer.read(None), Err(ReadError::Forked)),
            matches!(buffer.read(Some(1)), Err(ReadError::Forked)),
            matches!(buffer.len(), Err(ReadError::Forked)),
            matches!(buffer.clear(), Err(ReadError::Forked)),
        ];
        refused.iter().take_while(|refused| **refused).count() as u8 ^ 4
    });
    child.succeeds();
    assert_eq!(texts(&buffer), ["1", "2"], "nothing was cleared");
    assert_eq!(ReadError::Forked.to_string(), "this reader belongs to the parent process");
}

#[test]
fn a_child_that_is_forked_while_threads_write_can_write() {
    let buffer = with_cells(1000, 16);
    while_writing(
        4,
        |t, i| write(&buffer, format!("{t}:{i}\n").as_bytes()),
        |_| {
            for _ in 0..20 {
                fork(|| u8::from((&buffer).write_all(b"child\n").is_err())).succeeds();
            }
        },
    );
    let lines = texts(&buffer);
    assert!(lines.iter().all(|line| line == "child" || line.contains(':')), "{lines:?}");
}

#[test]
fn a_forked_child_that_finds_no_cell_is_told_so_and_its_parent_goes_on() {
    let buffer = Arc::new(with_cells(10, 1));
    let (own, shared) = (Actor::new(), Actor::new());
    own.write(&buffer, b"own ");
    shared.write(&buffer, b"shared ");
    let inherited = Arc::clone(&buffer);
    let child = fork(|| {
        let Err(error) = (&*inherited).write(b"child\n") else { return 1 };
        u8::from(!error.to_string().contains("mirrors")) * 2
    });
    child.succeeds();
    own.write(&buffer, b"line\n");
    shared.write(&buffer, b"line\n");
    assert_eq!(texts(&buffer), ["own line", "shared line"]);
}
