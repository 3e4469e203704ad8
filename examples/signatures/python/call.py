"""Calls customerd with the published RFC 9421 package: P-384 and Ed25519 keys, GET and POST, both ways to sign the target.

Usage: python call.py path/to/sandbox.json
"""

import json
import sys
import uuid

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms

TARGETS = {
    "target-uri": ("@method", "@target-uri"),
    "authority and path": ("@method", "@authority", "@path"),
}


class Client:
    """A programme with one signing key."""

    def __init__(self, profile, token, key_id, key, algorithm):
        self.origin = profile["baseUrl"].removesuffix("/v1")
        self.token = token
        self.key_id = key_id
        resolver = MappingKeyResolver(public_keys={}, private_keys={key_id: key})
        self.signer = HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=resolver)

    def send(self, method, path, body=None, target=TARGETS["target-uri"]):
        headers = {"Authorization": f"Bearer {self.token}"}
        data = None
        covered = list(target)
        if method != "GET":
            headers["Idempotency-Key"] = str(uuid.uuid4())
            covered.append("idempotency-key")
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if "?" in path and "@path" in covered:
            covered.append("@query")
        request = requests.Request(method, self.origin + path, headers=headers, data=data).prepare()
        # With a body, the package adds Content-Digest and covers it.
        self.signer.sign(request, key_id=self.key_id, covered_component_ids=covered, body=data)
        return requests.Session().send(request, timeout=30)


def expect(response, status):
    if response.status_code != status:
        sys.exit(f"expected {status}, got {response.status_code}: {response.text}")
    return response.json() if response.content else None


def main():
    profile = json.load(open(sys.argv[1]))
    credentials = {"apiKey": profile["apiKey"], "apiSecret": profile["apiSecret"]}
    token = expect(requests.post(profile["baseUrl"] + "/auth/token", json=credentials, timeout=30), 200)["token"]

    p384 = serialization.load_pem_private_key(profile["privateKeyPem"].encode(), password=None)
    first = Client(profile, token, profile["keyId"], p384, algorithms.ECDSA_P384_SHA384)

    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    registered = expect(first.send("PUT", "/v1/auth/signing", {"publicKey": public.decode()}), 200)
    second = Client(profile, token, registered["keyId"], key, algorithms.ED25519)

    for name, client in (("P-384", first), ("Ed25519", second)):
        for style, target in TARGETS.items():
            address = "eip155:1:0x" + uuid.uuid4().hex + uuid.uuid4().hex[:8]
            created = expect(
                client.send("POST", "/v1/customers", {"chainId": address, "externalId": str(uuid.uuid4())}, target), 201
            )
            expect(client.send("GET", f"/v1/customers/{created['id']}", target=target), 200)
            expect(client.send("GET", "/v1/customers?pageSize=2", target=target), 200)
            print(f"python http-message-signatures: {name}, {style}: POST 201, GET 200")


main()
