// Calls customerd with the npm package http-message-sig, with an Ed25519 key and, since signers are the caller's, P-384.
// Usage: node http-message-sig.mjs path/to/sandbox.json
import { createPrivateKey, generateKeyPairSync, sign } from "node:crypto";
import { appendSignature, createSignature } from "http-message-sig";
import { expect, profile, token, unsigned, walk } from "./profile.mjs";

const bearer = await token();

function client(key, algorithm, hash, keyId) {
  const signer = { algorithm, sign: async (data) => sign(hash, data, { key, dsaEncoding: "ieee-p1363" }) };
  return async (method, path, body, target) => {
    const { request, fields } = unsigned(bearer, method, path, body);
    const message = new Request(request.url, request);
    const signature = await createSignature(message, {
      label: "sig1",
      components: [...target(path), ...fields],
      parameters: { created: Math.floor(Date.now() / 1000), keyid: keyId, alg: algorithm },
      signer,
    });
    return fetch(request.url, { method, headers: appendSignature(message.headers, signature), body });
  };
}

const p384 = client(createPrivateKey(profile.privateKeyPem), "ecdsa-p384-sha384", "sha384", profile.keyId);

const pair = generateKeyPairSync("ed25519");
const publicKey = pair.publicKey.export({ type: "spki", format: "pem" });
const put = await p384("PUT", "/v1/auth/signing", JSON.stringify({ publicKey }), () => ["@method", "@target-uri"]);
const { keyId } = await expect(put, 200);

await walk("npm http-message-sig: P-384", p384);
await walk("npm http-message-sig: Ed25519", client(pair.privateKey, "ed25519", null, keyId));
