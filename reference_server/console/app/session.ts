/** Who is signed in, and the one Supabase client of the page. A token is kept for this tab only. */

import { configureSupabase, supabaseClient } from '../src/supabase-client.ts'

export interface ConsoleSettings {
  /** Where Realtime and, on Supabase, its sign-in are; empty for the page's own origin. */
  readonly supabase_url: string
  readonly anon_key: string | null
  /** Whether users sign in with Supabase's auth. */
  readonly auth: boolean
}

const KEPT = 'access-token'
const sockets = new Set<WebSocket>()

/** A socket that the page can cut. */
class Cuttable extends WebSocket {
  constructor(address: string | URL, protocols?: string | string[]) {
    super(address, protocols)
    sockets.add(this)
    this.addEventListener('close', () => sockets.delete(this))
  }
}

/** Close every socket of the page, as a network that fails would. */
export function cutSockets(): void {
  for (const socket of sockets) socket.close()
}

export async function loadSettings(): Promise<ConsoleSettings> {
  const answer = await fetch('/console/settings.json', { signal: AbortSignal.timeout(15_000) })
  if (!answer.ok) throw new Error(`The server answered ${answer.status} to /console/settings.json.`)
  return (await answer.json()) as ConsoleSettings
}

export function configure(settings: ConsoleSettings, anonKey: string, token: string | null): void {
  configureSupabase({
    url: settings.supabase_url || window.location.origin,
    anonKey,
    realtime: { transport: Cuttable },
    ...(token === null ? {} : { accessToken: async () => token }),
  })
}

export function keptToken(): string | null {
  return sessionStorage.getItem(KEPT)
}

export function keepToken(token: string | null): void {
  if (token === null) sessionStorage.removeItem(KEPT)
  else sessionStorage.setItem(KEPT, token)
}

/** The user a token speaks of. Throws an Error in words when it is none. */
export function userOf(token: string): string {
  try {
    const [, body = ''] = token.split('.')
    const bytes = Uint8Array.from(atob(body.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0))
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown; role?: unknown }
    return String(claims.sub ?? claims.role)
  } catch {
    throw new Error('This is no access token: it should have three parts, separated by dots.')
  }
}

/** Sign in with Supabase's auth. Returns the user's id; throws an Error in the server's words. */
export async function signInWithPassword(email: string, password: string): Promise<string> {
  const { data, error } = await supabaseClient().auth.signInWithPassword({ email, password })
  if (error !== null) throw error
  return data.user.id
}
