// Sets the cost of password hashes, and creates the collection of trips. Each user sees only their own trips.
migrate((app) => {
  const users = app.findCollectionByNameOrId("users")
  users.fields.getByName("password").cost = 12
  // The tokens are valid for longer than all measurements take.
  users.authToken.duration = 86400
  app.save(users)

  const own = "owner = @request.auth.id"
  const date = "^\\d{4}-\\d{2}-\\d{2}$"
  app.save(new Collection({
    type: "base",
    name: "trips",
    listRule: own,
    viewRule: own,
    createRule: own,
    updateRule: own,
    deleteRule: own,
    fields: [
      { type: "relation", name: "owner", collectionId: users.id, required: true, maxSelect: 1, cascadeDelete: true },
      { type: "text", name: "title", required: true, max: 200 },
      { type: "text", name: "destination", max: 200 },
      { type: "text", name: "start_date", pattern: date },
      { type: "text", name: "end_date", pattern: date },
      { type: "text", name: "time_zone", max: 100 },
      { type: "text", name: "notes", max: 10000 },
      { type: "select", name: "status", values: ["planned", "active", "completed", "archived"], maxSelect: 1 },
      { type: "json", name: "stops" },
      { type: "autodate", name: "created", onCreate: true },
      { type: "autodate", name: "updated", onCreate: true, onUpdate: true },
    ],
    indexes: ["CREATE INDEX trips_owner ON trips (owner, created)"],
  }))
})
