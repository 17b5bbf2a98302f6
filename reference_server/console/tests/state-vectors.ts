// Runs the fold over a file of processes that the Python model folded, one JSON object a line, and stops at the first
// state that differs. node state-vectors.ts FILE
import assert from 'node:assert/strict'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

import { apply, EMPTY_STATE, isFinished } from '../src/generation/generation-state.ts'
import { eventFromRow } from '../src/stream/events.ts'

interface Process {
  events: Record<string, unknown>[]
  states: Record<string, unknown>[]
}

let processes = 0
let states = 0
for await (const line of createInterface({ input: createReadStream(process.argv[2] ?? '') })) {
  const told = JSON.parse(line) as Process
  processes += 1
  let state = EMPTY_STATE
  told.events.forEach((row, number) => {
    state = apply(state, eventFromRow(row, 'live'))
    const where = `process ${processes}, event ${number} (${String(row.event_type)} ${JSON.stringify(row.event_data)})`
    assert.deepStrictEqual({ ...state, isFinished: isFinished(state) }, told.states[number], where)
    states += 1
  })
}
assert(processes > 0, 'the file holds no process')
console.log(JSON.stringify({ processes, states }))
