//! A partner, over signed REST and over gRPC.

use std::net::SocketAddr;

use base64::Engine as _;
use bytes::Bytes;
use customerd::api::v1::card_service_client::CardServiceClient;
use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::app::Profile;
use customerd::clock::Clock;
use customerd::signature::{self, Algorithm, Head, Message, Param, PrivateKey, Recipe, digest};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tonic::transport::Channel;

/// A programme's credentials at work.
pub struct Partner {
    pub token: String,
    pub key: PrivateKey,
    key_id: String,
    origin: String,
    grpc: String,
    clock: Clock,
}

impl Partner {
    /// Exchanges the credentials of a profile for a token.
    pub async fn sign_in(profile: &Profile) -> Self {
        let origin = profile.base_url.trim_end_matches("/v1").to_owned();
        let key = PrivateKey::parse(profile.private_key_pem.as_ref().unwrap().expose_secret()).unwrap();
        let mut partner = Self {
            token: String::new(),
            key,
            key_id: profile.key_id.clone(),
            origin,
            grpc: format!("http://{}", profile.grpc_addr),
            clock: Clock::system(),
        };
        let credentials = json!({"apiKey": profile.api_key, "apiSecret": profile.api_secret.expose_secret()});
        let request = partner.signed(Method::POST, "/v1/auth/token", credentials.to_string().as_bytes());
        let answer = partner.call(request).await;
        partner.token = answer["token"].as_str().expect("a token").to_owned();
        partner
    }

    /// Registers a new key of this algorithm and signs with it from now on.
    pub async fn take_key(&mut self, algorithm: Algorithm) {
        let key = PrivateKey::generate(algorithm).unwrap();
        let der = base64::engine::general_purpose::STANDARD.encode(key.public_key().spki_der());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        let body = json!({"publicKey": pem}).to_string();
        let answer = self.call(self.signed(Method::PUT, "/v1/auth/signing", body.as_bytes())).await;
        self.key_id = answer["keyId"].as_str().expect("a key id").to_owned();
        self.key = key;
    }

    /// Creates a customer over REST; its id.
    pub async fn create(&self, number: u64) -> String {
        let body = json!({"chainId": chain_id(number), "externalId": external_id(number)}).to_string();
        let answer = self.call(self.signed(Method::POST, "/v1/customers", body.as_bytes())).await;
        answer["id"].as_str().expect("an id").to_owned()
    }

    /// Subscribes a receiver to every customer event.
    #[allow(dead_code, reason = "the bench of the cascade has no receiver")]
    pub async fn subscribe(&self, url: &str) {
        let body = json!({"callbackUrl": url, "types": ["customer.updated"]}).to_string();
        self.call(self.signed(Method::PUT, "/v1/webhooks", body.as_bytes())).await;
    }

    async fn call(&self, request: Request<Full<Bytes>>) -> Value {
        let (status, body) = self.connect().await.send(request).await;
        assert!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// A request signed as `customerd call` signs: method, target, bearer, and digest and idempotency key where they
    /// must be.
    pub fn signed(&self, method: Method, target: &str, body: &[u8]) -> Request<Full<Bytes>> {
        let absolute: Uri = format!("{}{target}", self.origin).parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, absolute.authority().unwrap().as_str().parse().unwrap());
        headers.insert(header::AUTHORIZATION, format!("Bearer {}", self.token).parse().unwrap());
        let mut components = vec!["@method", "@target-uri", "authorization"];
        if !method.is_safe() {
            headers.insert(signature::IDEMPOTENCY_KEY, self.clock.id().to_string().parse().unwrap());
            components.push("idempotency-key");
        }
        if !body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(digest::CONTENT_DIGEST, digest::sha256(body));
            components.push("content-digest");
        }
        let head = Head { method: &method, uri: &absolute, version: Version::HTTP_11, headers: &headers };
        let params = [Param::Created(self.clock.now().unix_seconds()), Param::KeyId(&self.key_id)];
        let recipe = Recipe { label: "sig1", components: &components, params: &params };
        let signed = signature::sign(&Message::outgoing(head).unwrap(), &self.key, &recipe).unwrap();
        headers.insert("signature-input", signed.signature_input);
        headers.insert("signature", signed.signature);
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(body)));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) =
            (method, target.parse().unwrap(), headers);
        request
    }

    /// A connection that stays open.
    pub async fn connect(&self) -> Connection {
        Connection::to(self.origin.trim_start_matches("http://").parse().unwrap()).await
    }

    /// A client of the gRPC door with a connection of its own.
    pub async fn grpc(&self) -> CustomerServiceClient<Channel> {
        CustomerServiceClient::connect(self.grpc.clone()).await.unwrap()
    }

    /// The same for cards.
    #[allow(dead_code, reason = "only the bench of the cascade lists cards")]
    pub async fn cards(&self) -> CardServiceClient<Channel> {
        CardServiceClient::connect(self.grpc.clone()).await.unwrap()
    }

    /// A gRPC request as this programme.
    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        request
    }
}

/// An HTTP/1.1 connection.
pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    pub async fn to(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> (u16, Bytes) {
        let answer = self.exchange(request).await;
        (answer.status().as_u16(), answer.into_body())
    }

    pub async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        self.0.ready().await.unwrap();
        let (head, body) = self.0.send_request(request).await.unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }
}

/// The account of the `number`th customer.
pub fn chain_id(number: u64) -> String {
    format!("eip155:1:0x{number:040x}")
}

/// The external id of the `number`th customer.
pub fn external_id(number: u64) -> String {
    format!("u-{number:012}")
}
