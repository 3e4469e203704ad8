//! Emits the table of routes and the call that each of them makes.

use std::fmt::Write as _;

use crate::codec::Codecs;
use crate::error::Result;
use crate::model::{Shape, shape};
use crate::names;
use crate::requests::{decoder, encoder};
use crate::routes::{Binding, Body};
use crate::tree;

/// The whole generated file, not yet laid out.
pub(crate) fn emit(codecs: &Codecs<'_>, bindings: &[Binding]) -> Result<String> {
    let mut routes = String::new();
    let mut arms = String::new();
    let mut functions = String::new();
    for (index, binding) in bindings.iter().enumerate() {
        routes.push_str(&route(binding));
        arms.push_str(&arm(codecs, index, binding)?);
        functions.push_str(&decoder(codecs, index, binding)?);
        functions.push_str(&encoder(codecs, index, binding)?.1);
        if let Some(field) = &binding.sse_id {
            let response = codecs.modules.message(&binding.rpc.output())?;
            let name = names::snake(field.name());
            let id = match shape(field) {
                Shape::Optional => format!("m.{name}.as_deref()"),
                _ => format!("Some(&m.{name})"),
            };
            let _ = write!(functions, "fn event_id_{index}(m: &{response}) -> Option<&str> {{ {id} }}");
            if binding.heartbeats.is_some() {
                let alone = format!("{response} {{ {name}: m.{name}.clone(), ..Default::default() }}");
                let _ = write!(functions, "fn heartbeat_{index}(m: &{response}) -> bool {{ *m == {alone} }}");
            }
        }
    }
    let tree = tree::emit(bindings)?;
    let json = codecs.emit()?;
    Ok(format!("{HEAD} pub static ROUTES: &[Route] = &[{routes}]; {tree} {API} {arms} {TAIL} {functions} {json} }}"))
}

const HEAD: &str = r#"
pub use generated::{Api, ROUTES, json, router};

/// Routes and codecs, written by rest-bridge-build.
#[allow(clippy::all, clippy::pedantic, unused, unreachable_pub, missing_docs, deprecated, reason = "generated code")]
mod generated {
    use ::rest_bridge::exchange::Exchange;
    use ::rest_bridge::fail::{At as _, Fail, Result};
    use ::rest_bridge::input::Input;
    use ::rest_bridge::json::{Seen, Writer, enumeration, query};
    use ::rest_bridge::reexport::axum::response::Response;
    use ::rest_bridge::reexport::http::Method;
    use ::rest_bridge::reexport::{BoxFuture, axum};
    use ::rest_bridge::{Capture, Follow, Gate, Leaf, Node, Options, RequestBody, Route, Transport};

    /// Every route, in the order of the proto.
"#;

const API: &str = r#"
    /// The routes of the annotated services as an axum router; unknown paths are answered too.
    pub fn router<G: Gate>(transport: impl Into<Transport>, gate: G, options: Options) -> axum::Router {
        ::rest_bridge::router::<Api, G>(transport.into(), gate, options)
    }

    /// The annotated services.
    #[derive(Debug)]
    pub struct Api;

    impl ::rest_bridge::Api for Api {
        fn routes() -> &'static [Route] {
            ROUTES
        }

        fn tree() -> &'static Node {
            &TREE
        }

        fn serve<G: Gate>(index: usize, exchange: Exchange<G>) -> BoxFuture<'static, Response> {
            match index {
"#;

const TAIL: &str = "_ => Box::pin(exchange.unserved()), } } }";

fn route(binding: &Binding) -> String {
    let (template, _) = binding.template.display();
    let body = match &binding.body {
        Body::None => "RequestBody::None".to_owned(),
        Body::Message => "RequestBody::Message".to_owned(),
        Body::Field(field) => format!("RequestBody::Field({:?})", field.json_name()),
    };
    let captures: Vec<String> = binding
        .template
        .variables
        .iter()
        .map(|variable| format!("Capture {{ from: {}, to: {:?} }}", variable.from, variable.to))
        .collect();
    format!(
        "Route {{ method: Method::{}, template: {template:?}, rpc: {:?}, body: {body}, success: {}, streaming: {}, empty: {}, captures: &[{}] }},",
        binding.method,
        format!("{}/{}", binding.rpc.parent_service().full_name(), binding.rpc.name()),
        binding.rest.success_status,
        binding.rpc.is_server_streaming(),
        binding.empty(),
        captures.join(", "),
    )
}

fn arm(codecs: &Codecs<'_>, index: usize, binding: &Binding) -> Result<String> {
    let service = binding.rpc.parent_service();
    let module = codecs.modules.of(service.package_name(), service.full_name())?;
    let name = names::camel(service.name());
    let (services, method) = (names::service_module(&name), names::snake(binding.rpc.name()));
    // Answers come from our own services: tonic's limit of 4 MiB is for those of others.
    let client = format!(
        "{module}::{services}_client::{name}Client::new(transport)\
         .max_decoding_message_size(usize::MAX).{method}(request).await"
    );
    // The trait of a service that streams cannot be named without its types of streams.
    let streams = service.methods().any(|rpc| rpc.is_client_streaming() || rpc.is_server_streaming());
    let call = if streams {
        format!("|transport, request| async move {{ {client} }}")
    } else {
        format!(
            "|transport, request| async move {{ \
             match transport.direct::<dyn {module}::{services}_server::{name}>() {{ \
             Some(service) => {{ \
             let call = service.begin({:?}); call.end(service.{method}(request).await) }} \
             None => {client}, }} }}",
            format!("{}/{}", service.full_name(), binding.rpc.name()),
        )
    };
    let (encode, _) = encoder(codecs, index, binding)?;
    Ok(if binding.rpc.is_server_streaming() {
        let id = if binding.sse_id.is_some() { format!("Some(event_id_{index})") } else { "None".to_owned() };
        let beat = if binding.heartbeats.is_some() { format!("Some(heartbeat_{index})") } else { "None".to_owned() };
        let follow = format!("Follow {{ encode: {encode}, id: {id}, heartbeat: {beat} }}");
        format!("{index} => Box::pin(exchange.streaming(decode_{index}, {call}, {follow})),")
    } else {
        format!("{index} => Box::pin(exchange.unary(decode_{index}, {call}, {encode})),")
    })
}
