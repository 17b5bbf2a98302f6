/** The migration guide's hook for the events of one process, without its losses: a thin shell of `ProcessEventStream`. */

import { useCallback, useEffect, useMemo, useRef, useState } from 'react'

import { GenerationClient } from '../api/generation-client.ts'
import { accessToken, supabaseClient } from '../supabase-client.ts'
import type { ProcessEvent } from '../stream/events.ts'
import { ProcessEventStream } from '../stream/process-event-stream.ts'
import type { Phase } from '../stream/recovery.ts'

/** An event with the names of its row, as the guide's handlers read it; `via` says how it came. */
export interface RealtimeEvent {
  readonly id: string
  readonly process_id: string
  readonly event_type: string
  readonly event_data: Readonly<Record<string, unknown>>
  readonly event_sequence: number
  readonly created_at: string
  readonly event_category: string
  readonly event_source: string
  readonly via: 'live' | 'backfill'
}

export interface UseSupabaseRealtimeOptions {
  /** Nothing is subscribed without one. */
  readonly processId?: string | null | undefined
  /** Nothing is subscribed before the user is known; another user begins anew. */
  readonly userId?: string | null | undefined
  /** Called for every event of the process, once and in order, from the first. */
  readonly onEvent?: (event: RealtimeEvent) => void
  readonly onError?: (error: Error) => void
  readonly onStatusChange?: (status: Phase) => void
  readonly onConnectionStateChange?: (isConnected: boolean) => void
  /** Connect by itself; otherwise `connect` does. */
  readonly autoConnect?: boolean
  /** The base URL of the API; empty for the page's own origin. */
  readonly apiUrl?: string
}

export interface UseSupabaseRealtime {
  readonly isConnected: boolean
  readonly isConnecting: boolean
  readonly status: Phase
  readonly error: Error | null
  readonly lastEventSequence: number
  readonly reconnectAttempts: number
  readonly connect: () => void
  readonly disconnect: () => void
  /** Read the log now. */
  readonly fetchMissedEvents: () => void
}

export function useSupabaseRealtime(options: UseSupabaseRealtimeOptions): UseSupabaseRealtime {
  const { processId, userId, autoConnect = true, apiUrl = '' } = options
  const [wanted, setWanted] = useState(autoConnect)
  const [status, setStatus] = useState<Phase>('waiting')
  const [error, setError] = useState<Error | null>(null)
  const [seen, setSeen] = useState({ sequence: 0, reconnects: 0 })
  const stream = useRef<ProcessEventStream | null>(null)
  // What was given to the application is not given again after `disconnect` and `connect`.
  const cursor = useRef({ of: '', sequence: 0 })
  // Handlers may be new at every render; the stream calls the newest and stays.
  const latest = useRef(options)
  useEffect(() => {
    latest.current = options
  })

  useEffect(() => {
    if (!processId || !userId || !wanted) return
    const of = JSON.stringify([apiUrl, userId, processId])
    if (cursor.current.of !== of) cursor.current = { of, sequence: 0 }
    const api = new GenerationClient({ apiUrl, token: accessToken })
    const current = new ProcessEventStream({
      client: supabaseClient(),
      processId,
      since: cursor.current.sequence,
      fetchPage: (id, since, signal) => api.events(id, since, 200, signal),
      onEvent: (event) => {
        cursor.current.sequence = event.sequence
        setSeen({ sequence: event.sequence, reconnects: current.reconnects })
        latest.current.onEvent?.(rowOf(event, processId))
      },
      onPhase: (phase) => {
        setStatus(phase)
        if (phase === 'live') setError(null)
        latest.current.onStatusChange?.(phase)
        latest.current.onConnectionStateChange?.(phase === 'live')
      },
      onError: (failure) => {
        setError(failure)
        setSeen({ sequence: current.lastSequence, reconnects: current.reconnects })
        latest.current.onError?.(failure)
      },
      onHistoryExpired: ({ first, last }) => {
        latest.current.onError?.(new Error(`The events ${first} to ${last} are no longer stored.`))
      },
      onHistoryRestarted: ({ known, last }) => {
        latest.current.onError?.(new Error(`The log of this process began anew: ${known} events were known, now ${last}.`))
      },
    })
    stream.current = current
    setError(null)
    setSeen({ sequence: cursor.current.sequence, reconnects: 0 })
    current.start()
    return () => {
      current.close()
      stream.current = null
      setStatus('waiting')
    }
  }, [processId, userId, wanted, apiUrl])

  const connect = useCallback(() => setWanted(true), [])
  const disconnect = useCallback(() => setWanted(false), [])
  const fetchMissedEvents = useCallback(() => stream.current?.look(), [])
  return useMemo(
    () => ({
      isConnected: status === 'live',
      isConnecting: status === 'connecting' || status === 'joined',
      status,
      error,
      lastEventSequence: seen.sequence,
      reconnectAttempts: seen.reconnects,
      connect,
      disconnect,
      fetchMissedEvents,
    }),
    [status, error, seen, connect, disconnect, fetchMissedEvents],
  )
}

function rowOf(event: ProcessEvent, processId: string): RealtimeEvent {
  return {
    id: event.id,
    process_id: event.processId || processId,
    event_type: event.type,
    event_data: event.data,
    event_sequence: event.sequence,
    created_at: event.createdAt,
    event_category: event.category,
    event_source: event.source,
    via: event.via,
  }
}

/** The event behind a row, for folds that read `ProcessEvent`. */
export function eventOf(row: RealtimeEvent): ProcessEvent {
  return {
    sequence: row.event_sequence,
    id: row.id,
    type: row.event_type,
    data: row.event_data,
    createdAt: row.created_at,
    processId: row.process_id,
    category: row.event_category,
    source: row.event_source,
    via: row.via,
  }
}
