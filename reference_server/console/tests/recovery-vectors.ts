// Runs the machine over a file of histories that the Python model answered, one JSON object a line, and stops at the
// first step that it answers otherwise. node recovery-vectors.ts FILE
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

import type { Effect } from '../src/stream/effects.ts'
import type { ProcessEvent } from '../src/stream/events.ts'
import { Recovery, type RecoveryLimits } from '../src/stream/recovery.ts'

type Written = [sequence: number, type: string]

interface Step {
  input: 'start' | 'joined' | 'live' | 'change' | 'page' | 'fetchFailed' | 'lost' | 'look' | 'backOnline' | 'hold' | 'release' | 'tick'
  args: unknown[]
  now: number
  effects: unknown[][]
  wake: number | null
  facts: unknown[]
}

interface History {
  limits: RecoveryLimits
  since: number
  endOnError: boolean
  draws: number[]
  steps: Step[]
}

function event([sequence, type]: Written): ProcessEvent {
  return { sequence, id: String(sequence), type, data: {}, createdAt: '', processId: '', category: '', source: '', via: 'backfill' }
}

function answer(machine: Recovery, { input, args, now }: Step): Effect[] {
  switch (input) {
    case 'hold':
      machine.hold()
      return []
    case 'start':
    case 'look':
    case 'backOnline':
    case 'release':
    case 'tick':
      return machine[input](now)
    case 'joined':
    case 'live':
    case 'fetchFailed':
      return machine[input](args[0] as number, now)
    case 'lost':
      return machine.lost(args[0] as number, args[1] as string, now)
    case 'change':
      return machine.change(event(args[0] as Written), now)
    case 'page': {
      const page = args[1] as { events: Written[]; lastSequence: number | null; oldestSequence: number | null }
      return machine.page(args[0] as number, { ...page, events: page.events.map(event) }, now)
    }
  }
}

function told(effect: Effect): unknown[] {
  switch (effect.kind) {
    case 'connect':
      return ['connect', effect.epoch]
    case 'disconnect':
      return ['disconnect', effect.epoch, effect.reason]
    case 'fetch':
      return ['fetch', effect.ticket, effect.since]
    case 'deliver':
      return ['deliver', effect.event.sequence, effect.event.type, effect.event.via]
    case 'history_expired':
      return ['history_expired', effect.first, effect.last]
    case 'history_restarted':
      return ['history_restarted', effect.known, effect.last]
    case 'stalled':
      return ['stalled', effect.seconds]
    case 'end':
      return ['end', effect.event.sequence]
  }
}

function facts(m: Recovery): unknown[] {
  return [
    m.phase,
    m.lastSequence,
    m.reconnects,
    m.duplicatesDropped,
    m.overflowed,
    m.deliveredLive,
    m.deliveredBackfill,
    m.silentSubscriptions,
    m.stalled,
    m.missedLive,
  ]
}

function run(history: History, line: number): number {
  const draws = history.draws[Symbol.iterator]()
  const random = (): number => {
    const next = draws.next()
    if (next.done) throw new Error(`history ${line}: a number was drawn that the model did not draw`)
    return next.value
  }
  const machine = new Recovery({ since: history.since, endOnError: history.endOnError, limits: history.limits, random })
  history.steps.forEach((step, number) => {
    const got = JSON.stringify([answer(machine, step).map(told), machine.nextWake(), facts(machine)])
    const want = JSON.stringify([step.effects, step.wake, step.facts])
    if (got !== want) {
      throw new Error(`history ${line}, step ${number} (${step.input} at ${step.now}):\n  model   ${want}\n  machine ${got}`)
    }
  })
  if (!draws.next().done) throw new Error(`history ${line}: the model drew numbers that the machine did not`)
  return history.steps.length
}

let histories = 0
let steps = 0
for await (const line of createInterface({ input: createReadStream(process.argv[2] ?? '') })) {
  histories += 1
  steps += run(JSON.parse(line) as History, histories)
}
if (histories === 0) throw new Error('the file holds no history')
console.log(JSON.stringify({ histories, steps }))
