// A job that takes its time, and writes down when it begins and ends.

import {access, appendFile} from "node:fs/promises"
import {setTimeout as pause} from "node:timers/promises"
import VelociousJob from "velocious/build/src/background-jobs/job.js"

export default class ReportJob extends VelociousJob {
  async perform() {
    const {REPORTS, REPORT_GATE, ROLLBRIDGE_RELEASE_ID} = process.env
    await appendFile(REPORTS, `begun by ${ROLLBRIDGE_RELEASE_ID}\n`)
    // The test decides by a file how long the job takes.
    if (REPORT_GATE) while (!(await exists(REPORT_GATE))) await pause(50)
    else await pause(3000)
    await appendFile(REPORTS, `done by ${ROLLBRIDGE_RELEASE_ID}\n`)
  }
}

/** @param {string} path */
function exists(path) {
  return access(path).then(() => true, () => false)
}
