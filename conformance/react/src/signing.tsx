import { useState } from 'react';

import { answered, api } from './api/client';
import type { Change, Report } from './review';

type Part = { report: Report; change: (act: Change) => Promise<void> };

export function Signing({ report, change }: Part) {
  const [password, setPassword] = useState('');
  const [addendum, setAddendum] = useState('');
  const [reason, setReason] = useState('');
  const path = { report: report.id };
  const sign: Change = async (etag) =>
    answered(
      await api.POST('/reports/{report}/sign', {
        params: { path, header: { 'If-Match': etag } },
        body: { password },
      }),
    );
  const addend: Change = async (etag) =>
    answered(
      await api.POST('/reports/{report}/addendum', {
        params: { path, header: { 'If-Match': etag } },
        body: { text: addendum },
      }),
    );
  const correct: Change = async (etag) =>
    answered(
      await api.POST('/reports/{report}/correction', {
        params: { path, header: { 'If-Match': etag } },
        body: { reason },
      }),
    );
  return (
    <section>
      {report.content.addenda.map((one) => (
        <blockquote key={one.at}>
          {one.text} <small>{one.by}</small>
        </blockquote>
      ))}
      {report.allowed.includes('sign') && (
        <>
          <h3>Sign</h3>
          <input
            aria-label="Password"
            type="password"
            value={password}
            onChange={(event) => setPassword(event.target.value)}
          />
          <button
            disabled={report.undecided > 0}
            onClick={() => void change(sign).finally(() => setPassword(''))}
          >
            Sign
          </button>
        </>
      )}
      {report.allowed.includes('addend') && (
        <>
          <h3>Addendum</h3>
          <textarea
            aria-label="Addendum"
            value={addendum}
            onChange={(event) => setAddendum(event.target.value)}
          />
          <button disabled={!addendum} onClick={() => void change(addend).finally(() => setAddendum(''))}>
            Add
          </button>
        </>
      )}
      {report.allowed.includes('correct') && (
        <>
          <h3>Correction</h3>
          <input
            aria-label="Reason of the correction"
            value={reason}
            onChange={(event) => setReason(event.target.value)}
          />
          <button disabled={!reason} onClick={() => void change(correct).finally(() => setReason(''))}>
            Correct
          </button>
        </>
      )}
      {report.current.signature && (
        <p data-testid="signature">
          Signed by {report.current.signature.name}, {report.current.signature.at}
        </p>
      )}
    </section>
  );
}
