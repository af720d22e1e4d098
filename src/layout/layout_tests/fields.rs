//! The page has the fields of each struct, with their offsets and sizes.

use core::mem::offset_of;

use super::*;

fn bytes_of<T, F>(_: fn(&T) -> &F) -> u64 {
    size_of::<F>() as u64
}

/// Fails if the struct has other fields than the test that compares it with the docs.
fn expect_fields(name: &str, listed: &[&str]) {
    let source = concat!(include_str!("../geometry.rs"), include_str!("../header.rs"));
    let (_, after) = source
        .split_once(&format!("pub(crate) struct {name} {{\n"))
        .expect("a struct of geometry.rs or header.rs");
    let (body, _) = after.split_once("\n}").expect("the end of a struct");
    let fields =
        body.lines().filter_map(|line| line.trim().strip_prefix("pub(crate) ")?.split_once(':'));
    let fields: Vec<_> = fields.map(|(field, _)| field).collect();
    assert_eq!(
        fields, listed,
        "left: the fields of `{name}`; right: those that this test and docs/format.md know"
    );
}

/// The fields of a struct that begins at `$base`: name, offset and bytes.
macro_rules! fields {
    ($base:expr, $type:ident { $($field:ident),* }) => {{
        expect_fields(stringify!($type), &[$(stringify!($field)),*]);
        let base = $base as u64;
        [$((stringify!($field).to_string(), [
            base + offset_of!($type, $field) as u64,
            bytes_of(|it: &$type| &it.$field),
        ])),*]
    }};
}

fn compare_fields(heading: &str, code: &[Fact]) {
    let row = |row: &Vec<&str>| (name(row[2]).to_string(), [number(row[0]), number(row[1])]);
    let docs: Vec<Fact> = table(heading, "offset").iter().map(row).collect();
    compare(heading, ["its offset", "its size in bytes"], &docs, code);
    assert!(
        docs.is_sorted_by_key(|fact| fact.1[0]),
        "docs/format.md, `{heading}`: not in the order of offsets"
    );
}

#[test]
fn the_docs_have_the_geometry() {
    let code = fields!(
        offset_of!(Header, geometry),
        Geometry {
            magic,
            version,
            endianness,
            word_bytes,
            slot_bytes,
            order_bits,
            cells,
            tickets,
            policy,
            checksums,
            total_bytes,
            start_position,
            max_line,
            identity,
            created,
            block_limit,
            reader_grace,
            timestamps,
            returns,
            wake_up,
            backing,
            pipe_process,
            pipe_descriptor,
            pipe_inode
        }
    );
    compare_fields("### Geometry", &code);
    assert_eq!(
        code.iter().map(|fact| fact.1[1]).sum::<u64>(),
        128,
        "the geometry has padding, or another size"
    );
}

#[test]
fn the_docs_have_the_words_of_the_header() {
    let mut code = Vec::new();
    let pairs = fields!(0, Header { geometry, next_position, read_position, flags, space, counts });
    for (name, [offset, _]) in pairs {
        assert_eq!(offset % 128, 0, "`{name}` shares a cache-line pair");
        match &*name {
            "geometry" => {}
            "flags" => code.extend(fields!(offset, HotFlags { reader_sleeps, stopped })),
            "counts" => code.extend(fields!(
                offset,
                SegmentCounters {
                    serial,
                    tickets_used,
                    ticket_hint,
                    events,
                    unfinished,
                    eofs,
                    errors,
                    deaths,
                    found_full,
                    claimed_in
                }
            )),
            "next_position" => {
                code.push((name, [offset, bytes_of(|it: &Header| &it.next_position.0)]))
            }
            "read_position" => {
                code.push((name, [offset, bytes_of(|it: &Header| &it.read_position.0)]))
            }
            "space" => code.push((name, [offset, bytes_of(|it: &Header| &it.space.0)])),
            _ => panic!("say here what words `{name}` has"),
        }
    }
    compare_fields("### Words that change", &code);
}

#[test]
fn the_docs_have_the_fields_of_a_ticket() {
    compare_fields(
        "## Ticket",
        &fields!(0, Ticket { word, serial, lines, dropped, detail, label }),
    );
}

#[test]
fn the_docs_have_the_fields_of_a_cell() {
    let mut code = Vec::new();
    for (name, [offset, _]) in fields!(0, Cell { writer, reader }) {
        match &*name {
            "writer" => {
                code.extend(fields!(offset, WriterWords { hold, pending, owner, dropped }));
            }
            "reader" => code
                .extend(fields!(offset, ReaderWords { epoch, delivered, ticket, serial, claim })),
            _ => panic!("say here what words `{name}` has"),
        }
    }
    compare_fields("## Cell", &code);
}
