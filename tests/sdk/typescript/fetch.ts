// Runs the scenario with openapi-fetch and the types that openapi-typescript generates from the document.
import assert from 'node:assert/strict'

import createClient from 'openapi-fetch'

import type { components, paths } from './tripgate'

const baseUrl = process.argv[2] ?? ''
const password = 'a red kite over Lisbon'

/** Returns the body of a successful response. */
function success<T>(result: { data?: T; error?: unknown; response: Response }, status: number): T {
  assert.equal(result.error, undefined)
  assert.equal(result.response.status, status)
  return result.data as T
}

function code(problem: components['schemas']['Problem'] | undefined): string | undefined {
  return problem?.code
}

async function main() {
  let token = ''
  const client = createClient<paths>({ baseUrl })
  client.use({
    onRequest({ request }) {
      if (token !== '') request.headers.set('Authorization', `Bearer ${token}`)
    },
  })

  success(await client.POST('/api/v1/auth/signup', { body: { username: 'fetch', password } }), 201)
  const login = { identifier: 'fetch', password, device_name: 'A phone' }
  const grant = success(await client.POST('/api/v1/auth/login', { body: login }), 200)
  assert.equal(grant.user.username, 'fetch')
  const { refresh_token } = grant
  const next = success(await client.POST('/api/v1/auth/refresh', { body: { refresh_token } }), 200)
  assert.notEqual(next.refresh_token, refresh_token)
  token = next.access_token

  for (const title of ['Lisbon', 'Sintra', 'Porto', 'Madeira', 'Faro']) {
    success(await client.POST('/api/v1/trips', { body: { title } }), 201)
  }
  const pages: string[][] = []
  let cursor: string | undefined
  do {
    const query: NonNullable<paths['/api/v1/trips']['get']['parameters']['query']> = { limit: 2, sort: 'title' }
    if (cursor !== undefined) query.cursor = cursor
    const page = success(await client.GET('/api/v1/trips', { params: { query } }), 200)
    pages.push(page.items.map((trip) => trip.title))
    cursor = page.next_cursor
  } while (cursor !== undefined)
  assert.deepEqual(pages, [['Faro', 'Lisbon'], ['Madeira', 'Porto'], ['Sintra']])

  const once = { body: { title: 'Évora' }, params: { header: { 'Idempotency-Key': crypto.randomUUID() } } }
  const created = success(await client.POST('/api/v1/trips', once), 201)
  const again = await client.POST('/api/v1/trips', once)
  assert.equal(success(again, 201).id, created.id)
  assert.equal(again.response.headers.get('Idempotency-Replayed'), 'true')

  const path = { id: created.id }
  const current = await client.GET('/api/v1/trips/{id}', { params: { path } })
  const header = { 'If-Match': current.response.headers.get('ETag') ?? '' }
  const replace = { params: { path, header }, body: { title: 'Beja', notes: 'By train' } }
  assert.equal(success(await client.PUT('/api/v1/trips/{id}', replace), 200).version, 2)
  const stale = await client.PUT('/api/v1/trips/{id}', replace)
  assert.equal(stale.response.status, 412)
  assert.equal(code(stale.error), 'precondition_failed')
  const old = await client.PATCH('/api/v1/trips/{id}', { params: { path, header }, body: { title: 'Tomar' } })
  assert.equal(old.error?.status, 412)
  const cleared = success(await client.PATCH('/api/v1/trips/{id}', { params: { path }, body: { notes: null } }), 200)
  assert.deepEqual([cleared.title, cleared.notes, cleared.version], ['Beja', undefined, 3])

  const dates = { start_date: '2027-05-08', end_date: '2027-05-01' }
  const invalid = await client.PATCH('/api/v1/trips/{id}', { params: { path }, body: dates })
  assert.equal(invalid.response.status, 422)
  assert.deepEqual(
    invalid.error?.errors?.map(({ pointer, code }) => ({ pointer, code })),
    [{ pointer: '/end_date', code: 'before_start' }],
  )
  assert.equal(invalid.error.client_action, 'fix_input')

  token = 'bad'
  const rejected = await client.GET('/api/v1/trips')
  assert.equal(rejected.response.status, 401)
  assert.equal(code(rejected.error), 'invalid_token')
  assert.equal(rejected.error?.client_action, 'refresh')

  const last = { refresh_token: next.refresh_token }
  token = ''
  assert.equal((await client.POST('/api/v1/auth/logout', { body: last })).response.status, 204)
  const ended = await client.POST('/api/v1/auth/refresh', { body: last })
  assert.equal(ended.response.status, 401)
  assert.equal(code(ended.error), 'session_revoked')
  assert.equal(ended.error?.client_action, 'reauthenticate')
  console.log('done')
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
