//! The table that a bench prints.

/// What a figure must reach.
#[derive(Clone, Copy)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// One line: what was measured, what it is compared with, and the figure that the bar is about.
pub struct Row {
    pub what: &'static str,
    pub measured: String,
    pub floor: String,
    pub figure: f64,
    pub unit: &'static str,
    pub bar: Bar,
}

/// The lines so far. Each is shown when it is known, and all of them at the end.
#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    pub fn add(&mut self, row: Row) {
        eprintln!("{}", row.line());
        self.0.push(row);
    }

    pub fn print(&self) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("\n{cores} cores, {}\n", processor());
        println!("| what | measured | floor | figure | bar | |\n|---|---|---|---|---|---|");
        for row in &self.0 {
            println!("{}", row.line());
        }
    }
}

impl Row {
    fn line(&self) -> String {
        let Self { what, measured, floor, figure, unit, bar } = self;
        let (bar, reached) = match bar {
            Bar::AtLeast(bar) => (format!("≥ {bar}{unit}"), figure >= bar),
            Bar::AtMost(bar) => (format!("≤ {bar}{unit}"), figure <= bar),
        };
        let verdict = if reached { "pass" } else { "missed" };
        format!("| {what} | {measured} | {floor} | {figure:.2}{unit} | {bar} | {verdict} |")
    }
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or("unknown processor", |line| line.trim_start_matches([' ', '\t', ':'])).to_owned()
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
