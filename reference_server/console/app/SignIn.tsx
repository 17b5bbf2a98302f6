import { type FormEvent, useState } from 'react'

import { type ConsoleSettings, signInWithPassword, userOf } from './session.ts'
import { Problem, useAction } from './shared.tsx'
import type { Words } from './words.ts'

interface Props {
  words: Words
  settings: ConsoleSettings
  onToken: (token: string) => void
  onUser: (user: string) => void
}

export function SignIn({ words, settings, onToken, onUser }: Props) {
  const [token, setToken] = useState('')
  const [email, setEmail] = useState('')
  const [password, setPassword] = useState('')
  const { busy, problem, run } = useAction()

  const withToken = (event: FormEvent): void => {
    event.preventDefault()
    void run(async () => {
      userOf(token.trim())
      onToken(token.trim())
    })
  }
  const withPassword = (event: FormEvent): void => {
    event.preventDefault()
    void run(async () => onUser(await signInWithPassword(email, password)))
  }
  return (
    <section aria-labelledby="sign-in">
      <h2 id="sign-in">{words.signIn}</h2>
      <Problem text={problem} />
      {settings.auth && (
        <form onSubmit={withPassword}>
          <h3>{words.withPassword}</h3>
          <label>
            {words.email}
            <input type="email" autoComplete="username" required value={email} onChange={(e) => setEmail(e.target.value)} />
          </label>
          <label>
            {words.password}
            <input
              type="password"
              autoComplete="current-password"
              required
              value={password}
              onChange={(e) => setPassword(e.target.value)}
            />
          </label>
          <button disabled={busy}>{words.signIn}</button>
        </form>
      )}
      <form onSubmit={withToken}>
        {settings.auth && <h3>{words.withToken}</h3>}
        <label>
          {words.accessToken}
          <textarea
            required
            rows={3}
            spellCheck={false}
            aria-describedby="token-help"
            value={token}
            onChange={(e) => setToken(e.target.value)}
          />
        </label>
        <p id="token-help" className="help">
          {words.accessTokenHelp}
        </p>
        <button disabled={busy}>{words.signIn}</button>
      </form>
    </section>
  )
}
