//! The reader against our writer, the `tar` crate's builder and hand-made headers.

use std::io::Read;

use proptest::prelude::*;

use super::*;

fn read_all(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut data = Vec::new();
        reader.read_to_end(&mut data).map_err(reader::reading)?;
        entries.push((entry, data));
    }
    Ok(entries)
}

fn write_all(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in entries {
        writer.append(entry, &mut data.as_slice()).expect("append");
    }
    writer.finish().expect("finish")
}

fn time() -> impl Strategy<Value = Time> {
    (-4_000_000_000_i64..20_000_000_000, 0..1_000_000_000_u32).prop_map(|(seconds, nanoseconds)| {
        Time {
            seconds,
            nanoseconds,
        }
    })
}

fn name(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1..=255_u8, 1..most)
        .prop_filter("no directory", |name| !name.ends_with(b"/"))
}

fn sparse() -> impl Strategy<Value = (u64, Vec<Segment>)> {
    (
        proptest::collection::vec((0..5000_u64, 0..700_u64), 0..40),
        0..9999_u64,
    )
        .prop_map(|(gaps, tail)| {
            let mut end = 0;
            let mut segments = Vec::new();
            for (gap, length) in gaps {
                segments.push(Segment {
                    offset: end + gap,
                    length,
                });
                end += gap + length;
            }
            (end + tail, segments)
        })
}

prop_compose! {
    fn entry()(
        path in name(300),
        link in name(300),
        kind in prop_oneof![
            Just(Kind::Regular), Just(Kind::HardLink), Just(Kind::Symlink), Just(Kind::Char),
            Just(Kind::Directory), Just(Kind::Fifo),
        ],
        mode in 0..0o10000_u32,
        uid: u32,
        gid: u32,
        mtime in time(),
        device in (0..4096_u32, 0..1_048_576_u32),
        xattrs in proptest::collection::btree_map(
            proptest::collection::vec(b'a'..=b'z', 1..20), proptest::collection::vec(any::<u8>(), 0..40), 0..3
        ),
        data in proptest::collection::vec(any::<u8>(), 0..2000),
        sparse in proptest::option::of(sparse()),
    ) -> (Entry, Vec<u8>) {
        let regular = kind == Kind::Regular;
        let linked = matches!(kind, Kind::HardLink | Kind::Symlink);
        let sparse = sparse.filter(|_| regular);
        let mut entry = Entry {
            path,
            link: if linked { link } else { Vec::new() },
            kind,
            mode,
            uid,
            gid,
            mtime,
            device: if kind == Kind::Char { device } else { (0, 0) },
            size: if regular { data.len() as u64 } else { 0 },
            sparse: None,
            xattrs: xattrs.into_iter().collect(),
        };
        let mut data = if regular { data } else { Vec::new() };
        if let Some((size, segments)) = sparse {
            entry.size = size;
            entry.sparse = Some(segments);
            data.resize(usize::try_from(entry.stored()).expect("small"), 7);
        }
        (entry, data)
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in proptest::collection::vec(entry(), 0..6)) {
        prop_assert_eq!(read_all(&write_all(&entries)).expect("read"), entries);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        entries in proptest::collection::vec(entry(), 1..3),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        fix_sums: bool,
    ) {
        let mut bytes = write_all(&entries);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if fix_sums {
            for block in bytes.chunks_exact_mut(BLOCK) {
                fix_sum(block);
            }
        }
        // Whatever it says, it says it without a panic and without keeping much.
        drop(read_all(&bytes));
    }
}

/// Makes a block that looks like a header pass for one.
fn fix_sum(block: &mut [u8]) {
    if &block[257..262] == b"ustar" {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

fn header(flag: u8, name: &[u8], size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000001");
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    fix_sum(&mut block);
    block
}

#[test]
fn long_names_of_gnu_are_read() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o600);
    let path = "d/".repeat(90) + "file";
    builder
        .append_data(&mut header, &path, &b"hi"[..])
        .expect("append");
    let mut header = ::tar::Header::new_gnu();
    header.set_entry_type(::tar::EntryType::Symlink);
    header.set_size(0);
    let target = "t".repeat(200);
    builder
        .append_link(&mut header, "link", &target)
        .expect("link");
    let entries = read_all(&builder.into_inner().expect("archive")).expect("read");
    assert_eq!(entries[0].0.path, path.as_bytes());
    assert_eq!(entries[0].1, b"hi");
    assert_eq!(entries[1].0.link, target.as_bytes());
    assert_eq!(entries[1].0.kind, Kind::Symlink);
}

#[test]
fn old_sparse_maps_of_gnu_are_read() {
    let mut first = header(b'S', b"s", 1024);
    let mut put = |at: usize, value: u64| {
        first[at..at + 11].copy_from_slice(format!("{value:011o}").as_bytes());
    };
    put(386, 4096);
    put(398, 512);
    put(410, 8192);
    put(422, 0);
    put(483, 1 << 20);
    first[482] = 1;
    fix_sum(&mut first);
    let mut second = [0; BLOCK];
    second[..11].copy_from_slice(format!("{:011o}", 1 << 16).as_bytes());
    second[12..23].copy_from_slice(format!("{:011o}", 512).as_bytes());
    let mut bytes = [first, second].concat();
    bytes.extend_from_slice(&[b'a'; 512]);
    bytes.extend_from_slice(&[b'b'; 512]);
    bytes.extend_from_slice(&[0; 1024]);
    let entries = read_all(&bytes).expect("read");
    let (entry, data) = &entries[0];
    assert_eq!(entry.size, 1 << 20);
    assert_eq!(data.len(), 1024);
    let offsets: Vec<_> = entry.sparse.iter().flatten().map(|s| s.offset).collect();
    assert_eq!(offsets, [4096, 8192, 1 << 16]);
}

#[test]
fn maps_in_records_are_read() {
    let mut all = Vec::new();
    for record in [
        "GNU.sparse.major=0",
        "GNU.sparse.minor=1",
        "GNU.sparse.map=0,3,512000,2",
        "GNU.sparse.size=600000",
    ] {
        let length = record.len() + 4;
        all.extend_from_slice(format!("{length} {record}\n").as_bytes());
    }
    let mut bytes = header(b'x', b"x", all.len() as u64).to_vec();
    let length = all.len();
    all.resize(length.next_multiple_of(BLOCK), 0);
    bytes.extend_from_slice(&all);
    bytes.extend_from_slice(&header(b'0', b"f", 5));
    bytes.extend_from_slice(b"abcde");
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    let entries = read_all(&bytes).expect("read");
    assert_eq!(entries[0].0.size, 600_000);
    assert_eq!(entries[0].0.sparse.as_ref().map(Vec::len), Some(2));
    assert_eq!(entries[0].1, b"abcde");
}

fn refused(bytes: &[u8]) -> TarError {
    read_all(bytes).expect_err("must be refused")
}

#[test]
fn attack_a5_names_of_64_kb_are_refused() {
    let mut bytes = header(b'L', b"././@LongLink", 65536).to_vec();
    bytes.resize(bytes.len() + 65536, b'a');
    bytes.extend_from_slice(&header(b'0', b"f", 0));
    assert!(matches!(refused(&bytes), TarError::TooLong(_)));
}

#[test]
fn attack_a7_records_of_a_gigabyte_are_refused_unread() {
    let bytes = header(b'x', b"x", 1 << 30);
    assert!(matches!(refused(&bytes), TarError::TooLong(_)));
}

#[test]
fn attack_a7_records_of_many_headers_are_refused() {
    let mut bytes = Vec::new();
    for number in 0..20 {
        let record = format!("SCHILY.xattr.user.{number}={}\n", "x".repeat(100_000));
        let length = record.len() + 7;
        let record = format!("{length} {record}");
        assert_eq!(record.len(), length);
        bytes.extend_from_slice(&header(b'x', b"x", record.len() as u64));
        bytes.extend_from_slice(record.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.extend_from_slice(&header(b'0', b"f", 0));
    assert!(matches!(refused(&bytes), TarError::TooLong(_)));
}

#[test]
fn records_for_all_entries_are_ignored() {
    let record = b"14 path=other\n";
    let mut bytes = header(b'g', b"x", record.len() as u64).to_vec();
    bytes.extend_from_slice(record);
    bytes.resize(2 * BLOCK, 0);
    bytes.extend_from_slice(&header(b'0', b"f", 0));
    let entries = read_all(&bytes).expect("read");
    assert_eq!(entries[0].0.path, b"f");
}

#[test]
fn attack_a7_sizes_beyond_any_file_are_refused() {
    let record = b"29 size=18446744073709551615\n";
    let mut bytes = header(b'x', b"x", record.len() as u64).to_vec();
    bytes.extend_from_slice(record);
    bytes.resize(2 * BLOCK, 0);
    bytes.extend_from_slice(&header(b'0', b"f", 0));
    assert!(matches!(refused(&bytes), TarError::Number("size")));
}

#[test]
fn an_archive_cut_short_is_noticed() {
    let mut bytes = header(b'0', b"f", 600).to_vec();
    bytes.extend_from_slice(&[1; 600]);
    assert!(matches!(refused(&bytes), TarError::Truncated));
    assert!(matches!(refused(&bytes[..700]), TarError::Truncated));
    assert!(matches!(refused(b"no archive"), TarError::Checksum(0)));
    assert!(matches!(refused(&[b'x'; 1024]), TarError::Checksum(0)));
}

#[test]
fn numbers_in_base_256() {
    assert_eq!(header::number(b"\x80\0\0\0\0\0\0\x07"), Some(7));
    assert_eq!(header::number(&[0xff; 8]), Some(-1));
    assert_eq!(header::number(b"0000017\0"), Some(15));
    assert_eq!(header::number(b"   17 \0\0"), Some(15));
    assert_eq!(header::number(b"9999999\0"), None);
    let mut huge = [0xff; 12];
    huge[0] = 0xbf;
    assert_eq!(header::number(&huge), None);
}
