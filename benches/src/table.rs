//! One table of everything.

use std::fmt::Write as _;
use std::time::Duration;

use crate::sample::Samples;

/// What was measured.
#[derive(Debug, Clone)]
pub(crate) enum Figure {
    Time(Samples),
    /// Kilobytes.
    Memory(u64),
}

/// One line.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) measure: String,
    pub(crate) peer: String,
    pub(crate) figure: Figure,
}

impl Figure {
    fn value(&self) -> f64 {
        match self {
            Self::Time(samples) => samples.median().as_secs_f64(),
            #[expect(clippy::cast_precision_loss, reason = "a ratio of memory sizes")]
            Self::Memory(kilobytes) => *kilobytes as f64,
        }
    }

    fn cells(&self) -> [String; 3] {
        match self {
            Self::Time(samples) => [
                milliseconds(samples.median()),
                milliseconds(samples.percentile(99)),
                samples.len().to_string(),
            ],
            #[expect(clippy::cast_precision_loss, reason = "shown in MiB")]
            Self::Memory(kilobytes) => [
                format!("{:.2} MiB", *kilobytes as f64 / 1024.0),
                String::new(),
                String::new(),
            ],
        }
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// Lays the rows out; the last column is the figure beside Wharf's for the same measure.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut cells = vec![["measure", "peer", "median", "p99", "n", "wharf is"].map(str::to_owned)];
    for row in rows {
        let wharf = rows
            .iter()
            .find(|other| other.measure == row.measure && other.peer == "wharf")
            .map(|other| other.figure.value());
        let ratio = match wharf {
            Some(wharf) if row.peer != "wharf" && row.figure.value() > 0.0 => {
                format!("{:.3} of it", wharf / row.figure.value())
            }
            _ => String::new(),
        };
        let [median, p99, count] = row.figure.cells();
        cells.push([
            row.measure.clone(),
            row.peer.clone(),
            median,
            p99,
            count,
            ratio,
        ]);
    }
    let width = |column: usize| cells.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &cells {
        let [measure, peer, median, p99, count, ratio] = row;
        let [a, b, c, d, e, _] = widths;
        writeln!(
            text,
            "{measure:<a$}  {peer:<b$}  {median:>c$}  {p99:>d$}  {count:>e$}  {ratio}"
        )
        .expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_measure() {
        let row = |measure: &str, peer: &str, kilobytes| Row {
            measure: measure.to_owned(),
            peer: peer.to_owned(),
            figure: Figure::Memory(kilobytes),
        };
        let text = render(&[
            row("m", "wharf", 1024),
            row("m", "docker", 4096),
            row("n", "x", 1),
        ]);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let words: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(words, ["m", "wharf", "1.00", "MiB"]);
        assert!(lines[2].ends_with("0.250 of it"), "{text}");
        assert!(lines[3].ends_with("0.00 MiB"), "{text}");
    }
}
