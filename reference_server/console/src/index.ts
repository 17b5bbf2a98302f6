/** The core, without a framework: the lossless stream, the fold of its events, and the API. */

export * from './api/generation-client.ts'
export * from './generation/contract.ts'
export * from './generation/generation-state.ts'
export type * from './stream/effects.ts'
export * from './stream/events.ts'
export * from './stream/process-event-stream.ts'
export * from './stream/recovery.ts'
export * from './supabase-client.ts'
