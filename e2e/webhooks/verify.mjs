// Reads cases as JSON, `[{secret, headers, body}]`, and prints for each whether the library takes it, as JSON. Its folder is the argument.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { Webhook, WebhookVerificationError } = createRequire(`${process.argv[2]}/`)("standardwebhooks");

const takes = ({ secret, headers, body }) => {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
};

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(takes)));
