//! A mirror that a forked child inherits is its parent's until the child uses it.

use std::io::Write;
use std::time::Duration;

use linering::End;

use super::{Failure, by_worker, small, texts, wait};
use crate::common::{Child, Gate, fork};

#[test]
fn an_inherited_mirror_that_a_child_does_not_use_does_nothing_there() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_all(b"parent's ").expect("open");
    let mut inherited = Some(mirror);
    fork(|| {
        // In the child's copy of the memory.
        let Some(mut mirror) = inherited.take() else { return 1 };
        check!(2, mirror.flush().is_ok());
        check!(3, mirror.send_eof().is_ok());
        drop(mirror);
        0
    })
    .succeeds();
    fork(|| {
        drop(inherited.take());
        0
    })
    .succeeds();
    assert_eq!(buffer.wait_timeout(Duration::ZERO).expect("ours"), None, "it is open");
    let mut mirror = inherited.expect("the parent still has it");
    mirror.write_all(b"line\n").expect("open");
    assert_eq!(texts(&buffer), ["parent's line"]);
    assert_eq!(buffer.ring().counts().live, 1);
    drop(mirror);
    assert_eq!(wait(&buffer), [(0, End::Eof)]);
}

#[test]
fn an_inherited_mirror_that_a_child_uses_becomes_its_own() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_all(b"parent's ").expect("open");
    let (written, go_on) = (Gate::new(), Gate::new());
    let child = fork(|| {
        check!(1, mirror.writer_id() == 0);
        check!(2, mirror.write_all(b"child's ").is_ok());
        check!(3, mirror.writer_id() == 1);
        written.open();
        go_on.pass();
        check!(4, mirror.write_all(b"line\nlast words").is_ok());
        0
    });
    written.pass();
    mirror.write_all(b"line\n").expect("open");
    assert_eq!(texts(&buffer), ["parent's line"]);
    drop(mirror);
    assert_eq!(buffer.wait_timeout(Duration::ZERO).expect("ours"), None, "the child's is open");
    go_on.open();
    child.succeeds();
    assert_eq!(wait(&buffer), [(0, End::Eof), (1, End::Died)]);
    assert_eq!(texts(&buffer), ["parent's line", "child's line", "last words"]);
}

#[test]
fn an_inherited_mirror_that_a_child_ends_with_an_error_is_the_childs() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    fork(|| u8::from(mirror.send_error(&Failure("child", None)).is_err())).succeeds();
    mirror.write_line(b"parent").expect("open");
    drop(mirror);
    assert_eq!(wait(&buffer), [(0, End::Eof), (1, End::Error)]);
}

#[test]
fn one_mirror_may_be_used_by_a_parent_and_many_children_at_a_time() {
    let buffer = small(1000);
    let mut mirror = buffer.mirror().expect("a mirror");
    let children: Vec<Child> = (1..6)
        .map(|child| {
            fork(|| {
                for i in 0..100 {
                    check!(1, mirror.write_all(format!("{child}:").as_bytes()).is_ok());
                    check!(2, mirror.write_all(format!("{i}\n").as_bytes()).is_ok());
                }
                u8::from(mirror.send_eof().is_err())
            })
        })
        .collect();
    for i in 0..100 {
        mirror.write_all(b"0:").expect("open");
        mirror.write_all(format!("{i}\n").as_bytes()).expect("open");
    }
    drop(mirror);
    children.into_iter().for_each(Child::succeeds);
    assert_eq!(wait(&buffer), (0..6).map(|i| (i, End::Eof)).collect::<Vec<_>>());
    let found = by_worker(&buffer);
    assert_eq!(found.len(), 6);
    assert!(found.values().all(|numbers| *numbers == (0..100).collect::<Vec<_>>()), "{found:?}");
}
