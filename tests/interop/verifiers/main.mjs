// Says of each token on standard input whether the README's service in Node takes it.

import { createInterface } from 'node:readline'
import { verifier } from './node.mjs'

const [issuer, audience] = process.argv.slice(2)
const verify = verifier(issuer, audience)
for await (const token of createInterface({ input: process.stdin })) {
  try {
    console.log(`takes ${(await verify(token)).sub}`)
  } catch (error) {
    console.log(`refuses ${error.code ?? 'UNEXPECTED'} ${error.message}`)
  }
}
