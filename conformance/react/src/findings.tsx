import { useState } from 'react';

import { answered, api, type Schemas } from './api/client';
import type { Change, Report } from './review';

type Finding = Schemas['ReportFinding'];
type Part = { report: Report; change: (act: Change) => Promise<void> };

export function Findings({ report, change }: Part) {
  return (
    <section>
      <h3>
        Findings <small data-testid="undecided">{report.undecided} undecided</small>
      </h3>
      <ul>
        {report.content.findings.map((finding) => (
          <Item key={finding.id} finding={finding} report={report} change={change} />
        ))}
      </ul>
    </section>
  );
}

function Item({ finding, report, change }: Part & { finding: Finding }) {
  const [reason, setReason] = useState('');
  const path = { report: report.id, stated: finding.id };
  const accept: Change = async (etag) =>
    answered(
      await api.POST('/reports/{report}/findings/{stated}/accept', {
        params: { path, header: { 'If-Match': etag } },
      }),
    );
  const reject: Change = async (etag) =>
    answered(
      await api.POST('/reports/{report}/findings/{stated}/reject', {
        params: { path, header: { 'If-Match': etag } },
        body: { reason },
      }),
    );
  return (
    <li data-testid="finding" data-decision={finding.decision}>
      <p>{finding.sentence}</p>
      <span className="decision">
        {finding.decision}
        {finding.decided_by && ` by ${finding.decided_by}`}
      </span>
      {report.allowed.includes('edit') && (
        <>
          <button onClick={() => void change(accept)}>Accept</button>
          <input
            aria-label="Reason"
            placeholder="why not"
            value={reason}
            onChange={(event) => setReason(event.target.value)}
          />
          <button disabled={!reason} onClick={() => void change(reject)}>
            Reject
          </button>
        </>
      )}
    </li>
  );
}
