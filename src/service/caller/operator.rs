//! Operators: their token, their role, the programme that they name.
//!
//! What never changes of an operator is cached; whether its token was replaced, was revoked or has expired is asked in the statement
//! that does the work: such a token is refused by the next call.

use tonic::metadata::MetadataMap;
use uuid::Uuid;

use super::{Caller, token_hash};
use crate::api::access::{Callers, Rpc};
use crate::api::metadata;
use crate::domain::operator::{Operator, Role};
use crate::domain::programme::Programme;
use crate::domain::{Code, Error, Timestamp};
use crate::service::Api;
use crate::service::acts::Denied;
use crate::service::failure::Outcome;
use crate::service::revocation::Basis;
use crate::store::{OperatorStanding, Precondition, Reader, operators, programmes};

/// Authenticates a call with an operator's token, which comes here without its prefix.
pub(super) async fn authenticate(
    api: &Api,
    (token, now): (&str, Timestamp),
    metadata: &MetadataMap,
    rpc: &'static Rpc,
) -> Outcome<Caller> {
    let token_hash = token_hash(token);
    let mut reader = api.store.reader().await?;
    let operator = operators::by_token(&mut reader, &token_hash).await?;
    let refuse = |detail: &str| Error::new(Code::Unauthenticated, detail);
    let operator = operator.ok_or_else(|| refuse("The operator token is not one of ours."))?;
    if !operator.is_live(now) {
        return Err(refuse("The operator token has expired, or its operator was revoked.").into());
    }
    tracing::Span::current().record("operator", operator.name.as_str());
    let allowed = allowed(&mut reader, &operator, rpc, metadata).await?;
    drop(reader);
    match allowed {
        Ok(programme) => {
            api.known.remember_operator(token_hash, &operator);
            if !programme.id.is_nil() {
                api.known.remember(&programme, Vec::new());
            }
            let basis = Basis::Operator(token_hash);
            Ok(Caller { programme, operator: Some(operator), standing: None, basis, unsigned: false })
        }
        Err(error) => {
            let denied = Denied { operator: &operator, rpc, error: &error };
            denied.record(api, metadata, now).await?;
            Err(error.into())
        }
    }
}

/// The same from the cache, without the store. `None` where that does not settle it.
pub(super) fn remembered(
    api: &Api,
    (token, now): (&str, Timestamp),
    metadata: &MetadataMap,
    rpc: &Rpc,
) -> Option<Caller> {
    let token_hash = token_hash(token);
    let operator = api.known.operator(&token_hash)?;
    if !rpc.is_open_to(operator.role) {
        return None;
    }
    let (programme, enabled) = if rpc.callers == Callers::OperatorOfAll {
        (every_programme(), None)
    } else {
        let id = named(metadata).ok().filter(|id| operator.may_name(*id))?;
        (api.known.get(id)?.programme.clone(), (!rpc.act.is_empty() && !rpc.while_disabled).then_some(id))
    };
    tracing::Span::current().record("operator", operator.name.as_str());
    let standing = Some(Precondition::Operator(OperatorStanding { token_hash, now, enabled }));
    let (basis, operator) = (Basis::Operator(token_hash), Some(Operator::clone(&operator)));
    Some(Caller { programme, operator, standing, basis, unsigned: false })
}

/// What stands for the programme in calls that are about all of them. The nil id is no programme's: nothing can be found under
/// it.
fn every_programme() -> Programme {
    Programme { id: Uuid::nil(), name: String::new(), sandbox: false }
}

/// The programme that the call is for, or why this operator may not make it: a denial, which is recorded.
async fn allowed(
    reader: &mut Reader,
    operator: &Operator,
    rpc: &'static Rpc,
    metadata: &MetadataMap,
) -> Outcome<Result<Programme, Error>> {
    if !rpc.is_open_to(operator.role) {
        return Ok(Err(forbidden(rpc, operator.role)));
    }
    if rpc.callers == Callers::OperatorOfAll {
        return Ok(Ok(every_programme()));
    }
    let id = named(metadata)?;
    let programme = programmes::listed(reader, id).await?.filter(|_| operator.may_name(id));
    let Some(programme) = programme else { return Ok(Err(programme_not_found())) };
    if programme.disabled && !rpc.act.is_empty() && !rpc.while_disabled {
        return Ok(Err(disabled()));
    }
    Ok(Ok(Programme { id, name: programme.name, sandbox: programme.sandbox }))
}

/// The programme that a call names.
fn named(metadata: &MetadataMap) -> Result<Uuid, Error> {
    let mut values = metadata.get_all(metadata::PROGRAMME_ID).iter();
    let refuse = |code, message: &str| Error::invalid(metadata::PROGRAMME_ID, code, message);
    let value = values.next().ok_or_else(|| {
        refuse("REQUIRED", "Name the programme to act for, its UUID, in the metadata x-programme-id.")
    })?;
    let id = value.to_str().ok().filter(|id| id.len() == 36).and_then(|id| Uuid::try_parse(id).ok());
    id.filter(|_| values.next().is_none())
        .ok_or_else(|| refuse("INVALID_VALUE", "Must be one UUID, such as 0192f0c1-2345-7abc-8def-0123456789ab."))
}

/// Nobody has this programme, or this operator may not name it.
fn programme_not_found() -> Error {
    Error::new(Code::ProgrammeNotFound, "The programme named in x-programme-id does not exist.")
}

fn disabled() -> Error {
    let detail = "The programme is disabled: operators may read it, reject its customers and report what they claimed before. \
                  Enable it before anything else is changed.";
    Error::new(Code::InvalidStateTransition, detail).with("currentStatus", "disabled")
}

fn forbidden(rpc: &Rpc, role: Role) -> Error {
    let open: Vec<&str> = Role::ALL.into_iter().filter(|role| rpc.is_open_to(*role)).map(Role::as_str).collect();
    let open = open.join(", ");
    let name = rpc.name.rsplit('/').next().unwrap_or(rpc.name);
    let detail = format!("The operator's role is {role}, and {name} is for the roles {open}.");
    Error::new(Code::RoleForbidden, detail).with("role", role.as_str()).with("allowedRoles", open)
}
