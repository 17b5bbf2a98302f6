/** The one Supabase client of a page, made when it is first asked for. */

import { createClient, type SupabaseClient, type SupabaseClientOptions } from '@supabase/supabase-js'

export interface SupabaseSettings {
  /** The project's URL, or the address of the reference server. */
  readonly url: string
  readonly anonKey: string
  /** The user's access token, where another service signs users in; without it, Supabase's own session is used. */
  readonly accessToken?: () => Promise<string | null>
  /** How Realtime connects, as `createClient` takes it. */
  readonly realtime?: SupabaseClientOptions<'public'>['realtime']
}

let settings: SupabaseSettings | null = null
let client: SupabaseClient | null = null

/** Say once, before anything asks for the client, where the project is. Other settings replace the client. */
export function configureSupabase(next: SupabaseSettings): void {
  if (client !== null) void client.removeAllChannels()
  settings = next
  client = null
}

/** The client. Throws an Error when nobody has said where the project is. */
export function supabaseClient(): SupabaseClient {
  if (client === null) {
    if (settings === null) {
      throw new Error('The Supabase project is not known: call configureSupabase({ url, anonKey }) first.')
    }
    const { url, anonKey, accessToken, realtime } = settings
    client = createClient(url, anonKey, {
      ...(accessToken === undefined ? {} : { accessToken }),
      ...(realtime === undefined ? {} : { realtime }),
    })
  }
  return client
}

/** The signed-in user's access token; null when nobody is signed in. */
export async function accessToken(): Promise<string | null> {
  if (settings?.accessToken !== undefined) return settings.accessToken()
  const { data } = await supabaseClient().auth.getSession()
  return data.session?.access_token ?? null
}
