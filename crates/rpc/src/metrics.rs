//! A task's metrics, from and to their message.

use std::time::Duration;

use firesteel_events::{
    InputMetrics, OutputMetrics, ShuffleReadMetrics, ShuffleWriteMetrics, SpillMetrics, TaskMetrics,
};

use crate::proto::executor as pb;

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The message of some metrics.
pub(crate) fn metrics_to_proto(metrics: &TaskMetrics) -> pb::TaskMetrics {
    let TaskMetrics { spill, input, output, shuffle_read, shuffle_write, .. } = metrics;
    pb::TaskMetrics {
        queued_nanos: nanos(metrics.queued),
        deserialize_nanos: nanos(metrics.deserialize),
        deserialize_cpu_nanos: nanos(metrics.deserialize_cpu),
        run_nanos: nanos(metrics.run),
        cpu_nanos: nanos(metrics.cpu),
        result_serialization_nanos: nanos(metrics.result_serialization),
        result_bytes: metrics.result_bytes,
        peak_memory: metrics.peak_memory,
        spilled_memory_bytes: spill.memory_bytes,
        spilled_disk_bytes: spill.disk_bytes,
        input_bytes: input.bytes,
        input_records: input.records,
        output_bytes: output.bytes,
        output_records: output.records,
        remote_blocks: shuffle_read.remote_blocks,
        local_blocks: shuffle_read.local_blocks,
        remote_bytes: shuffle_read.remote_bytes,
        local_bytes: shuffle_read.local_bytes,
        fetch_wait_nanos: nanos(shuffle_read.fetch_wait),
        shuffle_records_read: shuffle_read.records,
        shuffle_bytes_written: shuffle_write.bytes,
        shuffle_records_written: shuffle_write.records,
        shuffle_write_nanos: nanos(shuffle_write.time),
    }
}

/// The metrics of a message.
pub(crate) fn metrics_from_proto(m: &pb::TaskMetrics) -> TaskMetrics {
    TaskMetrics {
        queued: Duration::from_nanos(m.queued_nanos),
        deserialize: Duration::from_nanos(m.deserialize_nanos),
        deserialize_cpu: Duration::from_nanos(m.deserialize_cpu_nanos),
        run: Duration::from_nanos(m.run_nanos),
        cpu: Duration::from_nanos(m.cpu_nanos),
        result_serialization: Duration::from_nanos(m.result_serialization_nanos),
        result_bytes: m.result_bytes,
        peak_memory: m.peak_memory,
        spill: SpillMetrics { memory_bytes: m.spilled_memory_bytes, disk_bytes: m.spilled_disk_bytes },
        input: InputMetrics { bytes: m.input_bytes, records: m.input_records },
        output: OutputMetrics { bytes: m.output_bytes, records: m.output_records },
        shuffle_read: ShuffleReadMetrics {
            remote_blocks: m.remote_blocks,
            local_blocks: m.local_blocks,
            remote_bytes: m.remote_bytes,
            local_bytes: m.local_bytes,
            fetch_wait: Duration::from_nanos(m.fetch_wait_nanos),
            records: m.shuffle_records_read,
        },
        shuffle_write: ShuffleWriteMetrics {
            bytes: m.shuffle_bytes_written,
            records: m.shuffle_records_written,
            time: Duration::from_nanos(m.shuffle_write_nanos),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each field with a number of its own comes back as it was: none is mixed up with another.
    #[test]
    fn metrics_come_back_as_they_were() {
        let mut n = 0;
        let mut next = || {
            n += 1;
            n
        };
        let mut time = || Duration::from_nanos(next());
        let times = [time(), time(), time(), time(), time(), time(), time(), time()];
        let [queued, deserialize, deserialize_cpu, run, cpu, result_serialization, fetch_wait, write] = times;
        let metrics = TaskMetrics {
            queued,
            deserialize,
            deserialize_cpu,
            run,
            cpu,
            result_serialization,
            result_bytes: next(),
            peak_memory: next(),
            spill: SpillMetrics { memory_bytes: next(), disk_bytes: next() },
            input: InputMetrics { bytes: next(), records: next() },
            output: OutputMetrics { bytes: next(), records: next() },
            shuffle_read: ShuffleReadMetrics {
                remote_blocks: next(),
                local_blocks: next(),
                remote_bytes: next(),
                local_bytes: next(),
                fetch_wait,
                records: next(),
            },
            shuffle_write: ShuffleWriteMetrics { bytes: next(), records: next(), time: write },
        };
        assert_eq!(metrics_from_proto(&metrics_to_proto(&metrics)), metrics);
    }
}
