// The smallest configuration that has web, jobs and a database. The database is a file, so that nothing else is needed.

import AsyncTrackedMultiConnection from "velocious/build/src/database/pool/async-tracked-multi-connection.js"
import Configuration from "velocious/build/src/configuration.js"
import NodeEnvironmentHandler from "velocious/build/src/environment-handlers/node.js"
import SqliteDriver from "velocious/build/src/database/drivers/sqlite/index.js"

// The file is in `db/` of the release. Releases share it: see the link that the deploy makes.
const database = {
  default: {
    driver: SqliteDriver,
    poolType: AsyncTrackedMultiConnection,
    type: "sqlite",
    name: "example"
  }
}

export default new Configuration({
  database: {development: database, production: database},
  environmentHandler: new NodeEnvironmentHandler(),
  initializeModels: async () => {},
  locale: () => "en",
  locales: ["en"],
  localeFallbacks: {en: ["en"]}
})
