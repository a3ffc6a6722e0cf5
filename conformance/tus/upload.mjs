// One upload by tus-js-client; goes on by itself when the server comes back. Lines of JSON tell how it goes.
import { createReadStream, statSync } from 'node:fs'
import { basename } from 'node:path'
import * as tus from 'tus-js-client'

const [endpoint, path, chunkSize, mode] = process.argv.slice(2)
const tell = (message) => console.log(JSON.stringify(message))
const retryDelays = Array.from({ length: 120 }, () => 500)

const upload = new tus.Upload(createReadStream(path), {
  endpoint,
  chunkSize: Number(chunkSize),
  uploadSize: statSync(path).size,
  uploadDataDuringCreation: mode === 'with-creation',
  overridePatchMethod: mode === 'override',
  metadata: { filename: basename(path) },
  retryDelays,
  onUploadUrlAvailable: () => tell({ url: upload.url }),
  onChunkComplete: (size, accepted) => tell({ accepted }),
  onError: (error) => {
    tell({ error: String(error) })
    process.exit(1)
  },
  onSuccess: async () => {
    tell({ done: upload.url })
    process.exit(0)
  },
})

if (mode === 'terminate') {
  upload.options.onChunkComplete = async () => {
    await upload.abort(true)
    tell({ terminated: upload.url })
    process.exit(0)
  }
}
upload.start()
