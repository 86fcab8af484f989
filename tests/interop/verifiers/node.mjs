import { createRemoteJWKSet, jwtVerify } from 'jose'

export function verifier(issuer, audience) {
  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`))
  const algorithms = ['ES256', 'EdDSA', 'RS256']
  const rules = { issuer, audience, typ: 'at+jwt', algorithms, requiredClaims: ['exp', 'sub'] }
  return async (token) => (await jwtVerify(token, keys, rules)).payload
}
