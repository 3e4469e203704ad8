//! Emits the tree of paths, and finds bindings that collide.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::error::{Error, Result, Rule};
use crate::routes::Binding;
use crate::template::Segment;

#[derive(Debug, Default)]
struct Node {
    literals: BTreeMap<String, Node>,
    any: Option<Box<Node>>,
    rest: BTreeMap<String, Vec<usize>>,
    leaves: BTreeMap<String, Vec<usize>>,
}

/// The `static` tree.
pub(crate) fn emit(bindings: &[Binding]) -> Result<String> {
    let mut root = Node::default();
    for (index, binding) in bindings.iter().enumerate() {
        let leaf = root.leaf(binding);
        let same = |other: &&Binding| {
            other.method == binding.method && other.rpc.is_server_streaming() == binding.rpc.is_server_streaming()
        };
        if let Some(other) = leaf.iter().filter_map(|&i| bindings.get(i)).find(same) {
            let (path, _) = binding.template.display();
            let detail = format!("{} {path} is also {}", binding.method, other.rpc.full_name());
            return Err(Error::new(binding.rpc.full_name(), Rule::Duplicate, detail));
        }
        leaf.push(index);
    }
    let mut out = "static TREE: Node = ".to_owned();
    root.write(&mut out);
    out.push(';');
    Ok(out)
}

impl Node {
    /// The routes that end where this binding ends.
    fn leaf(&mut self, binding: &Binding) -> &mut Vec<usize> {
        let mut node = self;
        let verb = binding.template.verb.clone();
        for segment in &binding.template.segments {
            node = match segment {
                Segment::Literal(literal) => node.literals.entry(literal.clone()).or_default(),
                Segment::One => node.any.get_or_insert_default(),
                Segment::Rest => return node.rest.entry(verb).or_default(),
            };
        }
        node.leaves.entry(verb).or_default()
    }

    fn write(&self, out: &mut String) {
        out.push_str("Node { literals: &[");
        for (name, node) in &self.literals {
            let _ = write!(out, "({name:?}, ");
            node.write(out);
            out.push_str("),");
        }
        out.push_str("], any: ");
        match &self.any {
            None => out.push_str("None"),
            Some(node) => {
                out.push_str("Some(&");
                node.write(out);
                out.push(')');
            }
        }
        out.push_str(", rest: ");
        leaves(out, &self.rest);
        out.push_str(", leaves: ");
        leaves(out, &self.leaves);
        out.push('}');
    }
}

fn leaves(out: &mut String, leaves: &BTreeMap<String, Vec<usize>>) {
    out.push_str("&[");
    for (verb, routes) in leaves {
        let _ = write!(out, "Leaf {{ verb: {verb:?}, routes: &{routes:?} }},");
    }
    out.push(']');
}
