//! A seat that is passed to a program by inheritance needs neither its maker, nor its user, nor its
//! numbers of processes.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;

use linering::{
    AttachError, End, Ends, Item, Level, LineRing, LogDrain, Options, Policy, Seat, SharedWriter,
};

use super::{Kept, LIMIT, ring};
use crate::common::{fork, not_run};

/// What this program does where the tests below start it, with a seat; nothing without one.
#[test]
fn the_program() {
    let Some(seat) = Seat::from_env().expect("a seat") else { return };
    if let Some(how) = std::env::var_os("LINERING_TEST_SHARED") {
        let writer = SharedWriter::from_env().expect("a seat").expect("there is one");
        writer.record(Level::Warn, "shared").expect("room");
        if how == "static" {
            // As a logger that is installed.
            std::mem::forget(writer);
        }
        return;
    }
    let mut mirror = seat.open().expect("a mirror");
    mirror.write_all(b"from the program\n").expect("room");
    mirror.send_eof().expect("room");
}

fn program() -> Command {
    let mut program = Command::new(std::env::current_exe().expect("a path"));
    program.args(["--exact", "service::inherited::the_program", "--quiet"]).stdout(Stdio::null());
    program
}

/// The program's line and end, and nothing else.
fn says(ring: &LineRing, seat: &Seat) {
    let items: Vec<_> = ring.reader().expect("no other").map(|item| item.expect("ours")).collect();
    let [Item::Line(line), Item::Ended(ended)] = &items[..] else { panic!("{items:#?}") };
    assert_eq!((line.to_string().as_str(), &*line.label), ("from the program", "worker"));
    assert_eq!((line.writer_id, ended.writer_id), (seat.writer_id(), seat.writer_id()));
    assert_eq!(ended.end, End::Eof);
}

#[test]
fn a_program_opens_the_seat_that_was_passed_to_it() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("ring");
    let in_file = LineRing::create_file(path, Options::new()).expect("a ring");
    for ring in [ring(Policy::Block, 64), in_file] {
        let seat = ring.seat_labelled("worker").expect("a seat");
        let mut program = program();
        seat.pass_to(&mut program).expect("a descriptor");
        assert!(program.status().expect("it runs").success());
        says(&ring, &seat);
    }
}

/// A child's child becomes the program; the child ends at once.
fn run_in_grandchild(seat: &Seat, mut program: Command) {
    fork(|| {
        // SAFETY: as for `fork` here: the child makes system calls and takes another program's
        // place.
        match unsafe { libc::fork() } {
            0 => {
                if seat.pass_to(&mut program).is_ok() {
                    let _ = program.exec();
                }
                2
            }
            -1 => 3,
            _ => 0,
        }
    })
    .succeeds();
}

#[test]
fn the_seat_opens_though_its_maker_is_gone_and_after_a_double_fork_and_exec() {
    let ring = ring(Policy::Block, 64);
    let seat = ring.seat_labelled("worker").expect("a seat");
    run_in_grandchild(&seat, program());
    says(&ring, &seat);
}

#[test]
fn a_grandchild_logs_through_a_shared_writer_into_its_grandparents_drain() {
    let (ring, sink) = (ring(Policy::Block, 64), Kept::default());
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink.clone());
    let drain = drain.ends(Ends::All).spawn().expect("a thread");
    let seat = ring.seat_labelled("worker").expect("a seat");
    let mut program = program();
    program.env("LINERING_TEST_SHARED", "static");
    run_in_grandchild(&seat, program);
    // It is awaited by no process that this one knows of: its seat's end says that it is done.
    while !sink.text().contains(" -- worker worker ended --\n") {
        thread::yield_now();
    }
    drain.stop(LIMIT).expect("ours");
    assert_eq!(sink.text().matches("] shared\n").count(), 1, "{}", sink.text());
}

#[test]
fn a_program_passes_the_seat_on_to_those_that_it_starts() {
    let ring = ring(Policy::Block, 64);
    let seat = ring.seat_labelled("worker").expect("a seat");
    let inner = program();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "\"$@\" & wait $!", "sh"]).arg(inner.get_program()).args(inner.get_args());
    seat.pass_to(shell.stdout(Stdio::null())).expect("a descriptor");
    assert!(shell.status().expect("it runs").success());
    says(&ring, &seat);
}

#[test]
fn a_program_of_another_user_opens_the_seat() {
    // SAFETY: a plain system call.
    if unsafe { libc::geteuid() } != 0 {
        return not_run("to become another user");
    }
    let ring = ring(Policy::Block, 64);
    let seat = ring.seat_labelled("worker").expect("a seat");
    // Where every user may run it.
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("program");
    // By another process: a child that is forked meanwhile would have the copy open for writing.
    let copied =
        Command::new("cp").arg(std::env::current_exe().expect("a path")).arg(&copy).status();
    assert!(copied.expect("it runs").success());
    for path in [folder.path(), &copy] {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, permissions).expect("ours");
    }
    let mut program = Command::new(&copy);
    program.args(self::program().get_args()).stdout(Stdio::null()).current_dir("/");
    seat.pass_to(program.uid(65534).gid(65534)).expect("a descriptor");
    assert!(program.status().expect("it runs").success());
    says(&ring, &seat);
}

#[test]
fn a_shared_writer_takes_the_seat_and_ends_it_though_it_is_never_dropped() {
    for how in ["dropped", "static"] {
        let ring = ring(Policy::Block, 64);
        let seat = ring.seat_labelled("worker").expect("a seat");
        let mut program = program();
        seat.pass_to(program.env("LINERING_TEST_SHARED", how)).expect("a descriptor");
        assert!(program.status().expect("it runs").success());
        let items = ring.reader().expect("no other").map(|item| item.expect("ours"));
        let (lines, ends): (Vec<_>, Vec<_>) = items.partition(|item| item.line().is_some());
        let levels: Vec<_> = lines.iter().filter_map(Item::line).map(|line| line.level).collect();
        assert_eq!(levels, [Level::Warn], "{how}");
        let ends: Vec<_> = ends
            .iter()
            .map(|item| match item {
                Item::Ended(ended) => (ended.writer_id, ended.end),
                other => panic!("{how}: {other}"),
            })
            .collect();
        assert!(ends.iter().all(|(_, end)| *end == End::Eof), "{how}: {ends:?}");
        assert!(ends.iter().any(|(writer, _)| *writer == seat.writer_id()), "{how}: {ends:?}");
    }
}

#[test]
fn a_descriptor_that_is_no_ring_is_refused_with_a_sentence() {
    let seat = ring(Policy::Block, 64).seat().expect("a seat").to_string();
    let parts: Vec<&str> = seat.split(':').collect();
    let with = |descriptor: &str| format!("linering1:{}:self:{descriptor}:0:0", parts[1]);
    for number in ["-1", "0", "2", "1000000", "2147483647"] {
        let error = with(number).parse::<Seat>().expect_err("not a ring");
        assert!(matches!(error, AttachError::System(_)), "{error}");
        assert!(error.to_string().contains("inherited"), "{error}");
    }
    for text in ["x", "", "2147483648"] {
        let error = with(text).parse::<Seat>().expect_err("no number");
        assert!(matches!(error, AttachError::Seat { .. }), "{text}: {error}");
    }
}
