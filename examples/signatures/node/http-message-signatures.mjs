// Calls customerd with the npm package http-message-signatures: P-384 and Ed25519 keys.
// Usage: node http-message-signatures.mjs path/to/sandbox.json
import { generateKeyPairSync } from "node:crypto";
import { createSigner, httpbis } from "http-message-signatures";
import { expect, profile, token, unsigned, walk } from "./profile.mjs";

const bearer = await token();

function client(pem, algorithm, keyId) {
  const key = createSigner(pem, algorithm, keyId);
  return async (method, path, body, target) => {
    const { request, fields } = unsigned(bearer, method, path, body);
    const signed = await httpbis.signMessage({ key, fields: [...target(path), ...fields] }, request);
    return fetch(signed.url, { method, headers: signed.headers, body });
  };
}

const p384 = client(profile.privateKeyPem, "ecdsa-p384-sha384", profile.keyId);

const pair = generateKeyPairSync("ed25519");
const publicKey = pair.publicKey.export({ type: "spki", format: "pem" });
const put = await p384("PUT", "/v1/auth/signing", JSON.stringify({ publicKey }), () => ["@method", "@target-uri"]);
const { keyId } = await expect(put, 200);
const ed25519 = client(pair.privateKey.export({ type: "pkcs8", format: "pem" }), "ed25519", keyId);

await walk("npm http-message-signatures: P-384", p384);
await walk("npm http-message-signatures: Ed25519", ed25519);
