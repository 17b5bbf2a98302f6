/** Events and pages of the event log, as a client reads them. */

export type Via = 'live' | 'backfill'

/** One row of `process_events`. `via`: how it was received. */
export interface ProcessEvent {
  readonly sequence: number
  readonly id: string
  readonly type: string
  readonly data: Readonly<Record<string, unknown>>
  readonly createdAt: string
  readonly processId: string
  readonly category: string
  readonly source: string
  readonly via: Via
}

/**
 * Consecutive events after the sequence that was asked for, ascending.
 *
 * `lastSequence`: the highest ever given to an event of the process; `oldestSequence`: the lowest still stored
 * (0: none). `null` where the server does not tell.
 */
export interface EventPage {
  readonly events: readonly ProcessEvent[]
  readonly lastSequence: number | null
  readonly oldestSequence: number | null
}

const REQUIRED = ['id', 'event_type', 'event_sequence'] as const

/** A row of `process_events`, from HTTP or from a change message. Throws an Error naming what it lacks. */
export function eventFromRow(row: Readonly<Record<string, unknown>>, via: Via): ProcessEvent {
  const missing = REQUIRED.filter((name) => row[name] === undefined || row[name] === null)
  if (missing.length > 0) {
    const has = Object.keys(row).sort().join(', ') || 'nothing'
    throw new Error(`an event lacks ${missing.join(', ')}; it has ${has}`)
  }
  const sequence = Number(row.event_sequence)
  if (!Number.isSafeInteger(sequence)) throw new Error(`an event's sequence is no whole number: ${row.event_sequence}`)
  return {
    sequence,
    id: String(row.id),
    type: String(row.event_type),
    data: isRecord(row.event_data) ? row.event_data : {},
    createdAt: text(row.created_at),
    processId: text(row.process_id),
    category: text(row.event_category),
    source: text(row.event_source),
    via,
  }
}

/** Whether a value is a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function text(value: unknown): string {
  return value === undefined || value === null ? '' : String(value)
}
