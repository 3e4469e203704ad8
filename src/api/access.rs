//! Who may call what: the one table, read from `option (customerd.v1.access)` of the proto when the service is built.

use super::v1;
use crate::domain::operator::Role;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// A programme by its bearer token, or an operator who names one.
    Programme,
    /// Operators alone, who name a programme.
    Operator,
    /// Operators alone, about all programmes that they may name.
    OperatorOfAll,
    /// Everybody: the call needs no bearer token, or authenticates itself.
    Anybody,
}

/// What a call asks of a REST request's signature. Callers over gRPC have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// It must be there.
    Required,
    /// It must be there once the programme has a key.
    AfterFirstKey,
    /// It is checked if it is there.
    Optional,
}

/// The policy of one RPC.
#[derive(Debug, PartialEq, Eq)]
pub struct Rpc {
    /// Its name, such as `customerd.v1.CustomerService/GetCustomer`.
    pub name: &'static str,
    /// Who calls.
    pub callers: Callers,
    /// The roles of operators who may, [`Role::Admin`] apart.
    pub roles: &'static [Role],
    /// What is asked of a REST request's signature.
    pub signature: Signature,
    /// What the record of acts names it: `TARGET_TYPE.WHAT`. Empty where it only reads.
    pub act: &'static str,
    /// Whether operators may make this change for a disabled programme, too.
    pub while_disabled: bool,
}

impl Rpc {
    /// Whether operators of a role may call it.
    pub fn is_open_to(&self, role: Role) -> bool {
        role == Role::Admin || self.roles.contains(&role)
    }
}

/// A request message, which stands for its RPC: each has one of its own.
pub trait Called {
    /// The policy of the RPC.
    const RPC: &'static Rpc;

    /// What its act is on, as the request names it; empty where only the response does.
    fn target(&self) -> &str;

    /// Why, in the operator's own words; empty where the request has no `reason`.
    fn reason(&self) -> &str;
}

/// The policy of an RPC by its name, as routes have it.
pub fn rpc(name: &str) -> Option<&'static Rpc> {
    RPCS.iter().copied().find(|rpc| rpc.name == name)
}

include!(concat!(env!("OUT_DIR"), "/access.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_call_what() {
        let mut table = String::new();
        for rpc in RPCS {
            let name = rpc.name.trim_start_matches("customerd.v1.");
            let roles: Vec<&str> = rpc.roles.iter().map(|role| role.as_str()).collect();
            let disabled = if rpc.while_disabled { " (disabled too)" } else { "" };
            let signature = Some(rpc.signature).filter(|_| rpc.callers != Callers::Anybody);
            let signature = signature.map(|policy| format!("{policy:?}")).unwrap_or_default();
            let line = format!("{name}: {:?} [{}] {signature} {}{disabled}", rpc.callers, roles.join(" "), rpc.act);
            table.push_str(line.trim_end());
            table.push('\n');
        }
        insta::assert_snapshot!(table);
    }
}
