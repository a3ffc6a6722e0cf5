import { useCallback, useEffect, useState } from 'react';

import { Refused, answered, api, fetched, type Schemas } from './api/client';
import { Findings } from './findings';
import { Signing } from './signing';
import { Versions } from './versions';

export type Report = Schemas['Report'];

/** A report as it was read, with the entity tag that a change has to name. */
export type Opened = { report: Report; etag: string };

/** What a change of a report gives: the report after it. */
export type Change = (etag: string) => Promise<{ data: Report; etag: string }>;

export function Review({ report: id, close }: { report: string; close: () => void }) {
  const [opened, setOpened] = useState<Opened>();
  const [failure, setFailure] = useState('');

  const load = useCallback(async () => {
    const { data, etag } = answered(await api.GET('/reports/{report}', { params: { path: { report: id } } }));
    setOpened({ report: data, etag });
  }, [id]);

  useEffect(() => void load().catch((error: Error) => setFailure(error.message)), [load]);

  /** Nobody's change is overwritten: who comes second sees what the first one did, and tries again. */
  async function change(act: Change) {
    if (!opened) return;
    try {
      const { data, etag } = await act(opened.etag);
      setOpened({ report: data, etag });
      setFailure('');
    } catch (error) {
      if (error instanceof Refused && error.isConflict) await load();
      setFailure(error instanceof Error ? error.message : String(error));
    }
  }

  if (!opened) return <p role="status">{failure || 'Loading'}</p>;
  const { report } = opened;
  return (
    <main>
      <button onClick={close}>Back to the list</button>
      <h2>
        {report.content.title} <small data-testid="status">{report.status}</small>{' '}
        <small data-testid="version">version {report.version}</small>
      </h2>
      {failure && <p role="alert">{failure}</p>}
      {report.notices.map((notice) => (
        <p key={notice} className="notice">
          {notice}
        </p>
      ))}
      <Findings report={report} change={change} />
      <Impression key={report.version} report={report} change={change} />
      <Signing report={report} change={change} />
      <Document report={report} />
      <Versions report={report} />
    </main>
  );
}

type Part = { report: Report; change: (act: Change) => Promise<void> };

function Impression({ report, change }: Part) {
  const [text, setText] = useState(report.content.sections.impression);
  const path = { report: report.id };
  const save: Change = async (etag) =>
    answered(
      await api.PATCH('/reports/{report}', {
        params: { path, header: { 'If-Match': etag } },
        body: { sections: { impression: text }, reason: 'read again' },
      }),
    );
  return (
    <section>
      <h3>Impression</h3>
      <textarea aria-label="Impression" value={text} onChange={(event) => setText(event.target.value)} />
      <button disabled={!report.allowed.includes('edit')} onClick={() => void change(save)}>
        Save
      </button>
    </section>
  );
}

function Document({ report }: { report: Report }) {
  const [document, setDocument] = useState('');
  const pdf = report.links.pdf;
  if (!pdf) return null;
  return (
    <section>
      <h3>Document</h3>
      <button onClick={() => void fetched(pdf).then(setDocument)}>Show the PDF</button>
      {document && <a href={document}>the PDF</a>}
    </section>
  );
}
