//! What calls about operators have in common.

use crate::api::v1;
use crate::domain::Error;
use crate::domain::operator::{Operator, Role};
use crate::service::convert::timestamp;
use crate::store::{Tx, operators};

/// Locks the operator of a name.
pub(super) async fn lock(tx: &mut Tx, name: &str) -> super::failure::Outcome<Operator> {
    Ok(operators::lock(tx, name).await?.ok_or_else(Operator::not_found)?)
}

/// A role as it came.
pub(super) fn role(wanted: i32) -> Result<Role, Error> {
    match v1::Role::try_from(wanted) {
        Ok(v1::Role::Service) => Ok(Role::Service),
        Ok(v1::Role::Viewer) => Ok(Role::Viewer),
        Ok(v1::Role::Support) => Ok(Role::Support),
        Ok(v1::Role::Compliance) => Ok(Role::Compliance),
        Ok(v1::Role::Fulfilment) => Ok(Role::Fulfilment),
        Ok(v1::Role::Admin) => Ok(Role::Admin),
        Ok(v1::Role::Unspecified) => Err(Error::invalid("role", "REQUIRED", "Must be given.")),
        Err(_) => Err(Error::invalid("role", "INVALID_VALUE", "Must be one of the roles of the proto.")),
    }
}

/// An operator as a message.
pub(super) fn message(operator: &Operator) -> v1::Operator {
    let role = match operator.role {
        Role::Service => v1::Role::Service,
        Role::Viewer => v1::Role::Viewer,
        Role::Support => v1::Role::Support,
        Role::Compliance => v1::Role::Compliance,
        Role::Fulfilment => v1::Role::Fulfilment,
        Role::Admin => v1::Role::Admin,
    };
    v1::Operator {
        name: operator.name.clone(),
        role: role.into(),
        every_programme: operator.every_programme,
        programmes: operator.programmes.iter().map(ToString::to_string).collect(),
        created_at: Some(timestamp(operator.created_at)),
        rotated_at: operator.rotated_at.map(timestamp),
        expires_at: operator.expires_at.map(timestamp),
        revoked_at: operator.revoked_at.map(timestamp),
    }
}
