//! What a path that leads nowhere may have meant.

use std::collections::BTreeSet;

use crate::route::Route;

/// Below this similarity (0 to 1) a template is another path, not a slip of the fingers.
const ALIKE: f64 = 0.75;
/// What is longer besides its parameters, in bytes, is compared with nothing: the comparison is quadratic, and anybody may ask for
/// it.
const LONGEST: usize = 64;

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

/// How much alike they are (0 to 1), a parameter being like any segment; 0 where their lengths alone make them too different.
fn likeness(template: &str, path: &str) -> f64 {
    let path = literals(template, path);
    let (longer, shorter) = (template.len().max(path.len()), template.len().min(path.len()));
    if longer > LONGEST || shorter * 4 < longer * 3 {
        return 0.0;
    }
    let number = |count: usize| u32::try_from(count).map_or(0.0, f64::from);
    1.0 - number(strsim::osa_distance(template, &path)) / number(longer.max(1))
}

/// The path with the template's parameters in the place of what they take, so that its length does not count.
fn literals(template: &str, path: &str) -> String {
    let mut wanted = template.split('/');
    let segments = path.split('/').map(|segment| match wanted.next() {
        Some(wanted) if wanted.starts_with('{') && !segment.is_empty() => wanted,
        _ => segment,
    });
    segments.collect::<Vec<_>>().join("/")
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
        // Where a parameter stands, any length will do; elsewhere what is long is like nothing, and is not compared.
        let long = "a".repeat(230);
        assert!(likeness("/v1/customers/{id}/deactivate", &format!("/v1/customers/{long}/deactive")) >= ALIKE);
        assert!(likeness("/v1/customers/{id}", &format!("/v1/customers/{long}/x")) >= ALIKE);
        for path in [format!("/v1/{long}"), format!("/v1/customers/42/{long}"), format!("/{long}/{long}/{long}/x")] {
            for template in ["/v1/customers", "/v1/customers/{id}", "/v1/customers/{id}/deactivate"] {
                assert!(likeness(template, &path).abs() < f64::EPSILON, "{template} {path}");
            }
        }
        assert_eq!(beginning("/v1/customers/{id}/deactivate"), "/v1/customers");
        assert_eq!((beginning("/v1/{id}"), beginning("/{id}"), beginning("/v1")), ("/v1", "/", "/v1"));
    }
}
