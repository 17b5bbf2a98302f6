import { useCallback, useEffect, useState } from 'react'

import { Generation } from './Generation.tsx'
import { Operator } from './Operator.tsx'
import { Processes } from './Processes.tsx'
import { type ConsoleSettings, configure, keepToken, keptToken, loadSettings, userOf } from './session.ts'
import { SignIn } from './SignIn.tsx'
import { Problem } from './shared.tsx'
import { firstLanguage, type Language, WORDS } from './words.ts'

/** What follows the # of the address: `process/ID`, `processes`, `operator`, or nothing. */
function useRoute(): string {
  const read = (): string => window.location.hash.replace(/^#\/?/, '')
  const [route, setRoute] = useState(read)
  useEffect(() => {
    const moved = (): void => setRoute(read())
    window.addEventListener('hashchange', moved)
    return () => window.removeEventListener('hashchange', moved)
  }, [])
  return route
}

export function App() {
  const [language, setLanguage] = useState<Language>(firstLanguage)
  const [settings, setSettings] = useState<ConsoleSettings | null>(null)
  const [user, setUser] = useState<string | null>(null)
  const [problem, setProblem] = useState<string | null>(null)
  const route = useRoute()
  const words = WORDS[language]

  useEffect(() => {
    document.documentElement.lang = language
    document.title = words.title
    localStorage.setItem('language', language)
  }, [language, words])

  const signIn = useCallback((known: ConsoleSettings, token: string | null) => {
    if (known.anon_key === null) return
    configure(known, known.anon_key, token)
    setUser(token === null ? null : userOf(token))
    keepToken(token)
  }, [])

  useEffect(() => {
    loadSettings().then(
      (found) => {
        setSettings(found)
        signIn(found, keptToken())
      },
      (error: unknown) => setProblem(String(error)),
    )
  }, [signIn])

  const processId = /^process\/([\w-]+)$/.exec(route)?.[1] ?? null
  return (
    <>
      <header>
        <h1>{words.title}</h1>
        <nav aria-label={words.title}>
          <a href="#/" aria-current={route === '' ? 'page' : undefined}>
            {words.generate}
          </a>
          <a href="#/processes" aria-current={route === 'processes' ? 'page' : undefined}>
            {words.processes}
          </a>
          <a href="#/operator" aria-current={route === 'operator' ? 'page' : undefined}>
            {words.operator}
          </a>
        </nav>
        <div className="who">
          {user !== null && settings !== null && (
            <>
              <span>
                {words.signedInAs} <strong>{user}</strong>
              </span>
              <button type="button" onClick={() => signIn(settings, null)}>
                {words.signOut}
              </button>
            </>
          )}
          <button type="button" lang={language === 'en' ? 'ja' : 'en'} onClick={() => setLanguage(language === 'en' ? 'ja' : 'en')}>
            {words.language}
          </button>
        </div>
      </header>
      <main>
        <Problem text={problem} />
        {settings !== null && settings.anon_key === null && <Problem text={words.unconfigured} />}
        {settings !== null && settings.anon_key !== null && user === null && (
          <SignIn words={words} settings={settings} onToken={(token) => signIn(settings, token)} onUser={setUser} />
        )}
        {user !== null && route === 'processes' && <Processes key={user} words={words} />}
        {user !== null && route === 'operator' && <Operator key={user} words={words} />}
        {user !== null && route !== 'processes' && route !== 'operator' && (
          <Generation key={`${user} ${processId}`} words={words} userId={user} processId={processId} />
        )}
      </main>
    </>
  )
}
