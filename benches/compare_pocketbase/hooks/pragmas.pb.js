// PocketBase has no setting for the durability of commits. All writes use the one connection of
// `nonconcurrentDB`. PocketBase replaces this connection after three minutes without use, which resets
// `synchronous`.

routerAdd("POST", "/pragmas", (e) => {
  e.app.nonconcurrentDB().newQuery("PRAGMA synchronous = FULL").execute()
  return e.noContent(204)
})

routerAdd("GET", "/pragmas", (e) => {
  const found = new DynamicModel({ synchronous: 0, journal_mode: "" })
  e.app.nonconcurrentDB().newQuery("PRAGMA synchronous").one(found)
  e.app.nonconcurrentDB().newQuery("PRAGMA journal_mode").one(found)
  return e.json(200, { journal_mode: found.journal_mode, synchronous: found.synchronous })
})
