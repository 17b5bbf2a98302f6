import { useCallback, useState } from 'react'

import { ApiError, GenerationClient } from '../src/api/generation-client.ts'
import { accessToken } from '../src/supabase-client.ts'

/** The API of the server that serves this page. */
export const api = new GenerationClient({ apiUrl: '', token: accessToken })

/** A message of trouble, announced when it appears. */
export function Problem({ text }: { text: string | null }) {
  return text === null ? null : (
    <p className="problem" role="alert">
      {text}
    </p>
  )
}

/** Runs what a button starts: one at a time, its trouble in words. */
export function useAction(): {
  busy: boolean
  problem: string | null
  run: (work: () => Promise<unknown>) => Promise<void>
} {
  const [busy, setBusy] = useState(false)
  const [problem, setProblem] = useState<string | null>(null)
  const run = useCallback(async (work: () => Promise<unknown>) => {
    setBusy(true)
    setProblem(null)
    try {
      await work()
    } catch (error) {
      setProblem(told(error))
    } finally {
      setBusy(false)
    }
  }, [])
  return { busy, problem, run }
}

export function told(error: unknown): string {
  if (error instanceof ApiError) return `${error.message} ${error.remedy}`
  return error instanceof Error ? error.message : String(error)
}

/** A value of JSON as text: texts as they are, objects by what names them. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const one = value as Record<string, unknown>
    for (const key of ['title', 'description', 'name', 'heading', 'topic']) {
      if (typeof one[key] === 'string') return one[key]
    }
  }
  return JSON.stringify(value)
}

export function time(text: string): string {
  const at = new Date(text)
  return Number.isNaN(at.getTime()) ? '' : at.toLocaleTimeString()
}
