"""llama.cpp's server on a loopback port, until its input ends.

    llama_server.py PORT MODEL MMPROJ|- CONTEXT [KEY]
"""

import sys

import xllamacpp

port, model, mmproj, context, *key = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path = model
if mmproj != "-":
    params.mmproj.path = mmproj
params.hostnames, params.port = ["127.0.0.1"], int(port)
params.n_ctx, params.n_parallel, params.warmup, params.use_jinja = int(context), 1, False, True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
if key:
    params.api_keys = key
server = xllamacpp.Server(params)
print("ready", server.listening_address, flush=True)
sys.stdin.read()
