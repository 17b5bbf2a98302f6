/** What the server's contract says of steps, prompts and statuses, as far as a user interface needs it. */

export type StepKind = 'work' | 'gate' | 'transient' | 'end'

export interface StepInfo {
  readonly kind: StepKind
  /** Percent reached when the step is entered. */
  readonly progress: number
}

export const STEPS: Readonly<Record<string, StepInfo>> = {
  start: { kind: 'transient', progress: 0 },
  keyword_analyzing: { kind: 'work', progress: 5 },
  keyword_analyzed: { kind: 'transient', progress: 8 },
  persona_generating: { kind: 'work', progress: 10 },
  persona_generated: { kind: 'gate', progress: 15 },
  persona_selected: { kind: 'transient', progress: 17 },
  theme_generating: { kind: 'work', progress: 18 },
  theme_proposed: { kind: 'gate', progress: 25 },
  theme_selected: { kind: 'transient', progress: 28 },
  research_planning: { kind: 'work', progress: 30 },
  research_plan_generated: { kind: 'gate', progress: 35 },
  research_plan_approved: { kind: 'transient', progress: 38 },
  researching: { kind: 'work', progress: 40 },
  research_synthesizing: { kind: 'work', progress: 60 },
  research_report_generated: { kind: 'transient', progress: 63 },
  outline_generating: { kind: 'work', progress: 65 },
  outline_generated: { kind: 'gate', progress: 70 },
  outline_approved: { kind: 'transient', progress: 73 },
  writing_sections: { kind: 'work', progress: 75 },
  editing: { kind: 'work', progress: 95 },
  completed: { kind: 'end', progress: 100 },
  error: { kind: 'end', progress: 0 },
}

/** From a gate to the step that makes its proposals anew. */
export const REGENERATES: Readonly<Record<string, string>> = {
  persona_generated: 'persona_generating',
  theme_proposed: 'theme_generating',
  research_plan_generated: 'research_planning',
  outline_generated: 'outline_generating',
}

export const INPUT_TYPES = ['select_persona', 'select_theme', 'approve_plan', 'approve_outline'] as const
export type InputType = (typeof INPUT_TYPES)[number]

export const RESPONSE_TYPES = [
  ...INPUT_TYPES,
  'regenerate',
  'edit_and_proceed',
  'edit_persona',
  'edit_theme',
  'edit_plan',
  'edit_outline',
] as const
export type ResponseType = (typeof RESPONSE_TYPES)[number]

/** Statuses in which the process no longer moves by itself; an error can be resumed. */
export const ENDED: readonly string[] = ['completed', 'cancelled', 'error']

/** Events that the row's trigger records; each carries columns of the row. */
export const ROW_EVENTS: readonly string[] = [
  'process_created',
  'status_changed',
  'step_changed',
  'progress_updated',
  'input_required',
  'input_resolved',
  'process_updated',
]

/** Events that the application records. */
export const APPLICATION_EVENTS: readonly string[] = [
  'generation_started',
  'step_started',
  'step_completed',
  'research_started',
  'research_progress',
  'research_completed',
  'section_writing_started',
  'section_completed',
  'all_sections_completed',
  'image_placeholders_generated',
  'user_input_required',
  'user_input_reminder',
  'user_input_resolved',
  'auto_selection_made',
  'generation_paused',
  'generation_resumed',
  'generation_cancelled',
  'generation_completed',
  'generation_error',
  'task_retry_scheduled',
  'task_rescued',
  'test_event',
]

/** After one of these a process has ended; only an error may be followed by `generation_resumed`. */
export const TERMINAL: readonly string[] = ['generation_completed', 'generation_cancelled', 'generation_error']

/** The eight steps that a user sees, each with the steps of the process that it stands for. */
export const VISIBLE_STEPS: readonly { readonly id: string; readonly name: string; readonly covers: readonly string[] }[] = [
  { id: 'keyword_analyzing', name: 'Keyword analysis', covers: ['start', 'keyword_analyzing', 'keyword_analyzed'] },
  { id: 'persona_generating', name: 'Persona', covers: ['persona_generating', 'persona_generated', 'persona_selected'] },
  { id: 'theme_generating', name: 'Theme', covers: ['theme_generating', 'theme_proposed', 'theme_selected'] },
  {
    id: 'research_planning',
    name: 'Research plan',
    covers: ['research_planning', 'research_plan_generated', 'research_plan_approved'],
  },
  {
    id: 'researching',
    name: 'Research',
    covers: ['researching', 'research_synthesizing', 'research_report_generated'],
  },
  { id: 'outline_generating', name: 'Outline', covers: ['outline_generating', 'outline_generated', 'outline_approved'] },
  { id: 'writing_sections', name: 'Writing', covers: ['writing_sections'] },
  { id: 'editing', name: 'Editing', covers: ['editing'] },
]
