/**
 * The lossless stream in a browser: every event of one process, once and in order, whatever happens to the connection.
 *
 * A thin shell around the recovery machine (`recovery.ts`). It provides the clock, one channel of a Supabase client at a
 * time, and one HTTP read at a time. It knows no framework; where there is no window (a server, a test) it works without
 * the page's signals.
 */

import type { RealtimeChannel, SupabaseClient } from '@supabase/supabase-js'

import type { Effect, HistoryExpired, HistoryRestarted } from './effects.ts'
import { type EventPage, eventFromRow, type ProcessEvent } from './events.ts'
import { type Phase, Recovery, type RecoveryLimits } from './recovery.ts'

/** Reads one page of a process' events after `since`, such as `GenerationClient.events`. */
export type FetchPage = (processId: string, since: number, signal: AbortSignal) => Promise<EventPage>

export interface ProcessEventStreamOptions {
  readonly client: Pick<SupabaseClient, 'channel' | 'removeChannel' | 'realtime'>
  readonly processId: string
  readonly fetchPage: FetchPage
  readonly onEvent: (event: ProcessEvent) => void
  /** The state of the subscription has changed. */
  readonly onPhase?: (phase: Phase) => void
  /** The stream goes on by itself after an error, unless `fatal`: then the server refuses the reading. */
  readonly onError?: (error: Error, fatal: boolean) => void
  readonly onHistoryExpired?: (gap: HistoryExpired) => void
  readonly onHistoryRestarted?: (restart: HistoryRestarted) => void
  readonly onStalled?: (seconds: number) => void
  /** The process is over and every event was given to `onEvent`. */
  readonly onEnd?: () => void
  /** Give what comes after this sequence. */
  readonly since?: number
  readonly endOnError?: boolean
  readonly limits?: Partial<RecoveryLimits>
}

const SUBSCRIBED_TEXT = 'Subscribed to PostgreSQL'
const FETCH_DEADLINE_MS = 30_000
const REFUSALS_UNTIL_FATAL = 3
// Longer waits overflow the browser's timer.
const LONGEST_TIMER_S = 3600

export class ProcessEventStream {
  readonly processId: string
  readonly #options: ProcessEventStreamOptions
  readonly #machine: Recovery
  readonly #closing = new AbortController()
  #channel: RealtimeChannel | null = null
  #epoch = 0
  #timer: ReturnType<typeof setTimeout> | null = null
  #toldPhase: Phase = 'waiting'
  #refusals = 0
  #started = false

  constructor(options: ProcessEventStreamOptions) {
    this.#options = options
    this.processId = options.processId
    this.#machine = new Recovery({
      since: options.since ?? 0,
      endOnError: options.endOnError ?? false,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    })
  }

  // -- facts ---------------------------------------------------------------------------------

  /** Whether the subscription is live. */
  get connected(): boolean {
    return this.#machine.phase === 'live'
  }

  get phase(): Phase {
    return this.#machine.phase
  }

  /** The sequence of the last event that was given to the application. */
  get lastSequence(): number {
    return this.#machine.lastSequence
  }

  /** How many connections ended or failed. */
  get reconnects(): number {
    return this.#machine.reconnects
  }

  /** How many events came over the subscription, and how many by reading. */
  get delivered(): { readonly live: number; readonly backfill: number } {
    return { live: this.#machine.deliveredLive, backfill: this.#machine.deliveredBackfill }
  }

  get closed(): boolean {
    return this.#closing.signal.aborted
  }

  // -- life cycle ----------------------------------------------------------------------------

  /** Begin to connect and to read; does nothing when it has begun or was closed. */
  start(): void {
    if (this.#started || this.closed) return
    this.#started = true
    const { signal } = this.#closing
    if (typeof window !== 'undefined') {
      window.addEventListener('online', () => this.#input((now) => this.#machine.backOnline(now)), { signal })
    }
    if (typeof document !== 'undefined') {
      // Timers sleep in a hidden tab, and its socket may be gone without a word.
      const shown = (): void => {
        if (document.visibilityState === 'visible') this.look()
      }
      document.addEventListener('visibilitychange', shown, { signal })
    }
    this.#input((now) => this.#machine.start(now))
  }

  /** Read the log now: there is a reason to believe that it holds more. */
  look(): void {
    if (this.#started) this.#input((now) => [...this.#machine.tick(now), ...this.#machine.look(now)])
  }

  /** Stop everything. Nothing is called afterwards. */
  close(): void {
    if (this.closed) return
    this.#closing.abort()
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#dropChannel()
  }

  // -- the machine ---------------------------------------------------------------------------

  #input(step: (now: number) => Effect[]): void {
    if (this.closed) return
    for (const effect of step(performance.now() / 1000)) this.#perform(effect)
    this.#tellPhase()
    this.#wake()
  }

  #wake(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const at = this.#machine.nextWake()
    if (at === null || this.closed) return
    const wait = Math.min(Math.max(0, at - performance.now() / 1000), LONGEST_TIMER_S)
    this.#timer = setTimeout(() => this.#input((now) => this.#machine.tick(now)), Math.ceil(wait * 1000))
  }

  #perform(effect: Effect): void {
    if (this.closed) return
    switch (effect.kind) {
      case 'deliver':
        return this.#call(() => this.#options.onEvent(effect.event))
      case 'connect':
        void this.#connect(effect.epoch)
        return
      case 'disconnect':
        return this.#dropChannel()
      case 'fetch':
        void this.#read(effect.ticket, effect.since)
        return
      case 'history_expired':
        return this.#call(() => this.#options.onHistoryExpired?.(effect))
      case 'history_restarted':
        return this.#call(() => this.#options.onHistoryRestarted?.(effect))
      case 'stalled':
        return this.#call(() => this.#options.onStalled?.(effect.seconds))
      case 'end':
        return this.#call(() => this.#options.onEnd?.())
    }
  }

  #tellPhase(): void {
    const { phase } = this.#machine
    if (phase === this.#toldPhase || this.closed) return
    this.#toldPhase = phase
    this.#call(() => this.#options.onPhase?.(phase))
  }

  /** An application's own error is told to it, and does not stop the stream. */
  #call(hook: () => void): void {
    try {
      hook()
    } catch (error) {
      if (this.#options.onError === undefined) throw error
      this.#options.onError(asError(error), false)
    }
  }

  #fail(error: unknown, fatal: boolean): void {
    if (this.closed) return
    this.#call(() => this.#options.onError?.(asError(error), fatal))
    if (fatal) this.close()
  }

  // -- the subscription ----------------------------------------------------------------------

  async #connect(epoch: number): Promise<void> {
    this.#epoch = epoch
    try {
      // A channel that joins before the client has the user's token joins as anon, and row security leaves it nothing.
      await this.#options.client.realtime.setAuth()
    } catch (error) {
      this.#fail(error, false)
      this.#input((now) => this.#machine.lost(epoch, 'no access token', now))
      return
    }
    if (this.#epoch !== epoch || this.closed) return
    // A name of its own: the client has one channel for each name, and another stream may follow the same process.
    const selection = `process_id=eq.${this.processId}`
    const channel = this.#options.client.channel(`process_events:${selection}:${crypto.randomUUID()}`)
    this.#channel = channel
    const lost = (reason: string): void => {
      if (this.#channel !== channel) return // a channel that is dropped reports its end, too
      this.#fail(new Error(`The subscription ended: ${reason}.`), false)
      this.#input((now) => this.#machine.lost(epoch, reason, now))
    }
    channel
      .on(
        'postgres_changes',
        { event: 'INSERT', schema: 'public', table: 'process_events', filter: selection },
        ({ new: row }) => this.#row(row),
      )
      .on('system', {}, (told: Readonly<Record<string, unknown>>) => {
        if (told.extension !== 'postgres_changes' || this.#channel !== channel) return
        if (told.message === SUBSCRIBED_TEXT) this.#input((now) => this.#machine.live(epoch, now))
        else if (told.status === 'error') lost(String(told.message))
      })
      .subscribe((status, error) => {
        if (status === 'SUBSCRIBED') {
          if (this.#channel === channel) this.#input((now) => this.#machine.joined(epoch, now))
        } else {
          lost(error === undefined ? status : `${status}: ${error.message}`)
        }
      })
  }

  #dropChannel(): void {
    const channel = this.#channel
    this.#channel = null
    this.#epoch = 0
    // Its answer is of no interest, and a socket that is gone gives none.
    if (channel !== null) void Promise.resolve(this.#options.client.removeChannel(channel)).catch(() => undefined)
  }

  #row(row: Readonly<Record<string, unknown>>): void {
    let event: ProcessEvent
    try {
      event = eventFromRow(row, 'live')
    } catch (error) {
      this.#fail(error, false)
      this.look() // it can be read
      return
    }
    // A server that ignores the filter must not mix processes.
    if (event.processId === '' || event.processId === this.processId) {
      this.#input((now) => this.#machine.change(event, now))
    }
  }

  // -- reading -------------------------------------------------------------------------------

  async #read(ticket: number, since: number): Promise<void> {
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(FETCH_DEADLINE_MS)])
    let page: EventPage
    try {
      page = await this.#options.fetchPage(this.processId, since, signal)
    } catch (error) {
      if (this.closed) return
      this.#fail(error, this.#isFinal(error))
      this.#input((now) => this.#machine.fetchFailed(ticket, now))
      return
    }
    this.#refusals = 0
    this.#input((now) => this.#machine.page(ticket, page, now))
  }

  /** An expired token and a server's own error may pass; any other refusal is final. */
  #isFinal(error: unknown): boolean {
    const status = typeof error === 'object' && error !== null && 'status' in error ? Number(error.status) : 0
    if (!(status >= 400 && status < 500) || status === 408 || status === 429) return false
    this.#refusals += 1
    return status !== 401 || this.#refusals >= REFUSALS_UNTIL_FATAL
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
