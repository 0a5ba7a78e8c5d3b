#!/usr/bin/env bash
# Has the conversations of suite.json by clients in Python and, where there is
# Node.js, JavaScript.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../bin
status=0
for client in openai langchain; do
  "$bin/venv/clients/bin/python" "$here/suite.py" $client || status=1
done
if command -v npm >/dev/null; then
  mkdir -p "$bin/node"
  npm install --prefix "$bin/node" --no-audit --no-fund --silent openai@7.57.0 @anthropic-ai/sdk@1.14.0 typescript@7.0.2
  node "$here/suite.mjs" "$bin/node" || status=1
else
  echo "javascript: skipped, as there is no Node.js"
fi
exit $status
