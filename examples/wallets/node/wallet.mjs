// What the examples share: the command line, and the key from the environment.

/**
 * Runs one example: `account` prints the CAIP-10 account id of the key, `sign <challenge>` the signature. The challenge is
 * base64, as the API gives it; what is signed are the bytes inside.
 */
export async function main(wallet) {
  const key = Buffer.from((process.env.PRIVATE_KEY ?? "").replace(/^0x/, ""), "hex");
  const [what, challenge] = process.argv.slice(2);
  if (key.length !== 32 || !(what === "account" || (what === "sign" && challenge))) {
    console.error(`usage: PRIVATE_KEY=<32 bytes in hex> node ${process.argv[1]} account | sign <challenge, base64>`);
    process.exit(2);
  }
  const { account, sign } = await wallet(new Uint8Array(key));
  console.log(what === "account" ? account : await sign(new Uint8Array(Buffer.from(challenge, "base64"))));
}
