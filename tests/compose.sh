#!/usr/bin/env bash
# The compose file as users run it: the stack comes up, documents of every stage reach OpenSearch, three processors
# share the work, the dashboard answers, and no service had to restart.
#
#   tests/compose.sh [image]       the image must be there already: docker build -f docker/Dockerfile -t outlier:local .
#
# COMPOSE is the command to use, else `docker-compose` where it exists, else `docker compose`. It runs beside a stack of
# your own: other ports and another project.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OUTLIER_IMAGE=${1:-outlier:local}
export OUTLIER_DASHBOARD_PORT=${OUTLIER_DASHBOARD_PORT:-18088} OUTLIER_KAFKA_PORT=${OUTLIER_KAFKA_PORT:-19094}
export OUTLIER_OPENSEARCH_PORT=${OUTLIER_OPENSEARCH_PORT:-19200} OUTLIER_BACKFILL=${OUTLIER_BACKFILL:-20m}
DOCKER=${DOCKER:-docker}
if [ -z "${COMPOSE:-}" ]; then
  if command -v docker-compose >/dev/null; then COMPOSE=docker-compose; else COMPOSE="$DOCKER compose"; fi
fi
INDEX=http://127.0.0.1:$OUTLIER_OPENSEARCH_PORT DASHBOARD=http://127.0.0.1:$OUTLIER_DASHBOARD_PORT
SERVICES=(kafka opensearch producer processor alert sink dashboard)

compose() { $COMPOSE -p outlier-test "$@"; }

finish() { # shows the logs after a failure; leaves nothing behind
  local status=$?
  if [ "$status" != 0 ]; then
    compose ps || true
    compose logs --no-color --tail=40 || true
    echo "compose: FAILED" >&2
  fi
  compose down --volumes --timeout 20 >/dev/null 2>&1 || true
  exit "$status"
}
trap finish EXIT

until_true() { # seconds what command...
  local limit=$1 what=$2 start=$SECONDS; shift 2
  until "$@"; do
    if ((SECONDS - start > limit)); then echo "compose: $what did not come within $limit s" >&2; return 1; fi
    sleep 1
  done
  echo "compose: $what (after $((SECONDS - start)) s)"
}

documents() { # index: how many it holds, 0 while there is none
  local answer
  curl -fsS -m 10 "$INDEX/$1/_refresh" >/dev/null 2>&1 || true
  answer=$(curl -fsS -m 10 "$INDEX/$1/_count" 2>/dev/null) || { echo 0; return; }
  sed -E 's/.*"count":([0-9]+).*/\1/' <<<"$answer"
}
more_than() { (($(documents "$1") > $2)); }

healthy() { # service count: so many containers run, all healthy
  local id states=()
  for id in $(compose ps -q "$1"); do states+=("$($DOCKER inspect -f '{{.State.Health.Status}}' "$id")"); done
  [ "${#states[@]}" = "$2" ] && [[ "${states[*]}" =~ ^healthy(\ healthy)*$ ]]
}

shared_by() { # count: so many hosts have partitions of the raw topic
  local hosts
  hosts=$(compose exec -T -e KAFKA_HEAP_OPTS=-Xmx128m kafka /opt/kafka/bin/kafka-consumer-groups.sh \
    --bootstrap-server localhost:9092 --describe --group waf.transform --members 2>/dev/null </dev/null |
    awk '$1 == "waf.transform" && $5 > 0 { print $3 }' | sort -u | wc -l) && [ "$hosts" = "$1" ]
}

compose up -d --no-build
for service in "${SERVICES[@]}"; do until_true 120 "$service healthy" healthy "$service" 1; done
for stage in raw enriched scores; do until_true 120 "documents in waf-$stage" more_than "waf-$stage" 0; done

compose up -d --no-build --scale processor=3
until_true 120 'three processors healthy' healthy processor 3
until_true 120 'three processors share the raw topic' shared_by 3
for stage in raw enriched scores; do
  before=$(documents "waf-$stage")
  until_true 120 "more documents in waf-$stage than $before" more_than "waf-$stage" "$before"
done

curl -fsS -m 10 "$DASHBOARD/" | grep -q '<title>outlier</title>' || { echo 'compose: no page' >&2; exit 1; }
scored() { curl -fsS -m 10 "$DASHBOARD/api/overview" | grep -q '"name":"waf"'; }
until_true 60 'the dashboard knows the pipeline' scored

setup=$(compose ps -q setup 2>/dev/null || true); [ -n "$setup" ] || setup=$(compose ps -a -q setup)
[ "$($DOCKER inspect -f '{{.State.ExitCode}}' "$setup")" = 0 ] || { echo 'compose: setup failed' >&2; exit 1; }
for service in "${SERVICES[@]}"; do
  for id in $(compose ps -q "$service"); do
    state=$($DOCKER inspect -f '{{.Name}} {{.State.Status}} restarts={{.RestartCount}} oom={{.State.OOMKilled}}' "$id")
    echo "compose: $state"
    [[ $state == *' running restarts=0 oom=false' ]] || { echo 'compose: a service did not stay up' >&2; exit 1; }
  done
done
echo 'compose: ok'
