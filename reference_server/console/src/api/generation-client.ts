/** One user's access to the generation API, with the verbs of the migration guide; `fetch` is all it needs. */

import type { ResponseType } from '../generation/contract.ts'
import { type EventPage, eventFromRow, isRecord } from '../stream/events.ts'

/** The body of a start request; the server's `/docs` describe every field. */
export interface StartRequest {
  readonly initial_keywords: readonly string[]
  readonly [field: string]: unknown
}

export interface StartResult {
  readonly process_id: string
  readonly realtime_channel: string
  readonly status: string
  readonly subscription_info: Readonly<Record<string, unknown>>
}

export interface ActionResult {
  readonly process_id: string
  readonly status: string
  readonly message?: string
}

/** The server refused, or no answer came (`status` 0). `remedy` says what to do. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  readonly remedy: string

  constructor(status: number, code: string, message: string, remedy: string) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.code = code
    this.remedy = remedy
  }
}

export interface GenerationClientOptions {
  /** The base URL of the API; empty for the page's own origin. */
  readonly apiUrl: string
  /** The signed-in user's access token, asked for before each request. */
  readonly token: () => Promise<string | null>
  readonly fetch?: typeof globalThis.fetch
  /** Seconds that one request may take. */
  readonly deadline?: number
}

const GENERATION = '/api/articles/generation'
const ATTEMPTS = 4
const PASSING = new Set([429, 502, 503, 504])

export class GenerationClient {
  readonly #base: string
  readonly #token: () => Promise<string | null>
  readonly #fetch: typeof globalThis.fetch
  readonly #deadline: number

  constructor({ apiUrl, token, fetch = globalThis.fetch.bind(globalThis), deadline = 30 }: GenerationClientOptions) {
    this.#base = apiUrl.replace(/\/+$/, '')
    this.#token = token
    this.#fetch = fetch
    this.#deadline = deadline
  }

  /** Start a process; sent again under the same key when no answer comes, so that it starts once. */
  async startArticleGeneration(body: StartRequest, organizationId?: string): Promise<StartResult> {
    const query = organizationId === undefined ? '' : `?organization_id=${encodeURIComponent(organizationId)}`
    return (await this.#once(`${GENERATION}/start${query}`, body)) as StartResult
  }

  /** Answer the open prompt. */
  async submitUserInput(
    processId: string,
    responseType: ResponseType,
    payload: Readonly<Record<string, unknown>> = {},
  ): Promise<ActionResult> {
    const body = { response_type: responseType, payload }
    return (await this.#once(`${path(processId)}/user-input`, body)) as ActionResult
  }

  async pause(processId: string): Promise<ActionResult> {
    return (await this.#call('POST', `${path(processId)}/pause`)) as ActionResult
  }

  async resume(processId: string): Promise<ActionResult> {
    return (await this.#call('POST', `${path(processId)}/resume`)) as ActionResult
  }

  async cancel(processId: string): Promise<ActionResult> {
    return (await this.#call('DELETE', path(processId))) as ActionResult
  }

  /** The process as its row stands now. */
  async getState(processId: string): Promise<Readonly<Record<string, unknown>>> {
    return record(await this.#call('GET', path(processId)))
  }

  /** One page of the user's processes, newest first. */
  async listProcesses(limit = 50): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const page = record(await this.#call('GET', `${GENERATION}?limit=${limit}`))
    return Array.isArray(page.processes) ? page.processes.filter(isRecord) : []
  }

  async getArticle(articleId: string): Promise<Readonly<Record<string, unknown>>> {
    return record(await this.#call('GET', `/api/articles/${encodeURIComponent(articleId)}`))
  }

  /** One page of events after `since`, ascending. */
  async events(processId: string, since: number, limit = 200, signal?: AbortSignal): Promise<EventPage> {
    const response = await this.#answer('GET', `${path(processId)}/events?since_sequence=${since}&limit=${limit}`, {
      signal,
    })
    const rows: unknown = await response.json()
    if (!Array.isArray(rows)) throw badAnswer('a list of events was expected')
    return {
      events: rows.filter(isRecord).map((row) => eventFromRow(row, 'backfill')),
      lastSequence: sequenceIn(response.headers, 'x-last-sequence'),
      oldestSequence: sequenceIn(response.headers, 'x-oldest-sequence'),
    }
  }

  /** A request that may be sent again when no answer comes: it takes effect once, under one key. */
  async #once(where: string, body: unknown): Promise<unknown> {
    return this.#call('POST', where, { body, headers: { 'Idempotency-Key': crypto.randomUUID() } })
  }

  async #call(method: string, where: string, sent: Sent = {}): Promise<unknown> {
    const response = await this.#answer(method, where, sent)
    return (await response.json()) as unknown
  }

  async #answer(method: string, where: string, sent: Sent): Promise<Response> {
    // A resume is the one request that must not be repeated blindly.
    const repeatable = !where.endsWith('/resume')
    for (let attempt = 1; ; attempt += 1) {
      const last = attempt >= ATTEMPTS || sent.signal?.aborted === true
      let response: Response
      try {
        response = await this.#send(method, where, sent)
      } catch (error) {
        if (last || !repeatable) throw notReached(method, where, error)
        await pause(attempt)
        continue
      }
      if (response.ok) return response
      if (last || !(PASSING.has(response.status) && (repeatable || response.status === 429))) throw await refusal(response)
      await pause(attempt, Number(response.headers.get('retry-after')))
    }
  }

  async #send(method: string, where: string, { body, headers, signal }: Sent): Promise<Response> {
    const token = await this.#token()
    const deadline = AbortSignal.timeout(this.#deadline * 1000)
    return this.#fetch(`${this.#base}${where}`, {
      method,
      signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
      headers: {
        ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  }
}

interface Sent {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

function path(processId: string): string {
  return `${GENERATION}/${encodeURIComponent(processId)}`
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw badAnswer('an object was expected')
  return value
}

function badAnswer(what: string): ApiError {
  return new ApiError(0, 'bad_response', `The server answered something else than agreed: ${what}.`, 'Check its address.')
}

function notReached(method: string, where: string, error: unknown): ApiError {
  const why = error instanceof Error ? error.message : String(error)
  return new ApiError(0, 'not_reached', `${method} ${where}: no answer (${why}).`, 'Check the connection; then try again.')
}

async function refusal(response: Response): Promise<ApiError> {
  const told: unknown = await response.json().catch(() => null)
  const error = isRecord(told) && isRecord(told.error) ? told.error : {}
  return new ApiError(
    response.status,
    String(error.code ?? 'http_error'),
    String(error.message ?? `The request was refused with ${response.status}.`),
    String(error.remedy ?? 'See the message.'),
  )
}

function sequenceIn(headers: Headers, name: string): number | null {
  const value = headers.get(name)
  return value === null ? null : Number(value)
}

async function pause(attempt: number, told = Number.NaN): Promise<void> {
  const drawn = Math.random() * Math.min(5, 0.25 * 2 ** attempt)
  const seconds = Number.isFinite(told) && told > 0 ? Math.min(told, 30) : drawn
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
}
