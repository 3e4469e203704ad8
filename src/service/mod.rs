//! The gRPC services: one line per RPC here, one file per RPC beside it.
//!
//! A request message that reads one thing by its id implements `api::Find`, any other that only reads `api::Read`, one that
//! changes something `api::Prepare`. All are run by [`Api`], which authenticates the caller first, so that no handler can
//! be reached without one.

mod acts;
mod api;
mod caller;
mod challenge;
mod client;
mod context;
mod convert;
mod cursors;
mod events;
mod failure;
mod fair_queue;
mod keys;
mod known;
mod lease;
mod links;
mod once;
mod operators;
mod paging;
mod password;
mod reason;
mod recent_secrets;
mod revocation;
mod streams;
mod throttle;
mod token;
mod webhooks;

// AuthService
mod create_token;
mod delete_credentials;
mod delete_signing_key;
mod list_signing_keys;
mod put_credentials;
mod put_signing_key;
mod who_am_i;
// CustomerService
mod activate_customer;
mod create_customer;
mod deactivate_customer;
mod decide_verification;
mod get_customer;
mod get_customer_challenge;
mod get_verification;
mod list_customer_events;
mod list_customers;
mod move_customer;
mod reject_customer;
mod sign_customer_challenge;
// AccountService
mod activate_account;
mod claim_deployments;
mod close_account;
mod complete_deployment;
mod create_account;
mod deactivate_account;
mod get_account;
mod get_account_challenge;
mod list_accounts;
mod move_account;
mod sign_account_challenge;
// CardService
mod activate_card;
mod block_card;
mod claim_issuances;
mod complete_issuance;
mod create_card;
mod deactivate_card;
mod get_card;
mod list_cards;
mod move_card;
mod suspend_card;
mod terminate_card;
mod unsuspend_card;
// SimulatorService
mod simulate_card;
mod simulate_customer;
// WebhookService
mod delete_webhook;
mod get_public_keys;
mod get_webhook;
mod list_deliveries;
mod list_events;
mod list_webhooks;
mod put_webhook;
mod replay_delivery;
mod replay_webhook;
mod rotate_webhook_secret;
mod test_webhook;
mod watch_events;

// AdminService
mod create_operator;
mod disable_programme;
mod list_acts;
mod list_operators;
mod revoke_operator;
mod rotate_operator;
// PortalService
mod decide_sandbox;
mod open_verification;
mod receive_kyc_callback;
mod sandbox;
mod show_sandbox;
mod subject;

pub use api::{Api, Settings};
pub use caller::{OPERATOR_TOKEN, token_hash};
pub use password::hash_once as hash_secret;

/// Readers of texts that are opaque to everybody else, for `fuzz`.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::cursors::{Cursor, Cursors};
    pub use super::paging::{after as read_page_token, token as page_token};
}

use tonic::{Request, Response, Status};

use crate::api::v1::*;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl auth_service_server::AuthService for Api {
    async fn create_token(&self, request: Request<CreateTokenRequest>) -> Answer<CreateTokenResponse> {
        create_token::create_token(self, request).await
    }
    async fn put_credentials(&self, request: Request<PutCredentialsRequest>) -> Answer<()> {
        self.change(request).await
    }
    async fn delete_credentials(&self, request: Request<DeleteCredentialsRequest>) -> Answer<()> {
        self.change(request).await
    }
    async fn put_signing_key(&self, request: Request<PutSigningKeyRequest>) -> Answer<SigningKey> {
        self.change(request).await
    }
    async fn list_signing_keys(&self, request: Request<ListSigningKeysRequest>) -> Answer<ListSigningKeysResponse> {
        self.read(request).await
    }
    async fn delete_signing_keys(&self, request: Request<DeleteSigningKeysRequest>) -> Answer<()> {
        self.change(request).await
    }
    async fn delete_signing_key(&self, request: Request<DeleteSigningKeyRequest>) -> Answer<()> {
        self.change(request).await
    }
    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Answer<WhoAmIResponse> {
        self.read(request).await
    }
}

#[tonic::async_trait]
impl customer_service_server::CustomerService for Api {
    async fn create_customer(&self, request: Request<CreateCustomerRequest>) -> Answer<Customer> {
        self.change(request).await
    }
    async fn list_customers(&self, request: Request<ListCustomersRequest>) -> Answer<ListCustomersResponse> {
        self.read(request).await
    }
    async fn get_customer(&self, request: Request<GetCustomerRequest>) -> Answer<Customer> {
        self.find(request).await
    }
    async fn deactivate_customer(&self, request: Request<DeactivateCustomerRequest>) -> Answer<Customer> {
        self.change(request).await
    }
    async fn activate_customer(&self, request: Request<ActivateCustomerRequest>) -> Answer<Customer> {
        self.change(request).await
    }
    async fn reject_customer(&self, request: Request<RejectCustomerRequest>) -> Answer<Customer> {
        self.change(request).await
    }
    async fn decide_verification(&self, request: Request<DecideVerificationRequest>) -> Answer<Customer> {
        self.change(request).await
    }
    async fn get_customer_challenge(&self, request: Request<GetCustomerChallengeRequest>) -> Answer<Challenge> {
        self.read(request).await
    }
    async fn sign_customer_challenge(&self, request: Request<SignCustomerChallengeRequest>) -> Answer<()> {
        self.change(request).await
    }
    async fn get_verification(&self, request: Request<GetVerificationRequest>) -> Answer<Verification> {
        self.read(request).await
    }
    async fn list_customer_events(
        &self,
        request: Request<ListCustomerEventsRequest>,
    ) -> Answer<ListCustomerEventsResponse> {
        self.read(request).await
    }
}

#[tonic::async_trait]
impl admin_service_server::AdminService for Api {
    async fn create_operator(&self, request: Request<CreateOperatorRequest>) -> Answer<OperatorToken> {
        self.change(request).await
    }
    async fn list_operators(&self, request: Request<ListOperatorsRequest>) -> Answer<ListOperatorsResponse> {
        self.read(request).await
    }
    async fn rotate_operator(&self, request: Request<RotateOperatorRequest>) -> Answer<OperatorToken> {
        self.change(request).await
    }
    async fn revoke_operator(&self, request: Request<RevokeOperatorRequest>) -> Answer<Operator> {
        self.change(request).await
    }
    async fn enable_programme(&self, request: Request<EnableProgrammeRequest>) -> Answer<Programme> {
        self.change(request).await
    }
    async fn disable_programme(&self, request: Request<DisableProgrammeRequest>) -> Answer<Programme> {
        self.change(request).await
    }
    async fn list_acts(&self, request: Request<ListActsRequest>) -> Answer<ListActsResponse> {
        self.read(request).await
    }
}

#[tonic::async_trait]
impl portal_service_server::PortalService for Api {
    async fn open_verification(&self, request: Request<OpenVerificationRequest>) -> Answer<OpenVerificationResponse> {
        self.open(request).await
    }
    async fn show_sandbox(&self, request: Request<ShowSandboxRequest>) -> Answer<SandboxPortal> {
        self.open(request).await
    }
    async fn decide_sandbox(&self, request: Request<DecideSandboxRequest>) -> Answer<()> {
        self.open(request).await
    }
    async fn receive_kyc_callback(&self, request: Request<ReceiveKycCallbackRequest>) -> Answer<()> {
        self.open(request).await
    }
}

#[tonic::async_trait]
impl account_service_server::AccountService for Api {
    async fn create_account(&self, request: Request<CreateAccountRequest>) -> Answer<Account> {
        self.change(request).await
    }
    async fn list_accounts(&self, request: Request<ListAccountsRequest>) -> Answer<ListAccountsResponse> {
        self.read(request).await
    }
    async fn get_account(&self, request: Request<GetAccountRequest>) -> Answer<Account> {
        self.find(request).await
    }
    async fn get_account_challenge(&self, request: Request<GetAccountChallengeRequest>) -> Answer<Challenge> {
        self.read(request).await
    }
    async fn sign_account_challenge(&self, request: Request<SignAccountChallengeRequest>) -> Answer<()> {
        self.change(request).await
    }
    async fn activate_account(&self, request: Request<ActivateAccountRequest>) -> Answer<Account> {
        self.change(request).await
    }
    async fn deactivate_account(&self, request: Request<DeactivateAccountRequest>) -> Answer<Account> {
        self.change(request).await
    }
    async fn close_account(&self, request: Request<CloseAccountRequest>) -> Answer<Account> {
        self.change(request).await
    }
    async fn claim_deployments(&self, request: Request<ClaimDeploymentsRequest>) -> Answer<ClaimDeploymentsResponse> {
        self.change(request).await
    }
    async fn complete_deployment(&self, request: Request<CompleteDeploymentRequest>) -> Answer<Account> {
        self.change(request).await
    }
    async fn fail_deployment(&self, request: Request<FailDeploymentRequest>) -> Answer<Account> {
        self.change(request).await
    }
}

#[tonic::async_trait]
impl card_service_server::CardService for Api {
    async fn create_card(&self, request: Request<CreateCardRequest>) -> Answer<Card> {
        self.change(request).await
    }
    async fn list_cards(&self, request: Request<ListCardsRequest>) -> Answer<ListCardsResponse> {
        self.read(request).await
    }
    async fn get_card(&self, request: Request<GetCardRequest>) -> Answer<Card> {
        self.find(request).await
    }
    async fn activate_card(&self, request: Request<ActivateCardRequest>) -> Answer<Card> {
        self.change(request).await
    }
    async fn deactivate_card(&self, request: Request<DeactivateCardRequest>) -> Answer<Card> {
        self.change(request).await
    }
    async fn terminate_card(&self, request: Request<TerminateCardRequest>) -> Answer<Card> {
        self.change(request).await
    }
    async fn suspend_card(&self, request: Request<SuspendCardRequest>) -> Answer<Card> {
        self.change(request).await
    }
    async fn unsuspend_card(&self, request: Request<UnsuspendCardRequest>) -> Answer<Card> {
        self.change(request).await
    }
    async fn block_card(&self, request: Request<BlockCardRequest>) -> Answer<Card> {
        self.change(request).await
    }
    async fn claim_issuances(&self, request: Request<ClaimIssuancesRequest>) -> Answer<ClaimIssuancesResponse> {
        self.change(request).await
    }
    async fn complete_issuance(&self, request: Request<CompleteIssuanceRequest>) -> Answer<Card> {
        self.change(request).await
    }
    async fn fail_issuance(&self, request: Request<FailIssuanceRequest>) -> Answer<Card> {
        self.change(request).await
    }
}

#[tonic::async_trait]
impl simulator_service_server::SimulatorService for Api {
    async fn simulate_customer_verified(&self, request: Request<SimulateCustomerVerifiedRequest>) -> Answer<()> {
        self.change(request).await
    }
    async fn simulate_customer_rejected(&self, request: Request<SimulateCustomerRejectedRequest>) -> Answer<()> {
        self.change(request).await
    }
    async fn simulate_card_issued(&self, request: Request<SimulateCardIssuedRequest>) -> Answer<()> {
        self.change(request).await
    }
    async fn simulate_card_failed(&self, request: Request<SimulateCardFailedRequest>) -> Answer<()> {
        self.change(request).await
    }
}

#[tonic::async_trait]
impl webhook_service_server::WebhookService for Api {
    type WatchEventsStream = watch_events::Events;

    async fn put_webhook(&self, request: Request<PutWebhookRequest>) -> Answer<Webhook> {
        self.change(request).await
    }
    async fn list_webhooks(&self, request: Request<ListWebhooksRequest>) -> Answer<ListWebhooksResponse> {
        self.read(request).await
    }
    async fn get_webhook(&self, request: Request<GetWebhookRequest>) -> Answer<Webhook> {
        self.find(request).await
    }
    async fn delete_webhook(&self, request: Request<DeleteWebhookRequest>) -> Answer<()> {
        self.change(request).await
    }
    async fn list_deliveries(&self, request: Request<ListDeliveriesRequest>) -> Answer<ListDeliveriesResponse> {
        self.read(request).await
    }
    async fn replay_delivery(&self, request: Request<ReplayDeliveryRequest>) -> Answer<ReplayResponse> {
        self.change(request).await
    }
    async fn replay_webhook(&self, request: Request<ReplayWebhookRequest>) -> Answer<ReplayResponse> {
        self.change(request).await
    }
    async fn test_webhook(&self, request: Request<TestWebhookRequest>) -> Answer<()> {
        self.change(request).await
    }
    async fn rotate_webhook_secret(
        &self,
        request: Request<RotateWebhookSecretRequest>,
    ) -> Answer<RotateWebhookSecretResponse> {
        self.change(request).await
    }
    async fn list_events(&self, request: Request<ListEventsRequest>) -> Answer<ListEventsResponse> {
        self.read(request).await
    }
    async fn watch_events(&self, request: Request<WatchEventsRequest>) -> Answer<Self::WatchEventsStream> {
        watch_events::watch_events(self, request).await
    }
    async fn get_public_keys(&self, _: Request<GetPublicKeysRequest>) -> Answer<GetPublicKeysResponse> {
        Ok(Response::new(get_public_keys::get_public_keys(self)))
    }
}
