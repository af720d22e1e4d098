#!/usr/bin/env python3
"""Takes away one guard of the protocol after another, and checks that a test turns red without it.

    tools/mutations.py            all of them
    tools/mutations.py --quick    those whose test is quick, and is known to pass
    tools/mutations.py --share K/N    every N-th of those, from the K-th on
    tools/mutations.py NAME ...   these
    tools/mutations.py --check    none: only that each guard stands once where it is said to, and
                                  that its tests exist

Works on a copy of the sources in target/mutations, so that nothing here is touched. docs/crash.md
has the table.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COPY = os.path.join(ROOT, "target", "mutations", "sources")
# What the crates it needs were built to before is used again.
TARGET = os.path.join(ROOT, "target")

LIB = ["--lib"]
LOOM = "loom"
# A workspace of its own; its tests of networks need nats-server, in NATS_SERVER or on the path.
FORWARD = "forward"


def test(module, name=""):
    """The tests of a module of tests/it whose names begin so."""
    return ["--test", "it", "--", f"{module}::{name}"]


def command_test(name, target=("--test", "command")):
    """Tests of the command: of its binary from outside, or of another target."""
    return ["-p", "linering-cli", *target, "--", name]


def supervisor_test(name):
    return command_test(f"supervisor::tests::{name}", ("--bin", "linering"))


SUPERVISOR = "tools/linering-cli/src/run/supervisor.rs"
STOP = "tools/linering-cli/src/run/supervisor/stop.rs"
CONSOLE = "tools/linering-cli/src/run/console.rs"
SYSTEM = "tools/linering-cli/src/run/system.rs"

# name, quick, file, what stands there, what is put there, the test that turns red
MUTATIONS = [
    ("lap check", True, "src/layout/entry.rs",
     "(self.0 ^ other.0) & !SLOT_MASK == 0", "(self.0 ^ other.0) & FULL_BIT == 0",
     [*LIB, "exchange::tests"]),
    ("predecessor check", True, "src/exchange/publish.rs",
     "if next != Some(position) && !is_filled(self.shape, "
     "OrderEntry(self.entry(before).load(Acquire)), before) {",
     "if false && !is_filled(self.shape, OrderEntry(self.entry(before).load(Acquire)), before) {",
     [*LIB, "exchange::tests::hint::a_hint"]),
    ("intent before the exchange", False, "src/exchange/publish.rs",
     "hold.store(spare.word(Hold::Intent(old, new)), Release);\n        let filled",
     "let filled", test("every_instruction", "a_writer")),
    ("release order of the intent", True, "src/exchange/publish.rs",
     "hold.store(spare.word(Hold::Intent(old, new)), Release);",
     "hold.store(spare.word(Hold::Intent(old, new)), Relaxed);",
     [LOOM, "hold_x_publish"]),
    ("a place is found open in the right lap alone", True, "src/exchange/publish.rs",
     "let is_open = slot < self.slot_count",
     "let is_open = slot & ((1 << 24) - 1) < self.slot_count",
     [*LIB, "exchange::tests"]),
    ("release order of a taken entry", True, "src/exchange/take.rs",
     "word.store(freed.0, Release);", "word.store(freed.0, Relaxed);", [LOOM, "hold_x_publish"]),
    ("what is pending is cleared before the new spare is held", True, "src/exchange/publish.rs",
     "        then();\n"
     "        // ORD publish:F, release; pairs with recover:A; a process that sees the new spare "
     "held sees the exchange.\n        hold.store(spare.word(Hold::Held(new)), Release);",
     "        hold.store(spare.word(Hold::Held(new)), Release);\n        then();",
     test("every_instruction", "a_part_of_a_line_that_has_gone_round")),
    ("what is pending is cleared when an exchange is settled", True, "src/exchange/settle.rs",
     "cells[index].set_pending(cells[index].pending().line, 0);\n    }\n    let settled",
     "}\n    let settled",
     test("every_instruction", "a_part_of_a_line_that_has_gone_round")),
    ("laps that do not come back soon", True, "src/layout/entry.rs",
     "const LAP_BITS: u32 = 39;", "const LAP_BITS: u32 = 2;",
     [*LIB, "exchange::tests::many_laps::a_writer_that_stood_still"]),
    ("recovery: another's intent proves nothing", True, "src/exchange/settle.rs",
     "Hold::Intent(a, b) if other != index => intents.push((cell, word, a, b)),",
     "Hold::Intent(a, b) if other != index => {\n                note(b);\n"
     "                intents.push((cell, word, a, b));\n            }",
     [LOOM, "recover_x_late_writer"]),
    ("recovery: another's intent counts once it is decided", True, "src/exchange/settle.rs",
     "        let decided =\n",
     "        if true {\n            return None;\n        }\n        let decided =\n",
     [LOOM, "recover_beside_a_stopped_writer"]),
    ("recovery: another's intent did not change meanwhile", True, "src/exchange/settle.rs",
     "if cell.writer.0.hold.load(Acquire) != word {", "if false {",
     [LOOM, "recover_x_late_writer"]),
    ("change count", True, "src/exchange/spare.rs",
     "self.changes = self.changes.wrapping_add(CHANGE);", "", [*LIB, "hold_word"]),
    ("fork token of a writer", True, "src/registry/cell.rs",
     "fork::is_token(self.token)", "true",
     test("proc_buffer::inherited", "an_inherited_mirror_that_a_child_does_not_use")),
    ("fork token of the reader", True, "src/read/drain.rs",
     "if fork::is_token(self.token) { Ok(()) } else { Err(ReadError::Forked) }", "Ok(())",
     test("attach", "a_forked_child_may_not_use_its_parents_reader")),
    ("lock: a trial says what keeps it", True, "src/segment/lock.rs",
     "Ok(true) => return Ok(keeping),", "Ok(_) => return Ok(keeping),",
     test("filesystems", "a_ring_on_overlay_over_tmpfs")),
    ("lock: a read lock is no owner's", True, "src/segment/lock.rs",
     "request(libc::F_RDLCK, range)", "request(libc::F_WRLCK, range)",
     test("strangers", "a_ring_is_read_and_written")),
    ("lock: a death is told beside a read lock", True, "src/segment/claim.rs",
     "if !probe.share(byte).map_err(cannot(\"lock a cell\"))? {", "if true {",
     test("strangers", "a_read_lock_on_the_cell")),
    ("a reader that cannot be asked for is judged by what it takes", False,
     "src/write/backpressure.rs",
     ".unwrap_or(self.read != Some(read))", ".unwrap_or(true)",
     ["--test", "stripped", "--", "a_stripped_writer_writes"]),
    ("names: another user's", True, "src/segment/open.rs",
     "if !self.any_user && stat.st_uid != expected {", "if false {",
     test("strangers", "a_ring_of_another_user")),
    ("a setuid program's environment", True, "src/handles/seat.rs",
     "libc::getauxval(libc::AT_SECURE) == 0", "libc::getauxval(libc::AT_SECURE) <= 1",
     test("strangers", "a_setuid_program")),
    ("the limit of a process's files", False, "src/segment/backing.rs",
     ".filter(|limit| *limit < bytes)", ".filter(|_| false)",
     test("named", "a_file_that_cannot_be_allocated")),
    ("holes of a sparse copy", False, "src/segment/mod.rs",
     "fill_holes(&file, found).map_err(", "Ok::<(), io::Error>(()).map_err(",
     test("filesystems", "a_ring_on_tmpfs")),
    ("gate around a fork", True, "src/sys/fork.rs",
     "Some(close_gate), Some(open_gate), Some(open_gate)", "None, None, None",
     test("adversity", "a_fork_beside_a_registration")),
    ("lock that is no forked child's", True, "src/segment/view.rs",
     "LockProbe::open(Keeping::Mapping, &open)?;",
     "LockProbe::open(Keeping::Mapping, || file.try_clone()).map_err(cannot(\"open it\"))?;",
     test("named", "a_child_that_is_forked_while_an_observer_looks")),
    ("lock: is it free?", True, "src/segment/lock.rs",
     "e if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),",
     "e if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(true),",
     test("attach", "a_forked_child_may_not_use_its_parents_reader")),
    ("claim: of a process that has ended", True, "src/segment/claim.rs",
     "let is_void = found == 0 || Process(found & !CLAIMED).has_ended() == Some(true);",
     "let is_void = true;", test("strangers", "many_processes")),
    ("claim: of a process that can be asked about", True, "src/segment/claim.rs",
     "            && other != here\n", "            && other == here\n",
     test("strangers", "a_read_lock_keeps_out")),
    ("claim: one that is given back", True, "src/segment/claim.rs",
     "        claim.store(0, Release);", "", test("strangers", "a_ring_is_read_and_written")),
    ("lock: not inherited by a fork", True, "src/segment/lock.rs",
     "unsafe { madvise(page, 1, Advice::LinuxDontFork) }", "Ok::<(), rustix::io::Errno>(())",
     test("liveness", "a_forked_child_that_lives_on")),
    ("lock of a seat that is being made", False, "src/registry/ticket.rs",
     "if ticket.state() == Some(TicketWord::Making) && matches!(probe.take(lock), Ok(true)) {",
     "if false {", test("every_instruction", "a_writer")),
    ("a ticket is among the used ones before it is taken", True, "src/registry/ticket.rs",
     "            counts.tickets_used.fetch_max(index as u64 + 1, Release);\n"
     "            if take(index, &tickets[index])? {",
     "            if take(index, &tickets[index])? {\n"
     "            counts.tickets_used.fetch_max(index as u64 + 1, Release);",
     [*LIB, "registry::ticket::tests"]),
    ("last words: the header names the cell and the line", True, "src/exchange/settle.rs",
     "let is_own = usize::from(header.cell) == index && header.line == pending.line;",
     "let is_own = true;",
     [*LIB, "last_words_tests"]),
    ("what is delivered is noted before it is taken", False, "src/read/event.rs",
     "    note_delivered_before(segment, cell, line.next());", "    let _ = (cell, line);",
     test("every_instruction", "a_reader_that_dies")),
    ("an end that was accepted is not told again", True, "src/read/ends.rs",
     "if pending.is_accepted {", "if false {", test("crash", "what_comes_again")),
    ("ends are counted before the lines before them are taken", True, "src/read/event.rs",
     "segment.count_end(ticket);", "let _ = ticket;", test("crash", "what_comes_again")),
    ("parts of lines stay in the ring", True, "src/read/slots.rs",
     "None => self.hold(segment, position, cell),", "None => {}",
     [*LIB, "read::drain::tests::a_reader_that_dies_between"]),
    ("parts further back than half of the ring are let go", True, "src/read/drain.rs",
     "        held.let_go(self.cursor.minus(ring.shape.positions() / 2));\n", "",
     [*LIB, "read::drain::tests::a_line_that_needs_more"]),
    ("the rest of a line that was accepted is none", True, "src/read/slots.rs",
     "self.inherited.had_accepted(&header)", "false",
     [*LIB, "read::drain::tests::a_reader_that_dies_while_it_takes"]),
    ("a part is taken before what made it void", True, "src/read/held.rs",
     "if is_over && part.position.is_before(taken) {", "if is_over {",
     [*LIB, "read::held"]),
    ("no more is decoded than a lap", True, "src/read/drain/fill.rs",
     "min(positions.saturating_sub(lap) as usize)", "min(positions as usize)",
     test("batches", "a_batch_with_a_long_line")),
    ("the next reader looks back for parts", True, "src/read/drain.rs",
     "oldest_part(segment, position).unwrap_or(position)", "position",
     [*LIB, "read::drain::tests::a_reader_that_dies_between"]),
    ("release fence before a new spare is written", True, "src/exchange/publish.rs",
     "fence(Release);\n        self.next_position", "self.next_position",
     [LOOM, "observe_x_overwrite"]),
    ("acquire fence of an observer", True, "src/exchange/take.rs",
     "// ORD observe:D, acquire fence; pairs with publish:G; as observe:B.\n"
     "        fence(Acquire);", "",
     [LOOM, "observe_any_x_publish"]),
    ("a slot is verified by the reader", True, "src/read/slots.rs",
     "let agrees = checksum::agrees(segment.ring().shape, self.queue.next_image());",
     "let agrees = true;",
     test("checksums", "each_flipped_bit")),
    ("a slot is verified where whole lines are decoded", True, "src/read/slots.rs",
     "if CHECKS && !checksum::agrees(ring.shape, image) {", "if false {",
     test("checksums", "a_damaged_line_among_many")),
    ("an intent does not stay after a refusal", True, "src/exchange/publish.rs",
     "                self.hold_spare(hold, spare);\n            }\n            Err(_) => {}",
     "            }\n            Err(_) => {}",
     [LOOM, "publish_x_publish_with_room_for_one"]),
    ("observer: a free entry has what was taken from it", False, "src/read/snapshot.rs",
     "entry.laps_since(shape.lap(near)) - i64::from(!entry.is_full())",
     "entry.laps_since(shape.lap(near))",
     test("observe")),
    ("a slot is verified by an observer", True, "src/read/snapshot.rs",
     "let agrees = || checksum::agrees(ring.shape, image);", "let agrees = || true;",
     test("checksums", "each_flipped_bit")),
    ("a position is in the checksum", True, "src/exchange/checksum.rs",
     "u64::from(append_words(sum, [position])) << 32",
     "u64::from(append_words(sum, [position & 0])) << 32",
     test("checksums", "each_flipped_bit")),
    ("an error that was kept is verified", True, "src/read/ends.rs",
     "!checksum::agrees(shape, &image)\n", "false\n", test("checksums", "an_error_that_was_kept")),
    ("last words: a finished part is verified", True, "src/exchange/settle.rs",
     "Some((payload, agrees)) if agrees || !finished =>", "Some((payload, _)) =>",
     [*LIB, "last_words_tests"]),
    ("a damaged part counts as the very next line alone", True, "src/read/assembly.rs",
     "progress.note_next(header.line)", "{ progress.note(header.line); true }",
     test("checksums", "a_line_that_names_a_mirror")),
    ("a damaged part does not end the line before", True, "src/read/assembly.rs",
     "!self.has(header.cell.into()) && ", "", [*LIB, "read::drain::tests::a_damaged_part"]),
    ("a skipped position may have made parts void", True, "src/read/drain/fill.rs",
     "self.backlog.assemblies.note_skipped();\n"
     "        self.backlog.push(self.cursor, Event::Damaged { position });",
     "self.backlog.push(self.cursor, Event::Damaged { position });",
     [*LIB, "read::drain::tests::parts_between"]),
    ("a damaged slot may have made parts void", True, "src/read/assembly.rs",
     "self.note_skipped();\n        if self.add_damaged", "if self.add_damaged",
     [*LIB, "read::drain::tests::parts_between"]),
    ("what an overrun reader skipped may have made parts void", True, "src/read/drain/fill.rs",
     "self.backlog.assemblies.note_skipped();\n        let inherited", "let inherited",
     test("policies::void_lines", "an_overrun_reader_never_joins")),
    ("what an observer did not see may have made parts void", True, "src/read/snapshot.rs",
     "if next != Some(slot.header.position) {", "if false {",
     [*LIB, "read::drain::tests::an_observer_joins"]),
    ("the parts of a line begun anew say so", True, "src/write/partial.rs",
     "if self.voided == Some(self.publisher.line) { flag::ANEW } else { 0 }", "0",
     test("policies::void_lines", "an_overrun_reader_never_joins")),
    ("a part of a line that was not begun anew is of what came before", True,
     "src/read/assembly.rs",
     "assembly.skipped && header.is(flag::ANEW)", "assembly.skipped",
     test("policies::void_lines", "a_long_line_is_whole")),
    ("a snapshot of a spare is not joined to a void line's parts", True,
     "src/buffer/partial_line.rs",
     "(false, true) => (None, Some(seen)),", "(false, true) => (Some(drained), Some(seen)),",
     [*LIB, "partial_line::tests::a_snapshot_and_a_drain"]),
    ("a snapshot of a spare is not joined to parts of the line's successor", True,
     "src/buffer/partial_line.rs",
     "(true, true) => (Some(drained), None),", "(true, true) => (Some(drained), Some(seen)),",
     [*LIB, "partial_line::tests::a_snapshot_and_a_drain"]),
    ("a void line's number is expected again", True, "src/read/slots.rs",
     "self.writers.expect_again(segment, writer, line);", "",
     test("policies::void_lines", "a_line_after_a_void")),
    ("a void line's number is not expected again once it was accepted", True, "src/read/lineage.rs",
     "!is_accepted && ", "", [*LIB, "read::drain::tests::a_void_line_that_comes"]),
    ("the reader's second look before it sleeps", True, "src/exchange/park.rs",
     "let asleep = announce(sleeps);\n    if awaited.has_come() {",
     "let asleep = announce(sleeps);\n    if false && awaited.has_come() {",
     [LOOM, "sleep_x_wake"]),
    ("one that is late to fall asleep does not by another's announcement", True,
     "src/exchange/park.rs", "const ONE_WAKE_UP: u32 = 4;", "const ONE_WAKE_UP: u32 = 0;",
     [LOOM, "observer_sleep_x_wake"]),
    ("a reader that takes its announcement back wakes observers", True, "src/exchange/park.rs",
     "            wake_observers();\n", "            let _ = wake_observers;\n",
     [LOOM, "observer_sleep_x_wake"]),
    ("an observer looks once more before it sleeps", True, "src/exchange/park.rs",
     "_ if awaited.has_come() => Rest::Over,", "_ if false => Rest::Over,",
     [LOOM, "observer_sleep_x_wake"]),
    ("an observer rests after each part of a line", True, "src/handles/follow.rs",
     "if !items.is_empty() || self.following.progress() != before {",
     "let _ = before;\n        if !items.is_empty() {",
     test("follow", "parts_of_a_line_are_looked_at")),
    ("an observer writes into its ring alone", True, "src/segment/view.rs",
     "(device_and_inode(&file).ok()? == self.opened && page.is_of(&self.geometry)).then_some(page)",
     "Some(page)", test("follow", "what_has_an_observers_descriptor")),
    ("an observer that asks says that it sleeps", True, "src/exchange/park.rs",
     "let asleep = if may_write {", "let asleep = if may_write && false {",
     test("follow", "an_observer_that_asks_is_woken")),
    ("the reader's second look at ends before it sleeps", True, "src/exchange/park.rs",
     "self.ring.is_filled_at(self.position) || self.events.load(SeqCst) != self.seen_events",
     "self.ring.is_filled_at(self.position)", [LOOM, "sleep_x_end"]),
    ("one that is woken and has not been yet is woken by others too", True, "src/exchange/park.rs",
     "if found & STATE == AWAKE { true }", "if found & STATE != ASLEEP { true }",
     [*LIB, "exchange::tests::sleeping::one_that_stands_still"]),
    ("ends are forgotten after the lines before them are taken", True, "src/read/drain.rs",
     '        if let Some(end_position) = queue.note_delivered(count, &self.segment, writers) {\n'
     '            self.take(end_position);\n        }\n'
     '        // After the lines before them are taken: should they come again, their mirrors are '
     'still\n        // known.\n'
     '        self.backlog.queue.forget_ended(count, &self.segment, &mut self.backlog.writers);\n',
     '        let end = queue.note_delivered(count, &self.segment, writers);\n'
     '        self.backlog.queue.forget_ended(count, &self.segment, &mut self.backlog.writers);\n'
     '        if let Some(end_position) = end {\n'
     '            self.take(end_position);\n        }\n',
     test("crash", "what_comes_again")),
    ("what a reader died in the middle of counting is counted first", True, "src/read/drain.rs",
     "        segment.finish_counting();\n", "", test("crash", "each_end_is_counted_once")),
    ("a process with a cell lives in the ring", True, "src/registry/cell.rs",
     "let living = probe.live().map_err(cannot(\"lock the segment\"));",
     "let living = Ok::<(), crate::error::SystemError>(());",
     test("crash", "a_ring_in_which_a_forked_worker_lives")),
    ("laps that are far apart are damage", False, "src/read/drain/fill.rs",
     "self.segment.overwrites() && ring.are_apart(self.cursor, self.previous)", "false",
     [*LIB, "read::drain::tests::laps_that_lead"]),
    ("who is refused again looks at its own place", False, "src/write/backpressure.rs",
     "            if refused == position {\n                roomy = position;\n            }\n"
     "            // A writer that is refused over and over comes to the limits below.\n"
     "            self.backoff.snooze();\n",
     "            let _ = refused;\n", [*LIB, "backpressure::tests::a_full_ring"]),
    ("a line of one slot is the next one of its mirror", True, "src/read/slots.rs",
     "SlotHeader::source_word(source) != self.expected && ", "self.expected == NO_SOURCE && ",
     [*LIB, "read::drain::tests"]),
    ("lines of another mirror are another run", True, "src/read/slots.rs",
     "        self.end(position);\n        let (cell", "        let (cell",
     test("borrowed", "single_lines")),
    ("an entry of the reader names a slot", True, "src/exchange/take.rs",
     "(slot < self.slot_count).then_some", "(slot < 1 << 24).then_some",
     [*LIB, "exchange::tests::damage::an_index"]),
    ("a length that no slot has is damage", True, "src/exchange/take.rs",
     "if length > self.payload_bytes {\n            return false;",
     "if length > self.payload_bytes {\n            return true;",
     [*LIB, "exchange::tests::damage::a_wrong_position"]),
    ("a slot is the one of its position", True, "src/exchange/take.rs",
     "again == entry && self.shape", "again == entry || self.shape",
     [*LIB, "exchange::tests::runs::a_run_ends_before_words"]),
    ("places are compared, and not positions", False, "src/layout/geometry.rs",
     "(a.0 ^ b.0) & self.place_bits() == 0", "a == b",
     [*LIB, "exchange::tests::runs::the_bits_of_a_position"]),
    ("a single line is noted before it is taken", True, "src/read/drain.rs",
     "        note_delivered(&self.segment, source);\n", "",
     test("every_instruction", "a_reader_that_dies")),
    ("fork token of a writer of pieces", True, "src/handles/mirror.rs",
     "writer.registration().is_of_this_process() && !is_stopped", "!is_stopped",
     test("pieces", "a_childs_piece")),
    ("a stop of a writer of pieces", True, "src/handles/mirror.rs",
     "writer.registration().is_of_this_process() && !is_stopped(writer.segment())",
     "writer.registration().is_of_this_process()", test("pieces", "a_piece_after_a_stop")),
    ("a piece with an end is none", True, "src/write/partial.rs",
     " || has_end(bytes) {", " {", test("pieces", "pieces_of_any_length")),
    ("a piece fits in its slot", True, "src/write/partial_line.rs",
     "bytes <= self.room", "self.room > 0", test("pieces", "pieces_of_any_length")),
    ("a line that is begun anew has a header", True, "src/write/partial.rs",
     "            ring.write_header(&self.publisher.spare, &header);\n"
     "            ring.mark_begun(&self.publisher.spare, order);\n",
     "            let _ = (ring, header);\n",
     test("line_buffer::line_ends", "a_rewritten_line_of_many")),
    ("no line longer than the longest", True, "src/read/assembly.rs",
     "budget.min(self.max_line - line.bytes.len())", "budget",
     [*LIB, "read::drain::tests::parts_of_a_line_without"]),
    ("a reader waits for the first mirror", True, "src/handles/reader.rs",
     "self.is_idle() && self.drain.has_begun()", "self.is_idle()",
     test("policies::end", "a_reader_waits_for_the_first_mirror")),
    ("that a ring is over is said once", True, "src/handles/reader_waits.rs",
     "is_over && !(is_limited && was_told)", "is_over && !(is_limited && was_told && false)",
     test("policies::end", "that_a_ring_is_over_is_said_once")),
    ("observers are woken with the reader", True, "src/segment/wake.rs",
     "futex::wake(&segment.header().flags.0.reader_sleeps, u32::MAX >> 1);",
     "futex::wake(&segment.header().flags.0.reader_sleeps, 1);",
     test("follow", "a_writer_that_wakes_the_reader_wakes_observers_too")),
    ("a ticket of a cell that was left ends", True, "src/read/writers/tickets.rs",
     "!cell.may_be_owned()", "cell.owner() == Some(crate::layout::Owner::Free)",
     [*LIB, "read::drain::tests::a_dead_mirror_is_reported"]),
    ("a ticket of the reader's cell ends", True, "src/read/writers/tickets.rs",
     ".filter(|_| index != READER_CELL)", ".filter(|_| index != READER_CELL || true)",
     [*LIB, "read::drain::tests::a_ticket_of_a_cell"]),
    ("last words for which an empty ring is full", True, "src/registry/reaper.rs",
     "if is_unread(segment, position) =>", "if is_unread(segment, position) || true =>",
     [*LIB, "read::drain::tests::a_dead_mirror_whose_last_words"]),
    ("parts alone bring a new reader no further", True, "src/read/drain.rs",
     "if self.taken == start { before_parts } else", "if false { before_parts } else",
     [*LIB, "read::drain::tests::a_reader_that_dies_behind_parts_alone"]),
    ("a file that was cut is not made longer", True, "src/segment/backing.rs",
     "FallocateFlags::KEEP_SIZE", "FallocateFlags::empty()",
     [*LIB, "segment::backing::tests::a_file_that_was_cut"]),
    ("wake-up pipe: a byte for what has come", True, "src/read/park.rs",
     "if let (None, Some(pipe)) = (may_sleep, segment.pipe()) {",
     "if let (None, Some(pipe), true) = (may_sleep, segment.pipe(), false) {",
     test("policies::wake_up", "the_wake_up_pipe_is_readable_from_the_start")),
    ("a thread that would wait for itself", True, "src/write/backpressure.rs",
     "let is_own = lives && segment.read_by.is_here();", "let is_own = false;",
     test("service::writers", "a_thread_that_fills_the_ring")),
    ("a drain does not feed itself", True, "src/service/shared_writer.rs",
     "if inner.writers.segment.read_by.is_only_here() {", "if false {",
     test("service::sinks", "a_sink_that_logs_into_its_own_ring")),
    ("a batch leaves the ring once the sink has it", True, "src/service/pump.rs",
     "if self.out.put_all(batch.iter()).is_err() {",
     "if self.out.put_all(batch.iter()).is_err() && false {",
     test("service::sinks", "a_sink_that_comes_back")),
    ("a sink that prints needs no lock", False, "src/service/sink.rs",
     "original::$original.write(text)", "{ let _ = &original::$original; self.write(text) }",
     test("service::sinks", "a_thread_that_has_the_lock_of_stdout")),
    ("a pool's worker ends its writers", True, "src/workers/worker.rs",
     "                thread_writers::leave();", "",
     test("service::ends", "a_pools_worker_ends_the_writers")),
    ("a line that wakes a reader comes before its look for the dead", True,
     "src/handles/reader_waits.rs", "                paused => paused?,\n            }",
     "                paused => paused?,\n            }\n            self.drain.reap_dead()?;",
     test("service::drains", "a_line_that_wakes_a_drain")),
    ("a pool remembers how its workers died", True, "src/workers/worker.rs",
     "        known.remember_exit(status);",
     "        let _ = (Process::remember_exit, known, status);",
     test("service::pools", "workers_that_fail")),
    ("a pool's child finds std's locks free", False, "src/workers/worker.rs",
     "let mut locks = (io::stdout().lock(), io::stderr().lock());",
     "let mut locks = (io::stdout(), io::stderr());",
     test("service::pools", "a_pool_of_a_process_whose_threads_print")),
    ("a pool's child waits for no other thread's panic", False, "src/workers/worker.rs",
     "if Process::has_one_thread() {", "if true || Process::has_one_thread() {",
     test("service::pools", "a_worker_that_is_forked_while")),
    ("an interrupt ends workers that were forked later", False, "src/workers/pool.rs",
     "            signals::add(worker.process);", "            let _ = signals::add;",
     test("service::pools", "an_interrupt_ends_the_replaced")),
    ("no record forges a field of journald's", True, "src/service/journald.rs",
     "let is_text = !value.iter().any(|byte| *byte < b' ' && *byte != b'\\t');",
     "let is_text = true;", test("service::journald", "a_record_has_its_fields")),
    ("a long message for journald is sealed", True, "src/sys/datagram.rs",
     "fcntl_add_seals(&file, seals)?;", "let _ = (seals, fcntl_add_seals::<&std::fs::File>);",
     test("service::journald", "a_message_that_is_too_long")),
    ("a process that exits ends its writers", True, "src/sys/leaving.rs",
     "INSTALLED.store(process::at_exit(end_at_exit), Relaxed);",
     "let _ = process::at_exit; let _ = end_at_exit;",
     test("service::inherited", "a_shared_writer_takes_the_seat")),
    ("threads leave mirrors to processes", True, "src/buffer/thread_writers.rs",
     "free <= mirrors.len() / 4", "free == 0 && false",
     test("service::writers", "processes_log_though")),
    ("a record's further lines are marked", True, "src/service/text.rs",
     "page.extend_from_slice(FURTHER);", "",
     test("service::formats", "no_record_forges")),
    ("run takes a signal that comes twice at once for one", True, SUPERVISOR,
     "Some(asked) if asked.signal == signal && now < asked.at + MOMENT => return,", "",
     supervisor_test("the_same_signal")),
    ("run kills what has not ended in its time", True, STOP,
     "if stop.killed.is_none() && stop.kill_at.is_some_and(|at| at <= now) { "
     "stop.killed = Some(now); stop.signal = SIGKILL; } else if",
     "if", supervisor_test("a_stop_tells_all_once")),
    ("run closes what is kept open after its time", True, SUPERVISOR,
     "active.is_closed = true; self.system.close(Scope::Job(job));", "active.is_closed = true;",
     supervisor_test("what_keeps_an_output_open")),
    ("run tells no process that was sent the signal too", True, SYSTEM,
     "if was_sent || !is_new && signal != SIGKILL {", "if !is_new && signal != SIGKILL {",
     command_test("run::signals::a_worker_gets_a_signal_once")),
    ("run halts at the failure that was named", True, SUPERVISOR,
     "if count >= halt.after {", "if count > halt.after {", supervisor_test("a_halt_may_count")),
    ("run starts nothing again once it was told to end", True, SUPERVISOR,
     "if self.is_closed || self.active", "if self.active",
     supervisor_test("a_run_that_is_told_to_end")),
    ("run tells each process once", True, SYSTEM,
     "if was_sent || !is_new && signal != SIGKILL {", "if was_sent {",
     command_test("run::signals::what_a_worker_has_started")),
    ("run walks over whole trees", True, "tools/linering-cli/src/run/system/tree.rs",
     "found.extend(children.remove(&of).unwrap_or_default());", "children.remove(&of);",
     command_test("run::signals::what_a_worker_has_started")),
    ("run adopts what its workers leave behind", True, SYSTEM,
     "rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;", "",
     command_test("run::stops::a_stop_reaches_whole_trees")),
    ("two numbers do not get the two forms of one old file", True, "src/service/old_files.rs",
     "unless_gone(fs::remove_file(self.plain(number)))?; "
     "fs::rename(self.packed(number), self.packed(number + 1))?;",
     "fs::rename(self.packed(number), self.packed(number + 1))?;",
     test("compressed", "what_a_kill_has_left")),
    ("what another still writes is not compressed", True, "src/service/gzip.rs",
     "if !is_left_alone(&plain) { return Ok(()); }", "",
     test("compressed", "what_another_still_writes")),
    ("run leaves what does not end though killed", True, STOP,
     "if are_over || stop.is_hopeless(now) {", "if are_over {",
     supervisor_test("what_does_not_end_though_killed")),
    ("run sets its terminal back", True, CONSOLE,
     "self.0.release(); self.0.state().is_over = true;", "self.0.state().is_over = true;",
     command_test("console::tests", ("--bin", "linering"))),
    ("run takes nothing that is typed in the background", True, CONSOLE,
     "if !self.console.is_ours() {", "if false {",
     command_test("run::typed::in_the_background")),
    ("run passes on a line when the one before was read", True, CONSOLE,
     "self.unread = Some(SOON);", "self.unread = None;",
     command_test("run::typed::each_read_gives")),
    ("what passed by is not lost a second time", True, "src/read/follow.rs",
     "self.keep_seen();\n        self.seen.writers.note_passed_by();", "self.keep_seen();",
     test("follow", "what_passes_by")),
    ("an observer that follows takes no other line for the one at a position", True,
     "src/read/follow.rs",
     ".find(|slot| shape.is_same_place(slot.header.position, position))", ".next()",
     test("follow", "one_that_is_overrun")),
    ("an observer that follows tells an end once", True, "src/read/follow.rs",
     "filter(|end| !told.contains(&end.worker))", "filter(|_| !told.is_empty() || true)",
     test("follow", "what_is_there")),
    ("forward: the fence", False, "tools/forward/src/nats.rs",
     ".expected_last_subject_sequence(after)", "",
     [FORWARD, "--test", "server", "--", "network"]),
    ("forward: the last message is asked for what it has", True, "tools/forward/src/forward.rs",
     "let known = Known::by(&message).map_err(Failure::failed)?;", "let known = Known::default();",
     [FORWARD, "--test", "faulty", "--", "whatever_the_engine_does"]),
    ("forward: a commit comes after the acknowledgement", True, "tools/forward/src/forward.rs",
     "let upto = batch.map_err(Failure::failed)?.upto_of(sending.items);",
     "let batch = batch.map_err(Failure::failed)?;\nlet upto = batch.upto_of(sending.items);\n"
     "batch.commit_first(std::mem::take(&mut sending.items));",
     [FORWARD, "--test", "faulty", "--", "a_forwarder_that_is_killed"]),
    ("forward: what is known brings it no further", True, "tools/forward/src/forward.rs",
     "if sending.count > 0 || is_before(upto, has) { upto } else { has }", "upto",
     [FORWARD, "--lib", "--", "a_loss_that_the_engine_knows"]),
    ("forward: refused after the same message is a doubt", True, "tools/forward/src/forward.rs",
     "if before == after && !self.engine.fences() {", "if false {",
     [FORWARD, "--test", "faulty", "--", "a_server_that_answers_with_an_older"]),
    ("forward: refused by an engine that fences is another forwarder", True,
     "tools/forward/src/forward.rs", " && !self.engine.fences()", "",
     [FORWARD, "--lib", "--", "a_ring_has_one_forwarder"]),
    ("forward: a server behind the others is no loss", True, "tools/forward/src/forward.rs",
     "since.elapsed() < self.engine.staleness()", "since.elapsed() < Duration::ZERO",
     [FORWARD, "--test", "faulty", "--", "a_server_that_answers_with_an_older"]),
    ("forward: what is skipped is compared", True, "tools/forward/src/doubt.rs",
     "sum.is_none_or(|sum| *sum == crc32c::crc32c(bytes))", "sum.is_none_or(|_| true)",
     [FORWARD, "--lib", "--", "lines_are_known_by_position"]),
    ("merge: a line of the future counts as of when it came", True, "tools/forward/src/merge.rs",
     "latest.map_or(time, |latest| time.min(latest))", "latest.map_or(time, |_| time)",
     [FORWARD, "--lib", "--", "a_clock_that_is_wrong"]),
]


def copy_sources():
    shutil.rmtree(COPY, ignore_errors=True)
    ignored = shutil.ignore_patterns("target", ".git")
    # With the time of the copy: what a run that was broken off has built is older.
    shutil.copytree(ROOT, COPY, ignore=ignored, copy_function=shutil.copyfile)


# A test that takes so many times as long as with all guards in place counts as red: without a
# guard, many hang. Where that was not measured, so many seconds: more than a model takes that finds
# nothing, or it would be taken for red.
PATIENCE = 8
LONGEST = 60


def cargo(command, patience=None):
    """Runs a test; None if it did not end."""
    environment = dict(os.environ, CARGO_TARGET_DIR=TARGET, RUST_BACKTRACE="0")
    arguments = ["cargo", "test", "--offline"]
    if command[0] == LOOM:
        environment |= {"RUSTFLAGS": "--cfg loom", "CARGO_TARGET_DIR": os.path.join(TARGET, "loom")}
        arguments += ["-p", "linering", "--lib"]
        command = command[1:]
    elif command[0] == FORWARD:
        environment["CARGO_TARGET_DIR"] = os.path.join(ROOT, "tools/forward/target")
        arguments += ["--manifest-path", "tools/forward/Cargo.toml"]
        command = command[1:]
    else:
        # As ci/test has built what they depend on.
        arguments += ["--workspace", "--all-features"]
        # Not optimised: these tests are quick, and are built once for each guard.
        environment["CARGO_PROFILE_TEST_OPT_LEVEL"] = "0"
    run = subprocess.Popen(
        [*arguments, *command], cwd=COPY, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    try:
        output, _ = run.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        return None
    return run.returncode, output


def build(command):
    split = command.index("--") if "--" in command else len(command)
    return [*command[:split], "--no-run"] if command[0] != LOOM else [LOOM, "--no-run"]


def how_red(command, patience=None):
    """In which way a test is red: `hung` if it did not end; "" if it is green."""
    code, output = cargo(build(command))
    if code != 0:
        sys.exit(f"the sources do not compile:\n{output[-3000:]}")
    result = cargo(command, patience)
    if result is None:
        return "hung"
    code, output = result
    if code == 0 and not re.search(r" [1-9]\d* passed", output):
        sys.exit(f"there is no test of that name: {command}")
    return "red" if code != 0 else ""


def any_layout(text):
    """What stands there, however code and comments are broken into lines."""
    return r"(?:\s|//)+".join(re.escape(word) for word in text.split() if word != "//")


def tests_of(target):
    """The names of a target's tests."""
    if target == [LOOM]:
        # From the source: to build the models only for their names takes minutes.
        with open(os.path.join(ROOT, "src/exchange/loom_models.rs")) as source:
            return re.findall(r"#\[test\]\s+fn (\w+)", source.read())
    # As ci/test builds them: one package alone has other features of what it depends on.
    all_of = ["--workspace", "--all-features"]
    if target[0] == FORWARD:
        all_of, target = ["--manifest-path", "tools/forward/Cargo.toml"], target[1:]
    listing = subprocess.run(
        ["cargo", "test", "--offline", *all_of, *target, "--", "--list"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE,
    )
    if listing.returncode != 0:
        sys.exit(f"cargo test {' '.join(target)} -- --list ended with {listing.returncode}")
    return re.findall(r"^(\S+): test$", listing.stdout, re.MULTILINE)


def split_command(command):
    """A test command's target, and the part of a name that it gives the target's tests."""
    if command[0] == LOOM:
        return [LOOM], command[1:]
    if "--" in command:
        split = command.index("--")
        return command[:split], command[split + 1 :]
    return command[:1], command[1:]


def check():
    """Says which guards do not stand once where they are said to, and which tests do not exist."""
    faults = []
    names = {}
    for name, _, file, there, _, command in MUTATIONS:
        with open(os.path.join(ROOT, file)) as source:
            found = len(re.findall(any_layout(there), source.read()))
        if found != 1:
            faults.append(f"{name}: {file} has this {found} times, expected once:\n{there}")
        target, parts = split_command(command)
        if tuple(target) not in names:
            names[tuple(target)] = tests_of(target)
        for part in parts:
            # The harness takes a part of a name anywhere in it.
            if not any(part in test for test in names[tuple(target)]):
                faults.append(f"{name}: {' '.join(target)} has no test whose name has {part}")
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(MUTATIONS)} guards: each stands once, and has a test")


def main():
    wanted = sys.argv[1:]
    if wanted == ["--check"]:
        return check()
    is_quick = wanted[:1] in (["--quick"], ["--share"])
    if is_quick:
        chosen = [m for m in MUTATIONS if m[1]]
        if wanted[0] == "--share":
            which, shares = map(int, wanted[1].split("/"))
            chosen = chosen[which % shares :: shares]
    else:
        chosen = [m for m in MUTATIONS if not wanted or m[0] in wanted]
    green = []
    copy_sources()
    seconds = {}
    for command in [m[5] for m in chosen]:
        if tuple(command) in seconds or is_quick:
            continue
        # Built first, so that it is the test alone that is timed.
        cargo(build(command))
        began = time.monotonic()
        if how_red(command):
            sys.exit(f"red with all guards in place: {' '.join(command)}")
        seconds[tuple(command)] = time.monotonic() - began
    for name, _, file, there, instead, command in chosen:
        path = os.path.join(COPY, file)
        with open(path) as source:
            text = source.read()
        mutated, found = re.subn(any_layout(there), lambda _: instead, text)
        if found != 1:
            sys.exit(f"{name}: {file} has this {found} times, expected once:\n{there}")
        with open(path, "w") as source:
            source.write(mutated)
        red = how_red(command, PATIENCE * max(seconds[tuple(command)], 5) if seconds else LONGEST)
        with open(path, "w") as source:
            source.write(text)
        print(f"{red or 'GREEN':5}  {name}: {' '.join(command)}", flush=True)
        if not red:
            green.append(name)
    if green:
        sys.exit(f"no test turns red without: {', '.join(green)}")


if __name__ == "__main__":
    main()
