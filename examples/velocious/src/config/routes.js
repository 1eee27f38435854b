import Routes from "velocious/build/src/routes/index.js"

const routes = new Routes()

routes.draw((route) => {
  route.get("ping")
  route.get("version")
  route.post("report")
})

export default {routes}
