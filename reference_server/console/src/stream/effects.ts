/** What the recovery machine asks its shell to carry out. */

import type { ProcessEvent } from './events.ts'

/** Open a connection, join, and report with this `epoch`. */
export interface Connect {
  readonly kind: 'connect'
  readonly epoch: number
}

/** Drop the connection of `epoch`. */
export interface Disconnect {
  readonly kind: 'disconnect'
  readonly epoch: number
  readonly reason: string
}

/** Read one page of events after `since`, and report with this `ticket`. */
export interface Fetch {
  readonly kind: 'fetch'
  readonly ticket: number
  readonly since: number
}

/** Hand the event to the application. */
export interface Deliver {
  readonly kind: 'deliver'
  readonly event: ProcessEvent
}

/** Tell the application that the events `first` to `last` (inclusive) existed and are no longer stored. */
export interface HistoryExpired {
  readonly kind: 'history_expired'
  readonly first: number
  readonly last: number
}

/**
 * Tell the application that sequences begin anew: it knew events up to `known`, but the log now ends at `last`.
 * Delivery continues at the first event of the new log.
 */
export interface HistoryRestarted {
  readonly kind: 'history_restarted'
  readonly known: number
  readonly last: number
}

/** Tell the application that neither a change nor a page has arrived for `seconds`. */
export interface Stalled {
  readonly kind: 'stalled'
  readonly seconds: number
}

/** The process is over and everything was delivered. */
export interface End {
  readonly kind: 'end'
  readonly event: ProcessEvent
}

export type Effect = Connect | Disconnect | Fetch | Deliver | HistoryExpired | HistoryRestarted | Stalled | End
