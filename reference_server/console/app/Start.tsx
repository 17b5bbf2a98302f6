import { type FormEvent, useState } from 'react'

import type { StartRequest } from '../src/api/generation-client.ts'
import { Problem, useAction } from './shared.tsx'
import type { Words } from './words.ts'

const AGES = ['10代', '20代', '30代', '40代', '50代', '60代', '70代以上']
const PERSONAS = ['主婦', '学生', '社会人', '自営業', '経営者・役員', '退職者', 'その他']
const OTHER = 'その他'

interface Props {
  words: Words
  onStart: (request: StartRequest) => Promise<void>
}

export function Start({ words, onStart }: Props) {
  const [keywords, setKeywords] = useState('')
  const [age, setAge] = useState('')
  const [persona, setPersona] = useState('')
  const [custom, setCustom] = useState('')
  const [flow, setFlow] = useState('research_first')
  const [images, setImages] = useState(false)
  const { busy, problem, run } = useAction()

  const start = (event: FormEvent): void => {
    event.preventDefault()
    const request: StartRequest = {
      initial_keywords: keywords.split(/[,、,]/).map((one) => one.trim()).filter(Boolean),
      image_mode: images,
      flow_type: flow,
      ...(age === '' ? {} : { target_age_group: age }),
      ...(persona === '' ? {} : { persona_type: persona }),
      ...(persona === OTHER ? { custom_persona: custom } : {}),
    }
    void run(() => onStart(request))
  }
  return (
    <section aria-labelledby="start">
      <h2 id="start">{words.generate}</h2>
      <Problem text={problem} />
      <form onSubmit={start}>
        <label>
          {words.keywords}
          <input required value={keywords} onChange={(e) => setKeywords(e.target.value)} />
        </label>
        <label>
          {words.ageGroup}
          <select value={age} onChange={(e) => setAge(e.target.value)}>
            <option value="">{words.notGiven}</option>
            {AGES.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
        <label>
          {words.persona}
          <select value={persona} onChange={(e) => setPersona(e.target.value)}>
            <option value="">{words.notGiven}</option>
            {PERSONAS.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
        {persona === OTHER && (
          <label>
            {words.customPersona}
            <input required value={custom} onChange={(e) => setCustom(e.target.value)} />
          </label>
        )}
        <label>
          {words.flow}
          <select value={flow} onChange={(e) => setFlow(e.target.value)}>
            <option value="research_first">{words.researchFirst}</option>
            <option value="outline_first">{words.outlineFirst}</option>
          </select>
        </label>
        <label className="check">
          <input type="checkbox" checked={images} onChange={(e) => setImages(e.target.checked)} />
          {words.imageMode}
        </label>
        <button disabled={busy}>{words.start}</button>
      </form>
    </section>
  )
}
