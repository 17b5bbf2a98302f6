/**
 * The lossless stream as a pure state machine: inputs are events and the time, outputs are effects to carry out.
 *
 * It is the machine of `toolkit/client/recovery.py`, decision for decision; both are held to the same test vectors.
 * Realtime has no replay: what commits while nobody listens, or before a subscription is live, is never sent. So the log
 * is read over HTTP from the last delivered sequence on, whenever something may have been missed. A read that begins
 * after the subscription is live sees everything that committed before, and the subscription brings everything after.
 */

import type { Effect } from './effects.ts'
import type { EventPage, ProcessEvent, Via } from './events.ts'

/** Times in seconds. Waits before a new attempt are drawn from [0, min(cap, base · 2^attempts)]. */
export interface RecoveryLimits {
  /** Nothing received for so long: read the log. */
  readonly silence: number
  /** Joined, but not told for so long that the subscription is live. */
  readonly liveGrace: number
  readonly connectDeadline: number
  /** A connection that lasted so long resets the waits. */
  readonly stable: number
  readonly connectBase: number
  readonly connectCap: number
  readonly fetchBase: number
  readonly fetchCap: number
  /** Neither a change nor a page for so long: `stalled` is told. */
  readonly stalled: number
  /** How many events are kept while something before them is missing. */
  readonly maxBuffer: number
}

export const DEFAULT_LIMITS: RecoveryLimits = {
  silence: 10,
  liveGrace: 0.25,
  connectDeadline: 20,
  stable: 5,
  connectBase: 0.5,
  connectCap: 10,
  fetchBase: 0.25,
  fetchCap: 5,
  stalled: 60,
  maxBuffer: 1000,
}

/** The state of the subscription. */
export type Phase = 'waiting' | 'connecting' | 'joined' | 'live' | 'ended'

export interface RecoveryOptions {
  /** Deliver what comes after this sequence. */
  readonly since?: number
  /** Also end after `generation_error`, which otherwise can be resumed. */
  readonly endOnError?: boolean
  readonly limits?: Partial<RecoveryLimits>
  /** A number from 0 to 1, as `Math.random` gives it. */
  readonly random?: () => number
}

interface Asked {
  readonly ticket: number
  readonly since: number
  readonly looking: boolean
  readonly epoch: number
  readonly live: boolean
}

type Hole = readonly [first: number, last: number]

const ENDS = ['generation_completed', 'generation_cancelled']

/** One process' stream. Every input takes `now` (seconds, monotonic) and returns what to do, in order. */
export class Recovery {
  readonly limits: RecoveryLimits
  lastSequence: number
  phase: Phase = 'waiting'
  reconnects = 0
  duplicatesDropped = 0
  overflowed = 0
  deliveredLive = 0
  deliveredBackfill = 0
  silentSubscriptions = 0
  stalled = false

  readonly #ends: ReadonlySet<string>
  readonly #random: () => number
  #buffer = new Map<number, ProcessEvent>()
  #highestSeen: number
  #baseline: number | null = null
  #unseen = new Set<number>()
  #epoch = 0
  #connectAttempts = 0
  #connectAt: number | null = null
  #phaseSince = 0
  #ticket = 0
  #asked: Asked | null = null
  #wantFetch = false
  #fetchAttempts = 0
  #fetchAt = 0
  #suspected: readonly Hole[] = []
  #silentLooks = 0
  #heardAt = 0
  #held = false

  constructor({ since = 0, endOnError = false, limits, random = Math.random }: RecoveryOptions = {}) {
    this.limits = { ...DEFAULT_LIMITS, ...limits }
    this.lastSequence = since
    this.#highestSeen = since
    this.#ends = new Set(endOnError ? [...ENDS, 'generation_error'] : ENDS)
    this.#random = random
  }

  /** How many events were written after the first catch-up and came by reading, not (yet) by the subscription. */
  get missedLive(): number {
    return this.#unseen.size
  }

  /** Whether the stream has ended; inputs then have no effect. */
  get ended(): boolean {
    return this.phase === 'ended'
  }

  // -- inputs --------------------------------------------------------------------------------

  /** Begin: connect, and read meanwhile what is there, since nobody should wait for a join to see it. */
  start(now: number): Effect[] {
    this.#heardAt = now
    return [...this.#connect(now), ...this.#catchUp(now)]
  }

  /** The join was answered ok; the subscription may or may not be live yet. */
  joined(epoch: number, now: number): Effect[] {
    if (epoch === this.#epoch && this.phase === 'connecting') this.#enter('joined', now)
    return []
  }

  /** The server says that changes flow: at first, and again when it renewed the subscription. */
  live(epoch: number, now: number): Effect[] {
    if (epoch !== this.#epoch || (this.phase !== 'joined' && this.phase !== 'live')) return []
    if (this.phase === 'joined') this.#enter('live', now)
    return this.#catchUp(now)
  }

  /** An event came over the subscription. */
  change(event: ProcessEvent, now: number): Effect[] {
    if (this.ended) return []
    this.#silentLooks = 0
    this.#unseen.delete(event.sequence)
    this.#highestSeen = Math.max(this.#highestSeen, event.sequence)
    if (event.sequence <= this.lastSequence || this.#buffer.has(event.sequence)) {
      // Not new, but no sign that all is well either: a log that began anew brings such changes only.
      this.duplicatesDropped += 1
      return []
    }
    this.#hear(now)
    const full = this.#buffer.size >= this.limits.maxBuffer && event.sequence !== this.lastSequence + 1
    if (this.#held || full) {
      this.overflowed += 1 // the next read brings it
    } else {
      this.#buffer.set(event.sequence, { ...event, via: 'live' })
    }
    const effects = this.#drain()
    if (!this.ended && this.lastSequence < this.#highestSeen) effects.push(...this.#catchUp(now))
    return effects
  }

  /** A page was read. */
  page(ticket: number, page: EventPage, now: number): Effect[] {
    const asked = this.#asked
    if (this.ended || asked === null || asked.ticket !== ticket) return []
    this.#asked = null
    this.#hear(now)
    // Compared with what was asked for, since the subscription may meanwhile have brought more than this page holds.
    if (page.lastSequence !== null && page.lastSequence < asked.since) {
      return this.#beginAnew(page.lastSequence, now)
    }
    const before = this.lastSequence
    for (const event of page.events) {
      if (event.sequence > this.lastSequence && !this.#buffer.has(event.sequence)) {
        this.#buffer.set(event.sequence, { ...event, via: 'backfill' })
      }
    }
    const effects = this.#drain()
    effects.push(...this.#skipExpired(page))
    if (this.ended) return effects
    const progress = this.lastSequence > before
    this.#fetchAttempts = progress ? 0 : this.#fetchAttempts + 1
    if (!this.#complete(page)) {
      this.#wantFetch = true
      // After progress, read again at once; without progress, wait a moment first.
      this.#fetchAt = progress ? now : now + this.#fetchWait()
    } else {
      this.#fetchAttempts = 0
      this.#fetchAt = now
      if (this.#baseline === null && asked.live) this.#baseline = this.lastSequence
    }
    if (asked.looking && asked.live && asked.epoch === this.#epoch && progress) {
      effects.push(...this.#doubtSubscription(now))
    }
    effects.push(...this.#askIfDue(now))
    return effects
  }

  /** A page could not be read; it will be asked for again. */
  fetchFailed(ticket: number, now: number): Effect[] {
    if (this.ended || this.#asked === null || this.#asked.ticket !== ticket) return []
    this.#asked = null
    this.#fetchAttempts += 1
    this.#wantFetch = true
    this.#fetchAt = now + this.#fetchWait()
    return []
  }

  /** The connection of `epoch` failed, was refused, or ended. */
  lost(epoch: number, reason: string, now: number): Effect[] {
    if (this.ended || epoch !== this.#epoch || this.phase === 'waiting') return []
    if (this.phase === 'live' && now - this.#phaseSince >= this.limits.stable) this.#connectAttempts = 0
    this.reconnects += 1
    this.#enter('waiting', now)
    this.#connectAt = now + this.#jitter(this.limits.connectBase, this.limits.connectCap, this.#connectAttempts)
    this.#connectAttempts += 1
    return [{ kind: 'disconnect', epoch, reason }]
  }

  /** The caller has a reason to believe that there are more events (a page shown again, say): read the log. */
  look(now: number): Effect[] {
    return this.ended ? [] : this.#catchUp(now)
  }

  /** The network is there again, as the caller knows: connect at once instead of after the wait, and read the log. */
  backOnline(now: number): Effect[] {
    if (this.ended) return []
    const effects = this.phase === 'waiting' && this.#connectAt !== null ? this.#connect(now) : []
    effects.push(...this.#catchUp(now))
    return effects
  }

  /** The application does not keep up: read and accept nothing until `release`. */
  hold(): void {
    this.#held = true
  }

  /** The application has room again. */
  release(now: number): Effect[] {
    this.#held = false
    this.#hear(now)
    return this.look(now)
  }

  /** Time has passed; call this at `nextWake`, or at any other time. */
  tick(now: number): Effect[] {
    if (this.ended) return []
    const effects: Effect[] = []
    if (this.phase === 'waiting' && this.#connectAt !== null && now >= this.#connectAt) {
      effects.push(...this.#connect(now))
    } else if (this.phase === 'connecting' && now >= this.#phaseSince + this.limits.connectDeadline) {
      effects.push(...this.lost(this.#epoch, 'the join was not answered in time', now))
    } else if (this.phase === 'joined' && now >= this.#phaseSince + this.limits.liveGrace) {
      // Other servers may never send it; if it comes later, another read follows.
      this.#enter('live', now)
      effects.push(...this.#catchUp(now))
    }
    if (this.#held) return effects
    if (now >= this.#heardAt + this.limits.stalled && !this.stalled) {
      this.stalled = true
      effects.push({ kind: 'stalled', seconds: now - this.#heardAt })
    }
    if (now >= this.#heardAt + this.limits.silence && this.#asked === null && !this.#wantFetch) {
      this.#wantFetch = true
      this.#fetchAt = now
      effects.push(...this.#askIfDue(now, true))
    }
    effects.push(...this.#askIfDue(now))
    return effects
  }

  /** The time at which `tick` has something to do if no input comes before; null: never. */
  nextWake(): number | null {
    if (this.ended) return null
    const times: number[] = []
    if (this.phase === 'waiting' && this.#connectAt !== null) times.push(this.#connectAt)
    if (this.phase === 'connecting') times.push(this.#phaseSince + this.limits.connectDeadline)
    if (this.phase === 'joined') times.push(this.#phaseSince + this.limits.liveGrace)
    if (!this.#held) {
      if (!this.stalled) times.push(this.#heardAt + this.limits.stalled)
      if (this.#asked === null) times.push(this.#wantFetch ? this.#fetchAt : this.#heardAt + this.limits.silence)
    }
    return times.length > 0 ? Math.min(...times) : null
  }

  // -- connection ----------------------------------------------------------------------------

  #connect(now: number): Effect[] {
    this.#epoch += 1
    this.#connectAt = null
    this.#silentLooks = 0
    this.#enter('connecting', now)
    return [{ kind: 'connect', epoch: this.#epoch }]
  }

  #enter(phase: Phase, now: number): void {
    this.phase = phase
    this.#phaseSince = now
  }

  /** A read found what a live subscription should have brought: once may be slowness; twice means that it is dead. */
  #doubtSubscription(now: number): Effect[] {
    this.#silentLooks += 1
    if (this.#silentLooks < 2) return []
    this.silentSubscriptions += 1
    return this.lost(this.#epoch, 'the subscription brings nothing although events are written', now)
  }

  // -- reading -------------------------------------------------------------------------------

  #catchUp(now: number): Effect[] {
    this.#wantFetch = true
    return this.#askIfDue(now)
  }

  #askIfDue(now: number, looking = false): Effect[] {
    if (this.ended || this.#held || !this.#wantFetch || this.#asked !== null || now < this.#fetchAt) return []
    this.#wantFetch = false
    this.#ticket += 1
    this.#asked = {
      ticket: this.#ticket,
      since: this.lastSequence,
      looking,
      epoch: this.#epoch,
      live: this.phase === 'live',
    }
    return [{ kind: 'fetch', ticket: this.#ticket, since: this.lastSequence }]
  }

  #complete(page: EventPage): boolean {
    if (this.lastSequence < this.#highestSeen) return false
    if (page.lastSequence === null) return page.events.length === 0
    return this.lastSequence >= page.lastSequence
  }

  #beginAnew(last: number, now: number): Effect[] {
    const known = this.lastSequence
    this.lastSequence = 0
    this.#buffer.clear()
    this.#unseen.clear()
    this.#highestSeen = last
    this.#baseline = null
    this.#suspected = []
    this.#fetchAttempts = 0
    this.#fetchAt = now
    return [{ kind: 'history_restarted', known, last }, ...this.#catchUp(now)]
  }

  /**
   * Events that are missing between stored ones, or below the oldest, were cleaned up: tell so once it is certain.
   * A page is one snapshot, and nothing can commit below its events; even so, a second page must agree.
   */
  #skipExpired(page: EventPage): Effect[] {
    const effects: Effect[] = []
    const covered =
      page.events.length > 0 ? Math.max(...page.events.map((event) => event.sequence)) : (page.lastSequence ?? 0)
    const belowOldest = page.oldestSequence ?? 0
    let holes = this.#holes(covered)
    for (let hole = holes[0]; hole !== undefined && !this.ended; hole = holes[0]) {
      const [first, last] = hole
      if (!this.#suspected.some((one) => one[0] === first && one[1] === last) && last >= belowOldest) break
      effects.push({ kind: 'history_expired', first, last })
      this.lastSequence = last
      effects.push(...this.#drain())
      holes = holes.slice(1)
    }
    this.#suspected = holes
    return effects
  }

  #holes(covered: number): Hole[] {
    const holes: Hole[] = []
    let expected = this.lastSequence + 1
    const kept = [...this.#buffer.keys()].filter((sequence) => sequence <= covered).sort((a, b) => a - b)
    for (const sequence of [...kept, covered + 1]) {
      if (sequence > expected) holes.push([expected, sequence - 1])
      expected = Math.max(expected, sequence + 1)
    }
    return holes
  }

  // -- delivery ------------------------------------------------------------------------------

  #drain(): Effect[] {
    const effects: Effect[] = []
    for (;;) {
      const event = this.ended ? undefined : this.#buffer.get(this.lastSequence + 1)
      if (event === undefined) return effects
      this.#buffer.delete(event.sequence)
      this.lastSequence = event.sequence
      this.#count(event.sequence, event.via)
      effects.push({ kind: 'deliver', event })
      if (this.#ends.has(event.type)) {
        effects.push({ kind: 'disconnect', epoch: this.#epoch, reason: 'the process is over' }, { kind: 'end', event })
        this.phase = 'ended'
      }
    }
  }

  #count(sequence: number, via: Via): void {
    if (via === 'live') {
      this.deliveredLive += 1
      return
    }
    this.deliveredBackfill += 1
    if (this.#baseline !== null && sequence > this.#baseline) this.#unseen.add(sequence)
  }

  #hear(now: number): void {
    this.#heardAt = now
    this.stalled = false
  }

  #fetchWait(): number {
    return this.#jitter(this.limits.fetchBase, this.limits.fetchCap, this.#fetchAttempts)
  }

  #jitter(base: number, cap: number, attempts: number): number {
    return Math.min(cap, base * 2 ** Math.min(attempts, 20)) * this.#random()
  }
}
