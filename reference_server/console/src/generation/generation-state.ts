/**
 * The observable state of a generation: a pure fold of its events, with the names of the migration guide's hook.
 *
 * It is the fold of `toolkit/client/state.py`; both are held to the same test vectors.
 */

import { isRecord, type ProcessEvent } from '../stream/events.ts'
import { APPLICATION_EVENTS, ENDED, REGENERATES, ROW_EVENTS, STEPS, TERMINAL, VISIBLE_STEPS } from './contract.ts'

type Json = Readonly<Record<string, unknown>>

/** A written section. */
export interface Section {
  readonly index: number
  readonly heading: string
  readonly content: string
}

/** How much is done of how much. */
export interface Progress {
  readonly done: number
  readonly total: number
}

/** One of the eight steps that a user sees. */
export interface VisibleStep {
  readonly id: string
  readonly name: string
  readonly status: 'pending' | 'in_progress' | 'completed' | 'error'
}

/**
 * What a user interface shows. Immutable: `apply` returns the next state.
 *
 * `currentStep` moves forward only, unless proposals are made anew or the process is resumed. `unknownEvents` counts
 * events of types that this version does not know. `promptSequence` is the sequence of the last prompt's event: it
 * distinguishes a prompt that is put again from one that is still open.
 */
export interface GenerationState {
  readonly processId: string | null
  readonly status: string | null
  readonly currentStep: string | null
  readonly stepsSeen: readonly string[]
  readonly progressPercentage: number
  readonly isWaitingForInput: boolean
  readonly inputType: string | null
  readonly inputTimeoutAt: string | null
  readonly promptSequence: number
  readonly personas: readonly unknown[]
  readonly themes: readonly unknown[]
  readonly researchPlan: Json | null
  readonly outline: Json | null
  readonly researchProgress: Progress | null
  readonly sectionsProgress: Progress | null
  readonly completedSections: readonly Section[]
  readonly imagePlaceholders: readonly unknown[]
  readonly finalArticle: Json | null
  readonly articleId: string | null
  readonly error: string | null
  readonly lastSequence: number
  readonly unknownEvents: number
  readonly mayStepBack: boolean
  readonly narrated: boolean
  readonly endingTold: boolean
}

export const EMPTY_STATE: GenerationState = {
  processId: null,
  status: null,
  currentStep: null,
  stepsSeen: [],
  progressPercentage: 0,
  isWaitingForInput: false,
  inputType: null,
  inputTimeoutAt: null,
  promptSequence: 0,
  personas: [],
  themes: [],
  researchPlan: null,
  outline: null,
  researchProgress: null,
  sectionsProgress: null,
  completedSections: [],
  imagePlaceholders: [],
  finalArticle: null,
  articleId: null,
  error: null,
  lastSequence: 0,
  unknownEvents: 0,
  mayStepBack: false,
  narrated: false,
  endingTold: false,
}

/** The state after `event`, the one after `lastSequence`; an older event changes nothing. */
export function apply(state: GenerationState, event: ProcessEvent): GenerationState {
  if (event.sequence <= state.lastSequence) return state
  const after = { ...state, lastSequence: event.sequence, processId: state.processId ?? (event.processId || null) }
  if (ROW_EVENTS.includes(event.type)) return row(after, event.data)
  if (!APPLICATION_EVENTS.includes(event.type)) return { ...after, unknownEvents: after.unknownEvents + 1 }
  const handler = HANDLERS[event.type]
  if (handler === undefined) return after
  return { ...handler(after, event.data), narrated: true, endingTold: TERMINAL.includes(event.type) }
}

/**
 * Whether the process is completed, cancelled or stopped by an error, and its last event was applied.
 *
 * The trigger's event of the end comes first, and the application's, with the article or the error, after it. A process
 * of the legacy transport has only the trigger's events, so there its status decides.
 */
export function isFinished(state: GenerationState): boolean {
  return state.status !== null && ENDED.includes(state.status) && (state.endingTold || !state.narrated)
}

/** The eight steps that a user sees, as they stand. */
export function visibleSteps(state: GenerationState): VisibleStep[] {
  const failed = state.status === 'error'
  const current = state.currentStep === 'error' ? state.stepsSeen.findLast((one) => one !== 'error') : state.currentStep
  return VISIBLE_STEPS.map(({ id, name, covers }) => {
    if (current !== null && current !== undefined && covers.includes(current)) {
      return { id, name, status: failed ? 'error' : 'in_progress' }
    }
    const passed = current === 'completed' || covers.some((step) => state.stepsSeen.includes(step))
    return { id, name, status: passed ? 'completed' : 'pending' }
  })
}

/** What is written so far, as one text of HTML: the finished article, or the sections that are complete. */
export function generatedContent(state: GenerationState): string {
  const final = state.finalArticle?.final_html_content
  if (typeof final === 'string' && final !== '') return final
  return state.completedSections.map((section) => section.content).join('\n')
}

// -- steps ------------------------------------------------------------------------------------

function step(state: GenerationState, name: unknown): GenerationState {
  if (typeof name !== 'string' || name === '' || name === state.currentStep) return state
  const back = rank(name) < rank(state.currentStep)
  if (back && !(state.mayStepBack || regenerates(state, name) || otherFlow(state, name))) return state
  return { ...state, currentStep: name, stepsSeen: [...state.stepsSeen, name], mayStepBack: false }
}

function rank(name: string | null): number {
  const info = name === null ? undefined : own(STEPS, name)
  if (info === undefined) return -1
  return info.kind === 'end' ? 1000 : info.progress
}

function regenerates(state: GenerationState, name: string): boolean {
  return state.currentStep !== null && own(REGENERATES, state.currentStep) === name
}

/** Whether a step is forward in the outline-first flow, which visits the outline before the research. */
function otherFlow(state: GenerationState, name: string): boolean {
  return (
    !state.stepsSeen.includes(name) &&
    ['outline_generated', 'outline_approved', 'outline_generating'].includes(state.currentStep ?? '') &&
    ['research_planning', 'research_plan_generated', 'researching'].includes(name)
  )
}

function own<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined
}

// -- what each event means --------------------------------------------------------------------

function row(before: GenerationState, data: Json): GenerationState {
  let state = before
  const { status, progress_percentage: progress } = data
  if (typeof status === 'string') {
    const reopened = status === 'resuming' || (state.status === 'paused' && status !== 'paused')
    state = {
      ...state,
      status,
      mayStepBack: state.mayStepBack || reopened,
      error: reopened ? null : state.error,
      endingTold: state.endingTold && ENDED.includes(status),
    }
  }
  if (typeof progress === 'number') state = { ...state, progressPercentage: progress }
  if ('is_waiting_for_input' in data) {
    const waiting = Boolean(data.is_waiting_for_input)
    const inputType = waiting ? text(data.input_type) ?? state.inputType : null
    state = { ...state, isWaitingForInput: waiting, inputType }
  }
  return step(state, data.current_step)
}

function inputRequired(state: GenerationState, data: Json): GenerationState {
  const proposals = isRecord(data.data) ? data.data : {}
  const { personas, themes, plan, outline } = proposals
  return {
    ...state,
    isWaitingForInput: true,
    inputType: text(data.input_type),
    inputTimeoutAt: text(data.timeout_at),
    promptSequence: state.lastSequence,
    personas: Array.isArray(personas) ? personas : state.personas,
    themes: Array.isArray(themes) ? themes : state.themes,
    researchPlan: isRecord(plan) ? plan : state.researchPlan,
    outline: isRecord(outline) ? outline : state.outline,
  }
}

function inputResolved(state: GenerationState, data: Json): GenerationState {
  const response = isRecord(data.user_response) ? data.user_response : {}
  const refused = isRecord(response.payload) && response.payload['approved'] === false
  const again = response.response_type === 'regenerate' || refused
  return {
    ...state,
    isWaitingForInput: false,
    inputType: null,
    inputTimeoutAt: null,
    mayStepBack: state.mayStepBack || again,
  }
}

function sectionCompleted(state: GenerationState, data: Json): GenerationState {
  const section: Section = {
    index: count(data.section_index),
    heading: text(data.section_heading) ?? '',
    content: text(data.section_content) ?? '',
  }
  // A section that is written again replaces the earlier one.
  const others = state.completedSections.filter((other) => other.index !== section.index)
  const sections = [...others, section].sort((a, b) => a.index - b.index)
  return {
    ...placeholders(state, data.image_placeholders),
    completedSections: sections,
    sectionsProgress: { done: sections.length, total: count(data.total_sections) },
  }
}

function placeholders(state: GenerationState, found: unknown): GenerationState {
  if (!Array.isArray(found)) return state
  const byId = new Map<string, unknown>()
  for (const one of [...state.imagePlaceholders, ...(found as unknown[])]) {
    byId.set(String(isRecord(one) ? one.placeholder_id : one), one)
  }
  return { ...state, imagePlaceholders: [...byId.values()] }
}

function completed(before: GenerationState, data: Json): GenerationState {
  const kept = ['title', 'article_id', 'final_html_content'].filter((key) => key in data)
  return {
    ...step(before, 'completed'),
    status: 'completed',
    progressPercentage: 100,
    isWaitingForInput: false,
    inputType: null,
    articleId: text(data.article_id) || null,
    finalArticle: Object.fromEntries(kept.map((key) => [key, data[key]])),
  }
}

const HANDLERS: Readonly<Record<string, (state: GenerationState, data: Json) => GenerationState>> = {
  generation_started: (s, data) => step({ ...s, status: s.status ?? 'in_progress' }, data.current_step),
  step_started: (s, data) => step(s, data.step_name),
  research_started: (s, data) => ({ ...s, researchProgress: { done: 0, total: count(data.total_queries) } }),
  research_progress: (s, data) => ({
    ...s,
    researchProgress: { done: count(data.completed_queries), total: count(data.total_queries) },
  }),
  section_writing_started: (s, data) => ({
    ...s,
    sectionsProgress: { done: s.completedSections.length, total: count(data.total_sections) },
  }),
  section_completed: sectionCompleted,
  image_placeholders_generated: (s, data) => placeholders(s, data.placeholders),
  user_input_required: inputRequired,
  user_input_resolved: inputResolved,
  generation_resumed: (s, data) => step({ ...s, error: null, mayStepBack: true }, data.resume_step),
  generation_paused: (s) => ({ ...s, status: 'paused', isWaitingForInput: false }),
  generation_cancelled: (s) => ({ ...s, status: 'cancelled', isWaitingForInput: false, inputType: null }),
  generation_completed: completed,
  generation_error: (s, data) => ({
    ...s,
    status: 'error',
    error: text(data.error_message) ?? '',
    isWaitingForInput: false,
    inputType: null,
  }),
}

function text(value: unknown): string | null {
  return value === null || value === undefined ? null : String(value)
}

function count(value: unknown): number {
  const number = Math.trunc(Number(value ?? 0))
  return Number.isFinite(number) ? number : 0
}
