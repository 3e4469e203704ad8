"""A receiver of customerd's webhooks: checks both signatures of each delivery with published packages.

One of the two is enough. `standardwebhooks` needs the secret of the subscription; RFC 9421 needs no secret but the
service's public keys. Drop what you have seen (`eventId`), order by `version`.

Usage: python receive.py PORT PUBLIC_URL_OF_THE_RECEIVER JWKS_URL SECRET [COUNT]: ends after COUNT deliveries.
"""

import base64
import json
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver, algorithms
from standardwebhooks import Webhook

port, origin, jwks_url, secret = sys.argv[1:5]
left = int(sys.argv[5]) if len(sys.argv) > 5 else None


def public_keys():
    with urllib.request.urlopen(jwks_url, timeout=10) as answer:
        keys = json.load(answer)["keys"]
    raw = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return {key["kid"]: Ed25519PublicKey.from_public_bytes(raw(key["x"])) for key in keys if key["alg"] == "Ed25519"}


webhook = Webhook(secret)
verifier = HTTPMessageVerifier(
    signature_algorithm=algorithms.ED25519, key_resolver=MappingKeyResolver(public_keys=public_keys(), private_keys={})
)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        # Standard Webhooks: raises if the secret, the time or the body is not right.
        event = webhook.verify(body, headers)
        # RFC 9421: raises if a signature, the coverage or the digest of the body is not right.
        request = SimpleNamespace(method="POST", url=origin + self.path, headers=headers)
        verifier.verify(
            request,
            expect_tag="customerd-webhook",
            require_components=("@method", "@target-uri", "content-type", "content-digest", "webhook-id"),
            body=body,
        )
        self.send_response(204)
        self.end_headers()
        print(f"Python receiver: {event['webhookType']} {event['eventId']}: both signatures verify", flush=True)
        global left
        left = None if left is None else left - 1

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", int(port)), Receiver)
while left is None or left > 0:
    server.handle_request()
