//! Reads `option (customerd.v1.access)` of every RPC and writes the one table of who may call what.

use std::error::Error;
use std::fmt::Write as _;

use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};

/// The package whose RPCs must all say who may call them.
const PACKAGE: &str = "customerd.v1";

/// The policy of one RPC.
struct Access {
    callers: String,
    roles: Vec<String>,
    signature: String,
    act: String,
    target: String,
    while_disabled: bool,
}

/// The table, as Rust that `api::access` includes.
///
/// # Errors
///
/// An RPC has no option, or one that contradicts itself.
pub(crate) fn generate(descriptors: &[u8]) -> Result<String, Box<dyn Error>> {
    let pool = DescriptorPool::decode(descriptors)?;
    let (mut table, mut impls) = (String::new(), String::new());
    let mut requests = std::collections::BTreeSet::new();
    for rpc in rpcs(&pool) {
        let name = name(&rpc);
        let access = read(&rpc).map_err(|fault| format!("{name}: {fault}"))?;
        let request = rpc.input();
        if request.package_name() != PACKAGE || !requests.insert(request.full_name().to_owned()) {
            return Err(format!("{name}: every RPC needs a request message of its own").into());
        }
        let target = target(&rpc, &access.target).map_err(|fault| format!("{name}: {fault}"))?;
        let Access { callers, roles, signature, act, while_disabled, .. } = access;
        let roles = roles.iter().map(|role| format!("Role::{role}, ")).collect::<String>();
        writeln!(
            impls,
            "impl Called for v1::{request} {{ const RPC: &'static Rpc = &Rpc {{ name: {name:?}, callers: Callers::{callers}, \
             roles: &[{roles}], signature: Signature::{signature}, act: {act:?}, while_disabled: {while_disabled} }}; \
             fn target(&self) -> &str {{ {target} }} fn reason(&self) -> &str {{ {reason} }} }}",
            request = request.name(),
            reason = if request.get_field_by_name("reason").is_some() { "&self.reason" } else { "\"\"" },
        )?;
        write!(table, "<v1::{} as Called>::RPC, ", request.name())?;
    }
    Ok(format!("/// Every RPC, in the order of the proto.\npub static RPCS: &[&Rpc] = &[{table}];\n{impls}"))
}

/// RPCs that the OpenAPI document treats differently from the others, as `package.Service/Method`.
#[derive(Default)]
pub(crate) struct Exceptions {
    /// Anybody may call them.
    pub(crate) open: Vec<String>,
    /// They need no signature while the programme has no key.
    pub(crate) after_first_key: Vec<String>,
    /// They work for sandbox programmes only.
    pub(crate) simulator: Vec<String>,
}

/// Those RPCs.
///
/// # Errors
///
/// As [`generate`].
pub(crate) fn exceptions(descriptors: &[u8]) -> Result<Exceptions, Box<dyn Error>> {
    let mut found = Exceptions::default();
    for rpc in rpcs(&DescriptorPool::decode(descriptors)?) {
        let name = name(&rpc);
        let access = read(&rpc).map_err(|fault| format!("{name}: {fault}"))?;
        if rpc.parent_service().name() == "SimulatorService" {
            found.simulator.push(name.clone());
        }
        if access.callers == "Anybody" {
            found.open.push(name);
        } else if access.signature == "AfterFirstKey" {
            found.after_first_key.push(name);
        }
    }
    Ok(found)
}

fn rpcs(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    let services = pool.services().filter(|service| service.package_name() == PACKAGE);
    services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn name(rpc: &MethodDescriptor) -> String {
    format!("{}/{}", rpc.parent_service().full_name(), rpc.name())
}

/// The option of an RPC.
fn read(rpc: &MethodDescriptor) -> Result<Access, String> {
    let option =
        rpc.parent_pool().get_extension_by_name("customerd.v1.access").ok_or("no extension customerd.v1.access")?;
    let options = rpc.options();
    let said = options.has_extension(&option).then(|| options.get_extension(&option).into_owned());
    let Some(Value::Message(said)) = said else { return Err("no option (customerd.v1.access)".to_owned()) };
    let roles = said.get_field_by_name("roles").map(std::borrow::Cow::into_owned);
    let roles: Vec<String> = roles
        .as_ref()
        .and_then(Value::as_list)
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_enum_number)
        .map(|number| value(rpc, ("customerd.v1.Role", "ROLE_"), number))
        .collect::<Result<_, _>>()?;
    let text =
        |name: &str| said.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let access = Access {
        callers: value(rpc, ("customerd.v1.Callers", "CALLERS_"), number(&said, "callers"))?,
        signature: value(rpc, ("customerd.v1.SignaturePolicy", "SIGNATURE_POLICY_"), number(&said, "signature"))?,
        roles,
        act: text("act"),
        target: text("target"),
        while_disabled: said.get_field_by_name("while_disabled").and_then(|v| v.as_bool()).unwrap_or_default(),
    };
    if access.callers == "Unspecified" {
        return Err("it does not say who calls".to_owned());
    }
    if (access.callers == "Anybody") != access.roles.is_empty() {
        return Err("roles are for calls that not everybody may make".to_owned());
    }
    if access.act.is_empty() && (access.while_disabled || !access.target.is_empty()) {
        return Err("target and while_disabled are for calls with an act".to_owned());
    }
    if !access.act.is_empty() && access.act.split('.').filter(|part| !part.is_empty()).count() != 2 {
        return Err("an act is named TARGET_TYPE.WHAT".to_owned());
    }
    Ok(access)
}

/// The expression that gives the target of an act.
fn target(rpc: &MethodDescriptor, name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Ok("\"\"".to_owned());
    }
    let field = rpc
        .input()
        .get_field_by_name(name)
        .filter(|field| field.kind() == prost_reflect::Kind::String && !field.is_list());
    let field = field.ok_or_else(|| format!("the request has no string field {name}"))?;
    Ok(if field.supports_presence() {
        format!("self.{name}.as_deref().unwrap_or_default()")
    } else {
        format!("&self.{name}")
    })
}

fn number(message: &DynamicMessage, field: &str) -> i32 {
    message.get_field_by_name(field).and_then(|value| value.as_enum_number()).unwrap_or_default()
}

/// The name of an enum's value without its prefix, as a Rust variant.
fn value(rpc: &MethodDescriptor, (of, prefix): (&str, &str), number: i32) -> Result<String, String> {
    let of = rpc.parent_pool().get_enum_by_name(of).ok_or_else(|| format!("no enum {of}"))?;
    let value = of.get_value(number).ok_or_else(|| format!("no value {number} of {}", of.name()))?;
    let words = value.name().trim_start_matches(prefix).split('_').map(|word| {
        let (first, rest) = word.split_at(1.min(word.len()));
        format!("{first}{}", rest.to_lowercase())
    });
    Ok(words.collect())
}
