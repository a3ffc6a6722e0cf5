import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';

import { session } from './api/client';
import { LogIn } from './log-in';
import { Review } from './review';
import { Worklist } from './worklist';

function Page() {
  const [user, setUser] = useState(session.user);
  const [report, setReport] = useState<string>();
  if (!user) return <LogIn done={() => setUser(session.user)} />;
  return (
    <>
      <header>
        <h1>Review</h1>
        <span data-testid="user">{user.display_name || user.name}</span>
      </header>
      {report ? (
        <Review report={report} close={() => setReport(undefined)} />
      ) : (
        <Worklist open={setReport} />
      )}
    </>
  );
}

const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Page />
    </StrictMode>,
  );
}
