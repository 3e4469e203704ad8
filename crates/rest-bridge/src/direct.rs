//! Services of this process, called as the traits that tonic generates.

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

use tonic::{Code, Response, Status};

/// Told of every call, by the RPC's full name (`package.Service/Method`).
pub type Watch = Arc<dyn Fn(&'static str) -> Box<dyn Watched> + Send + Sync>;

/// A call under way. Dropped before its end if the call was given up.
pub trait Watched: Send {
    /// The call ended with this code.
    fn ended(self: Box<Self>, code: Code);
}

/// The services, each an `Arc` of its trait and found by that type.
#[derive(Clone, Default)]
pub(crate) struct Direct {
    services: Vec<Arc<dyn Any + Send + Sync>>,
    watch: Option<Watch>,
}

impl Direct {
    pub(crate) fn add<T: ?Sized + Send + Sync + 'static>(&mut self, service: Arc<T>) {
        self.services.push(Arc::new(service));
    }

    pub(crate) fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    pub(crate) fn find<T: ?Sized + 'static>(&self) -> Option<Called<T>> {
        let service = self.services.iter().find_map(|service| service.downcast_ref::<Arc<T>>())?;
        Some(Called { service: Arc::clone(service), watch: self.watch.clone() })
    }
}

/// A service about to be called.
pub struct Called<T: ?Sized> {
    service: Arc<T>,
    watch: Option<Watch>,
}

impl<T: ?Sized> Called<T> {
    /// The call begins.
    #[must_use]
    pub fn begin(&self, rpc: &'static str) -> Underway {
        Underway(self.watch.as_ref().map(|watch| watch(rpc)))
    }
}

impl<T: ?Sized> Deref for Called<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.service
    }
}

impl<T: ?Sized> std::fmt::Debug for Called<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Called")
    }
}

/// A call that may be watched.
pub struct Underway(Option<Box<dyn Watched>>);

impl Underway {
    /// Tells how it ended, and gives the answer on.
    pub fn end<R>(self, answer: Result<Response<R>, Status>) -> Result<Response<R>, Status> {
        if let Some(watched) = self.0 {
            watched.ended(answer.as_ref().err().map_or(Code::Ok, Status::code));
        }
        answer
    }
}

impl std::fmt::Debug for Underway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Underway")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{Local, Transport};

    trait Greeter: Send + Sync {
        fn greet(&self) -> Result<Response<&'static str>, Status>;
    }

    trait Other: Send + Sync {}

    struct Polite;

    impl Greeter for Polite {
        fn greet(&self) -> Result<Response<&'static str>, Status> {
            Ok(Response::new("good day"))
        }
    }

    type Told = Arc<Mutex<Vec<String>>>;

    struct Call(&'static str, Told, Option<Code>);

    impl Watched for Call {
        fn ended(mut self: Box<Self>, code: Code) {
            self.2 = Some(code);
        }
    }

    impl Drop for Call {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(format!("{} {:?}", self.0, self.2));
        }
    }

    #[test]
    fn a_trait_is_found_by_its_type_and_its_calls_are_watched() {
        let told = Told::default();
        let watch = {
            let told = told.clone();
            Arc::new(move |rpc| Box::new(Call(rpc, told.clone(), None)) as Box<dyn Watched>)
        };
        let transport = Transport::from(Local::new().direct::<dyn Greeter>(Arc::new(Polite)).watched(watch));
        assert!(transport.direct::<dyn Other>().is_none());
        let service = transport.direct::<dyn Greeter>().unwrap();
        assert_eq!(service.begin("Greet").end(service.greet()).unwrap().into_inner(), "good day");
        let refused = service.begin("Refuse").end::<()>(Err(Status::not_found("nobody")));
        assert_eq!(refused.unwrap_err().code(), Code::NotFound);
        drop(service.begin("Give up"));
        assert_eq!(*told.lock().unwrap(), ["Greet Some(Ok)", "Refuse Some(NotFound)", "Give up None"]);
    }
}
