import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// The console that the server serves at /console: one page, one script, one style, under names that stay.
export default defineConfig({
  root: 'app',
  base: '/console/',
  plugins: [react()],
  build: {
    outDir: '../static',
    emptyOutDir: true,
    target: 'es2023',
    sourcemap: false,
    rollupOptions: {
      output: { entryFileNames: 'console.js', assetFileNames: 'console[extname]', inlineDynamicImports: true },
    },
  },
  server: { proxy: { '/api': 'http://127.0.0.1:8000', '/realtime': { target: 'ws://127.0.0.1:8000', ws: true } } },
})
