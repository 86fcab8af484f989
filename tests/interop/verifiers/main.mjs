// Verifies each token on standard input with the Node example of docs/services.md and prints the result.

import { createInterface } from 'node:readline'
import { verifier } from './node.mjs'

const [issuer, audience] = process.argv.slice(2)
const verify = verifier(issuer, audience)
for await (const token of createInterface({ input: process.stdin })) {
  try {
    console.log(`accepts ${(await verify(token)).sub}`)
  } catch (error) {
    console.log(`rejects ${error.code ?? 'UNEXPECTED'} ${error.message}`)
  }
}
