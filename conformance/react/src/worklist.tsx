import { useEffect, useState } from 'react';

import { answered, api, type Schemas } from './api/client';

type Study = Schemas['StudySummary'];

const PAGE = 25;

export function Worklist({ open }: { open: (report: string) => void }) {
  const [studies, setStudies] = useState<Study[]>([]);
  const [next, setNext] = useState<string | null>();
  const [total, setTotal] = useState<number | null>();
  const [failure, setFailure] = useState('');

  async function load(cursor?: string) {
    try {
      const query = { limit: PAGE, ...(cursor ? { cursor } : {}) };
      const { data } = answered(await api.GET('/studies', { params: { query } }));
      setStudies((before) => (cursor ? [...before, ...data.items] : data.items));
      setNext(data.next ?? null);
      setTotal(data.total ?? null);
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
    }
  }

  useEffect(() => void load(), []);

  return (
    <main>
      <h2>
        Studies <small data-testid="total">{total}</small>
      </h2>
      {failure && <p role="alert">{failure}</p>}
      <table>
        <thead>
          <tr>
            <th>Patient</th>
            <th>Study</th>
            <th>Date</th>
            <th>Analysis</th>
            <th />
          </tr>
        </thead>
        <tbody>
          {studies.map((study) => (
            <Row key={study.study_uid} study={study} open={open} />
          ))}
        </tbody>
      </table>
      {next && <button onClick={() => void load(next)}>More</button>}
      <button onClick={() => void load()}>Refresh</button>
    </main>
  );
}

function Row({ study, open }: { study: Study; open: (report: string) => void }) {
  const report = study.report;
  return (
    <tr data-testid="study">
      <td>{study.patient.name}</td>
      <td>{study.description}</td>
      <td>{study.study_date}</td>
      <td>{study.analysis?.state}</td>
      <td>{report && <button onClick={() => open(report)}>Review</button>}</td>
    </tr>
  );
}
