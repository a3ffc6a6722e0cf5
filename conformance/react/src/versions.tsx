import { useEffect, useState } from 'react';

import { answered, api, type Schemas } from './api/client';
import type { Report } from './review';

type Version = Schemas['VersionSummary'];

export function Versions({ report }: { report: Report }) {
  const [versions, setVersions] = useState<Version[]>([]);
  const { id, version } = report;

  useEffect(() => {
    const path = { report: id };
    void api
      .GET('/reports/{report}/versions', { params: { path } })
      .then((outcome) => setVersions(answered(outcome).data.items));
  }, [id, version]);

  return (
    <section>
      <h3>Versions</h3>
      <ol>
        {versions.map((one) => (
          <li key={one.version} data-testid="version-row" value={one.version}>
            {one.act} by {one.author}, {one.at}
            {one.signature && ` (signed by ${one.signature.name})`}
          </li>
        ))}
      </ol>
    </section>
  );
}
