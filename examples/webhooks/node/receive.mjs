// A receiver of customerd's webhooks: checks both signatures of each delivery with published packages.
//
// One of the two is enough. `standardwebhooks` needs the secret of the subscription; RFC 9421 needs no secret but the
// service's public keys. Drop what you have seen (`eventId`), order by `version`.
//
// Usage: node receive.mjs PORT PUBLIC_URL_OF_THE_RECEIVER JWKS_URL SECRET [COUNT]: ends after COUNT deliveries.
import { createHash, createPublicKey } from "node:crypto";
import { createServer } from "node:http";
import { createVerifier, httpbis } from "http-message-signatures";
import { Webhook } from "standardwebhooks";

const [port, origin, jwksUrl, secret, count] = process.argv.slice(2);
let left = count === undefined ? Infinity : Number(count);

const { keys } = await (await fetch(jwksUrl)).json();
const verifiers = new Map(
  keys
    .filter((jwk) => jwk.alg === "Ed25519")
    // Node knows the key by its type and curve; some versions refuse the newer name of the algorithm.
    .map(({ kty, crv, x, kid }) => {
      const key = createPublicKey({ key: { kty, crv, x }, format: "jwk" });
      return [kid, { id: kid, algs: ["ed25519"], verify: createVerifier(key, "ed25519") }];
    }),
);
const webhook = new Webhook(secret);

async function verify(request, body) {
  // Standard Webhooks: throws if the secret, the time or the body is not right.
  const event = webhook.verify(body, request.headers);
  // RFC 9421: the signature covers the digest, so the digest is checked against the body first.
  const digest = `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;
  if (request.headers["content-digest"] !== digest) throw new Error("the digest is not the body's");
  const verified = await httpbis.verifyMessage(
    {
      keyLookup: async ({ keyid, tag }) => (tag === "customerd-webhook" ? verifiers.get(keyid) : undefined),
      requiredFields: ["@method", "@target-uri", "content-type", "content-digest", "webhook-id"],
      requiredParams: ["created", "keyid"],
      maxAge: 300,
    },
    { method: request.method, url: origin + request.url, headers: request.headers },
  );
  if (verified !== true) throw new Error("the signature does not verify");
  return event;
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    const event = await verify(request, Buffer.concat(chunks).toString());
    response.writeHead(204).end();
    console.log(`Node receiver: ${event.webhookType} ${event.eventId}: both signatures verify`);
  } catch (error) {
    console.error(error);
    response.writeHead(401).end();
    process.exitCode = 1;
  }
  left -= 1;
  if (left <= 0) {
    server.close();
    server.closeAllConnections();
  }
});
server.listen(Number(port), "127.0.0.1");
