/** The migration guide's hook for one article generation: its state, and what the user can do. */

import { useCallback, useEffect, useMemo, useReducer } from 'react'

import { GenerationClient, type ActionResult, type StartRequest, type StartResult } from '../api/generation-client.ts'
import type { ResponseType } from '../generation/contract.ts'
import {
  apply,
  EMPTY_STATE,
  generatedContent,
  type GenerationState,
  isFinished,
  type VisibleStep,
  visibleSteps,
} from '../generation/generation-state.ts'
import { accessToken } from '../supabase-client.ts'
import {
  eventOf,
  type RealtimeEvent,
  useSupabaseRealtime,
  type UseSupabaseRealtime,
  type UseSupabaseRealtimeOptions,
} from './useSupabaseRealtime.ts'

/** The state of the generation, with what the guide's components read beside it. */
export interface ArticleGenerationState extends GenerationState {
  readonly steps: readonly VisibleStep[]
  readonly generatedContent: string
  readonly isFinished: boolean
}

export type UseArticleGenerationRealtimeOptions = UseSupabaseRealtimeOptions

export interface UseArticleGenerationRealtime extends UseSupabaseRealtime {
  readonly state: ArticleGenerationState
  /** Start a process; its id is in the result, and goes into `processId` from then on. */
  readonly startArticleGeneration: (request: StartRequest, organizationId?: string) => Promise<StartResult>
  readonly selectPersona: (personaId: number) => Promise<ActionResult>
  readonly selectTheme: (index: number) => Promise<ActionResult>
  readonly approvePlan: (approved?: boolean) => Promise<ActionResult>
  readonly approveOutline: (approved?: boolean) => Promise<ActionResult>
  readonly regenerate: () => Promise<ActionResult>
  readonly editAndProceed: (content: Readonly<Record<string, unknown>>) => Promise<ActionResult>
  readonly submitUserInput: (type: ResponseType, payload?: Readonly<Record<string, unknown>>) => Promise<ActionResult>
  readonly pauseGeneration: () => Promise<ActionResult>
  readonly resumeGeneration: () => Promise<ActionResult>
  readonly cancelGeneration: () => Promise<ActionResult>
}

type Told = { readonly event: RealtimeEvent } | 'another process'

function reduce(state: GenerationState, told: Told): GenerationState {
  return told === 'another process' ? EMPTY_STATE : apply(state, eventOf(told.event))
}

export function useArticleGenerationRealtime(options: UseArticleGenerationRealtimeOptions): UseArticleGenerationRealtime {
  const { processId, userId, apiUrl = '', onEvent } = options
  const [folded, tell] = useReducer(reduce, EMPTY_STATE)
  useEffect(() => tell('another process'), [processId, userId, apiUrl])

  const realtime = useSupabaseRealtime({
    ...options,
    onEvent: (event) => {
      tell({ event })
      onEvent?.(event)
    },
  })
  const api = useMemo(() => new GenerationClient({ apiUrl, token: accessToken }), [apiUrl])

  const state = useMemo<ArticleGenerationState>(
    () => ({
      ...folded,
      steps: visibleSteps(folded),
      generatedContent: generatedContent(folded),
      isFinished: isFinished(folded),
    }),
    [folded],
  )

  const submitUserInput = useCallback(
    (type: ResponseType, payload: Readonly<Record<string, unknown>> = {}) =>
      api.submitUserInput(known(processId), type, payload),
    [api, processId],
  )
  const actions = useMemo(
    () => ({
      startArticleGeneration: (request: StartRequest, organizationId?: string) =>
        api.startArticleGeneration(request, organizationId),
      selectPersona: (personaId: number) => submitUserInput('select_persona', { selected_id: personaId }),
      selectTheme: (index: number) => submitUserInput('select_theme', { selected_index: index }),
      approvePlan: (approved = true) => submitUserInput('approve_plan', { approved }),
      approveOutline: (approved = true) => submitUserInput('approve_outline', { approved }),
      regenerate: () => submitUserInput('regenerate'),
      editAndProceed: (content: Readonly<Record<string, unknown>>) =>
        submitUserInput('edit_and_proceed', { edited_content: content }),
      submitUserInput,
      pauseGeneration: () => api.pause(known(processId)),
      resumeGeneration: () => api.resume(known(processId)),
      cancelGeneration: () => api.cancel(known(processId)),
    }),
    [api, processId, submitUserInput],
  )
  return { ...realtime, ...actions, state }
}

function known(processId: string | null | undefined): string {
  if (!processId) throw new Error('There is no process yet: start one, and pass its id as processId.')
  return processId
}
