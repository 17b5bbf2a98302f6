import { useState } from 'react'

import type { InputType, ResponseType } from '../src/generation/contract.ts'
import type { GenerationState } from '../src/generation/generation-state.ts'
import { isRecord } from '../src/stream/events.ts'
import { Problem, shown, useAction } from './shared.tsx'
import type { Words } from './words.ts'

interface Props {
  words: Words
  state: GenerationState
  answer: (type: ResponseType, payload?: Readonly<Record<string, unknown>>) => Promise<unknown>
}

/** The open prompt, with every answer it takes. */
export function Prompt({ words, state, answer }: Props) {
  const { busy, problem, run } = useAction()
  const [draft, setDraft] = useState<string | null>(null)
  const type = state.inputType as InputType
  const title = {
    select_persona: words.choosePersona,
    select_theme: words.chooseTheme,
    approve_plan: words.approvePlan,
    approve_outline: words.approveOutline,
  }[type]
  const proposals = { select_persona: state.personas, select_theme: state.themes, approve_plan: null, approve_outline: null }[type]
  const one = type === 'approve_plan' ? state.researchPlan : state.outline

  const useDraft = (): void => {
    void run(async () => {
      const content: unknown = JSON.parse(draft ?? '')
      await answer('edit_and_proceed', { edited_content: isRecord(content) ? content : { description: content } })
    })
  }
  return (
    <section className="prompt" aria-labelledby="prompt" aria-live="polite">
      <h2 id="prompt">{title ?? type}</h2>
      <Problem text={problem} />
      {proposals !== null && proposals !== undefined ? (
        <ul className="choices">
          {proposals.map((proposal, position) => (
            <li key={position}>
              <p>{shown(proposal)}</p>
              {isRecord(proposal) && typeof proposal.title === 'string' && typeof proposal.description === 'string' && (
                <p className="help">{proposal.description}</p>
              )}
              <div className="actions">
                <button
                  type="button"
                  disabled={busy}
                  aria-label={`${words.choose}: ${shown(proposal)}`}
                  onClick={() => void run(() => answer(type, chosen(type, proposal, position)))}
                >
                  {words.choose}
                </button>
                <button
                  type="button"
                  className="quiet"
                  aria-label={`${words.edit}: ${shown(proposal)}`}
                  onClick={() => setDraft(editable(proposal))}
                >
                  {words.edit}
                </button>
              </div>
            </li>
          ))}
        </ul>
      ) : (
        <>
          <Outline value={one} />
          <div className="actions">
            <button type="button" disabled={busy} onClick={() => void run(() => answer(type, { approved: true }))}>
              {words.approve}
            </button>
            <button
              type="button"
              className="quiet"
              disabled={busy}
              onClick={() => void run(() => answer(type, { approved: false }))}
            >
              {words.refuse}
            </button>
            <button type="button" className="quiet" onClick={() => setDraft(editable(one))}>
              {words.edit}
            </button>
          </div>
        </>
      )}
      {draft !== null && (
        <div className="edit">
          <label>
            {words.editHelp}
            <textarea rows={8} spellCheck={false} value={draft} onChange={(e) => setDraft(e.target.value)} />
          </label>
          <div className="actions">
            <button type="button" disabled={busy} onClick={useDraft}>
              {words.useEdited}
            </button>
            <button type="button" className="quiet" onClick={() => setDraft(null)}>
              {words.cancelEdit}
            </button>
          </div>
        </div>
      )}
      <button type="button" className="quiet" disabled={busy} onClick={() => void run(() => answer('regenerate'))}>
        {words.regenerate}
      </button>
    </section>
  )
}

function chosen(type: InputType, proposal: unknown, position: number): Record<string, unknown> {
  if (type === 'select_theme') return { selected_index: position }
  return { selected_id: isRecord(proposal) && typeof proposal.id === 'number' ? proposal.id : position }
}

/** What may be edited of a proposal: the fields that an answer may carry. */
function editable(proposal: unknown): string {
  const fields = ['description', 'title', 'keywords', 'topic', 'queries', 'suggested_tone', 'sections']
  const found = isRecord(proposal) ? Object.entries(proposal).filter(([key]) => fields.includes(key)) : []
  return JSON.stringify(Object.fromEntries(found), null, 2)
}

function Outline({ value }: { value: Readonly<Record<string, unknown>> | null }) {
  const parts = [value?.queries, value?.sections].find(Array.isArray) as unknown[] | undefined
  return (
    <div className="outline">
      <p>
        <strong>{shown(value)}</strong>
      </p>
      {parts !== undefined && (
        <ol>
          {parts.map((part, number) => (
            <li key={number}>{shown(part)}</li>
          ))}
        </ol>
      )}
    </div>
  )
}
