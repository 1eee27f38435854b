import Controller from "velocious/build/src/controller.js"
import ReportJob from "../../jobs/report-job.js"

export default class RootController extends Controller {
  async ping() {
    await this.render({json: {status: "ok"}})
  }

  async version() {
    await this.render({json: {release: process.env.ROLLBRIDGE_RELEASE_ID, pid: process.pid}})
  }

  async report() {
    const jobId = await ReportJob.performLater()
    await this.render({json: {jobId}})
  }
}
