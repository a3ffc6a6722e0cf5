import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// In development the page and the API share an origin; a built page is told where its server is.
export default defineConfig({
  plugins: [react()],
  server: { proxy: { '/api': 'http://127.0.0.1:8080', '/dicom-web': 'http://127.0.0.1:8080' } },
});
