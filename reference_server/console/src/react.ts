/** The migration guide's hooks, for React. */

export * from './hooks/useArticleGenerationRealtime.ts'
export * from './hooks/useSupabaseRealtime.ts'
