// What both clients need: the profile, a token, and the digest of a body.
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";

export const profile = JSON.parse(readFileSync(process.argv[2], "utf8"));
export const origin = new URL(profile.baseUrl).origin;

export async function expect(response, status) {
  const text = await response.text();
  if (response.status !== status) throw new Error(`expected ${status}, got ${response.status}: ${text}`);
  return text ? JSON.parse(text) : undefined;
}

export async function token() {
  const answer = await fetch(`${profile.baseUrl}/auth/token`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ apiKey: profile.apiKey, apiSecret: profile.apiSecret }),
  });
  return (await expect(answer, 200)).token;
}

// A request with everything but its signature, and the fields that the signature must cover.
export function unsigned(bearer, method, path, body) {
  const headers = { authorization: `Bearer ${bearer}` };
  const fields = [];
  if (method !== "GET") {
    headers["idempotency-key"] = randomUUID();
    fields.push("idempotency-key");
  }
  if (body !== undefined) {
    headers["content-type"] = "application/json";
    headers["content-digest"] = `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;
    fields.push("content-digest");
  }
  return { request: { method, url: origin + path, headers, body }, fields };
}

// The two ways to sign the target.
export const targets = {
  "target-uri": () => ["@method", "@target-uri"],
  "authority and path": (path) => ["@method", "@authority", "@path", ...(path.includes("?") ? ["@query"] : [])],
};

// Creates a customer, reads it, lists: with `send(method, path, body, target)` of some client.
export async function walk(name, send) {
  for (const [style, target] of Object.entries(targets)) {
    const address = `eip155:1:0x${randomBytes(20).toString("hex")}`;
    const body = JSON.stringify({ chainId: address, externalId: randomUUID() });
    const created = await expect(await send("POST", "/v1/customers", body, target), 201);
    await expect(await send("GET", `/v1/customers/${created.id}`, undefined, target), 200);
    await expect(await send("GET", "/v1/customers?pageSize=2", undefined, target), 200);
    console.log(`${name}, ${style}: POST 201, GET 200`);
  }
}
