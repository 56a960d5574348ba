#!/usr/bin/env bash
# Holds every dashboard against Grafana's published types (npm @grafana/schema). PACKAGES is a folder for packages.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${PACKAGES:?a folder for npm packages}
mkdir -p "$dir"
echo "{}" >"$dir/package.json" # or npm would install into a folder above
(cd "$dir" && npm install --silent --no-audit --no-fund --no-save @grafana/schema@13.2.3 typescript@5.9.3)
# How an annotation out of Prometheus is shown is the data source's own affair, and not in the published types.
cat >"$dir/board.ts" <<'EOF'
import type { AnnotationQuery, Dashboard, DataQuery } from '@grafana/schema';
type Shown = { titleFormat: string; textFormat: string; tagKeys: string };
type Annotation = AnnotationQuery<DataQuery & { expr: string }> & Shown;
export type Board = Omit<Dashboard, 'annotations'> & { annotations: { list: Annotation[] } };
EOF
for file in ops/grafana/dashboards/*.json; do
  printf "import type { Board } from './board';\nexport const dashboard: Board = %s;\n" "$(cat "$file")" \
    >"$dir/$(basename "$file" .json).ts"
done
(cd "$dir" && node_modules/.bin/tsc --noEmit --strict --skipLibCheck --moduleResolution bundler --module esnext --target es2022 ./*.ts)
echo "check-grafana-schema: all dashboards have Grafana's types"
