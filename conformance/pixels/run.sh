#!/usr/bin/env bash
# Compares decoded pixels with pydicom's. usage: run.sh [PYTHON]; PYTHON has pydicom and
# pydicom-data installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
files=$(PYTHONPATH=conformance/pixels "${1:-python3}" -c 'import make_golden; print(*make_golden.folders(), sep=":")')
RADIANT_PYDICOM_FILES=$files cargo test --features jpeg-ls --test it -- --exact --ignored --nocapture pixels::decoded_pixels_are_those_of_pydicom
