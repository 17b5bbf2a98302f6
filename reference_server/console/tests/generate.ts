// One whole generation through the package, beside the migration guide's own snippet; the socket is cut on the way.
// node generate.ts URL ANON_KEY USER_TOKEN; prints what each of the two was told, as one JSON object.
import { createClient } from '@supabase/supabase-js'

import { apply, EMPTY_STATE, GenerationClient, type ProcessEvent, ProcessEventStream } from '../src/index.ts'

const [url = '', key = '', token = ''] = process.argv.slice(2)
const sockets = new Set<WebSocket>()
class Watched extends WebSocket {
  constructor(address: string | URL, protocols?: string | string[]) {
    super(address, protocols)
    sockets.add(this)
    this.addEventListener('close', () => sockets.delete(this))
  }
}
const supabase = createClient(url, key, { accessToken: async () => token, realtime: { transport: Watched } })
const api = new GenerationClient({ apiUrl: url, token: async () => token })

const started = await api.startArticleGeneration({
  initial_keywords: ['Tokyo'],
  target_age_group: '30代',
  persona_type: '主婦',
})

// What the guide shows: subscribe, and take what comes.
const snippet: number[] = []
const plain = createClient(url, key, { accessToken: async () => token })
await plain.realtime.setAuth()
plain
  .channel(`process_${started.process_id}`)
  .on(
    'postgres_changes',
    { event: 'INSERT', schema: 'public', table: 'process_events', filter: `process_id=eq.${started.process_id}` },
    ({ new: row }) => snippet.push(Number(row.event_sequence)),
  )
  .subscribe()

const events: ProcessEvent[] = []
const errors: string[] = []
const phases: string[] = []
let state = EMPTY_STATE
let answered = 0
let cuts = 0

const { promise: over, resolve, reject } = Promise.withResolvers<void>()
const stream = new ProcessEventStream({
  client: supabase,
  processId: started.process_id,
  fetchPage: (id, since, signal) => api.events(id, since, 7, signal),
  onEvent: (event) => {
    events.push(event)
    state = apply(state, event)
    if (state.isWaitingForInput && event.type === 'user_input_required') void answer(event.sequence).catch(reject)
  },
  onPhase: (phase) => phases.push(phase),
  onError: (error, fatal) => {
    errors.push(error.message)
    if (fatal) reject(error)
  },
  onEnd: resolve,
  limits: { silence: 1, connectBase: 0.05, connectCap: 0.5 },
})

async function answer(prompt: number): Promise<void> {
  if (prompt <= answered) return
  answered = prompt
  // The socket of the page goes without a word, at every second prompt.
  if (state.inputType === 'select_theme' || state.inputType === 'approve_outline') {
    cuts += 1
    for (const socket of sockets) socket.close()
  }
  const { process_id: id } = started
  if (state.inputType === 'select_persona') await api.submitUserInput(id, 'select_persona', { selected_id: 0 })
  if (state.inputType === 'select_theme') await api.submitUserInput(id, 'select_theme', { selected_index: 0 })
  if (state.inputType === 'approve_plan') await api.submitUserInput(id, 'approve_plan', { approved: true })
  if (state.inputType === 'approve_outline') await api.submitUserInput(id, 'approve_outline', { approved: true })
}

stream.start()
const deadline = setTimeout(() => reject(new Error(`no end; at ${state.currentStep}, ${errors.join('; ')}`)), 90_000)
await over
clearTimeout(deadline)
const { reconnects, delivered } = stream
stream.close()
await plain.removeAllChannels()
console.log(
  JSON.stringify({
    process: started.process_id,
    sequences: events.map((event) => event.sequence),
    ids: events.map((event) => event.id),
    snippet,
    phases,
    cuts,
    reconnects,
    delivered,
    status: state.status,
    articleId: state.articleId,
    sections: state.completedSections.length,
  }),
)
process.exit(0)
