// Forges tokens with jose. Reads jobs as JSON from standard input, writes tokens as JSON to standard output.

import * as jose from 'jose'
import { text } from 'node:stream/consumers'

const { jobs, keys, claims, kid, alg } = JSON.parse(await text(process.stdin))
const bytes = (encoded) => jose.base64url.decode(encoded)
const tokens = []
const loaded = new Map()

async function key(name, algorithm) {
  const cacheKey = `${name} ${algorithm}`
  if (!loaded.has(cacheKey)) {
    const { secret, pem } = keys[name]
    loaded.set(cacheKey, secret === undefined ? await jose.importPKCS8(pem, algorithm) : bytes(secret))
  }
  return loaded.get(cacheKey)
}

async function attempt(what, make) {
  try {
    tokens.push([what, await make()])
  } catch {
    // The library can't create this token.
  }
}

// This option lists the names that jose accepts in the header field `crit`; the proxy contains every name.
// jose signs only with the algorithm that the header names, so jobs with another algorithm are skipped.
const crit = new Proxy({}, { has: () => true, get: () => false, getOwnPropertyDescriptor: () => ({ configurable: true, enumerable: true, value: true }) })
for (const { what, header, payload, alg, key: name } of jobs) {
  if (header.alg !== alg) continue
  await attempt(what, async () =>
    new jose.CompactSign(bytes(payload)).setProtectedHeader(header).sign(await key(name, alg), { crit })
  )
}

const payload = new TextEncoder().encode(JSON.stringify(claims))
const secret = bytes(keys['attacker HS256'].secret)
const head = { alg: 'HS256', typ: 'at+jwt', kid }
await attempt('unsecured', () => new jose.UnsecuredJWT(claims).encode())
for (const [what, own] of [['flattened', { protected: head }], ['flattened, open', { header: head }]]) {
  const sign = async () => {
    const token = new jose.FlattenedSign(payload)
    if (own.protected) token.setProtectedHeader(own.protected)
    if (own.header) token.setUnprotectedHeader(own.header)
    return token.sign(secret)
  }
  await attempt(what, async () => JSON.stringify(await sign()))
  await attempt(`${what}, encoded`, async () => jose.base64url.encode(JSON.stringify(await sign())))
}
await attempt('general', async () =>
  JSON.stringify(await new jose.GeneralSign(payload).addSignature(secret).setProtectedHeader(head).sign())
)
const encs = ['A128GCM', 'A192GCM', 'A256GCM', 'A128CBC-HS256', 'A192CBC-HS384', 'A256CBC-HS512']
const lengths = { A128GCM: 16, A192GCM: 24, A256GCM: 32, 'A128CBC-HS256': 32, 'A192CBC-HS384': 48, 'A256CBC-HS512': 64 }
const shared = { A128KW: 16, A192KW: 24, A256KW: 32, A128GCMKW: 16, A192GCMKW: 24, A256GCMKW: 32, 'PBES2-HS256+A128KW': 16, 'PBES2-HS512+A256KW': 32 }
for (const enc of encs) {
  for (const name of [...Object.keys(shared), 'dir']) {
    const with_ = new Uint8Array(name === 'dir' ? lengths[enc] : shared[name]).fill(107)
    await attempt(`JWE ${name} ${enc}`, () =>
      new jose.CompactEncrypt(payload).setProtectedHeader({ alg: name, enc, typ: 'at+jwt', kid }).encrypt(with_)
    )
  }
  for (const name of ['RSA-OAEP', 'RSA-OAEP-256', 'ECDH-ES', 'ECDH-ES+A128KW', 'ECDH-ES+A256KW']) {
    const jwk = keys[name.startsWith('RSA') ? 'attacker RS256' : 'attacker ES256'].public
    await attempt(`JWE ${name} ${enc}`, async () =>
      new jose.CompactEncrypt(payload)
        .setProtectedHeader({ alg: name, enc, typ: 'at+jwt', kid })
        .encrypt(await jose.importJWK(jwk, name))
    )
  }
}
console.log(JSON.stringify(tokens))
