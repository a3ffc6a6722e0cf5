"""llama.cpp by its C interface: every logit, where its servers tell but the first few."""

import ctypes
import os
from ctypes import POINTER, c_char_p, c_float, c_int8, c_int32, c_uint32, c_void_p

import numpy

# Parameters are passed by value. Only their first fields are set here; the rest is what the library gave.
OPAQUE = 1024


class ModelParams(ctypes.Structure):
    _fields_ = [("bytes", c_int8 * OPAQUE)]


class ContextParams(ctypes.Structure):
    _fields_ = [("n_ctx", c_uint32), ("n_batch", c_uint32), ("n_ubatch", c_uint32), ("n_seq_max", c_uint32),
                ("rest", c_int8 * OPAQUE)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", c_int32), ("token", POINTER(c_int32)), ("embd", POINTER(c_float)),
                ("pos", POINTER(c_int32)), ("n_seq_id", POINTER(c_int32)), ("seq_id", POINTER(POINTER(c_int32))),
                ("logits", POINTER(c_int8))]


class Llama:
    """A text model, read anew for every list of tokens."""

    def __init__(self, libraries, path, threads):
        self.library = library(libraries)
        parameters = self.library.llama_model_default_params()
        self.model = self.library.llama_model_load_from_file(os.fsencode(path), parameters)
        assert self.model, f"llama.cpp does not load {path}"
        vocabulary = self.library.llama_model_get_vocab(self.model)
        self.width = self.library.llama_vocab_n_tokens(vocabulary)
        self.threads = threads

    def logits(self, ids, first=0):
        """After every token from place `first` on, a row each."""
        context = self.context(len(ids))
        batch = self.batch(ids, first)
        try:
            status = self.library.llama_decode(context, batch)
            assert status == 0, f"llama_decode: {status}"
            return numpy.stack([self.row(context, place) for place in range(first, len(ids))])
        finally:
            self.library.llama_free(context)

    def row(self, context, place):
        pointer = self.library.llama_get_logits_ith(context, place)
        return numpy.ctypeslib.as_array(pointer, shape=(self.width,)).copy()

    def context(self, tokens):
        parameters = self.library.llama_context_default_params()
        found = (parameters.n_ctx, parameters.n_batch, parameters.n_ubatch, parameters.n_seq_max)
        assert found == (512, 2048, 512, 1), f"other context parameters than are known here: {found}"
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = max(tokens, 512)
        context = self.library.llama_init_from_model(self.model, parameters)
        assert context, "llama.cpp makes no context"
        self.library.llama_set_n_threads(context, self.threads, self.threads)
        return context

    def batch(self, ids, first):
        batch = self.library.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for place, token in enumerate(ids):
            batch.token[place], batch.pos[place] = token, place
            batch.n_seq_id[place], batch.seq_id[place][0], batch.logits[place] = 1, 0, place >= first
        return batch


def library(folder):
    """The kernels are libraries too, of which the best one for this processor is taken."""
    [llama] = folder.glob("libllama.v*.so")
    [ggml] = folder.glob("libggml.v*.so")
    kernels = ctypes.CDLL(str(ggml), mode=ctypes.RTLD_GLOBAL)
    kernels.ggml_backend_load_all_from_path.argtypes = [c_char_p]
    kernels.ggml_backend_load_all_from_path(os.fsencode(folder))
    library = ctypes.CDLL(str(llama))
    library.llama_log_set(SILENT, None)
    for name, answer, arguments in (
        ("llama_model_default_params", ModelParams, []),
        ("llama_context_default_params", ContextParams, []),
        ("llama_model_load_from_file", c_void_p, [c_char_p, ModelParams]),
        ("llama_init_from_model", c_void_p, [c_void_p, ContextParams]),
        ("llama_model_get_vocab", c_void_p, [c_void_p]),
        ("llama_vocab_n_tokens", c_int32, [c_void_p]),
        ("llama_batch_init", Batch, [c_int32, c_int32, c_int32]),
        ("llama_decode", c_int32, [c_void_p, Batch]),
        ("llama_get_logits_ith", POINTER(c_float), [c_void_p, c_int32]),
        ("llama_set_n_threads", None, [c_void_p, c_int32, c_int32]),
        ("llama_free", None, [c_void_p]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = answer, arguments
    return library


@ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)
def SILENT(level, text, _):
    pass
