import { useCallback, useEffect, useState } from 'react'

import { api, Problem, useAction } from './shared.tsx'
import type { Words } from './words.ts'

type Summary = Readonly<Record<string, unknown>>

/** The user's own processes, newest first. */
export function Processes({ words }: { words: Words }) {
  const [processes, setProcesses] = useState<readonly Summary[] | null>(null)
  const { busy, problem, run } = useAction()
  const load = useCallback(() => void run(async () => setProcesses(await api.listProcesses())), [run])
  useEffect(load, [load])
  return (
    <section aria-labelledby="processes">
      <h2 id="processes">{words.processes}</h2>
      <Problem text={problem} />
      <button type="button" className="quiet" disabled={busy} onClick={load}>
        {words.reload}
      </button>
      {processes?.length === 0 && <p>{words.none}</p>}
      {processes !== null && processes.length > 0 && (
        <div className="scroll" role="region" aria-labelledby="processes" tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th scope="col">{words.keywords}</th>
                <th scope="col">{words.status}</th>
                <th scope="col">{words.step}</th>
                <th scope="col">{words.created}</th>
              </tr>
            </thead>
            <tbody>
              {processes.map((one) => {
                const name = String(one.title ?? '') || (one.keywords as unknown[] | undefined)?.join(', ') || '–'
                return (
                  <tr key={String(one.process_id)}>
                    <td>
                      <a href={`#/process/${String(one.process_id)}`}>{name}</a>
                    </td>
                    <td>{String(one.status)}</td>
                    <td>{String(one.current_step)}</td>
                    <td>{new Date(String(one.created_at)).toLocaleString()}</td>
                  </tr>
                )
              })}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}
