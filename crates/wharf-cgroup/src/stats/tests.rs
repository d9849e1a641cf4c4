use super::*;

fn entry(operation: BlkioOperation, value: u64) -> BlkioEntry {
    BlkioEntry {
        major: 8,
        minor: 16,
        operation,
        value,
    }
}

#[test]
fn v1_block_numbers_are_by_device() {
    let text = "8:16 Read 5\n8:16 Write 6\n8:16 Total 11\nTotal 11\n8:x Read 1\n";
    assert_eq!(
        v1::entries(text),
        [
            entry(BlkioOperation::Read, 5),
            entry(BlkioOperation::Write, 6),
            entry(BlkioOperation::Total, 11),
        ]
    );
}

#[test]
fn v2_block_numbers_are_of_one_line() {
    let text = "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=9\n7:0 \nnone\n";
    assert_eq!(
        v2::blkio(text),
        BlkioStats {
            service_bytes: vec![
                entry(BlkioOperation::Read, 1),
                entry(BlkioOperation::Write, 2),
                entry(BlkioOperation::Discard, 5),
            ],
            serviced: vec![
                entry(BlkioOperation::Read, 3),
                entry(BlkioOperation::Write, 4),
                entry(BlkioOperation::Discard, 6),
            ],
        }
    );
}

#[test]
fn v2_times_are_nanoseconds() {
    let text = "usage_usec 10\nuser_usec 6\nsystem_usec 4\nnice_usec 0\nnr_periods 3\n\
                nr_throttled 2\nthrottled_usec 7\n";
    assert_eq!(
        v2::processor_time(text),
        CpuStats {
            total: 10_000,
            kernel: 4_000,
            user: 6_000,
            per_cpu: Vec::new(),
            periods: 3,
            throttled_periods: 2,
            throttled_time: 7_000,
        }
    );
}
