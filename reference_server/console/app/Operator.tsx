import { useCallback, useEffect, useState } from 'react'

import { isRecord } from '../src/stream/events.ts'
import { accessToken } from '../src/supabase-client.ts'
import { Problem, useAction } from './shared.tsx'
import type { Words } from './words.ts'

interface Told {
  readonly tasks: Readonly<Record<string, unknown>>
  readonly ready: Readonly<Record<string, unknown>>
  readonly figures: readonly (readonly [name: string, value: string])[]
}

const EVERY_MS = 5000
const DEADLINE_MS = 15_000
// Of the server's metrics, those that say how it is; the page /metrics has all of them.
const SHOWN = /^(?!#)(\w*(?:latency|delivery|connections|channels|lag|slot|rescue|dead|retr|processes|events|transport)\w*(?:\{[^}]*\})?) (\S+)$/

async function ask(path: string): Promise<Response> {
  const token = await accessToken()
  return fetch(path, { headers: { Authorization: `Bearer ${token ?? ''}` }, signal: AbortSignal.timeout(DEADLINE_MS) })
}

async function load(): Promise<Told> {
  const [tasks, ready, metrics] = await Promise.all([
    ask('/api/internal/background-tasks/status'),
    ask('/health/ready'),
    ask('/metrics'),
  ])
  const told = (await tasks.json()) as Record<string, unknown>
  if (!tasks.ok) throw new Error(isRecord(told.error) ? String(told.error.message) : `refused with ${tasks.status}`)
  const lines = metrics.ok ? (await metrics.text()).split('\n') : []
  return {
    tasks: told,
    ready: (await ready.json()) as Record<string, unknown>,
    figures: lines.flatMap((line) => {
      const [, name, value] = SHOWN.exec(line) ?? []
      return name === undefined || value === undefined || /_bucket|_created/.test(name) ? [] : [[name, value] as const]
    }),
  }
}

/** The queue, its workers, and how the server is; asked again every few seconds while it is shown. */
export function Operator({ words }: { words: Words }) {
  const [told, setTold] = useState<Told | null>(null)
  const { problem, run } = useAction()
  const ask = useCallback(() => void run(async () => setTold(await load())), [run])
  useEffect(() => {
    ask()
    const timer = setInterval(ask, EVERY_MS)
    return () => clearInterval(timer)
  }, [ask])

  const workers = Array.isArray(told?.tasks.workers) ? told.tasks.workers.filter(isRecord) : []
  const types = isRecord(told?.tasks.by_type) ? told.tasks.by_type : {}
  const checks = isRecord(told?.ready.checks) ? told.ready.checks : {}
  return (
    <>
      <Problem text={problem} />
      {told !== null && (
        <>
          <section aria-labelledby="readiness">
            <h2 id="readiness">{words.readiness}</h2>
            <dl>
              <dt>{words.status}</dt>
              <dd data-testid="ready">{String(told.ready.status)}</dd>
              <dt>{words.transport}</dt>
              <dd>{String(told.ready.transport)}</dd>
              {Object.entries(checks).map(([name, check]) => (
                <Pair key={name} name={name} value={check} />
              ))}
            </dl>
          </section>
          <section aria-labelledby="queue">
            <h2 id="queue">{words.queue}</h2>
            <dl data-testid="queue">
              {Object.entries(isRecord(told.tasks.queue) ? told.tasks.queue : {}).map(([name, value]) => (
                <Pair key={name} name={name} value={value} />
              ))}
              <dt>{words.oldestPending}</dt>
              <dd>{String(told.tasks.oldest_pending_seconds ?? 0)}</dd>
              <dt>{words.expiredLeases}</dt>
              <dd>{String(told.tasks.expired_leases)}</dd>
            </dl>
            <h3>{words.byType}</h3>
            <dl>
              {Object.entries(types).map(([name, value]) => (
                <Pair key={name} name={name} value={value} />
              ))}
            </dl>
          </section>
          <section aria-labelledby="workers">
            <h2 id="workers">{words.workers}</h2>
            <p className="help">{words.operatorHelp}</p>
            <div className="scroll" role="region" aria-labelledby="workers" tabIndex={0}>
              <table>
                <thead>
                  <tr>
                    <th scope="col">{words.worker}</th>
                    <th scope="col">{words.running}</th>
                    <th scope="col">{words.connected}</th>
                    <th scope="col">{words.listening}</th>
                    <th scope="col">{words.lastHeartbeat}</th>
                  </tr>
                </thead>
                <tbody>
                  {workers.map((one, number) => (
                    <tr key={number}>
                      <td>{String(one.worker_id ?? number + 1)}</td>
                      <td>{String(one.running)}</td>
                      <td>{one.connected === true ? words.yes : words.no}</td>
                      <td>{one.listening === true ? words.yes : words.no}</td>
                      <td>{one.last_heartbeat === null ? '–' : new Date(String(one.last_heartbeat)).toLocaleTimeString()}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </section>
          <section aria-labelledby="figures">
            <h2 id="figures">{words.figures}</h2>
            <div className="scroll" role="region" aria-labelledby="figures" tabIndex={0}>
              <table>
                <thead>
                  <tr>
                    <th scope="col">{words.figure}</th>
                    <th scope="col">{words.value}</th>
                  </tr>
                </thead>
                <tbody>
                  {told.figures.map(([name, value]) => (
                    <tr key={name}>
                      <td>{name}</td>
                      <td>{rounded(Number(value))}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </section>
        </>
      )}
    </>
  )
}

function Pair({ name, value }: { name: string; value: unknown }) {
  const text = isRecord(value)
    ? Object.entries(value)
        .map(([key, one]) => `${key}: ${rounded(one)}`)
        .join(' · ')
    : rounded(value)
  return (
    <>
      <dt>{name}</dt>
      <dd>{text}</dd>
    </>
  )
}

function rounded(value: unknown): string {
  return typeof value === 'number' ? String(Number(value.toPrecision(4))) : String(value)
}
