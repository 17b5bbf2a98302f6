// Subscribes with the official client and prints what it is told, one JSON object a line.
// node subscribe.mjs URL KEY TOPIC TABLE [PRIVATE]; stops when its standard input ends.
import { createClient } from '@supabase/supabase-js'
import ws from 'ws'

const [url, key, topic, table, isPrivate] = process.argv.slice(2)
const say = (kind, data) => process.stdout.write(JSON.stringify({ kind, data }) + '\n')

const client = createClient(url, key, { realtime: { transport: ws } })
const channel = client
  .channel(topic, { config: { broadcast: { self: true, ack: true }, private: isPrivate === 'private' } })
  .on('postgres_changes', { event: '*', schema: 'public', table }, (change) => say('change', change))
  .on('broadcast', { event: '*' }, (message) => say('broadcast', message))
  .on('system', {}, (message) => say('system', message))
  .on('presence', { event: 'sync' }, () => say('presence', channel.presenceState()))

channel.subscribe(async (status, error) => {
  say('status', { status, error: error ? String(error) : null })
  if (status === 'SUBSCRIBED') {
    say('sent', await channel.send({ type: 'broadcast', event: 'hello', payload: { from: 'js' } }))
    say('tracked', await channel.track({ name: 'js' }))
  }
})

process.stdin.resume()
process.stdin.on('end', async () => {
  await client.removeAllChannels()
  process.exit(0)
})
