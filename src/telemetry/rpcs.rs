//! The RPCs that exist, so that metrics count no names made up by callers.

use std::collections::HashSet;
use std::sync::Arc;

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Names of RPCs, as in `customerd.v1.CustomerService/GetCustomer`.
#[derive(Debug, Clone, Default)]
pub struct Rpcs(Arc<HashSet<Arc<str>>>);

impl Rpcs {
    /// Those of the services in encoded `google.protobuf.FileDescriptorSet`s; one that does not decode counts as empty.
    pub fn of<'a>(sets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let sets = sets.into_iter().filter_map(|set| FileDescriptorSet::decode(set).ok());
        let mut names = HashSet::new();
        for file in sets.flat_map(|set| set.file) {
            for service in &file.service {
                for method in &service.method {
                    names.insert(Arc::from(format!("{}.{}/{}", file.package(), service.name(), method.name())));
                }
            }
        }
        Self(Arc::new(names))
    }

    /// The name that a request's path calls, if it exists.
    pub(super) fn called(&self, path: &str) -> Option<Arc<str>> {
        self.0.get(path.strip_prefix('/')?).cloned()
    }
}
