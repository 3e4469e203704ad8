//! What a path that leads nowhere may have meant.

use std::collections::BTreeSet;

use crate::route::Route;

/// Below this similarity (0 to 1) a template is another path, not a slip of the fingers.
const ALIKE: f64 = 0.75;
/// Longer paths are compared with nothing: the comparison is quadratic.
const LONGEST: usize = 256;

/// A sentence that names the nearest template, or else where the paths begin.
pub(crate) fn described(routes: &[Route], path: &str) -> String {
    let near = routes.iter().map(|route| (likeness(route.template, path), route.template));
    let nearest = near.filter(|(likeness, _)| *likeness >= ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((_, template)) => format!("The nearest is {template}."),
        None => {
            let beginnings: BTreeSet<_> = routes.iter().map(|route| beginning(route.template)).collect();
            format!("Paths begin with {}.", beginnings.into_iter().collect::<Vec<_>>().join(", "))
        }
    }
}

/// How much alike they are, a parameter being like any segment.
fn likeness(template: &str, path: &str) -> f64 {
    if path.len() > LONGEST {
        return 0.0;
    }
    let mut segments = path.split('/');
    let filled: Vec<&str> = template
        .split('/')
        .map(|wanted| match segments.next() {
            Some(segment) if wanted.starts_with('{') && !segment.is_empty() => segment,
            _ => wanted,
        })
        .collect();
    strsim::normalized_damerau_levenshtein(&filled.join("/"), path)
}

/// The first two segments, as far as they are literal.
fn beginning(template: &str) -> &str {
    let end = template.match_indices('/').map(|(at, _)| at).nth(2).unwrap_or(template.len());
    let literal = template.find("/{").unwrap_or(template.len());
    template.get(..end.min(literal)).filter(|text| !text.is_empty()).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_like_their_template_and_others_are_not() {
        for (path, template) in [
            ("/v1/customer", "/v1/customers"),
            ("/v1/customers/", "/v1/customers"),
            ("/customers", "/v1/customers"),
            ("/v1/cusotmers/42", "/v1/customers/{id}"),
            ("/v1/customers/42/deactive", "/v1/customers/{id}/deactivate"),
        ] {
            assert!(likeness(template, path) >= ALIKE, "{path}: {}", likeness(template, path));
        }
        assert!(likeness("/v1/customers", "/v1/invoices") < ALIKE);
        assert!(likeness("/v1/customers", &"/".repeat(LONGEST + 1)) < ALIKE);
        assert_eq!(beginning("/v1/customers/{id}/deactivate"), "/v1/customers");
        assert_eq!((beginning("/v1/{id}"), beginning("/{id}"), beginning("/v1")), ("/v1", "/", "/v1"));
    }
}
