import { useCallback, useState } from 'react'

import type { RealtimeEvent } from '../src/hooks/useSupabaseRealtime.ts'
import { useArticleGenerationRealtime } from '../src/hooks/useArticleGenerationRealtime.ts'
import { cutSockets } from './session.ts'
import { Prompt } from './Prompt.tsx'
import { Problem, time, useAction } from './shared.tsx'
import { Start } from './Start.tsx'
import type { Words } from './words.ts'

interface Props {
  words: Words
  userId: string
  processId: string | null
}

/** One generation: what it does, what it asks, what it has told, and the article. */
export function Generation({ words, userId, processId }: Props) {
  const [events, setEvents] = useState<readonly RealtimeEvent[]>([])
  const [problem, setProblem] = useState<string | null>(null)
  const onEvent = useCallback((event: RealtimeEvent) => setEvents((before) => [...before, event]), [])
  const generation = useArticleGenerationRealtime({
    processId,
    userId,
    onEvent,
    onError: (error) => setProblem(error.message),
    onConnectionStateChange: (isConnected) => {
      if (isConnected) setProblem(null)
    },
  })
  const { state } = generation
  const control = useAction()

  if (processId === null) {
    return (
      <Start
        words={words}
        onStart={async (request) => {
          const started = await generation.startArticleGeneration(request)
          window.location.hash = `#/process/${started.process_id}`
        }}
      />
    )
  }
  const over = state.status === 'completed' || state.status === 'cancelled'
  const halted = state.status === 'paused' || state.status === 'error'
  const connection = generation.isConnected
    ? words.connected
    : generation.status === 'ended'
      ? words.ended
      : generation.isConnecting
        ? words.connecting
        : words.notConnected
  return (
    <>
      <section aria-labelledby="progress">
        <h2 id="progress">{words.progress}</h2>
        <p className="line">
          <span className={generation.isConnected ? 'badge good' : 'badge'} role="status" data-testid="connection">
            {connection}
          </span>
          {generation.reconnectAttempts > 0 && (
            <span className="badge" data-testid="reconnects">
              {words.reconnects}: {generation.reconnectAttempts}
            </span>
          )}
          <span data-testid="status">{state.status}</span> · <span data-testid="step">{state.currentStep}</span>
        </p>
        <progress max={100} value={state.progressPercentage} aria-label={words.progress} />
        <ol className="steps" aria-label={words.steps}>
          {state.steps.map((step) => (
            <li key={step.id} className={step.status}>
              {step.name} <small>{words[`step_${step.status}`]}</small>
            </li>
          ))}
        </ol>
        <Problem text={control.problem ?? (state.error !== null ? `${words.failed}: ${state.error}` : problem)} />
        <div className="actions">
          {!over && !halted && (
            <button type="button" disabled={control.busy} onClick={() => void control.run(generation.pauseGeneration)}>
              {words.pause}
            </button>
          )}
          {halted && (
            <button type="button" disabled={control.busy} onClick={() => void control.run(generation.resumeGeneration)}>
              {words.resume}
            </button>
          )}
          {!over && (
            <button
              type="button"
              className="quiet"
              disabled={control.busy}
              onClick={() => void control.run(generation.cancelGeneration)}
            >
              {words.cancel}
            </button>
          )}
          {!over && (
            <button type="button" className="quiet" title={words.cutHelp} onClick={cutSockets}>
              {words.cut}
            </button>
          )}
        </div>
      </section>
      {state.isWaitingForInput && state.inputType !== null && (
        <Prompt key={state.promptSequence} words={words} state={state} answer={generation.submitUserInput} />
      )}
      {state.generatedContent !== '' && (
        <section aria-labelledby="article">
          <h2 id="article">{state.finalArticle === null ? words.sectionsSoFar : words.article}</h2>
          {typeof state.finalArticle?.title === 'string' && <h3>{state.finalArticle.title}</h3>}
          {/* What a model wrote is not trusted: no scripts, no forms, no access to this page. */}
          <iframe className="article" sandbox="" title={words.article} srcDoc={state.generatedContent} />
        </section>
      )}
      <section aria-labelledby="events">
        <h2 id="events">
          {words.events} <small data-testid="count">{events.length}</small>
        </h2>
        <div className="scroll" role="region" aria-labelledby="events" tabIndex={0}>
          <table className="events">
            <thead>
              <tr>
                <th scope="col">{words.sequence}</th>
                <th scope="col">{words.event}</th>
                <th scope="col">{words.came}</th>
                <th scope="col">{words.at}</th>
              </tr>
            </thead>
            <tbody data-testid="events">
              {events.toReversed().map((event) => (
                <tr key={event.id}>
                  <td>{event.event_sequence}</td>
                  <td>{event.event_type}</td>
                  <td>
                    <span className={event.via === 'live' ? 'badge good' : 'badge'}>{words[event.via]}</span>
                  </td>
                  <td>{time(event.created_at)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </section>
    </>
  )
}
