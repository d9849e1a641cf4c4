//! `images --tree`: images with the platforms they are for, laid out and coloured as Docker's client does it.

use serde_json::Value;

use crate::format::{text, units};

/// Blanks between two columns.
const GAP: usize = 3;
/// Columns of a terminal that does not tell, and the least that is believed.
const WIDTHS: (usize, usize) = (80, 20);
/// The least width that is left to the names before other columns go.
const NAMES: usize = 12;

const YELLOW: &str = "\x1b[93m";
const BLUE: &str = "\x1b[34m\x1b[1m";
const PLAIN: &str = "\x1b[39m";
const DIM: &str = "\x1b[39m\x1b[2m";
const BOLD: &str = "\x1b[39m\x1b[1m";
const OFF: &str = "\x1b[0m";

/// Where the tree is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paper {
    /// Columns; 0 where there is no terminal.
    pub(super) columns: usize,
    /// Whether colours mean something there.
    pub(super) terminal: bool,
}

impl Paper {
    fn colour(self, colour: &str, text: &str) -> String {
        if self.terminal {
            format!("{colour}{text}{OFF}")
        } else {
            text.to_owned()
        }
    }
}

/// An image, or one of its platforms.
struct Line {
    names: Vec<String>,
    id: String,
    disk: i64,
    content: i64,
    used: bool,
    /// Whether it is here, and not only named in an index that is.
    available: bool,
}

/// An image with its platforms.
struct Image {
    line: Line,
    platforms: Vec<Line>,
}

/// Shows images as the engine describes them with their manifests.
pub(super) fn tree(mut images: Vec<Value>, all: bool, paper: Paper) -> String {
    if !all {
        images.retain(|image| !is_dangling(image));
    }
    images.sort_by_key(|image| std::cmp::Reverse(image["Created"].as_i64()));
    let images: Vec<Image> = images.iter().map(read).collect();
    Tree::new(&images, paper).show(&images)
}

fn is_dangling(image: &Value) -> bool {
    let only = |member: &str, none: &str| {
        let names = image[member].as_array().map_or(&[][..], Vec::as_slice);
        names.is_empty() || names.len() == 1 && names[0] == none
    };
    only("RepoTags", "<none>:<none>") && only("RepoDigests", "<none>@<none>")
}

fn read(image: &Value) -> Image {
    let manifests = || image["Manifests"].as_array().into_iter().flatten();
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let platforms: Vec<Line> = manifests()
        .filter(|manifest| manifest["Kind"] == "image")
        .map(|manifest| {
            let containers = manifest["ImageData"]["Containers"].as_array();
            Line {
                names: vec![platform(&manifest["ImageData"]["Platform"])],
                id: short(&manifest["ID"]),
                disk: number(&manifest["Size"]["Total"]),
                content: number(&manifest["Size"]["Content"]),
                used: containers.is_some_and(|list| !list.is_empty()),
                available: manifest["Available"].as_bool().unwrap_or(false),
            }
        })
        .collect();
    let names = image["RepoTags"].as_array().into_iter().flatten();
    let mut names: Vec<String> = names
        .filter_map(|name| Some(name.as_str()?.to_owned()))
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let used = number(&image["Containers"]) > 0;
    Image {
        line: Line {
            names,
            id: short(&image["Id"]),
            disk: number(&image["Size"]),
            content: manifests()
                .map(|manifest| number(&manifest["Size"]["Content"]))
                .sum(),
            used: used || platforms.iter().any(|platform| platform.used),
            available: true,
        },
        platforms,
    }
}

fn short(id: &Value) -> String {
    text::short_id(id.as_str().unwrap_or_default()).to_owned()
}

fn platform(platform: &Value) -> String {
    let part = |name: &str| platform[name].as_str().unwrap_or_default();
    if part("os").is_empty() {
        return "unknown".to_owned();
    }
    ["os", "architecture", "variant"]
        .map(part)
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/")
}

/// A column beside the names: its title, its width, and the side its values lean to.
type Column = (&'static str, usize, Side);

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

struct Tree {
    paper: Paper,
    names: usize,
    columns: Vec<Column>,
    /// Whether some platform is used, so that there are marks.
    marks: bool,
    /// Whether an empty line follows each image.
    spaced: bool,
}

impl Tree {
    fn new(images: &[Image], paper: Paper) -> Self {
        let width = match paper.columns {
            0 => WIDTHS.0,
            columns => columns.max(WIDTHS.1),
        };
        let mut columns = Vec::new();
        let mut names = width;
        for column in [
            ("ID", 12, Side::Left),
            ("DISK USAGE", 10, Side::Right),
            ("CONTENT SIZE", 12, Side::Right),
            ("EXTRA", 5, Side::Left),
        ] {
            let taken = column.1 + GAP;
            if names < taken + NAMES {
                break;
            }
            names -= taken;
            columns.push(column);
        }
        let widest = images.iter().flat_map(|image| {
            let own = image.line.names.iter().map(String::len);
            let branch = "└─ ".len();
            own.chain(
                image
                    .platforms
                    .iter()
                    .map(move |line| line.names[0].len() + branch),
            )
        });
        let widest = widest.max().unwrap_or(0).max("IMAGE".len());
        let mut platforms = images.iter().flat_map(|image| &image.platforms);
        Self {
            paper,
            names: names.min(widest),
            columns,
            marks: platforms.clone().any(|line| line.used),
            spaced: platforms.next().is_some(),
        }
    }

    fn show(&self, images: &[Image]) -> String {
        let mut out = self.paper.colour(
            YELLOW,
            "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.",
        );
        out.push('\n');
        out.push_str(&self.legend());
        out.push_str("\n\n");
        // The titles are bold wherever they are shown.
        out.push_str(&cell("IMAGE", self.names, Side::Left, |text| {
            format!("{BOLD}{text}{OFF}")
        }));
        for (title, width, side) in &self.columns {
            out.push_str(&" ".repeat(GAP));
            out.push_str(&cell(title, *width, *side, |text| {
                format!("{BOLD}{text}{OFF}")
            }));
        }
        out.push('\n');
        for image in images {
            self.image(image, &mut out);
        }
        out
    }

    /// What the marks mean, at the right edge.
    fn legend(&self) -> String {
        let width = match self.paper.columns {
            0 => WIDTHS.0,
            columns => columns.max(WIDTHS.1),
        };
        // ` Info -> ` and the mark are as wide in colours as without, but for two blanks around the mark.
        let (text, columns) = if self.paper.terminal {
            let head = "\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m";
            (format!("{head} {} In Use ", self.mark()), 21)
        } else {
            (" Info ->  U In Use ".to_owned(), 19)
        };
        format!("{}{text}", " ".repeat(width.saturating_sub(columns)))
    }

    fn mark(&self) -> &'static str {
        if self.paper.terminal {
            "\x1b[38;5;0m\x1b[48;5;14m U \x1b[0m"
        } else {
            "U"
        }
    }

    fn image(&self, image: &Image, out: &mut String) {
        match image.line.names.split_last() {
            None => out.push_str(&cell("<untagged>", self.names, Side::Left, |text| {
                self.paper.colour(DIM, text)
            })),
            Some((last, others)) => {
                for name in others {
                    let name = shortened(name, self.paper.columns);
                    out.push_str(&self.paper.colour(BLUE, &name));
                    out.push('\n');
                }
                out.push_str(&cell(last, self.names, Side::Left, |text| {
                    self.paper.colour(BLUE, text)
                }));
            }
        }
        self.details(&image.line, out);
        if self.spaced {
            out.push('\n');
        }
        for (at, line) in image.platforms.iter().enumerate() {
            let branch = if at + 1 == image.platforms.len() {
                "└─ "
            } else {
                "├─ "
            };
            let name = format!("{branch}{}", line.names[0]);
            let colour = if line.available { PLAIN } else { DIM };
            out.push_str(&cell(&name, self.names, Side::Left, |text| {
                self.paper.colour(colour, text)
            }));
            self.details(line, out);
            out.push('\n');
        }
        out.push('\n');
    }

    fn details(&self, line: &Line, out: &mut String) {
        let colour = if line.available { PLAIN } else { DIM };
        let values = [
            line.id.clone(),
            units::size(line.disk),
            units::size(line.content),
        ];
        for (at, (_, width, side)) in self.columns.iter().enumerate() {
            out.push_str(&" ".repeat(GAP));
            match values.get(at) {
                Some(value) => out.push_str(&cell(value, *width, *side, |text| {
                    self.paper.colour(colour, text)
                })),
                None => out.push_str(&self.extra(line, *width)),
            }
        }
    }

    fn extra(&self, line: &Line, width: usize) -> String {
        let (mark, columns) = match (self.marks, self.paper.terminal) {
            (false, _) => (String::new(), 0),
            (true, terminal) => {
                let columns = if terminal { 3 } else { 1 };
                let mark = if line.used {
                    self.mark().to_owned()
                } else {
                    " ".repeat(columns)
                };
                (mark, columns)
            }
        };
        format!("{mark}{}", " ".repeat(width.saturating_sub(columns)))
    }
}

/// A value in its column.
fn cell(text: &str, width: usize, side: Side, colour: impl Fn(&str) -> String) -> String {
    let columns = text.chars().count();
    if columns > width {
        return colour(&shortened(text, width));
    }
    let blanks = " ".repeat(width - columns);
    match side {
        Side::Left => format!("{}{blanks}", colour(text)),
        Side::Right => format!("{blanks}{}", colour(text)),
    }
}

/// Cuts a text that has as many letters or more; a width of 0 is none.
fn shortened(text: &str, width: usize) -> String {
    if width == 0 || text.chars().count() < width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests;
