//! Routes as the generator writes them, and the match of a path against their tree.
//!
//! Literal segments go before parameters, parameters before `**`; a dead end is left for the next candidate. Segments are
//! compared as sent: `%2F` stays inside its segment, and `%63ustomers` is not `customers`.

use std::ops::Range;

use http::Method;

/// Where a route's request message comes from, besides path and query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestBody {
    /// The call takes no body.
    None,
    /// The body is the message, but for what the path gives.
    Message,
    /// The body is this field (its lowerCamelCase name).
    Field(&'static str),
}

/// One HTTP binding of one RPC.
#[derive(Debug)]
pub struct Route {
    /// The method; `GET` answers `HEAD` too.
    pub method: Method,
    /// The path with lowerCamelCase parameters, as OpenAPI writes it: `/v1/customers/{customerId}`.
    pub template: &'static str,
    /// `package.Service/Method`.
    pub rpc: &'static str,
    /// Where the body goes.
    pub body: RequestBody,
    /// The HTTP status of success.
    pub success: u16,
    /// Server streaming: NDJSON or SSE.
    pub streaming: bool,
    /// The response has no body: an empty message.
    pub empty: bool,
    /// The segments of each path parameter, in the order of the template.
    pub captures: &'static [Capture],
}

/// The segments that one path parameter takes.
#[derive(Debug, Clone, Copy)]
pub struct Capture {
    /// Index of the first segment.
    pub from: usize,
    /// Index after the last segment; `None`: to the end of the path (`**`).
    pub to: Option<usize>,
}

/// A node of the tree of paths.
#[derive(Debug)]
pub struct Node {
    /// Literal segments, sorted.
    pub literals: &'static [(&'static str, Node)],
    /// A parameter of one segment.
    pub any: Option<&'static Node>,
    /// What `**` leads to.
    pub rest: &'static [Leaf],
    /// What ends here.
    pub leaves: &'static [Leaf],
}

/// The routes of one path shape and verb.
#[derive(Debug)]
pub struct Leaf {
    /// The `:verb` without its colon, or empty.
    pub verb: &'static str,
    /// Indices into the table of routes. A unary and a streaming route may share a method.
    pub routes: &'static [usize],
}

/// More segments than any template has are no match.
const MAX_SEGMENTS: usize = 32;

/// A path cut into raw segments.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    ends: [u16; MAX_SEGMENTS],
    len: usize,
}

impl Segments {
    /// `None`: not absolute, too long, or more segments than any template has.
    fn cut(path: &str) -> Option<Self> {
        let mut segments = Self { ends: [0; MAX_SEGMENTS], len: 0 };
        let end = u16::try_from(path.len()).ok()?;
        let inner = path.strip_prefix('/')?;
        for (at, _) in inner.bytes().enumerate().filter(|(_, b)| *b == b'/') {
            segments.push(u16::try_from(at + 1).ok()?)?;
        }
        segments.push(end)?;
        Some(segments)
    }

    fn push(&mut self, end: u16) -> Option<()> {
        *self.ends.get_mut(self.len)? = end;
        self.len += 1;
        Some(())
    }

    /// Byte range of segment `index` in the path.
    fn range(&self, index: usize) -> Option<Range<usize>> {
        if index >= self.len {
            return None;
        }
        let before = index.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or(0);
        Some(usize::from(before) + 1..usize::from(*self.ends.get(index)?))
    }

    /// The raw text of a capture, of at least one segment but for `**`.
    pub(crate) fn text<'p>(&self, path: &'p str, capture: Capture) -> &'p str {
        let last = capture.to.unwrap_or(self.len).saturating_sub(1);
        match (self.range(capture.from), self.range(last)) {
            (Some(from), Some(to)) => path.get(from.start..to.end).unwrap_or_default(),
            _ => "",
        }
    }
}

/// What a path and a method lead to.
pub(crate) enum Found {
    /// Candidates: one route, or a unary and a streaming one.
    Routes { candidates: &'static [usize], segments: Segments },
    /// The path is known, the method is not; the methods that are.
    Methods(Vec<Method>),
    /// No such path.
    Nothing,
}

struct Search<'s> {
    path: &'s str,
    end: usize,
    segments: &'s Segments,
    verb: &'s str,
    routes: &'static [Route],
    method: &'s Method,
    others: Vec<Method>,
}

impl Search<'_> {
    fn leaf(&mut self, leaves: &'static [Leaf]) -> Option<&'static [usize]> {
        for leaf in leaves.iter().filter(|leaf| leaf.verb == self.verb) {
            let of =
                |method: &Method| leaf.routes.iter().any(|&i| self.routes.get(i).is_some_and(|r| r.method == *method));
            if of(self.method) {
                return Some(leaf.routes);
            }
            self.others.extend(leaf.routes.iter().filter_map(|&i| self.routes.get(i)).map(|r| r.method.clone()));
        }
        None
    }

    fn node(&mut self, node: &'static Node, index: usize) -> Option<&'static [usize]> {
        let Some(range) = self.segments.range(index) else {
            return self.leaf(node.leaves).or_else(|| self.leaf(node.rest));
        };
        let segment = self.path.get(range.start..range.end.min(self.end)).unwrap_or_default();
        let literal = node.literals.binary_search_by(|(name, _)| (*name).cmp(segment));
        if let Some((_, next)) = literal.ok().and_then(|at| node.literals.get(at))
            && let Some(found) = self.node(next, index + 1)
        {
            return Some(found);
        }
        if let Some(next) = node.any
            && !segment.is_empty()
            && let Some(found) = self.node(next, index + 1)
        {
            return Some(found);
        }
        self.leaf(node.rest)
    }
}

/// Finds the routes of `path` and `method` (`HEAD` looks for `GET`).
pub(crate) fn find(tree: &'static Node, routes: &'static [Route], method: &Method, path: &str) -> Found {
    let Some(segments) = Segments::cut(path) else { return Found::Nothing };
    let wanted = if *method == Method::HEAD { &Method::GET } else { method };
    let last = segments.range(segments.len.saturating_sub(1)).unwrap_or_default();
    let colon = path.get(last.clone()).and_then(|text| text.rfind(':')).map(|at| last.start + at);
    let colon = colon.filter(|at| at + 1 < path.len());
    let mut others = Vec::new();
    // A verb, if the last segment has one, before a value that merely contains a colon.
    for end in colon.into_iter().chain([path.len()]) {
        let verb = path.get(end + 1..).unwrap_or_default();
        let mut search = Search { path, end, segments: &segments, verb, routes, method: wanted, others };
        if let Some(candidates) = search.node(tree, 0) {
            let mut segments = segments;
            if let Some(cut) = segments.len.checked_sub(1).and_then(|i| segments.ends.get_mut(i)) {
                *cut = u16::try_from(end).unwrap_or(*cut);
            }
            return Found::Routes { candidates, segments };
        }
        others = search.others;
    }
    if others.is_empty() { Found::Nothing } else { Found::Methods(others) }
}

/// The value of `Allow`: the methods of a path, `HEAD` beside `GET`, and `OPTIONS`.
pub(crate) fn allow(methods: &[Method]) -> String {
    let mut names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}
