// Creates and uses passkeys with nid-webauthn-emulator. Reads one job per line as JSON from standard input,
// and writes the response of the authenticator as one line to standard output.

import emulator from 'nid-webauthn-emulator'
import { createInterface } from 'node:readline'

const { default: WebAuthnEmulator, AuthenticatorEmulator, PasskeysCredentialsMemoryRepository } = emulator
const authenticator = new WebAuthnEmulator(
  new AuthenticatorEmulator({
    algorithmIdentifiers: [process.argv[2]],
    credentialsRepository: new PasskeysCredentialsMemoryRepository(),
  })
)
for await (const line of createInterface({ input: process.stdin })) {
  const { method, origin, options } = JSON.parse(line)
  console.log(JSON.stringify(authenticator[method](origin, options)))
}
