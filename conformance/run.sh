#!/usr/bin/env bash
# Installs the programs that judge the server, then runs every test.
#
#   bash conformance/run.sh              everything
#   bash conformance/run.sh --list       names of the suites
#   bash conformance/run.sh SUITE…       only these
#
# Build output and the Python environment lie in the user's cache, so that they serve the next
# checkout too. With CI=true a missing peer is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/radiant"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
environment="${RADIANT_PEERS:-$cache/peers}"

install_system_peers() {
  local missing=()
  command -v storescu >/dev/null || missing+=(dcmtk)
  command -v pdftotext >/dev/null || missing+=(poppler-utils)
  command -v h2load >/dev/null || missing+=(nghttp2-client)
  command -v curl >/dev/null || missing+=(curl ca-certificates)
  command -v wrk >/dev/null || missing+=(wrk)
  [ -e /usr/lib/*/rsyslog/lmnsd_gtls.so ] || missing+=(rsyslog rsyslog-gnutls)
  command -v promtool >/dev/null || missing+=(prometheus)
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
  command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
  command -v haproxy >/dev/null || missing+=(haproxy)
  ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing+=(libfaketime)
  command -v ip >/dev/null || missing+=(iproute2)
  command -v nginx >/dev/null || missing+=(nginx-light)
  [ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing+=(orthanc-dicomweb)
  command -v cmake >/dev/null || missing+=(cmake)
  command -v chromium >/dev/null || missing+=(chromium)
  command -v cc >/dev/null || missing+=(build-essential)
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
  [ ${#missing[@]} -eq 0 ] && return
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  # RUNLEVEL keeps the packaged servers from starting: the suites start their own.
  # Without them the suites that need them are skipped and counted, or fail in CI.
  { command -v apt-get && "${as_root[@]}" apt-get update -q \
      && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -yq --no-install-recommends "${missing[@]}"; } >&2 \
    || echo "could not install: ${missing[*]}" >&2
}

install_python_peers() {
  local wanted="conformance/requirements.txt" stamp="$environment/requirements.txt"
  if cmp -s "$wanted" "$stamp"; then return; fi
  mkdir -p "$(dirname "$environment")"
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --requirement "$wanted"
  cp "$wanted" "$stamp"
}

install_system_peers
install_python_peers
exec "$environment/bin/python" -u conformance/run.py "$@"
