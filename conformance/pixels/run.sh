#!/usr/bin/env bash
# Compares decoded pixels with pydicom's. usage: run.sh [PYTHON]; PYTHON has pydicom installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
files=$("${1:-python3}" -c 'import pathlib, pydicom; print(pathlib.Path(pydicom.__file__).parent / "data/test_files")')
RADIANT_PYDICOM_FILES=$files cargo test --features jpeg-ls --test it -- --exact --ignored --nocapture pixels::decoded_pixels_are_those_of_pydicom
