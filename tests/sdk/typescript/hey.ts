// Runs the scenario with the client that @hey-api/openapi-ts generates from the document.
import assert from 'node:assert/strict'

import * as api from './sdk'
import { createClient, createConfig } from './sdk/client'

const baseUrl = process.argv[2] ?? ''
const password = 'a red kite over Lisbon'

/** Returns the body of a successful response. */
function success<T>(result: { data?: T; error?: unknown; response?: Response }, status: number): NonNullable<T> {
  assert.equal(result.error, undefined)
  assert.equal(result.response?.status, status)
  return result.data as NonNullable<T>
}

async function main() {
  let token = ''
  const client = createClient(createConfig({ baseUrl, auth: () => token }))

  const body = { username: 'hey', password }
  success(await api.signUp({ client, body }), 201)
  const login = { identifier: 'hey', password, device_name: 'A phone' }
  const grant = success(await api.logIn({ client, body: login }), 200)
  assert.equal(grant.user.username, 'hey')
  const { refresh_token } = grant
  const next = success(await api.refreshSession({ client, body: { refresh_token } }), 200)
  assert.notEqual(next.refresh_token, refresh_token)
  token = next.access_token

  for (const title of ['Lisbon', 'Sintra', 'Porto', 'Madeira', 'Faro']) {
    success(await api.createTrip({ client, body: { title } }), 201)
  }
  const pages: string[][] = []
  let cursor: string | undefined
  do {
    const query: NonNullable<api.ListTripsData['query']> = { limit: 2, sort: 'title' }
    if (cursor !== undefined) query.cursor = cursor
    const page = success(await api.listTrips({ client, query }), 200)
    pages.push(page.items.map((trip) => trip.title))
    cursor = page.next_cursor
  } while (cursor !== undefined)
  assert.deepEqual(pages, [['Faro', 'Lisbon'], ['Madeira', 'Porto'], ['Sintra']])

  const once = { client, body: { title: 'Évora' }, headers: { 'Idempotency-Key': crypto.randomUUID() } }
  const created = success(await api.createTrip(once), 201)
  const again = await api.createTrip(once)
  assert.equal(success(again, 201).id, created.id)
  assert.equal(again.response?.headers.get('Idempotency-Replayed'), 'true')

  const path = { id: created.id }
  const tag = (await api.getTrip({ client, path })).response?.headers.get('ETag') ?? ''
  const replace = { client, path, headers: { 'If-Match': tag }, body: { title: 'Beja', notes: 'By train' } }
  assert.equal(success(await api.replaceTrip(replace), 200).version, 2)
  const stale = await api.replaceTrip(replace)
  assert.equal(stale.response?.status, 412)
  assert.equal(stale.error?.code, 'precondition_failed')
  const staleUpdate = await api.updateTrip({ client, path, headers: { 'If-Match': tag }, body: { title: 'Tomar' } })
  assert.equal(staleUpdate.error?.status, 412)
  const cleared = success(await api.updateTrip({ client, path, body: { notes: null } }), 200)
  assert.deepEqual([cleared.title, cleared.notes, cleared.version], ['Beja', undefined, 3])

  const dates = { start_date: '2027-05-08', end_date: '2027-05-01' }
  const invalid = await api.updateTrip({ client, path, body: dates })
  assert.equal(invalid.response?.status, 422)
  assert.deepEqual(
    invalid.error?.errors?.map(({ pointer, code }) => ({ pointer, code })),
    [{ pointer: '/end_date', code: 'before_start' }],
  )
  assert.equal(invalid.error.client_action, 'fix_input')

  token = 'bad'
  const rejected = await api.listTrips({ client })
  assert.equal(rejected.response?.status, 401)
  assert.equal(rejected.error?.code, 'invalid_token')
  assert.equal(rejected.error.client_action, 'refresh')

  const last = { refresh_token: next.refresh_token }
  assert.equal((await api.logOut({ client, body: last })).response?.status, 204)
  const ended = await api.refreshSession({ client, body: last })
  assert.equal(ended.response?.status, 401)
  assert.equal(ended.error?.code, 'session_revoked')
  assert.equal(ended.error.client_action, 'reauthenticate')
  console.log('done')
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
