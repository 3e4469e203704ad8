//! One request of a partner: right in every way unless the story says otherwise.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use sha2::Digest as _;

use super::wire::try_exchange;
use super::{Answer, Following, Half, Http, Partner, Signing, follow};

/// A deviation from the signature that a partner would make.
type Edit<'a> = Box<dyn FnOnce(&mut Signing) + Send + 'a>;

/// A request about to be sent. Await it for its answer.
pub struct Call<'a> {
    partner: &'a Partner,
    method: Method,
    target: String,
    body: Vec<u8>,
    /// Fields given by the story; they replace ours of the same name.
    own: Vec<(String, String)>,
    without: Vec<String>,
    bare: bool,
    version: Http,
    edits: Vec<Edit<'a>>,
    more: Vec<Edit<'a>>,
    unsigned: bool,
}

impl<'a> Call<'a> {
    pub(super) fn new(partner: &'a Partner, method: Method, target: &str) -> Self {
        Self {
            partner,
            method,
            target: target.to_owned(),
            body: Vec::new(),
            own: Vec::new(),
            without: Vec::new(),
            bare: false,
            version: Http::One,
            edits: Vec::new(),
            more: Vec::new(),
            unsigned: false,
        }
    }

    /// With this body, whatever the method.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With this header field. A field that we would send is replaced; a second one of the same name is a second line.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.own.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a header field that we would send. Signatures do not cover it.
    pub fn without(mut self, name: &str) -> Self {
        self.without.push(name.to_owned());
        self
    }

    /// Under this idempotency key.
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// With another bearer token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Without bearer, signature, digest and idempotency key.
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self.unsigned = true;
        self
    }

    /// Without a signature.
    pub fn unsigned(mut self) -> Self {
        self.unsigned = true;
        self
    }

    /// Over HTTP/2.
    pub fn http2(mut self) -> Self {
        self.version = Http::Two;
        self
    }

    /// With a signature that differs from ours.
    pub fn signing(mut self, edit: impl FnOnce(&mut Signing) + Send + 'a) -> Self {
        self.edits.push(Box::new(edit));
        self
    }

    /// With a further signature, ours but for what `edit` does.
    pub fn also_signing(mut self, edit: impl FnOnce(&mut Signing) + Send + 'a) -> Self {
        self.more.push(Box::new(edit));
        self
    }

    fn fields(&self) -> Vec<(String, String)> {
        let number = self.partner.number();
        let mut ours = vec![("x-request-id", format!("request-{number}"))];
        if !self.body.is_empty() {
            ours.push(("content-type", "application/json".to_owned()));
        }
        if !self.bare {
            ours.push(("authorization", format!("Bearer {}", self.partner.token)));
            if !self.method.is_safe() {
                ours.push(("idempotency-key", format!("00000000-0000-4000-8000-{number:012}")));
            }
            if !self.body.is_empty() {
                ours.push(("content-digest", sha256(&self.body)));
            }
        }
        let given = |name: &str| self.own.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let dropped = |name: &str| self.without.iter().any(|without| without == name);
        let ours = ours.into_iter().filter(|(name, _)| !given(name) && !dropped(name));
        ours.map(|(name, value)| (name.to_owned(), value)).chain(self.own.iter().cloned()).collect()
    }

    /// Our signature over these fields.
    fn proper(&self, fields: &[(String, String)]) -> Signing {
        let there = |name: &&str| fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name));
        let covered = ["content-digest", "idempotency-key"].into_iter().filter(there);
        let mut signing = Signing {
            label: "sig1".to_owned(),
            components: ["@method", "@target-uri"].into_iter().chain(covered).map(str::to_owned).collect(),
            params: Vec::new(),
            key: Arc::clone(&self.partner.key),
            lies: Vec::new(),
            bend: |signature| signature,
        };
        signing.param("created", self.partner.clock.now().unix_seconds());
        signing.text("keyid", &self.partner.key_id);
        signing
    }

    /// `Signature-Input` and `Signature` with every signature.
    fn signatures(&mut self, fields: &[(String, String)]) -> [(String, String); 2] {
        let mut first = self.proper(fields);
        for edit in std::mem::take(&mut self.edits) {
            edit(&mut first);
        }
        let mut all = vec![first];
        for (number, edit) in (2..).zip(std::mem::take(&mut self.more)) {
            let mut next = self.proper(fields);
            next.label = format!("sig{number}");
            edit(&mut next);
            all.push(next);
        }
        let signed: Vec<_> = all.iter().map(|one| one.sign(&self.method, &self.target, fields)).collect();
        let (inputs, signatures): (Vec<_>, Vec<_>) = signed.into_iter().unzip();
        [("signature-input", inputs), ("signature", signatures)]
            .map(|(name, values)| (name.to_owned(), values.join(", ")))
    }

    fn signed(&mut self) -> Vec<(String, String)> {
        let mut fields = self.fields();
        if !self.unsigned {
            for (name, value) in self.signatures(&fields) {
                let given = self.own.iter().any(|(own, _)| own.eq_ignore_ascii_case(&name));
                if !given && !self.without.contains(&name) {
                    fields.push((name, value));
                }
            }
        }
        fields
    }

    /// All of it, signed: method, target, fields, body.
    pub fn ready(mut self) -> (Method, String, Vec<(String, String)>, Vec<u8>) {
        let fields = self.signed();
        (self.method, self.target, fields, self.body)
    }

    /// Sends it to a server that may go away: `None` when there is no answer, or only a part of one.
    pub async fn attempt(mut self) -> Option<Answer> {
        let fields = self.signed();
        try_exchange((self.partner.http, self.version), (&self.method, &self.target), &fields, self.body).await
    }

    /// Method, target and header fields.
    pub fn parts(mut self) -> (Method, String, Vec<(String, String)>) {
        let fields = self.signed();
        (self.method, self.target, fields)
    }

    /// Sends its headers over HTTP/1.1 and so many bytes of its body.
    pub async fn begin(mut self, sent: usize) -> Half {
        let fields = self.signed();
        Half::open(self.partner.http, (&self.method, &self.target), &fields, (&self.body, sent)).await
    }

    /// Sends it over HTTP/1.1 and reads the answer bit by bit.
    pub async fn follow(mut self) -> Following {
        let fields = self.signed();
        follow(self.partner.http, (&self.method, &self.target), &fields).await
    }
}

impl<'a> IntoFuture for Call<'a> {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.attempt().await.expect("an answer") })
    }
}

/// `Content-Digest` of a body (RFC 9530).
pub fn sha256(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(sha2::Sha256::digest(body)))
}
