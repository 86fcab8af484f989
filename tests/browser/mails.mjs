// Reads the mails that the server has written to its outbox.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

const OUTBOX = `${process.env.DATA_DIR}/outbox`;
const ATTEMPTS = 600;
const INTERVAL_MS = 100;

// Returns the text of a mail: the first part, decoded.
function decoded(message) {
  const [head, ...rest] = message.split("\r\n\r\n");
  const boundary = /boundary="?([^"\r\n]+)/.exec(head)?.[1];
  const [partHead, ...body] = boundary === undefined ? [head, ...rest]
    : message.split(`--${boundary}`)[1].replace(/^\r\n/, "").split("\r\n\r\n");
  const text = body.join("\r\n\r\n");
  if (/base64/i.test(partHead)) return Buffer.from(text, "base64").toString();
  if (/quoted-printable/i.test(partHead)) {
    return text.replace(/=\r\n/g, "").replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  }
  return text;
}

// Waits for the newest mail to an address whose text matches `pattern`, and returns the match.
export async function mail(address, pattern) {
  for (let attempts = 0; attempts < ATTEMPTS; attempts += 1) {
    // The server creates the folder when it writes the first mail. Each file name begins with the time.
    const names = existsSync(OUTBOX) ? readdirSync(OUTBOX) : [];
    for (const name of names.filter((name) => name.endsWith(".eml")).sort().reverse()) {
      const message = readFileSync(`${OUTBOX}/${name}`, "utf8");
      const found = message.includes(`To: ${address}`) && pattern.exec(decoded(message));
      if (found) return found;
    }
    await pause(INTERVAL_MS);
  }
  throw new Error(`no mail to ${address} with ${pattern}`);
}

// Waits for the newest mail to an address with a link to this page, and returns the link.
export const link = async (address, page) => (await mail(address, new RegExp(`\\S+/account/${page}#\\S+`)))[0];
