import { type FormEvent, useState } from 'react';

import { session } from './api/client';

export function LogIn({ done }: { done: () => void }) {
  const [failure, setFailure] = useState('');

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    try {
      await session.logIn(String(form.get('name')), String(form.get('password')));
      done();
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
    }
  }

  return (
    <form className="log-in" onSubmit={submit}>
      <h1>Log in</h1>
      <label>
        Name <input name="name" autoComplete="username" required />
      </label>
      <label>
        Password <input name="password" type="password" autoComplete="current-password" required />
      </label>
      <button>Log in</button>
      {failure && <p role="alert">{failure}</p>}
    </form>
  );
}
