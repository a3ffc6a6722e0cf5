import createClient, { type Middleware } from 'openapi-fetch';

import type { components, paths } from './schema';

export type Schemas = components['schemas'];

/** Where the server is: the origin of the page, unless the page was built for another. */
const server: string = import.meta.env['VITE_RADIANT'] ?? '';

export const api = createClient<paths>({ baseUrl: `${server}/api/v1` });

/** What a failed request says (RFC 9457). */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly problem: Schemas['Problem'] | undefined,
  ) {
    super(problem?.detail ?? `the server answered ${status}`);
  }

  /** Somebody else changed the thing first. */
  get isConflict(): boolean {
    return this.status === 412;
  }
}

type Outcome<T> = { data?: T; error?: unknown; response: Response };

/** The answer with its entity tag, or the refusal as an error. */
export function answered<T>({ data, error, response }: Outcome<T>): { data: T; etag: string } {
  if (!response.ok || data === undefined) {
    throw new Refused(response.status, error as Schemas['Problem'] | undefined);
  }
  return { data, etag: response.headers.get('etag') ?? '' };
}

/** A token is renewed when it has less than this to live. */
const MARGIN_MS = 30_000;

/** The tokens of one log-in; they live as long as the page and are written nowhere. */
class Session {
  #tokens: Schemas['Tokens'] | undefined;
  #until = 0;
  #refreshing: Promise<void> | undefined;

  get user(): Schemas['User'] | undefined {
    return this.#tokens?.user;
  }

  async logIn(name: string, password: string): Promise<void> {
    this.#keep(answered(await api.POST('/auth/login', { body: { name, password } })).data);
  }

  /** A token that will still be good when it arrives. */
  async accessToken(): Promise<string | undefined> {
    if (this.#tokens && Date.now() > this.#until - MARGIN_MS) {
      // Once for all requests that wait for it: a refresh token is good for one use.
      this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined));
      await this.#refreshing;
    }
    return this.#tokens?.access_token;
  }

  async #refresh(): Promise<void> {
    const refresh_token = this.#tokens?.refresh_token;
    if (!refresh_token) return;
    this.#keep(answered(await api.POST('/auth/refresh', { body: { refresh_token } })).data);
  }

  #keep(tokens: Schemas['Tokens']): void {
    this.#tokens = tokens;
    this.#until = Date.now() + tokens.expires_in * 1000;
  }
}

export const session = new Session();

const withoutToken = ['/auth/login', '/auth/refresh'];

const authorization: Middleware = {
  async onRequest({ request, schemaPath }) {
    if (withoutToken.includes(schemaPath)) return request;
    const token = await session.accessToken();
    if (token) request.headers.set('Authorization', `Bearer ${token}`);
    return request;
  },
};

api.use(authorization);

/** A picture or a document as a URL that a tag can show: tags send no token themselves. */
export async function fetched(url: string): Promise<string> {
  const token = await session.accessToken();
  const answer = await fetch(url, { headers: { Authorization: `Bearer ${token ?? ''}` } });
  if (!answer.ok) throw new Refused(answer.status, undefined);
  return URL.createObjectURL(await answer.blob());
}
